"""The embeddings that pictures of individuals are compared with, on disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from gorae.errors import StorageError
from gorae.files import atomic_path

# Before the name of a view, in the names of tensors.
_VIEW = "view."


@dataclass(frozen=True, eq=False)
class Gallery:
    """Embeddings of labelled pictures, and whom they show."""

    embeddings: Mapping[str, NDArray[np.float32]]
    """By view, (G, E): a picture is compared with those seen through its own view."""
    labels: NDArray[np.int64]
    """Class of each, (G,)."""
    is_learned: NDArray[np.bool_]
    """Classes that the head was trained on, (K,): of others only the gallery knows."""


def write_gallery(path: Path, gallery: Gallery) -> None:
    """Write a gallery as safetensors, atomically."""
    tensors = {_VIEW + view: rows for view, rows in gallery.embeddings.items()}
    tensors = {name: np.ascontiguousarray(rows) for name, rows in tensors.items()}
    with atomic_path(path) as temporary:
        learned = gallery.is_learned.astype(np.uint8)
        save_file({**tensors, "labels": gallery.labels, "is_learned": learned}, temporary)


def read_gallery(path: Path) -> Gallery:
    """A gallery from safetensors.

    Raises:
        StorageError: The file is missing or damaged.
    """
    try:
        tensors = load_file(path)
        labels, learned = tensors.pop("labels"), tensors.pop("is_learned").astype(bool)
    except (OSError, SafetensorError, KeyError) as error:
        raise StorageError(f"Cannot read {path}: {error}. Train the run again.") from error
    embeddings = {name.removeprefix(_VIEW): rows for name, rows in tensors.items()}
    return Gallery(embeddings, labels, learned)
