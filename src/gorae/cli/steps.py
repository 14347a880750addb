"""Commands of the single steps, each of which `gorae run` does as well."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gorae.cli import show
from gorae.cli.ahead import show_lr, show_schedule
from gorae.cli.options import (
    AsJson,
    Folder,
    FolderOption,
    Overrides,
    PresetOption,
    RecipeOption,
    RunArgument,
    place,
    read_recipe,
)
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.stops import DATA
from gorae.errors import ConfigError

if TYPE_CHECKING:
    from gorae.pipeline.all_votes import VotesResult
    from gorae.pipeline.check import CheckResult
    from gorae.pipeline.contract import Split
    from gorae.pipeline.ensemble import EnsembleResult
    from gorae.pipeline.find_lr import FindLrResult
    from gorae.pipeline.predict import PredictResult
    from gorae.pipeline.preprocess import PreprocessResult
    from gorae.pipeline.schedule import ScheduleResult
    from gorae.pipeline.submit import SubmitResult
    from gorae.pipeline.train import TrainResult


def preprocess(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    has_preview: Annotated[
        bool,
        typer.Option("--preview", help="Draw a sheet of pictures before and after each step."),
    ] = False,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Check every picture and keep its pixels, decoded once."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "PreprocessResult":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.preprocess import preprocess as step_preprocess

        return step_preprocess(
            target, recipe=settings, has_preview=has_preview, on_event=screen.on_event
        )

    draw = partial(show.show_preprocess, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def split(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Make the folds: who validates whom."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "Split":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.split import split as step_split

        return step_split(target, recipe=settings, on_event=screen.on_event)

    draw = partial(show.show_split, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def train(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    plots_schedule: Annotated[
        bool,
        typer.Option("--plot-schedule", help="Draw the learning rates instead of training."),
    ] = False,
    finds_lr: Annotated[
        bool,
        typer.Option("--find-lr", help="Look for a learning rate instead of training."),
    ] = False,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe on every fold and predict."""
    target = place(folder, folder_option)
    if plots_schedule and finds_lr:
        raise typer.BadParameter("--plot-schedule and --find-lr cannot be asked for at once.")
    perform_it = partial(perform, folder=target, as_json=as_json, is_debug=context.obj)
    if plots_schedule:

        def plot(screen: Screen) -> "ScheduleResult":
            settings = read_recipe(preset, recipe, overrides)
            from gorae.pipeline.schedule import plot_schedule

            return plot_schedule(target, recipe=settings, on_event=screen.on_event)

        perform_it(plot, draw=show_schedule)
        return
    if finds_lr:

        def find(screen: Screen) -> "FindLrResult":
            settings = read_recipe(preset, recipe, overrides)
            from gorae.pipeline.find_lr import find_lr

            return find_lr(target, recipe=settings, on_event=screen.on_event)

        perform_it(find, draw=show_lr)
        return

    def step(screen: Screen) -> "TrainResult":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.train import train as step_train

        return step_train(
            target, recipe=settings, on_event=screen.on_event, stopping=screen.stopping
        )

    perform_it(step, draw=partial(show.show_train, folder=target))


