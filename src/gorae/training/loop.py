"""One epoch of training: steps, evaluation, checkpoints."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gorae.errors import DataError
from gorae.files import write_text
from gorae.training.average import even_share, measuring_norms, move_average
from gorae.training.checkpoint import Checkpoint, remove_tensors, write_checkpoint
from gorae.training.evaluate import compute_outputs, predict_outputs
from gorae.training.feed import Batch
from gorae.training.losses import encode_truth
from gorae.training.outputs import activate
from gorae.training.phases import begin_epoch, lr_share
from gorae.training.plan import Interrupted
from gorae.training.state import Progress
from gorae.training.step import halve_batches, is_out_of_memory, train_step
from gorae.training.trainer import NotFiniteError, Trainer, save_state


def train_epoch(trainer: Trainer, progress: Progress) -> tuple[Progress, bool]:
    """Train the rest of the epoch at hand.

    Returns:
        The progress, and whether the deadline cut the epoch.

    Raises:
        Interrupted: The caller asked to stop; the state is written.
        NotFiniteError: The loss stays not finite, or is so at the epoch's end.
    """
    control, group = trainer.control, trainer.group
    network = begin_epoch(trainer, progress)
    trainer.keys.epoch, trainer.keys.start = progress.epoch, progress.batch
    for batches in grouped(trainer.read_train(), trainer.plan.accumulate):
        if group.any(control.should_stop()):
            save_state(trainer, progress)
            raise Interrupted(f"stopped in epoch {progress.epoch + 1}")
        # A training ends with a checkpoint, however late it is.
        is_usable = progress.batch > 0 or bool(progress.best)
        is_late = control.deadline is not None and time.monotonic() > control.deadline
        if is_usable and group.any(is_late):
            return progress, True
        progress = train_step(trainer, network, progress, batches)
        control.on_step(trainer.step_of(progress), trainer.total_steps)
    if progress.skipped:
        # Weights that failed in their last step are nothing to go back to, or to keep.
        raise NotFiniteError(f"last step of epoch {progress.epoch + 1}")
    return progress, False


def grouped(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """The batches of one optimiser step after another."""
    upcoming = iter(batches)
    while group := list(islice(upcoming, size)):
        yield group


def finish_epoch(
    trainer: Trainer, progress: Progress, *, started: float, images_per_s: float, is_last: bool
) -> Progress:
    """Evaluate the weights, keep them where they are among the best, write the state.

    Args:
        trainer: The training.
        progress: After the last step of the epoch.
        started: ``time.monotonic()`` at the epoch's begin.
        images_per_s: Speed of the steps.
        is_last: Whether training ends here.

    Raises:
        NotFiniteError: Weights or outputs are not finite.
        DataError: The metric is undefined on the validation part.
    """
    epoch = progress.epoch + 1
    step = trainer.step_of(progress)
    last_lr = trainer.plan.optim.lr * lr_share(trainer, progress, step - 1)
    progress, model = _evaluated_model(trainer, progress)
    # What is kept is what was evaluated, also where each process counts statistics of its own.
    trainer.group.share(model)
    progress, valid_loss, score = _evaluate(trainer, progress, model)
    checkpoint = Checkpoint(
        name=f"epoch-{epoch:04d}",
        epoch=epoch,
        step=step,
        score=score,
        metric=trainer.data.scorer.name,
        valid_loss=valid_loss,
        form=trainer.objective.form,
        identity=trainer.plan.identity,
    )
    best = _rank(trainer, progress.best, checkpoint, is_last=is_last)
    if checkpoint in best and trainer.group.is_first:
        write_checkpoint(trainer.checkpoints, model, checkpoint)
    row = {
        "epoch": epoch,
        "step": step,
        "lr": last_lr,
        "train_loss": progress.loss_sum / progress.images if progress.images else None,
        "valid_loss": valid_loss,
        "score": score,
        "seconds": time.monotonic() - started,
        "images_per_s": images_per_s,
    }
    progress = replace(
        progress,
        epoch=epoch,
        batch=0,
        loss_sum=0.0,
        images=0,
        best=best,
        history=(*progress.history, row),
    )
    if trainer.group.is_first:
        write_text(trainer.folder / "history.csv", history_frame(progress).to_csv(index=False))
    save_state(trainer, progress)
    # Only now: a kill before this line leaves one checkpoint too many, never one too few.
    if trainer.group.is_first:
        _remove_others(trainer.checkpoints, best)
    trainer.control.on_epoch(row)
    return progress


def _evaluated_model(trainer: Trainer, progress: Progress) -> tuple[Progress, nn.Module]:
    """The network that stands for this epoch: the average where one is kept, else the model."""
    course = trainer.plan.course
    first_averaged = course.epochs - course.swa_epochs
    if course.swa_epochs and first_averaged <= progress.epoch < course.epochs:
        assert trainer.average is not None
        move_average(trainer.average, trainer.model, even_share(progress.averaged))
        progress = replace(progress, averaged=progress.averaged + 1)
        _measure_norms(trainer, trainer.average, progress)
    has_average = trainer.average is not None and progress.averaged > 0
    # In the epochs after, what was the average is the model that learns.
    if has_average and (trainer.plan.ema_decay is not None or progress.epoch < course.epochs):
        assert trainer.average is not None
        return progress, trainer.average
    return progress, trainer.model


def _measure_norms(trainer: Trainer, model: nn.Module, progress: Progress) -> None:
    """Statistics of the batch normalisations of averaged weights, from the epoch's images."""
    trainer.keys.epoch, trainer.keys.start = progress.epoch, 0
    with measuring_norms(model) as has_norms, torch.inference_mode():
        if has_norms:
            for images, index in trainer.read_train():
                pieces = zip(
                    images.chunk(progress.splits), index.chunk(progress.splits), strict=True
                )
                for part, rows in pieces:
                    compute_outputs(
                        model,
                        part,
                        spec=trainer.data.spec,
                        arithmetic=trainer.plan.arithmetic,
                        metadata=trainer.metadata_of(rows),
                    )


