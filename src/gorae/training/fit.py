"""Training one fold: a loop that can be stopped anywhere and ends in the same weights.

What an epoch does stands in ``_train_epoch`` and ``_finish_epoch``. Chance is a function of
(seed, epoch, index) in the datasets and of (seed, step) in the network, so a training that
goes on from a state on disk cannot be told from one that was never stopped.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler

from gorae.data.dataset import EpochBatches
from gorae.errors import ConfigError, DataError
from gorae.files import read_json, sweep_temporaries, write_json
from gorae.models.metadata_net import fit_metadata
from gorae.training.average import start_average
from gorae.training.checkpoint import Checkpoint
from gorae.training.evaluate import place
from gorae.training.feed import choose_workers, open_feed
from gorae.training.group import Group
from gorae.training.loop import finish_epoch, history_frame, train_epoch
from gorae.training.losses import build_objective, encode_truth
from gorae.training.optim import build_optimizer
from gorae.training.plan import Control, FitPlan, FoldData, Stopped, training_key
from gorae.training.quarantine import Quarantine
from gorae.training.state import Progress, progress_of, read_state, require_same_key
from gorae.training.trainer import NotFiniteError, Trainer, save_state

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
        control: Workers, processes, deadline, stop and progress.

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
    key = training_key(data, plan, control.group)
    finished = _read_result(folder, key)
    if finished is not None:
        return finished
    _check_trainable(model, data, plan, control.group)
    if control.group.is_first:
        # What a kill left half written.
        sweep_temporaries(folder)
    control.group.wait()
    device = torch.device(plan.arithmetic.device)
    notes: list[str] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainer = build_trainer(
            model, data, plan=plan, folder=folder, control=control, notes=notes
        )
        begun = _begin(trainer)
        progress, stopped = _train(trainer, begun)
    if begun.left_out:
        # What the feed said of them was lost with the process that was stopped.
        names = ", ".join(data.train_ids[index] for index in begun.left_out)
        notes.append(f"{names}: left out before the last stop, and so from then on.")
    if progress.skipped_in_all and control.group.is_first:
        notes.append(
            f"{progress.skipped_in_all} steps were skipped: their loss was not finite."
        )
    progress = replace(progress, notes=(*progress.notes, *control.group.texts(notes)))
    return _write_result(trainer, progress, stopped)


def _check_trainable(model: nn.Module, data: FoldData, plan: FitPlan, group: Group) -> None:
    least = max(2, group.size)
    if len(data.train) < least:
        raise DataError(
            f"The train part of this fold has {len(data.train)} image(s); training needs "
            f"{least} or more. Use fewer folds or add pictures."
        )
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
    least = (2 if has_batch_norm else 1) * group.size
    if plan.batch_size < least:
        why = "its batch normalisation compares the images of a batch"
        if group.size > 1:
            why = f"each of {group.size} processes needs {least // group.size} image(s) of it"
        raise ConfigError(
            f"train.batch_size = {plan.batch_size} cannot train this network: {why}. Set "
            f"train.batch_size to {least} or more."
        )


def build_trainer(
    model: nn.Module,
    data: FoldData,
    *,
    plan: FitPlan,
    folder: Path,
    control: Control,
    notes: list[str],
) -> Trainer:
    """Place the model and open the feeds, which add to ``notes`` as they work."""
    fit_metadata(model, data.train_metadata)
    place(model, plan.arithmetic)
    group, device = control.group, plan.arithmetic.device
    group.share(model)
    objective = build_objective(
        plan.loss,
        data.train_truth,
        task=data.task,
        num_classes=data.num_classes,
        parts=data.parts,
        coarse=data.coarse,
    )
    keys = EpochBatches(
        len(data.train),
        batch_size=plan.batch_size,
        seed=plan.seed,
        sampling=data.sampling,
        rank=group.rank,
        size=group.size,
    )
    quarantine = Quarantine(data.train_ids)
    feeding: dict[str, Any] = {
        "workers": _workers(data, plan, control, notes),
        "pin_memory": device.startswith("cuda")
        if control.pin_memory is None
        else control.pin_memory,
        "on_note": notes.append,
    }
    read_valid = None
    if data.valid is not None:
        shown = range(group.rank, len(data.valid), group.size)
        valid_keys = BatchSampler(shown, plan.batch_size, drop_last=False)
        read_valid = open_feed(data.valid, valid_keys, **feeding)
    keeps_average = plan.ema_decay is not None or plan.course.swa_epochs > 0
    return Trainer(
        model=model,
        network=cast(nn.Module, torch.compile(model)) if plan.arithmetic.compile else model,
        average=start_average(model) if keeps_average else None,
        optimizer=build_optimizer(model, plan.optim),
        objective=objective,
        data=data,
        plan=plan,
        control=control,
        folder=folder,
        key=training_key(data, plan, group),
        truth=encode_truth(data.train_truth, form=objective.form).to(device),
        metadata=_metadata(data, device),
        soft=_soft_targets(data, device),
        weights=_weights(data, device),
        keys=keys,
        quarantine=quarantine,
        read_train=open_feed(data.train, keys, quarantine=quarantine, **feeding),
        read_valid=read_valid,
    )


def _workers(data: FoldData, plan: FitPlan, control: Control, notes: list[str]) -> int:
    """Those asked for, or as many as the shared memory has room for."""
    shown = plan.batch_size * (2 if data.sampling.partners is not None else 1)
    side = data.largest_side or data.spec.input_size
    batch_bytes = 3 * side**2 * (shown + 1)
    workers, note = choose_workers(control.workers, batch_bytes=batch_bytes)
    notes += [note] if note else []
    return workers


def _metadata(data: FoldData, device: str) -> Tensor | None:
    if data.train_metadata is None:
        return None
    return torch.from_numpy(data.train_metadata).to(device)


def _soft_targets(data: FoldData, device: str) -> Tensor | None:
    if data.soft_targets is None:
        return None
    assert data.task in ("multiclass", "ordinal"), "probabilities are of one class of several"
    return torch.from_numpy(data.soft_targets).to(device)


def _weights(data: FoldData, device: str) -> Tensor | None:
    if data.train_weights is None:
        return None
    # With mean 1 they leave the learning rate its meaning.
    shares = data.train_weights / data.train_weights.mean()
    return torch.from_numpy(shares.astype(np.float32)).to(device)


def _begin(trainer: Trainer) -> Progress:
    """The progress found on disk, or that before the first step, written."""
    found = read_state(
        trainer.states,
        trainer.model,
        trainer.optimizer,
        average=trainer.average,
        key=trainer.key,
    )
    # None may read what the first is about to write.
    trainer.group.wait()
    if found is not None:
        progress, state_notes = found
        trainer.quarantine.indices.update(progress.left_out)
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
    plan, last = trainer.plan, trainer.plan.course.all_epochs
    while progress.epoch < last:
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
                is_last=is_cut or progress.epoch + 1 == last,
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
        if trainer.group.is_first:
            write_json(images_path, {"where": failure.where, "images": failure.image_ids})
        shown = ", ".join(failure.image_ids[:5]) or "none: the weights themselves overflowed"
        raise DataError(
            f"Numbers are no longer finite ({failure.where}), even at "
            f"1/{2**MAX_RELOADS} of the learning rate. Pictures of that batch: {shown} "
            f"(all in {images_path}). Lower train.lr, now {trainer.plan.optim.lr:g}, and look "
            "at these pictures and their labels."
        )
    # Not to where an interruption happened to write one: that would change the result.
    found = read_state(
        trainer.states,
        trainer.model,
        trainer.optimizer,
        average=trainer.average,
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
    if trainer.group.is_first:
        write_json(trainer.folder / "fit.json", record)
        shutil.rmtree(trainer.states, ignore_errors=True)
    trainer.group.wait()
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
