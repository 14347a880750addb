"""Step ``compare``: variants of a recipe, trained and judged on the folds of their base."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gorae.errors import DataError, UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import content_key, write_json
from gorae.pipeline.compare.judge import judge_variants
from gorae.pipeline.compare.variants import Field, Variant, existing_members, read_field
from gorae.pipeline.compare.winners import (
    Larger,
    Winners,
    read_larger,
    write_winners,
)
from gorae.pipeline.context import Context, labels_key, open_context
from gorae.pipeline.contract import Split
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.init import Ask, init
from gorae.pipeline.launch import require_processes
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.scores import metric_key
from gorae.pipeline.split import split
from gorae.report.comparison import ComparisonLine, ComparisonPage, write_comparison
from gorae.stopping import Stopping, never_stopped
from gorae.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class CompareResult:
    """What a comparison found."""

    page: Path
    """compare.html; compare.json with the same numbers lies beside it."""
    shown: ComparisonPage
    split: str
    """Name of the split contract all were scored on."""
    winners: Winners | None
    """What was written for the larger network; None where nothing was asked for."""

    @property
    def lines(self) -> tuple[ComparisonLine, ...]:
        """The variants and their base, best first."""
        return self.shown.lines

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "page": str(self.page),
            "competition": self.shown.competition,
            "recipe": self.shown.recipe,
            "metric": self.shown.metric,
            "greater_is_better": self.shown.greater_is_better,
            "split": self.split,
            "folds": list(self.shown.folds),
            "num_seeds": self.shown.num_seeds,
            "num_rows": self.shown.num_rows,
            "notes": list(self.shown.notes),
            "variants": [asdict(line) for line in self.lines],
            "written": None if self.winners is None else self.winners.to_json(),
        }


def compare(
    folder: Path | str,
    *,
    vary: Sequence[str],
    preset: str | None = None,
    recipe: Path | str | None = None,
    overrides: Sequence[str] = (),
    seeds: int = 1,
    write: Path | str | None = None,
    write_for: str = "",
    ask: Ask | None = None,
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> CompareResult:
    """Train each variant of a recipe on the folds of the base, and judge the differences.

    Every variant is an ordinary run: what is trained already is used as it is, and the same
    call goes on after a stop.

    Args:
        folder: The competition.
        vary: What differs from the base; see ``gorae.config.varying.parse_variants``.
        preset: Base: ``quick`` (the default), ``standard`` or ``best``.
        recipe: Base: a recipe file, or the name of a shipped recipe.
        overrides: Changes of the base, and so of all variants.
        seeds: How many trainings of each, with one seed after the other; folds stay the same.
        write: A recipe file to write: the base with the changes that are better than it.
        write_for: Changes of that recipe, ``model.name=tf_efficientnet_b3``.
        ask: Asks the user about the layout of a new folder; None where nobody can be asked.
        on_event: Hears progress.
        stopping: Opened while a training runs, which then ends in order when it is asked to.

    Raises:
        ConfigError: A variant cannot be used; told before anything is trained.
        UserError: Something else a user can mend is wrong; the message says what.
    """
    folder, path = Path(folder), None if recipe is None else Path(recipe)
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {seeds}.")
    field = read_field(vary, preset=preset, path=path, overrides=overrides)
    larger = read_larger(write, write_for, field=field)
    for variant in field.variants:
        require_processes(variant.recipe)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    if not Workspace(folder.resolve()).competition_file.exists():
        init(folder, ask=ask, on_event=on_event)
    preprocess(folder, recipe=field.base.recipe, on_event=on_event)
    made = split(folder, recipe=field.base.recipe, on_event=on_event)
    context = open_context(folder)
    for note in field.notes:
        on_event(Event("message", "compare", note))
    on_event(Event("stage", "compare", _plan(context, field, made, seeds)))
    runs = _train_all(context, field, made, seeds, on_event=on_event, stopping=stopping)
    return _judge(context, field, made, runs, larger=larger, on_event=on_event)


def _plan(context: Context, field: Field, made: Split, seeds: int) -> str:
    """One sentence: how much there is to train."""
    num_members, settings = len(made.members()), len(field.variants)
    total = settings * seeds * num_members
    there = sum(
        existing_members(context.workspace, variant.with_seed(number), made)
        for variant in field.variants
        for number in range(seeds)
    )
    plan = (
        f"{settings} settings (base and {settings - 1}) x {seeds} seed(s) x {num_members} "
        f"fold(s): {total} trainings"
    )
    return f"{plan}, {there} of them there already" if there else plan


def _train_all(
    context: Context,
    field: Field,
    made: Split,
    seeds: int,
    *,
    on_event: OnEvent,
    stopping: Stopping,
) -> list[list[RunFolder]]:
    """The finished runs of each variant, one per seed."""
    runs: list[list[RunFolder]] = [[] for _ in field.variants]
    todo = [(n, place) for n in range(seeds) for place in range(len(field.variants))]
    # Seed by seed: a comparison that is stopped has something of everything.
    for done, (number, place) in enumerate(todo, start=1):
        variant = field.variants[place]
        seed = variant.with_seed(number).seed
        text = f"{done} of {len(todo)}: {variant.name}, seed {seed}"
        on_event(Event("stage", "compare", text))
        run = _train_one(context, variant, number, made, on_event=on_event, stopping=stopping)
        runs[place].append(run)
    return runs


def _train_one(
    context: Context,
    variant: Variant,
    number: int,
    made: Split,
    *,
    on_event: OnEvent,
    stopping: Stopping,
) -> RunFolder:
    from gorae.pipeline.train import train

    folder, recipe = context.workspace.folder, variant.with_seed(number)
    if recipe.preprocess and number == 0:
        # Says on which pictures the steps of this variant met something.
        preprocess(folder, recipe=recipe, on_event=on_event)
    run = train(folder, recipe=recipe, on_event=on_event, stopping=stopping).run
    found = run.read_settings()["keys"]["split"]
    if found != made.key:
        raise DataError(
            f"{variant.name} was trained on the split {found}, the base on {made.key}: tables "
            "or pictures changed meanwhile. Repeat the command."
        )
    result = run.read_result()
    if result is None or result["num_folds"] != len(made.members()) or not run.oof.exists():
        ensemble(folder, run=run.run_id, on_event=on_event)
    return run


def _judge(
    context: Context,
    field: Field,
    made: Split,
    runs: Sequence[Sequence[RunFolder]],
    *,
    larger: Larger | None,
    on_event: OnEvent,
) -> CompareResult:
    on_event(Event("stage", "compare", "judging the differences"))
    judged = judge_variants(context, field, made, runs)
    recipes = [variant.recipe.model_dump(mode="json") for variant in field.variants]
    seeds = len(runs[0])
    key = content_key([recipes, seeds, made.key, labels_key(context), metric_key(context)])
    page = context.workspace.compare / key / "compare.html"
    winners = None
    if larger is not None:
        winners = write_winners(larger, judged, comparison=key)
        text = f"wrote {winners.path}: {winners.summary}"
        on_event(Event("message", "compare", text))
    shown = ComparisonPage(
        competition=context.competition.name,
        recipe=field.base.recipe.name,
        metric=judged.metric.name,
        greater_is_better=judged.metric.greater_is_better,
        lines=judged.lines,
        folds=judged.folds,
        num_seeds=seeds,
        num_rows=judged.num_rows,
        notes=(*field.notes, *judged.notes),
        commands=_commands(context, judged.lines, winners),
    )
    result = CompareResult(page, shown, made.key, winners)
    write_json(page.with_name("compare.json"), result.to_json())
    write_comparison(page, shown)
    for note in judged.notes:
        on_event(Event("warning", "compare", note))
    return result


def _commands(
    context: Context, lines: Sequence[ComparisonLine], winners: Winners | None
) -> tuple[str, ...]:
    """What may be done next."""
    if winners is not None:
        return (f"gorae run --recipe {winners.path}",)
    again = (
        'gorae compare ... --write recipes/larger.toml --for "model.name=tf_efficientnet_b3"'
    )
    if any(line.verdict == "better" for line in lines):
        return (again, "gorae run --recipe recipes/larger.toml")
    return ("gorae compare ... --seeds 3", again)