def predict(
    context: typer.Context,
    images: Annotated[
        Path, typer.Option("--images", help="Folder with the pictures, in sub-folders too.")
    ],
    run: RunArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write this CSV file instead."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Read metadata here, for a run that looks at it."),
    ] = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Predict any new pictures with a trained run."""
    target = place(None, folder_option)

    def step(screen: Screen) -> "PredictResult":
        from gorae.pipeline.predict import predict as step_predict

        return step_predict(
            target,
            run=run,
            images=images,
            output=output,
            table=table,
            on_event=screen.on_event,
        )

    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_predict)


class Vote(StrEnum):
    """Names of the votes, without the arithmetic behind them: that takes long to import."""

    ARITHMETIC = "arithmetic"
    WEIGHTED = "weighted"
    GEOMETRIC = "geometric"
    LOGIT = "logit"
    RANK = "rank"
    HARD = "hard"
    SUBTASK = "subtask"


class Choice(StrEnum):
    """Ways to choose runs and weights by score."""

    GREEDY = "greedy"
    BEST_SUBSET = "best_subset"
    FIT_WEIGHTS = "fit_weights"
    BY_SCORE = "by_score"


def ensemble(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Ids of runs, or their beginnings; several become a new run; absent: newest.",
        ),
    ] = None,
    vote: Annotated[
        Vote | None,
        typer.Option("--vote", help="Join by this vote into a new run; absent: arithmetic."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="W:W:...", help="Weigh the runs so, such as 6:3:1."),
    ] = None,
    select: Annotated[
        Choice | None,
        typer.Option(help="Choose runs and weights by score, checked on other folds."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name the new run.")] = None,
    all_votes: Annotated[
        bool,
        typer.Option(
            "--all-votes",
            help="Vote on one run in four ways (arithmetic, geometric, weighted, hard) and "
            "write a submission of each.",
        ),
    ] = False,
    composes: Annotated[
        bool,
        typer.Option(
            "--compose",
            help="Make classes of one run for each part of the label ([target] part).",
        ),
    ] = False,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Vote over the models of a run, or join several runs."""
    target = place(None, folder_option)
    named = runs or []
    if all_votes:
        if len(named) > 1 or vote or weights or select or name or composes:
            raise typer.BadParameter("--all-votes takes one run and no other choice.")
        _all_votes(context, target, named[0] if named else None, as_json=as_json)
        return
    if composes:
        if vote or weights or select:
            raise typer.BadParameter("--compose takes a run of each part and no vote.")
        _compose(context, target, named, name, as_json=as_json)
        return
    is_new = len(named) > 1 or vote is not None or any((weights, select, name))

    def step(screen: Screen) -> "EnsembleResult":
        if not is_new:
            from gorae.pipeline.ensemble import ensemble as step_ensemble

            return step_ensemble(
                target, run=named[0] if named else None, on_event=screen.on_event
            )
        from gorae.pipeline.blend import Blend, blend

        plan = Blend(
            how=(vote or Vote.ARITHMETIC).value,
            weights=parse_weights(weights),
            select=select.value if select else None,
            name=name,
        )
        return blend(target, runs=named, plan=plan, on_event=screen.on_event)

    draw = partial(show.show_ensemble, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def _all_votes(context: typer.Context, target: Path, run: str | None, *, as_json: bool) -> None:
    def step(screen: Screen) -> "VotesResult":
        from gorae.pipeline.all_votes import all_votes

        return all_votes(target, run=run, on_event=screen.on_event)

    draw = partial(show.show_votes, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def _compose(
    context: typer.Context, target: Path, runs: list[str], name: str | None, *, as_json: bool
) -> None:
    def step(screen: Screen) -> "EnsembleResult":
        from gorae.pipeline.compose import compose_runs

        return compose_runs(target, runs=runs, name=name, on_event=screen.on_event)

    draw = partial(show.show_ensemble, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def parse_weights(text: str | None) -> tuple[float, ...]:
    """The numbers of ``6:3:1``; none of an absent text.

    Raises:
        ConfigError: A part is no number of 0 or more.
    """
    if text is None:
        return ()
    try:
        numbers = tuple(float(part) for part in text.split(":"))
    except ValueError:
        numbers = ()
    if not all(0 <= number < float("inf") for number in numbers) or not any(numbers):
        raise ConfigError(
            f"--weights {text!r} is not numbers of 0 or more with colons between, like 6:3:1."
        )
    return numbers


def submit(
    context: typer.Context,
    run: RunArgument = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Write the submission of a run after checking it."""
    target = place(None, folder_option)

    def step(screen: Screen) -> "SubmitResult":
        from gorae.pipeline.submit import submit as step_submit

        return step_submit(target, run=run, on_event=screen.on_event)

    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_submit)


def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV file that is to be sent.")],
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Check a submission file against the competition, offline."""
    target = place(None, folder_option)

    def step(screen: Screen) -> "CheckResult":
        from gorae.pipeline.check import check as step_check

        return step_check(target, file=file)

    found = perform(
        step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_check
    )
    if not found.is_accepted:
        raise typer.Exit(DATA)
