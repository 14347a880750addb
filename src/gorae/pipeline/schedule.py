"""Step ``plot_schedule``: the learning rates a recipe would train with, drawn."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.data.dataset import EpochBatches, Sampling
from gorae.errors import StorageError, UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.models.blocks import backbone_blocks
from gorae.models.build import build_model
from gorae.pipeline.context import Context, open_context, read_scan, usable
from gorae.pipeline.contract import read_split
from gorae.pipeline.learning import fold_course, fold_optim, require_finetuning
from gorae.report.schedule import SchedulePage, sparkline, write_schedule_page
from gorae.report.texts import Text
from gorae.training.optim import rate_warnings
from gorae.training.schedules import Course, course_notes, course_share

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScheduleResult:
    """The learning rate of every step of one training."""

    page: Path
    """HTML file with the plot."""
    num_images: int
    """Images of the train part it was worked out for."""
    steps_per_epoch: int
    lr: Floats
    """Learning rate of the head at each step, (T,)."""
    backbone_lr: Floats | None
    """The same of the backbone, of its topmost block where blocks differ; None: frozen."""
    sparkline: str
    """``lr`` as a line of text."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        backbone = None if self.backbone_lr is None else self.backbone_lr.tolist()
        return {
            "page": str(self.page),
            "num_images": self.num_images,
            "steps_per_epoch": self.steps_per_epoch,
            "lr": self.lr.tolist(),
            "backbone_lr": backbone,
            "notes": list(self.notes),
        }


def plot_schedule(
    folder: Path, *, recipe: Recipe, on_event: OnEvent = ignore_events
) -> ScheduleResult:
    """Work out and draw the learning rates of a training on the largest train part.

    No network is trained and no weights are read. Where there is no split yet, the size of
    the train part is estimated from the train table.

    Raises:
        ConfigError: The recipe does not train with a learning rate.
    """
    require_finetuning(recipe)
    context = open_context(folder)
    num_images, size_notes = _largest_train_part(context, recipe)
    train = recipe.train
    keys = EpochBatches(
        num_images,
        batch_size=train.batch_size,
        seed=recipe.seed,
        sampling=Sampling(drop_last=train.drop_last),
    )
    steps_per_epoch = -(-keys.num_batches // train.accumulate)
    course = fold_course(recipe, epochs=train.epochs)
    shares = _shares(course, steps_per_epoch)
    is_pretrained = recipe.model.weights != "none" or recipe.train.start is not None
    optim = fold_optim(recipe, is_pretrained=is_pretrained)
    is_frozen = train.freeze == "backbone"
    backbone_lr = None if is_frozen else optim.backbone_lr * shares
    first_block = None
    if train.layer_decay is not None and backbone_lr is not None:
        depth = _num_blocks(context, recipe) - 1
        first_block = backbone_lr * train.layer_decay**depth
    notes = (*size_notes, *rate_warnings(optim), *course_notes(course), *_own_notes(recipe))
    lr = optim.lr * shares
    page = context.workspace.home / f"schedule-{recipe.name}.html"
    write_schedule_page(
        page,
        SchedulePage(
            competition=context.competition.name,
            recipe=recipe.name,
            steps_per_epoch=steps_per_epoch,
            head=lr,
            backbone=backbone_lr,
            first_block=first_block,
            what=_in_words(recipe, num_images),
            notes=notes,
        ),
    )
    for note in notes:
        on_event(Event("message", "schedule", note))
    return ScheduleResult(
        page, num_images, steps_per_epoch, lr, backbone_lr, sparkline(lr), notes
    )


def _largest_train_part(context: Context, recipe: Recipe) -> tuple[int, tuple[str, ...]]:
    """Images of the largest train part, and a note where it had to be estimated."""
    try:
        scan = read_scan(context)
        made = read_split(context, scan, recipe.split)
    except StorageError:
        raise
    except UserError:
        table = context.tables.train
        num_listed = int((table["role"] != "holdout").sum())
        split, has_holdout = recipe.split, num_listed < len(table)
        share = split.holdout_share if split.kind == "holdout" else 1 / split.num_folds
        estimate = num_listed if has_holdout else round(num_listed * (1 - share))
        note = (
            f"There is no split of these pictures yet: {estimate} of {num_listed} were taken "
            "to train. `gorae split` makes the number exact."
        )
        return max(1, estimate), (note,)
    listed = context.tables.train["image_id"]
    ids = listed[usable(scan, listed)].tolist()
    parts = [made.parts(repeat, fold, ids)[0] for repeat, fold in made.members()]
    return max(int(train.sum()) for train in parts), ()


def _shares(course: Course, steps_per_epoch: int) -> Floats:
    # Of scores that never rise: what plateau does at the most.
    scores = [0.0] * course.all_epochs
    return np.array(
        [
            course_share(course, step, steps_per_epoch=steps_per_epoch, scores=scores)
            for step in range(course.all_epochs * steps_per_epoch)
        ]
    )


def _num_blocks(context: Context, recipe: Recipe) -> int:
    """Blocks of the backbone, counted on a network without memory or weights."""
    with torch.device("meta"):
        model = build_model(
            recipe.model.name,
            num_outputs=1,
            kwargs=recipe.model.kwargs,
            seed=recipe.seed,
            folder=context.workspace.folder,
        )
    return len(backbone_blocks(model))


def _own_notes(recipe: Recipe) -> list[str]:
    train, notes = recipe.train, []
    if train.schedule == "plateau":
        notes.append(
            "Drawn as if no epoch after the first were better. With better ones plateau decays "
            "later, and without a validation part (the refit) never."
        )
    if train.unfreeze_every is not None and train.freeze == "none":
        notes.append(
            f"Blocks of the backbone join one by one, each {train.unfreeze_every:g} epochs "
            "after the one above; the curve of the backbone holds for those that have joined."
        )
    if train.patience is not None:
        notes.append(
            f"train.patience = {train.patience} may end the training earlier, at a rate that "
            "is not down yet."
        )
    return notes


def _in_words(recipe: Recipe, num_images: int) -> Text:
    train = recipe.train
    per_step = train.batch_size * train.accumulate
    en = f'train.schedule = "{train.schedule}"'
    ko = en
    if train.schedule != "one_cycle" and train.warmup_epochs:
        en += f" after a warm-up of {train.warmup_epochs:g} epochs"
        ko += f", 워밍업 {train.warmup_epochs:g} 에폭"
    en += f"; {train.optimizer}, {per_step} pictures a step, {num_images:,} train pictures"
    ko += f", {train.optimizer}, 단계당 {per_step}장, 학습 이미지 {num_images:,}장"
    if train.swa_epochs:
        en += f"; weights are averaged in the last {train.swa_epochs} of {train.epochs} epochs"
        ko += f", 마지막 {train.swa_epochs} 에폭은 가중치 평균"
    if train.fixres_epochs:
        en += f"; {train.fixres_epochs} more adapt to the test size"
        ko += f", 이후 {train.fixres_epochs} 에폭은 테스트 크기에 맞춤"
    return Text(en + ".", ko + ".")
