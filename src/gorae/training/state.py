"""Where a training stands: everything a resume needs to end in the same weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gorae.errors import ConfigError, StorageError, list_problems
from gorae.training.checkpoint import (
    Checkpoint,
    checkpoint_of,
    load_weights,
    read_tensors,
    remove_tensors,
    weights_path,
    write_tensors,
)

HistoryRow = Mapping[str, float | int | None]

# The newest may be damaged by the disk; the one before it is then gone on from.
KEPT_WHOLE_EPOCHS = 2


@dataclass(frozen=True)
class Progress:
    """How far a training is, beside its weights and its optimiser."""

    epoch: int = 0
    """Epochs finished."""
    batch: int = 0
    """Batches done of the epoch at hand."""
    loss_sum: float = 0.0
    """Sum of the losses of the images seen in the epoch at hand."""
    images: int = 0
    """Number of those images."""
    skipped: int = 0
    """Steps skipped in a row because their loss was not finite."""
    skipped_in_all: int = 0
    """Steps skipped since the beginning."""
    reloads: int = 0
    """Times the training was set back because of that."""
    splits: int = 1
    """Parts a batch is computed in, so that memory suffices."""
    averaged: int = 0
    """Weights taken into the average."""
    loss_scale: float = 2.0**16
    """What losses are multiplied by in fp16."""
    good_steps: int = 0
    """Steps since that scale was changed."""
    best: tuple[Checkpoint, ...] = ()
    """Checkpoints kept, best first."""
    history: tuple[HistoryRow, ...] = ()
    """One row per epoch."""
    left_out: tuple[int, ...] = ()
    """Indices of train images that ended the process that read them, in order."""
    notes: tuple[str, ...] = ()
    """What the user should know of this training."""

    @property
    def lr_factor(self) -> float:
        """What the learning rates are multiplied by: half for every time set back."""
        return float(0.5**self.reloads)


def progress_of(record: Mapping[str, Any]) -> Progress:
    """The progress that ``asdict`` made ``record`` of."""
    values = {name: record[name] for name in Progress.__dataclass_fields__}
    return Progress(
        **{
            **values,
            "best": tuple(checkpoint_of(entry) for entry in values["best"]),
            "history": tuple(values["history"]),
            "left_out": tuple(values["left_out"]),
            "notes": tuple(values["notes"]),
        }
    )


def write_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    average: nn.Module | None,
    progress: Progress,
    key: Mapping[str, Any],
) -> None:
    """Write the state of a training durably; the one before it is kept, older ones go.

    Args:
        folder: Holds the states of one training and nothing else.
        model: Its weights and buffers.
        optimizer: Its moments, by parameter name.
        average: The average of its weights, where one is kept.
        progress: How far it is.
        key: What the training is made of; a resume must agree with it.

    Raises:
        StorageError: The disk is full or not writable.
    """
    name = f"state-{progress.epoch:04d}-{progress.batch:08d}"
    tensors = _prefixed("model.", model)
    if average is not None:
        tensors |= _prefixed("average.", average)
    tensors |= optimizer_tensors(optimizer)
    write_tensors(folder, name, tensors, record={"progress": asdict(progress), "key": key})
    whole_epochs = state_names(folder, only_whole_epochs=True)
    kept = {name, *whole_epochs[-KEPT_WHOLE_EPOCHS:]}
    for old in set(state_names(folder)) - kept:
        remove_tensors(folder, old)


def _prefixed(prefix: str, model: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in model.state_dict().items()}


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def state_names(folder: Path, *, only_whole_epochs: bool = False) -> list[str]:
    """The states in ``folder``, oldest first, with or without those in mid-epoch."""
    names = sorted(path.stem for path in folder.glob("state-*.json"))
    return [name for name in names if int(name[-8:]) == 0] if only_whole_epochs else names


def read_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    average: nn.Module | None,
    key: Mapping[str, Any],
    only_whole_epochs: bool = False,
) -> tuple[Progress, tuple[str, ...]] | None:
    """Put the newest undamaged state into model and optimiser.

    Args:
        folder: Where ``write_state`` wrote.
        model: As it was built; changed in place.
        optimizer: Over its parameters; changed in place.
        average: Of the same make, where an average is kept; changed in place.
        key: What the training at hand is made of.
        only_whole_epochs: Leave out the states an interruption wrote in mid-epoch.

    Returns:
        How far it is, and one note per damaged state before it; None without any state.

    Raises:
        ConfigError: The state is of a training made of something else.
        StorageError: There are states, but all are damaged.
    """
    notes: list[str] = []
    for name in reversed(state_names(folder, only_whole_epochs=only_whole_epochs)):
        try:
            tensors, record = read_tensors(folder, name)
        except StorageError as error:
            notes.append(str(error))
            continue
        require_same_key(record["key"], key, folder=folder)
        source = weights_path(folder, name)
        load_weights(model, _without_prefix("model.", tensors), source=source)
        if average is not None:
            load_weights(average, _without_prefix("average.", tensors), source=source)
        restore_optimizer(optimizer, tensors)
        return progress_of(record["progress"]), tuple(
            f"{note} Went on from {name} instead." for note in notes
        )
    if notes:
        raise StorageError(
            f"No training state in {folder} can be used:\n{list_problems(notes)}\n"
            "Delete that folder to train this fold from its beginning."
        )
    return None


def require_same_key(old: Mapping[str, Any], new: Mapping[str, Any], *, folder: Path) -> None:
    """Refuse to go on with another training than the one that was begun.

    Raises:
        ConfigError: Something differs; every difference is listed.
    """
    before, after = _flat(old), _flat(new)
    differences = [
        f"{name} was {before.get(name, 'absent')!r}, now {after.get(name, 'absent')!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if differences:
        raise ConfigError(
            f"{folder} holds another training than the one asked for:\n"
            f"{list_problems(differences)}\n"
            "Use the settings it was begun with, or start a new run."
        )


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as tensors called ``optimizer.WHAT.PARAMETER``."""
    return {
        f"optimizer.{what}.{name}": value
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for what, value in optimizer.state.get(parameter, {}).items()
    }


@torch.no_grad()
def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` gave, in the memory layout of each parameter.

    The layout matters: arithmetic over two layouts takes another path and other roundings.
    """
    saved: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, what, name = key.split(".", maxsplit=2)
            saved.setdefault(name, {})[what] = value
    optimizer.state.clear()
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for what, value in saved.get(name, {}).items():
                own = torch.empty_like(parameter) if value.ndim else torch.empty_like(value)
                optimizer.state[parameter][what] = own.to(parameter.device).copy_(value)
