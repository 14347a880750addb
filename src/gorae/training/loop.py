"""One epoch of training: steps, evaluation, checkpoints."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from gorae.data.dataset import EpochBatches
from gorae.errors import DataError
from gorae.files import write_text
from gorae.training.checkpoint import Checkpoint, remove_tensors, write_checkpoint
from gorae.training.evaluate import compute_outputs, mean_loss, predict_outputs
from gorae.training.feed import Batch
from gorae.training.losses import LOSSES, TargetScale, activate
from gorae.training.optim import learning_rate_share, set_learning_rate
from gorae.training.plan import Control, FitPlan, FoldData, Interrupted
from gorae.training.state import Progress, write_state

# TRUST R6.
MAX_SKIPPED_STEPS = 5


@dataclass(frozen=True)
class Trainer:
    """One training at work: what was given, and what was made of it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    data: FoldData
    plan: FitPlan
    control: Control
    folder: Path
    key: Mapping[str, Any]
    """What the training is made of."""
    truth: Tensor
    """Targets of the train part, on the device."""
    target: TargetScale
    keys: EpochBatches
    """What ``read_train`` reads."""
    steps_per_epoch: int
    read_train: Callable[[], Iterator[Batch]]
    read_valid: Callable[[], Iterator[Batch]] | None

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def states(self) -> Path:
        """Folder of the states."""
        return self.folder / "state"

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.plan.epochs * self.steps_per_epoch


class NotFiniteError(Exception):
    """Numbers are no longer finite: training can only go on from an earlier state."""

    def __init__(self, where: str, image_ids: Sequence[str] = ()) -> None:
        super().__init__(where)
        self.where = where
        self.image_ids = list(image_ids)


def save_state(trainer: Trainer, progress: Progress) -> None:
    """Write where the training stands."""
    write_state(
        trainer.states, trainer.model, trainer.optimizer, progress=progress, key=trainer.key
    )


def train_epoch(trainer: Trainer, progress: Progress) -> tuple[Progress, bool]:
    """Train the rest of the epoch at hand.

    Returns:
        The progress, and whether the deadline cut the epoch.

    Raises:
        Interrupted: The caller asked to stop; the state is written.
        NotFiniteError: The loss stays not finite, or is so at the epoch's end.
    """
    control = trainer.control
    trainer.model.train()
    trainer.keys.epoch, trainer.keys.start = progress.epoch, progress.batch
    for images, index in trainer.read_train():
        if control.should_stop():
            save_state(trainer, progress)
            raise Interrupted(f"stopped in epoch {progress.epoch + 1}")
        # A training ends with a checkpoint, however late it is.
        is_usable = progress.batch > 0 or bool(progress.best)
        if control.deadline is not None and is_usable and time.monotonic() > control.deadline:
            return progress, True
        progress = _train_step(trainer, progress, images, index)
        done = progress.epoch * trainer.steps_per_epoch + progress.batch
        control.on_step(done, trainer.total_steps)
    if progress.skipped:
        # Weights that failed in their last step are nothing to go back to, or to keep.
        raise NotFiniteError(f"last step of epoch {progress.epoch + 1}")
    return progress, False


def _train_step(
    trainer: Trainer, progress: Progress, images: Tensor, index: Tensor
) -> Progress:
    plan = trainer.plan
    step = progress.epoch * trainer.steps_per_epoch + progress.batch
    set_learning_rate(trainer.optimizer, _share(trainer, step) * progress.lr_factor)
    _seed_network(step_seed(plan.seed, step), trainer.truth.device)
    outputs = compute_outputs(
        trainer.model, images, spec=trainer.data.spec, arithmetic=plan.arithmetic
    )
    targets = trainer.truth[index.to(trainer.truth.device, non_blocking=True)]
    loss = LOSSES[trainer.data.task](outputs, targets).mean()
    fetch_loss = _start_fetch(loss.detach())
    trainer.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    value = fetch_loss()
    progress = replace(progress, batch=progress.batch + 1)
    if not math.isfinite(value):
        return _skip_step(trainer, progress, index)
    trainer.optimizer.step()
    return replace(
        progress,
        loss_sum=progress.loss_sum + value * len(index),
        images=progress.images + len(index),
        skipped=0,
    )


