"""Training of an autoencoder: a picture goes in, and the same picture is to come out.

The target is the augmented picture itself. The error is measured on pictures that nothing is
learned from, and compared with that of always answering the mean picture.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import BatchSampler

from gorae.data.dataset import EpochBatches, ImageDataset, TrainDataset
from gorae.data.pixels import PixelSpec
from gorae.errors import DataError, ResourceError
from gorae.files import sweep_temporaries, write_text
from gorae.models.autoencoder import Autoencoder, reconstruction_loss
from gorae.models.network import as_grey
from gorae.training.checkpoint import (
    Checkpoint,
    load_first_good,
    remove_tensors,
    write_checkpoint,
)
from gorae.training.evaluate import Arithmetic, forward, place, to_pixels
from gorae.training.feed import Batch, choose_workers, open_feed
from gorae.training.optim import (
    LARGEST_ADAM_RATE,
    OptimPlan,
    build_optimizer,
    set_learning_rate,
)
from gorae.training.outputs import OutputForm
from gorae.training.plan import Control, Interrupted
from gorae.training.quarantine import Quarantine
from gorae.training.reconstruct import map_statistics, mean_image_error
from gorae.training.schedules import cosine_share
from gorae.training.state import Progress, read_state, write_state
from gorae.training.step import MAX_HALVINGS, is_out_of_memory

# The statistics of a map hardly change with more pictures than these.
MAP_PICTURES = 512

METRIC = "mse"


@dataclass(frozen=True)
class AutoencoderPlan:
    """The numbers of one training. Two trainings of one plan and data end in equal weights."""

    epochs: int
    batch_size: int
    lr: float
    """Peak learning rate of Adam, which goes down by half a cosine."""
    seed: int = 0
    """Seed of the order."""
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    """``precision``: not fp16, whose losses would have to be scaled."""
    identity: Mapping[str, Any] | None = None
    """What else made this training; a resume must agree with it. JSON values."""


@dataclass(frozen=True)
class AutoencoderData:
    """The pictures of one training, in two parts."""

    spec: PixelSpec
    """Mean 0 and deviation 1: what the autoencoder sees are values from 0 to 1."""
    train: TrainDataset
    train_ids: Sequence[str]
    """Image ids of ``train``, for messages."""
    plain: ImageDataset
    """The pictures of ``train`` without chance."""
    valid: ImageDataset


@dataclass(frozen=True)
class AutoencoderFit:
    """What a training came to; errors are means over pixels from 0 to 1, squared."""

    epoch: int
    """The best epoch, whose weights are kept."""
    mse: float
    """Its error on the held-out pictures."""
    mean_image_mse: float
    """The error of the mean of the train pictures, on the same pictures."""
    map_mean: tuple[float, ...]
    """Mean of each channel of the maps of train pictures, 3."""
    map_std: tuple[float, ...]
    """Their standard deviation, 3."""
    history: tuple[Mapping[str, Any], ...]
    """One row per epoch: ``epoch``, ``step``, ``lr``, ``train_mse``, ``valid_mse``."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Training:
    """One training at work; only the network and the optimiser change."""

    network: Autoencoder
    optimizer: torch.optim.Optimizer
    data: AutoencoderData
    plan: AutoencoderPlan
    control: Control
    folder: Path
    key: Mapping[str, Any]
    keys: EpochBatches
    quarantine: Quarantine
    read_train: Callable[[], Iterator[Batch]]
    feeding: Mapping[str, Any]
    """How pictures are read, as arguments of ``open_feed``."""

    @property
    def states(self) -> Path:
        return self.folder / "state"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def total_steps(self) -> int:
        return self.plan.epochs * self.keys.num_batches

    def step_of(self, progress: Progress) -> int:
        return progress.epoch * self.keys.num_batches + progress.batch

    def lr_share(self, step: int) -> float:
        """The share of the peak learning rate at a step, from 0."""
        return cosine_share(step / self.total_steps)

    def shown(
        self, images: ImageDataset, indices: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """What the network sees of pictures without chance, in batches; absent: of all."""
        order = range(len(images)) if indices is None else indices
        batches = BatchSampler(order, self.plan.batch_size, drop_last=False)
        for batch, _ in open_feed(images, batches, **self.feeding)():
            yield self.pixels(batch)

    def pixels(self, images: Tensor) -> Tensor:
        """What the network sees of uint8 images (B, 3, S, S): (B, C, S, S) from 0 to 1."""
        pixels = to_pixels(images, self.data.spec, self.plan.arithmetic)
        return as_grey(pixels) if self.network.in_chans == 1 else pixels


def autoencoder_rate_warnings(lr: float) -> tuple[str, ...]:
    """What a user should know of a learning rate before the training."""
    if lr < LARGEST_ADAM_RATE:
        return ()
    return (
        f"autoencoder.lr = {lr:g} is very high for adam, which moves every weight by about the "
        "learning rate in each step; 0.0001 to 0.003 is usual.",
    )


def fit_autoencoder(
    network: Autoencoder,
    data: AutoencoderData,
    *,
    plan: AutoencoderPlan,
    folder: Path,
    control: Control | None = None,
) -> AutoencoderFit:
    """Train ``network``, in place, or go on where the same call was stopped.

    Written to ``folder``: ``history.csv``, ``checkpoints/`` with the best weights, and
    ``state/``. Afterwards the network holds the best weights, in evaluation.

    Args:
        network: Of random weights.
        data: The pictures.
        plan: The numbers.
        folder: Belongs to this training alone.
        control: Workers, stop and progress; without a group and a deadline.

    Raises:
        Interrupted: ``control.should_stop`` said so; the state is on disk.
        DataError: Errors or weights are no longer finite.
        ConfigError: ``folder`` holds a training made of something else.
        ResourceError: Memory ran out.
        StorageError: The disk is full, or no state on it is whole.
    """
    control = control or Control()
    assert control.group.size == 1
    sweep_temporaries(folder)
    notes: list[str] = []
    training = _open(network, data, plan=plan, folder=folder, control=control, notes=notes)
    progress = _begin(training)
    by_mean = mean_image_error(training.shown(data.plain), training.shown(data.valid))
    while progress.epoch < plan.epochs:
        progress = _finish_epoch(training, _train_epoch(training, progress))
    best, damaged = load_first_good(training.checkpoints, progress.best, network)
    shown = range(0, len(data.plain), -(-len(data.plain) // MAP_PICTURES))
    map_mean, map_std = map_statistics(
        network, training.shown(data.plain, shown), arithmetic=plan.arithmetic
    )
    assert best.score is not None
    return AutoencoderFit(
        epoch=best.epoch,
        mse=best.score,
        mean_image_mse=by_mean,
        map_mean=map_mean,
        map_std=map_std,
        history=progress.history,
        notes=(*progress.notes, *notes, *damaged),
    )


def _open(
    network: Autoencoder,
    data: AutoencoderData,
    *,
    plan: AutoencoderPlan,
    folder: Path,
    control: Control,
    notes: list[str],
) -> _Training:
    place(network, plan.arithmetic)
    keys = EpochBatches(len(data.train), batch_size=plan.batch_size, seed=plan.seed)
    quarantine = Quarantine(data.train_ids)
    batch_bytes = 3 * data.spec.input_size**2 * (plan.batch_size + 1)
    workers, note = choose_workers(control.workers, batch_bytes=batch_bytes)
    notes += [note] if note else []
    feeding: dict[str, Any] = {
        "workers": workers,
        "pin_memory": plan.arithmetic.device.startswith("cuda")
        if control.pin_memory is None
        else control.pin_memory,
        "on_note": notes.append,
    }

    optim = OptimPlan("adam", lr=plan.lr, backbone_lr=plan.lr, weight_decay=0.0)
    return _Training(
        network=network,
        optimizer=build_optimizer(network, optim),
        data=data,
        plan=plan,
        control=control,
        folder=folder,
        key=_key(data, plan, in_chans=network.in_chans),
        keys=keys,
        quarantine=quarantine,
        read_train=open_feed(data.train, keys, quarantine=quarantine, **feeding),
        feeding=feeding,
    )


def _key(data: AutoencoderData, plan: AutoencoderPlan, *, in_chans: int) -> dict[str, Any]:
    """All that decides the weights a training ends in, as JSON gives it back."""
    spec = asdict(data.spec)
    del spec["sources"]
    key = {
        **asdict(plan),
        "in_chans": in_chans,
        "pixels": spec,
        "train_images": data.train.fingerprint(),
        "valid_images": data.valid.fingerprint(),
    }
    as_json: dict[str, Any] = json.loads(json.dumps(key))
    return as_json


def _begin(training: _Training) -> Progress:
    """The progress found on disk, or that before the first step."""
    found = read_state(
        training.states, training.network, training.optimizer, average=None, key=training.key
    )
    if found is None:
        return Progress()
    progress, notes = found
    training.quarantine.indices.update(progress.left_out)
    return replace(progress, notes=progress.notes + notes)


def _save(training: _Training, progress: Progress) -> None:
    write_state(
        training.states,
        training.network,
        training.optimizer,
        average=None,
        progress=replace(progress, left_out=tuple(sorted(training.quarantine.indices))),
        key=training.key,
    )


def _train_epoch(training: _Training, progress: Progress) -> Progress:
    """The rest of the epoch at hand.

    Raises:
        Interrupted: The caller asked to stop; the state is written.
    """
    training.network.train()
    training.keys.epoch, training.keys.start = progress.epoch, progress.batch
    for images, index in training.read_train():
        if training.control.should_stop():
            _save(training, progress)
            raise Interrupted(f"stopped in epoch {progress.epoch + 1}")
        progress = _step(training, progress, images, index)
        training.control.on_step(training.step_of(progress), training.total_steps)
    return progress


def _step(training: _Training, progress: Progress, images: Tensor, index: Tensor) -> Progress:
    """One step of the optimiser.

    Raises:
        DataError: The error is not finite; the weights are as they were.
        ResourceError: Memory ran out even for an eighth of a batch.
    """
    share = training.lr_share(training.step_of(progress))
    set_learning_rate(training.optimizer, share)
    while True:
        try:
            loss_sum = _gradients(training, images, progress.splits)
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        progress = _halved(training, progress)
    if not math.isfinite(loss_sum):
        names = ", ".join(training.data.train_ids[place] for place in index[:5].tolist())
        raise _not_finite(training, f"epoch {progress.epoch + 1}, pictures {names} ...")
    training.optimizer.step()
    return replace(
        progress,
        batch=progress.batch + 1,
        loss_sum=progress.loss_sum + loss_sum,
        images=progress.images + len(images),
    )


def _gradients(training: _Training, images: Tensor, splits: int) -> float:
    """Gradients of the mean error of a batch, computed in parts; the sum of the errors."""
    training.optimizer.zero_grad(set_to_none=True)
    loss_sum = 0.0
    for part in images.chunk(splits):
        pixels = training.pixels(part)
        restored = forward(training.network, pixels, training.plan.arithmetic)
        losses = reconstruction_loss(restored, pixels)
        torch.autograd.backward(losses.sum() / len(images))
        loss_sum += float(losses.detach().double().sum())
    return loss_sum


def _halved(training: _Training, progress: Progress) -> Progress:
    """Compute batches in twice as many parts from now on.

    Raises:
        ResourceError: The parts cannot be smaller.
    """
    parts, size = 2 * progress.splits, training.plan.batch_size
    training.optimizer.zero_grad(set_to_none=True)
    if training.plan.arithmetic.device.startswith("cuda"):
        torch.cuda.empty_cache()
    if parts > 2**MAX_HALVINGS or size // parts < 2:
        raise ResourceError(
            f"Memory ran out for batches of {size} pictures of "
            f"{training.data.spec.input_size} pixels, in {progress.splits} part(s) each. Lower "
            "autoencoder.batch_size or pixels.input_size."
        )
    note = f"Memory ran out: batches are computed in {parts} parts."
    return replace(progress, splits=parts, notes=(*progress.notes, note))


def _not_finite(training: _Training, where: str) -> DataError:
    return DataError(
        f"The error of the restored pictures is no longer a finite number ({where}). Lower "
        f"autoencoder.lr, now {training.plan.lr:g}, and look at these pictures; nothing of "
        "that step was kept."
    )


def _finish_epoch(training: _Training, progress: Progress) -> Progress:
    """Measure the weights, keep them where they are the best, write the state."""
    epoch, step = progress.epoch + 1, training.step_of(progress)
    mse = _valid_error(training, progress)
    values = training.network.state_dict().values()
    if not (math.isfinite(mse) and all(bool(value.isfinite().all()) for value in values)):
        raise _not_finite(training, f"end of epoch {epoch}")
    best = progress.best
    if not best or mse < (best[0].score or 0.0):
        new = Checkpoint(
            f"epoch-{epoch:04d}", epoch, step, mse, METRIC, mse, OutputForm("value")
        )
        write_checkpoint(training.checkpoints, training.network, new)
        best = (new,)
    row = {
        "epoch": epoch,
        "step": step,
        # Not the optimiser's: it has none before the first step after a stop.
        "lr": training.plan.lr * training.lr_share(step - 1),
        "train_mse": progress.loss_sum / max(1, progress.images),
        "valid_mse": mse,
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
    # A state gives its rows back with their names in another order.
    history = pd.DataFrame([dict(each) for each in progress.history], columns=list(row))
    write_text(training.folder / "history.csv", history.to_csv(index=False))
    _save(training, progress)
    # Only now: a kill before this line leaves one checkpoint too many, never one too few.
    for path in training.checkpoints.glob("epoch-*.safetensors"):
        if path.stem != best[0].name:
            remove_tensors(training.checkpoints, path.stem)
    training.control.on_epoch(row)
    return progress


def _valid_error(training: _Training, progress: Progress) -> float:
    """Mean squared error on the held-out pictures.

    Raises:
        Interrupted: The caller asked to stop; the state is that after the last step.
    """
    valid, total = training.data.valid, 0.0
    training.network.eval()
    for pixels in training.shown(valid):
        if training.control.should_stop():
            _save(training, progress)
            raise Interrupted(f"stopped at the end of epoch {progress.epoch + 1}")
        with torch.inference_mode():
            for part in pixels.chunk(progress.splits):
                restored = forward(training.network, part, training.plan.arithmetic)
                total += float(reconstruction_loss(restored, part).double().sum())
    return total / len(valid)
