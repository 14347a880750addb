"""Training one fold: a loop that can be stopped anywhere and ends in the same weights.

What an epoch does stands in ``_train_epoch`` and ``_finish_epoch``. Chance is a function of
(seed, epoch, index) in the datasets and of (seed, step) in the network, so a training that
goes on from a state on disk cannot be told from one that was never stopped.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler, SequentialSampler

from gorae.data.dataset import EpochBatches
from gorae.errors import ConfigError, DataError, ResourceError
from gorae.files import read_json, sweep_temporaries, write_json
from gorae.training.checkpoint import Checkpoint
from gorae.training.evaluate import place
from gorae.training.feed import open_feed
from gorae.training.loop import (
    NotFiniteError,
    Trainer,
    finish_epoch,
    history_frame,
    save_state,
    train_epoch,
)
from gorae.training.losses import encode_truth, fit_target_scale
from gorae.training.optim import build_adamw
from gorae.training.plan import Control, FitPlan, FoldData, Stopped, training_key
from gorae.training.state import Progress, progress_of, read_state, require_same_key

# TRUST R6.
MAX_RELOADS = 2


@dataclass(frozen=True)
class FoldResult:
    """A finished training."""

    checkpoints: tuple[Checkpoint, ...]
    """The checkpoints kept, best first; their weights lie in ``checkpoints/``."""
    history: pd.DataFrame
    """One row per epoch, as in ``history.csv``."""
    stopped: Stopped
    """Why it ended."""
    notes: tuple[str, ...]
    """What the user should know."""


def fit_fold(
    model: nn.Module,
    data: FoldData,
    *,
    plan: FitPlan,
    folder: Path,
    control: Control | None = None,
) -> FoldResult:
    """Train ``model`` on a fold, in place, or go on where the same call was stopped.

    Each epoch ends with an evaluation of exactly the weights that are then saved. Written
    to ``folder``: ``history.csv``, ``checkpoints/``, ``state/`` while it lasts, and at the
    end ``fit.json``; a finished training is read from there and not repeated.

    Args:
        model: Gives outputs (B, K); its head's parameters begin with ``head.``. Afterwards
            it holds the last weights, not the best: load a checkpoint.
        data: Images, targets and metric.
        plan: The numbers of the training.
        folder: Belongs to this training alone.
        control: Workers, deadline, stop and progress.

    Raises:
        Interrupted: ``control.should_stop`` said so; the state is on disk.
        ConfigError: ``folder`` holds a training made of something else, or the batch size
            cannot train this network.
        DataError: There is too little to train on, the loss stays not finite at lower
            rates, or the metric is undefined on the validation part.
        ResourceError: Memory ran out.
        StorageError: The disk is full, or no state on it is whole.
    """
    control = control or Control()
    key = training_key(data, plan)
    finished = _read_result(folder, key)
    if finished is not None:
        return finished
    _check_trainable(model, data, plan)
    # What a kill left half written.
    sweep_temporaries(folder)
    device = torch.device(plan.arithmetic.device)
    notes: list[str] = []
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        _memory_message(plan),
    ):
        trainer = _build_trainer(
            model, data, plan=plan, folder=folder, control=control, notes=notes
        )
        progress, stopped = _train(trainer, _begin(trainer))
    if progress.skipped_in_all:
        notes.append(
            f"{progress.skipped_in_all} steps were skipped: their loss was not finite."
        )
    progress = replace(progress, notes=(*progress.notes, *notes))
    return _write_result(trainer, progress, stopped)


def _check_trainable(model: nn.Module, data: FoldData, plan: FitPlan) -> None:
    if len(data.train) < 2:
        raise DataError(
            f"The train part of this fold has {len(data.train)} image(s); training needs 2 "
            "or more. Use fewer folds or add pictures."
        )
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
    if plan.batch_size == 1 and has_batch_norm:
        raise ConfigError(
            "train.batch_size = 1 cannot train this network: its batch normalisation "
            "compares the images of a batch. Set train.batch_size to 2 or more."
        )


@contextmanager
def _memory_message(plan: FitPlan) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        # On the CPU torch has no class of its own for it.
        if not is_memory and "DefaultCPUAllocator" not in str(error):
            raise
        raise ResourceError(
            f"Memory ran out while training with batches of {plan.batch_size} images on "
            f"{plan.arithmetic.device}. Lower train.batch_size or pixels.input_size, or close "
            "other programs; the same command then goes on."
        ) from error


def _build_trainer(
    model: nn.Module,
    data: FoldData,
    *,
    plan: FitPlan,
    folder: Path,
    control: Control,
    notes: list[str],
) -> Trainer:
    """Place the model and open the feeds, which add to ``notes`` as they work."""
    place(model, plan.arithmetic)
    target = fit_target_scale(data.train_truth, task=data.task)
    truth = encode_truth(data.train_truth, task=data.task, target=target)
    keys = EpochBatches(len(data.train), batch_size=plan.batch_size, seed=plan.seed)
    feeding: dict[str, Any] = {
        "workers": control.workers,
        "pin_memory": plan.arithmetic.device.startswith("cuda"),
        "on_note": notes.append,
    }
    read_valid = None
    if data.valid is not None:
        in_order = SequentialSampler(range(len(data.valid)))
        valid_keys = BatchSampler(in_order, plan.batch_size, drop_last=False)
        read_valid = open_feed(data.valid, valid_keys, **feeding)
    optimizer = build_adamw(
        model, lr=plan.lr, backbone_lr=plan.backbone_lr, weight_decay=plan.weight_decay
    )
    return Trainer(
        model=model,
        optimizer=optimizer,
        data=data,
        plan=plan,
        control=control,
        folder=folder,
        key=training_key(data, plan),
        truth=truth.to(plan.arithmetic.device),
        target=target,
        keys=keys,
        steps_per_epoch=len(keys.indices()),
        read_train=open_feed(data.train, keys, **feeding),
        read_valid=read_valid,
    )


def _begin(trainer: Trainer) -> Progress:
    """The progress found on disk, or that before the first step, written."""
    found = read_state(trainer.states, trainer.model, trainer.optimizer, key=trainer.key)
    if found is not None:
        progress, state_notes = found
        return replace(progress, notes=progress.notes + state_notes)
    size, num_images = trainer.plan.batch_size, len(trainer.data.train)
    notes: tuple[str, ...] = ()
    if 1 < size < num_images and num_images % size == 1:
        notes = (
            f"The last batch of an epoch has {size + 1} images, not {size}: one image alone "
            "cannot train batch normalisation.",
        )
    progress = Progress(notes=notes)
    # Also what training is set back to when the first epoch fails.
    save_state(trainer, progress)
    return progress


def _train(trainer: Trainer, progress: Progress) -> tuple[Progress, Stopped]:
    """Train to the end, set back to the last state when numbers are not finite."""
    plan = trainer.plan
    while progress.epoch < plan.epochs:
        started, images_before = time.monotonic(), progress.images
        try:
            progress, is_cut = train_epoch(trainer, progress)
            if progress.batch == 0:
                return progress, "deadline"
            speed = (progress.images - images_before) / (time.monotonic() - started)
            progress = finish_epoch(
                trainer,
                progress,
                started=started,
                images_per_s=speed,
                is_last=is_cut or progress.epoch + 1 == plan.epochs,
            )
        except NotFiniteError as failure:
            progress = _set_back(trainer, progress.reloads + 1, failure)
            continue
        if is_cut:
            return progress, "deadline"
        # Without a validation part there is no best before the end, and no patience.
        epochs_since_best = progress.epoch - progress.best[0].epoch if progress.best else 0
        if plan.patience is not None and epochs_since_best >= plan.patience:
            return progress, "patience"
    return progress, "finished"


def _set_back(trainer: Trainer, reloads: int, failure: NotFiniteError) -> Progress:
    """Go back to the last state, with half the learning rates from then on.

    Raises:
        DataError: That has been done often enough.
    """
    if reloads > MAX_RELOADS:
        images_path = trainer.folder / "not_finite.json"
        write_json(images_path, {"where": failure.where, "images": failure.image_ids})
        shown = ", ".join(failure.image_ids[:5]) or "none: the weights themselves overflowed"
        raise DataError(
            f"Numbers are no longer finite ({failure.where}), even at "
            f"1/{2**MAX_RELOADS} of the learning rate. Pictures of that batch: {shown} "
            f"(all in {images_path}). Lower train.lr, now {trainer.plan.lr:g}, and look at "
            "these pictures and their labels."
        )
    # Not to where an interruption happened to write one: that would change the result.
    found = read_state(
        trainer.states,
        trainer.model,
        trainer.optimizer,
        key=trainer.key,
        only_whole_epochs=True,
    )
    assert found is not None, "a state is written before the first step"
    progress, state_notes = found
    note = (
        f"Numbers were not finite ({failure.where}): went back to the end of epoch "
        f"{progress.epoch} with 1/{2**reloads} of the learning rate."
    )
    return replace(progress, reloads=reloads, notes=(*progress.notes, *state_notes, note))


def _write_result(trainer: Trainer, progress: Progress, stopped: Stopped) -> FoldResult:
    record = {"key": trainer.key, "progress": asdict(progress), "stopped": stopped}
    write_json(trainer.folder / "fit.json", record)
    shutil.rmtree(trainer.states, ignore_errors=True)
    return _result_of(progress, stopped)


def _read_result(folder: Path, key: Mapping[str, Any]) -> FoldResult | None:
    path = folder / "fit.json"
    if not path.exists():
        return None
    record = read_json(path)
    require_same_key(record["key"], key, folder=folder)
    shutil.rmtree(folder / "state", ignore_errors=True)
    return _result_of(progress_of(record["progress"]), record["stopped"])


def _result_of(progress: Progress, stopped: Stopped) -> FoldResult:
    return FoldResult(progress.best, history_frame(progress), stopped, progress.notes)