def _share(trainer: Trainer, step: int) -> float:
    warmup_steps = round(trainer.plan.warmup_epochs * trainer.steps_per_epoch)
    return learning_rate_share(
        step,
        # A warm-up as long as the training would leave no step for its decay.
        warmup_steps=min(warmup_steps, trainer.total_steps - 1),
        total_steps=trainer.total_steps,
    )


def step_seed(seed: int, step: int) -> int:
    """The seed of the network's chance in one step."""
    # Hashed: torch's CPU generator looks at the low 32 bits of a seed only.
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])


def _seed_network(seed: int, device: torch.device) -> None:
    """Make dropout a function of (seed, step), whatever ran before."""
    # torch.manual_seed would format the call stack for a GPU that is not used: 0.5 ms a step.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _start_fetch(scalar: Tensor) -> Callable[[], float]:
    """Begin to bring a scalar to the host; the call waits for it, not for what comes after.

    On a GPU a plain ``item()`` would wait for the whole backward pass, and the next step
    would find an idle device.
    """
    if scalar.device.type != "cuda":
        return scalar.item
    on_host = torch.empty((), dtype=scalar.dtype, pin_memory=True)
    on_host.copy_(scalar, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    event.record()

    def fetch() -> float:
        event.synchronize()
        return float(on_host)

    return fetch


def _skip_step(trainer: Trainer, progress: Progress, index: Tensor) -> Progress:
    """Leave the weights as they were, unless that no longer helps.

    Raises:
        NotFiniteError: Too many steps in a row, or batch norms that measured the damage.
    """
    progress = replace(
        progress, skipped=progress.skipped + 1, skipped_in_all=progress.skipped_in_all + 1
    )
    buffers_are_good = all(bool(buffer.isfinite().all()) for buffer in trainer.model.buffers())
    if progress.skipped > MAX_SKIPPED_STEPS or not buffers_are_good:
        raise NotFiniteError(
            f"epoch {progress.epoch + 1}, batch {progress.batch}",
            [trainer.data.train_ids[i] for i in index.tolist()],
        )
    return progress


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
    step = progress.epoch * trainer.steps_per_epoch + progress.batch
    valid_loss, score = _evaluate(trainer, epoch)
    checkpoint = Checkpoint(
        name=f"epoch-{epoch:04d}",
        epoch=epoch,
        step=step,
        score=score,
        metric=trainer.data.scorer.name,
        valid_loss=valid_loss,
        target=trainer.target,
        identity=trainer.plan.identity,
    )
    best = _rank(trainer, progress.best, checkpoint, is_last=is_last)
    if checkpoint in best:
        write_checkpoint(trainer.checkpoints, trainer.model, checkpoint)
    row = {
        "epoch": epoch,
        "step": step,
        "lr": trainer.plan.lr * _share(trainer, step - 1) * progress.lr_factor,
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
    write_text(trainer.folder / "history.csv", history_frame(progress).to_csv(index=False))
    save_state(trainer, progress)
    # Only now: a kill before this line leaves one checkpoint too many, never one too few.
    _remove_others(trainer.checkpoints, best)
    trainer.control.on_epoch(row)
    return progress


def _evaluate(trainer: Trainer, epoch: int) -> tuple[float | None, float | None]:
    """Loss and score of the weights as they are; None for both without a validation part."""
    where = f"end of epoch {epoch}"
    state = trainer.model.state_dict().values()
    if not all(bool(value.isfinite().all()) for value in state):
        raise NotFiniteError(where)
    data = trainer.data
    if trainer.read_valid is None or data.valid_truth is None:
        return None, None
    outputs = predict_outputs(
        trainer.model, trainer.read_valid(), spec=data.spec, arithmetic=trainer.plan.arithmetic
    )
    loss = mean_loss(outputs, data.valid_truth, task=data.task, target=trainer.target)
    if not math.isfinite(loss) or not bool(outputs.isfinite().all()):
        raise NotFiniteError(where)
    values = activate(outputs, task=data.task, target=trainer.target)
    score = float(data.scorer.function(data.valid_truth, values))
    if not math.isfinite(score):
        raise DataError(
            f"{data.scorer.name} is undefined on the {len(values)} images of this validation "
            "part, as when a class is absent. Use fewer folds, or another metric."
        )
    return loss, score


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
