"""Weights on disk: safetensors with a JSON sidecar that holds their hash, never pickle.

The weights are written first and the sidecar last, each whole or not at all; a file
without a sidecar, or with another hash than its sidecar says, is no checkpoint.
"""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gorae.errors import StorageError, list_problems
from gorae.files import (
    atomic_path,
    content_key,
    read_json,
    require_free_space,
    sha256_file,
    write_json,
)
from gorae.training.outputs import OutputForm

SCHEMA = 2


@dataclass(frozen=True)
class Checkpoint:
    """What a sidecar says of the weights beside it."""

    name: str
    """File name without its ending, such as ``epoch-0003``."""
    epoch: int
    """Epochs trained, from 1."""
    step: int
    """Optimiser steps done."""
    score: float | None
    """The metric of exactly these weights on the validation part; None without one."""
    metric: str
    """Name of the metric."""
    valid_loss: float | None
    """Mean loss on the validation part."""
    form: OutputForm
    """How outputs become values."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What the caller wants kept with the weights: model, classes, pixels, split."""


def weights_path(folder: Path, name: str) -> Path:
    """Where the tensors called ``name`` lie."""
    return folder / f"{name}.safetensors"


def sidecar_path(folder: Path, name: str) -> Path:
    """Where the sidecar of ``name`` lies."""
    return folder / f"{name}.json"


def write_checkpoint(folder: Path, model: nn.Module, checkpoint: Checkpoint) -> None:
    """Write a model's weights and their sidecar, durably.

    Raises:
        StorageError: The disk is full or not writable.
    """
    record = asdict(checkpoint)
    write_tensors(folder, checkpoint.name, model.state_dict(), record=record)


def read_checkpoints(folder: Path) -> tuple[list[Checkpoint], tuple[str, ...]]:
    """The checkpoints whose sidecars lie in ``folder``, in order of epoch.

    Returns:
        The checkpoints, and one note per sidecar that cannot be used.
    """
    checkpoints, notes = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            checkpoints.append(checkpoint_of(_read_sidecar(path)))
        except StorageError as error:
            notes.append(str(error))
    return sorted(checkpoints, key=lambda checkpoint: checkpoint.epoch), tuple(notes)


def checkpoint_of(record: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint a sidecar, or an entry of a training state, describes."""
    values = {name: record[name] for name in Checkpoint.__dataclass_fields__}
    return Checkpoint(**{**values, "form": OutputForm(**values["form"])})


def load_checkpoint(folder: Path, checkpoint: Checkpoint, model: nn.Module) -> None:
    """Put a checkpoint's weights into ``model``, in place.

    Raises:
        StorageError: The file is missing or damaged, or belongs to another network; the
            model is then unchanged.
    """
    tensors, _ = read_tensors(folder, checkpoint.name)
    load_weights(model, tensors, source=weights_path(folder, checkpoint.name))


def load_first_good(
    folder: Path, checkpoints: Sequence[Checkpoint], model: nn.Module
) -> tuple[Checkpoint, tuple[str, ...]]:
    """Load the first of ``checkpoints`` that is whole.

    Returns:
        The checkpoint that was loaded, and one note per damaged one before it.

    Raises:
        StorageError: None is whole; all reasons are listed.
    """
    notes: list[str] = []
    for checkpoint in checkpoints:
        try:
            load_checkpoint(folder, checkpoint, model)
        except StorageError as error:
            notes.append(str(error))
        else:
            return checkpoint, tuple(
                f"{note} Used {checkpoint.name} instead." for note in notes
            )
    raise StorageError(
        f"No checkpoint in {folder} can be used:\n{list_problems(notes)}\n"
        "Delete the run's folder and train again."
    )


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, source: Path) -> None:
    """Copy ``tensors`` into a model whose weights have the same names and shapes.

    Raises:
        StorageError: A name or shape differs; the model is unchanged.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is not of this network" for name in tensors if name not in own]
    problems += [
        f"{name} is {tuple(tensors[name].shape)}, the network has {tuple(value.shape)}"
        for name, value in own.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if problems:
        raise StorageError(
            f"{source} belongs to another network:\n{list_problems(problems, shown=5)}\n"
            "Build the network it was made with, or train again."
        )
    model.load_state_dict(dict(tensors))


def write_tensors(
    folder: Path, name: str, tensors: Mapping[str, Tensor], *, record: Mapping[str, Any]
) -> None:
    """Write tensors, then the sidecar with ``record`` and their hash.

    Raises:
        StorageError: The disk is full or not writable.
    """
    packed = {key: _packed(value) for key, value in tensors.items()}
    size_bytes = sum(value.nbytes for value in packed.values())
    require_free_space(folder, 2 * size_bytes, purpose="a checkpoint")
    path = weights_path(folder, name)
    with atomic_path(path) as temporary:
        _save(packed, temporary)
        sha256 = sha256_file(temporary)
    sidecar = {**record, "schema": SCHEMA, "sha256": sha256, "size_bytes": size_bytes}
    write_json(sidecar_path(folder, name), {**sidecar, "checksum": content_key(sidecar)})


def read_tensors(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors called ``name`` and their sidecar, verified.

    Raises:
        StorageError: A file is missing, damaged, or of a newer gorae.
    """
    path = weights_path(folder, name)
    record = _read_sidecar(sidecar_path(folder, name))
    try:
        sha256 = sha256_file(path)
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    if sha256 != record["sha256"]:
        raise StorageError(
            f"{path} is damaged: its SHA-256 is {sha256[:12]}..., its sidecar says "
            f"{record['sha256'][:12]}...."
        )
    return load_file(path), record


def remove_tensors(folder: Path, name: str) -> None:
    """Remove a sidecar, then its tensors: never a sidecar without them."""
    sidecar_path(folder, name).unlink(missing_ok=True)
    weights_path(folder, name).unlink(missing_ok=True)


def _packed(tensor: Tensor) -> Tensor:
    # A copy even where nothing needs converting: safetensors refuses tied weights.
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        # The library names the system's error in its text only.
        found = re.search(r"os error (\d+)", str(error))
        number = int(found.group(1)) if found else errno.EIO
        raise OSError(number, os.strerror(number)) from error


def _read_sidecar(path: Path) -> dict[str, Any]:
    content = read_json(path)
    record: dict[str, Any] = content if isinstance(content, dict) else {}
    if record.get("schema", SCHEMA) != SCHEMA:
        raise StorageError(
            f"{path} was written by another version of gorae (schema {record['schema']}, "
            f"this one reads {SCHEMA}). Use that version, or train again."
        )
    if record.pop("checksum", None) != content_key(record):
        raise StorageError(f"{path} is damaged: its checksum does not fit its contents.")
    return record
