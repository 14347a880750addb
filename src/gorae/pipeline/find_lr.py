"""Step ``find_lr``: a learning rate to begin with, from a short training of a real fold."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorae.config import Recipe
from gorae.config.pseudo import PseudoSettings
from gorae.events import Event, OnEvent, ignore_events
from gorae.inference import Execution
from gorae.models import LoadedModel
from gorae.pipeline.box_mix import prepare_training
from gorae.pipeline.calibration import CALIBRATION_FILE, Work
from gorae.pipeline.context import Context, open_context, read_scan, require_trainable, usable
from gorae.pipeline.contract import read_split
from gorae.pipeline.job import Job, train_table
from gorae.pipeline.learning import fit_plan, fold_data, require_finetuning
from gorae.pipeline.metadata import read_metadata, with_metadata
from gorae.pipeline.network import as_arithmetic, choose_arithmetic, load_network
from gorae.pipeline.part_target import as_target
from gorae.pipeline.scores import competition_metric
from gorae.report.schedule import SweepPage, write_sweep_page
from gorae.stopping import never_stopped
from gorae.training.lr_finder import RateSweep, SweepPlan, sweep_fold
from gorae.training.optim import OptimPlan
from gorae.training.plan import Control
from gorae.workspace import RunFolder


@dataclass(frozen=True)
class FindLrResult:
    """The sweep and what it suggests."""

    page: Path
    """HTML file with the plot."""
    sweep: RateSweep
    suggestion: float | None
    """Peak learning rate of the head to begin with; None where the losses say nothing."""
    reason: str
    """Why that rate, or why none."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "page": str(self.page),
            "suggestion": self.suggestion,
            "reason": self.reason,
            "stopped": self.sweep.stopped,
            "rates": self.sweep.rates.tolist(),
            "losses": self.sweep.losses.tolist(),
            "notes": list(self.notes),
        }


def find_lr(folder: Path, *, recipe: Recipe, on_event: OnEvent = ignore_events) -> FindLrResult:
    """Train on the largest fold with ever higher rates, and suggest one.

    No run is made and no weights are kept.

    Args:
        folder: The competition, split already.
        recipe: The settings; its own rates only fix that of the backbone to that of the head.
        on_event: Hears progress.

    Raises:
        ConfigError: There is no split, or the recipe does not train with a learning rate.
    """
    require_finetuning(recipe)
    # Of the pictures with true labels, which need no earlier run.
    recipe = recipe.model_copy(update={"pseudo": PseudoSettings()})
    context = as_target(open_context(folder), recipe.target)
    require_trainable(context)
    on_event(Event("stage", "network", f"loading {recipe.model.name}"))
    loaded = load_network(context, recipe)
    sweep = SweepPlan()
    job = _job(context, recipe, loaded, sweep, on_event)
    ids, epochs = job.train["image_id"].tolist(), recipe.train.epochs
    parts = [job.split.parts(repeat, fold, ids) for repeat, fold in job.split.members()]
    train, valid = max(parts, key=lambda part: int(part[0].sum()))
    plan = fit_plan(job, loaded, epochs=epochs)
    on_event(Event("stage", "find-lr", f"{sweep.num_steps} steps at rising learning rates"))

    def on_step(done: int, total: int) -> None:
        on_event(Event("progress", "find-lr", "steps", done, total))

    found = sweep_fold(
        loaded.model,
        fold_data(job, train, valid, epochs=epochs),
        plan=plan,
        sweep=sweep,
        control=Control(
            workers=job.workers, pin_memory=recipe.train.pin_memory, on_step=on_step
        ),
    )
    notes = _notes(recipe, plan.optim, found.suggestion.rate)
    page = context.workspace.home / f"find-lr-{recipe.name}.html"
    write_sweep_page(page, _page(context, recipe, found, notes))
    for note in notes:
        on_event(Event("message", "find-lr", note))
    return FindLrResult(page, found, found.suggestion.rate, found.suggestion.reason, notes)


def _job(
    context: Context,
    recipe: Recipe,
    loaded: LoadedModel,
    sweep: SweepPlan,
    on_event: OnEvent,
) -> Job:
    """What a training would be given, without a run."""
    prepared = prepare_training(context, recipe, loaded.spec, on_event=on_event)
    scan = read_scan(context)
    made = read_split(context, scan, recipe.split)
    train = recipe.train
    chosen = choose_arithmetic(
        recipe,
        loaded,
        work=Work(sweep.num_steps * train.batch_size * train.accumulate, 0),
        cache=context.workspace.home / CALIBRATION_FILE,
    )
    images = train_table(context, recipe, scan, made)
    # Nothing is predicted.
    images, test, metadata = with_metadata(
        read_metadata(context, recipe, scan), images, images.iloc[:0]
    )
    return Job(
        context=context,
        recipe=recipe,
        # Named in nothing that is kept; the folder is never made.
        run=RunFolder(context.workspace.runs / "find-lr"),
        split=made,
        metric=competition_metric(context),
        spec=loaded.spec,
        pixels=prepared.pixels,
        execution=Execution(arithmetic=as_arithmetic(chosen)),
        train=images,
        truth=context.truth[usable(scan, context.tables.train["image_id"])],
        test=test,
        workers=chosen["workers"],
        deadline=None,
        on_event=on_event,
        stopping=never_stopped,
        metadata=metadata,
    )


def _notes(recipe: Recipe, optim: OptimPlan, rate: float | None) -> tuple[str, ...]:
    if rate is None or recipe.train.backbone_lr is None or recipe.train.freeze == "backbone":
        return ()
    scaled = rate * optim.backbone_lr / optim.lr
    return (
        f"The backbone had {optim.backbone_lr / optim.lr:.3g} of the head's rate, as in the "
        f"recipe: with train.lr = {rate:g} set train.backbone_lr = {scaled:.2g}.",
    )


def _page(
    context: Context, recipe: Recipe, found: RateSweep, notes: tuple[str, ...]
) -> SweepPage:
    said = found.suggestion
    return SweepPage(
        competition=context.competition.name,
        recipe=recipe.name,
        rates=found.rates,
        losses=found.losses,
        smoothed=found.smoothed,
        suggestion=said.rate,
        steepest=said.steepest,
        minimum=said.minimum,
        now=recipe.train.lr,
        reason=said.reason,
        notes=notes,
    )
