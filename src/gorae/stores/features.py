"""Backbone features of images on disk: computed once, added to, never recomputed.

A folder holds parts in safetensors: the features of some images, and the hashes of their
files. A part is written once and named by its content, so a damaged one is noticed; it is
then removed, reported, and its images are computed again.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gorae.errors import StorageError
from gorae.files import (
    content_key,
    exclusive_lock,
    require_free_space,
    sha256_bytes,
    sweep_temporaries,
    write_bytes,
    write_json,
)

# Images per part: what is lost by a crash, against the number of files.
PART_SIZE = 512

Compute = Callable[[list[str]], NDArray[np.float32]]
OnEvent = Callable[[Mapping[str, Any]], None]


def ensure_features(
    hashes: Sequence[str],
    *,
    key_parts: Mapping[str, Any],
    features_root: Path,
    compute: Compute,
    on_event: OnEvent | None = None,
) -> NDArray[np.float32]:
    """The features of images, from the cache where it has them, else computed and kept.

    Args:
        hashes: SHA-256 of each image's file, N; equal ones are computed once.
        key_parts: Everything the features depend on but the images (JSON-able): pixels,
            weights, arguments, transform, view, precision.
        features_root: Folder of all caches; this one gets a folder named by its key.
        compute: Gives the features (n, D) of n hashes; called with parts of what is
            missing, each of which is kept at once.
        on_event: Told of each part written (``features_part``) and each damaged part that
            was removed (``features_damaged``).

    Returns:
        (N, D), in the order of ``hashes``.

    Raises:
        StorageError: The disk is full or not writable.
        UserError: Another process is adding to the same cache.
    """
    tell = on_event or (lambda _: None)
    folder = features_root / content_key(dict(key_parts))
    wanted = list(dict.fromkeys(hashes))
    known = _read_parts(folder, tell)
    if any(sha256 not in known for sha256 in wanted):
        with exclusive_lock(folder / "lock", purpose="computing features"):
            sweep_temporaries(folder)
            # Another process may have added some while this one waited to begin.
            known = _read_parts(folder, tell)
            if not (folder / "key.json").is_file():
                write_json(folder / "key.json", dict(key_parts))
            missing = [sha256 for sha256 in wanted if sha256 not in known]
            for start in range(0, len(missing), PART_SIZE):
                chosen = missing[start : start + PART_SIZE]
                features = compute(chosen)
                _write_part(folder, chosen, features)
                known.update(zip(chosen, features, strict=True))
                tell({"event": "features_part", "images": len(chosen), "folder": str(folder)})
    if not hashes:
        return np.zeros((0, 0), dtype=np.float32)
    return np.stack([known[sha256] for sha256 in hashes])


def _write_part(folder: Path, hashes: list[str], features: NDArray[np.float32]) -> None:
    assert features.dtype == np.float32
    assert features.shape[0] == len(hashes)
    require_free_space(folder, features.nbytes, purpose="the feature cache")
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), 32)
    data = save({"features": np.ascontiguousarray(features), "hashes": packed})
    write_bytes(folder / f"part-{sha256_bytes(data)[:32]}.safetensors", data)


def _read_parts(folder: Path, tell: OnEvent) -> dict[str, NDArray[np.float32]]:
    """Features by file hash of all sound parts; damaged ones are removed and reported."""
    known: dict[str, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("part-*.safetensors")):
        tensors = _read_part(path)
        if tensors is None:
            path.unlink(missing_ok=True)
            tell({"event": "features_damaged", "path": str(path)})
            continue
        names = [row.tobytes().hex() for row in tensors["hashes"]]
        known.update(zip(names, tensors["features"], strict=True))
    return known


def _read_part(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of a part, or None where its bytes are not those it was named by."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    if path.stem != f"part-{sha256_bytes(data)[:32]}":
        return None
    try:
        return load(data)
    except SafetensorError:
        return None