def _stoppable(trainer: Trainer, progress: Progress) -> Iterator[Batch]:
    """The validation batches while nobody asks to stop; the state is that after the last step.

    Raises:
        Interrupted: The caller asked to stop; the state is written.
    """
    assert trainer.read_valid is not None
    for batch in trainer.read_valid():
        # In a group each process has its own number of batches: they cannot agree here.
        if trainer.group.size == 1 and trainer.control.should_stop():
            save_state(trainer, progress)
            raise Interrupted(f"stopped at the end of epoch {progress.epoch + 1}")
        yield batch


def _evaluate(
    trainer: Trainer, progress: Progress, model: nn.Module
) -> tuple[Progress, float | None, float | None]:
    """Loss and score of the weights as they are; None for both without a validation part."""
    where = f"end of epoch {progress.epoch + 1}"
    state = model.state_dict().values()
    if not all(bool(value.isfinite().all()) for value in state):
        raise NotFiniteError(where)
    data, objective = trainer.data, trainer.objective
    if trainer.read_valid is None or data.valid is None or data.valid_truth is None:
        return progress, None, None
    progress, outputs, index = _outputs_within_memory(trainer, progress, model)
    outputs = trainer.group.rows(outputs, index, total=len(data.valid))
    if not bool(outputs.isfinite().all()):
        raise NotFiniteError(where)
    targets = data.valid_truth if data.valid_targets is None else data.valid_targets
    truth = encode_truth(targets, form=objective.form)
    loss = float(objective.loss(outputs, objective.targets(truth)).double().mean())
    if not math.isfinite(loss):
        raise NotFiniteError(where)
    values = activate(outputs.numpy(), objective.form)
    score = float(data.scorer.function(data.valid_truth, values))
    if not math.isfinite(score):
        raise DataError(
            f"{data.scorer.name} is undefined on the {len(values)} images of this validation "
            "part, as when a class is absent. Use fewer folds, or another metric."
        )
    return progress, loss, score


def _outputs_within_memory(
    trainer: Trainer, progress: Progress, model: nn.Module
) -> tuple[Progress, Tensor, Tensor]:
    """Outputs on the validation images and their indices, in more parts if memory runs out."""
    assert trainer.read_valid is not None
    while True:
        try:
            outputs, index = predict_outputs(
                model,
                _stoppable(trainer, progress),
                spec=trainer.data.spec,
                arithmetic=trainer.plan.arithmetic,
                splits=progress.splits,
                metadata=_on_cpu(trainer.data.valid_metadata),
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = str(error).splitlines()[0]
        else:
            return progress, outputs, index
        progress = halve_batches(trainer, progress, message)


def _on_cpu(metadata: NDArray[np.float32] | None) -> Tensor | None:
    return None if metadata is None else torch.from_numpy(metadata)


def _rank(
    trainer: Trainer, best: tuple[Checkpoint, ...], new: Checkpoint, *, is_last: bool
) -> tuple[Checkpoint, ...]:
    """The checkpoints to keep, best first; of equals the earlier one."""
    if new.score is None:
        return (new,) if is_last else ()
    sign = -1 if trainer.data.scorer.greater_is_better else 1

    def key(checkpoint: Checkpoint) -> tuple[float, int]:
        assert checkpoint.score is not None
        return sign * checkpoint.score, checkpoint.epoch

    return tuple(sorted((*best, new), key=key)[: trainer.plan.keep_checkpoints])


def _remove_others(folder: Path, kept: Sequence[Checkpoint]) -> None:
    names = {path.stem for path in folder.glob("epoch-*")} - {kept_.name for kept_ in kept}
    for name in names:
        remove_tensors(folder, name)


def history_frame(progress: Progress) -> pd.DataFrame:
    """The history as a table, one row per epoch."""
    columns = [
        "epoch",
        "step",
        "lr",
        "train_loss",
        "valid_loss",
        "score",
        "seconds",
        "images_per_s",
    ]
    return pd.DataFrame([dict(row) for row in progress.history], columns=columns)
