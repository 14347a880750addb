"""The scan: what every picture file is, whether it can be used, and its pixels on the way."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL
from numpy.typing import NDArray

from gorae.data.decode import (
    DECODER_VERSION,
    REASONS,
    DecodePolicy,
    Undecodable,
    read_image_bytes,
)
from gorae.data.decode_pool import ChildSettings, examine_files
from gorae.data.pixels import Interpolation
from gorae.data.store import PixelStore, StoreWriter, append_to
from gorae.files import content_key, require_free_space, sha256_bytes

SCAN_COLUMNS: dict[str, str] = {
    "image_id": "str",
    "path": "str",
    "sha256": "str",
    "pixel_sha256": "str",
    "size_bytes": "int64",
    "mtime_ns": "int64",
    "format": "str",
    "mode": "str",
    "width_px": "int64",
    "height_px": "int64",
    "orientation": "int64",
    "verdict": "str",
    "reason": "str",
    "detail": "str",
    "notes": "str",
    "policy": "str",
}
"""Columns of a scan and their types, one line per image.

``verdict`` is ok, note (usable; ``notes`` says what is unusual) or quarantined (no pixels;
``reason`` is a key of ``decode.REASONS``). ``sha256`` is of the file, ``pixel_sha256`` of its
upright RGB pixels at full size, whatever the encoding; both are empty where they could not
be had. ``orientation`` is the EXIF orientation that was undone. ``policy`` names the rules
under which the file was judged.
"""

# Width to height of most cameras, and how many bytes of pixels a byte of a photograph's file
# gives at most: together a cautious guess of what the store will need.
_USUAL_RATIO = 1.5
_LARGEST_INFLATION = 60

_GIVEN = ("image_id", "path", "size_bytes", "mtime_ns")

# How much work an interruption may cost beside the pixels, which are kept anyway.
_CHECKPOINT_S = 60.0


@dataclass(frozen=True)
class ScanOptions:
    """How pictures are scanned."""

    policy: DecodePolicy = field(default_factory=DecodePolicy)
    short_side: int = 256
    """Short side of stored pixels; smaller pictures are stored as they are."""
    interpolation: Interpolation = "bicubic"
    num_workers: int = 1
    """Decode processes."""
    timeout_s: float = 10.0
    """What one picture may take."""


@dataclass(frozen=True)
class _Plan:
    """Which files are known and which must be read."""

    rows: pd.DataFrame
    """One line per image; whole where known, else only image, path, size and time."""
    todo: NDArray[np.int64]
    """Lines that must be read."""


def policy_key(policy: DecodePolicy) -> str:
    """A short name of everything that decides verdict and pixels beside the file itself."""
    return content_key([asdict(policy), DECODER_VERSION, PIL.__version__])


def scan(
    images: pd.DataFrame,
    *,
    root: Path,
    known: pd.DataFrame | None,
    store: PixelStore | None,
    options: ScanOptions,
    on_progress: Callable[[int, int], None] | None = None,
    on_checkpoint: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Scan picture files in limited child processes, decoding each that is new once.

    A file whose path, size and modification time stand in ``known``, judged by the same
    policy, is not read again (unless the store lacks its pixels).

    Args:
        images: Columns ``image_id`` and ``path`` (absolute, or relative to ``root``).
        root: Folder that holds all data.
        known: An earlier scan.
        store: Where the shrunken pixels go; None stores nothing.
        options: Policy, stored size and processes.
        on_progress: Told how many of how many images are done.
        on_checkpoint: Given the finished lines once a minute, after their pixels are durable.

    Returns:
        Columns SCAN_COLUMNS, one line per image in the order of ``images``.

    Raises:
        StorageError: The store cannot be written.
        ResourceError: No decode process can be started.
    """
    plan = _plan(images, root=root, known=known, store=store, policy=options.policy)
    total, done = len(plan.rows), len(plan.rows) - len(plan.todo)
    if on_progress:
        on_progress(done, total)
    found: dict[int, dict[str, Any]] = {}
    if len(plan.todo):
        if store is not None:
            _require_space(plan, store, options.short_side)
        saved_at = time.monotonic()
        for row, facts, writer in _examine(plan, root=root, store=store, options=options):
            found[row] = facts
            if on_progress:
                on_progress(done + len(found), total)
            if on_checkpoint and time.monotonic() - saved_at >= _CHECKPOINT_S:
                if writer:
                    writer.commit()
                on_checkpoint(_assemble(plan, found))
                saved_at = time.monotonic()
    return _assemble(plan, found)


def _plan(
    images: pd.DataFrame,
    *,
    root: Path,
    known: pd.DataFrame | None,
    store: PixelStore | None,
    policy: DecodePolicy,
) -> _Plan:
    rows = images[["image_id", "path"]].reset_index(drop=True)
    stats = [_stat(os.path.join(root, path)) for path in rows["path"]]
    rows[["size_bytes", "mtime_ns"]] = np.array(stats, np.int64).reshape(-1, 2)
    earlier = _earlier(rows["path"], known, policy_key(policy))
    # As objects: a missing value would turn nanoseconds into floats, which round.
    is_same = (earlier["size_bytes"] == rows["size_bytes"].astype(object)) & (
        earlier["mtime_ns"] == rows["mtime_ns"].astype(object)
    )
    # A file that could not even be looked at may be there now.
    is_same &= rows["mtime_ns"] != 0
    if store is not None:
        has_pixels = np.array([sha256 in store for sha256 in earlier["sha256"]], bool)
        is_same &= has_pixels | (earlier["verdict"] == "quarantined")
    others = [name for name in SCAN_COLUMNS if name not in rows]
    rows[others] = earlier[others]
    return _Plan(rows, np.flatnonzero(~is_same.to_numpy(bool)))


def _earlier(paths: pd.Series, known: pd.DataFrame | None, policy: str) -> pd.DataFrame:
    """The known line of each path, judged by the same policy; missing values where none is."""
    if known is None:
        return pd.DataFrame(index=range(len(paths)), columns=list(SCAN_COLUMNS), dtype=object)
    usable = known[known["policy"] == policy].reset_index(drop=True).astype(object)
    line_of = {path: line for line, path in enumerate(usable["path"])}
    return usable.reindex([line_of.get(path, -1) for path in paths]).reset_index(drop=True)


def _stat(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _require_space(plan: _Plan, store: PixelStore, short_side: int) -> None:
    """Stop where the new pixels are not likely to fit; sizes are known only after decoding."""
    file_bytes = plan.rows["size_bytes"].to_numpy()[plan.todo]
    needed = np.minimum(3 * _USUAL_RATIO * short_side**2, _LARGEST_INFLATION * file_bytes)
    require_free_space(store.folder, int(needed.sum()), purpose="the prepared pictures")


def _examine(
    plan: _Plan, *, root: Path, store: PixelStore | None, options: ScanOptions
) -> Iterator[tuple[int, dict[str, Any], StoreWriter | None]]:
    """Line, columns and the store's writer of each file that is read, as it is done."""
    paths = [os.fsencode(path) for path in plan.rows["path"].iloc[plan.todo]]
    settings = ChildSettings(
        root=root.absolute(),
        policy=options.policy,
        short_side=options.short_side if store is not None else None,
        interpolation=options.interpolation,
        timeout_s=options.timeout_s,
    )
    answers = examine_files(paths, settings, num_children=max(1, options.num_workers))
    policy = policy_key(options.policy)
    with contextlib.ExitStack() as stack:
        stack.callback(answers.close)
        writer = stack.enter_context(append_to(store)) if store is not None else None
        for answer in answers:
            facts = answer.facts
            if writer is not None and len(answer.pixels):
                height, width = facts["shape"]
                writer.add(
                    facts["sha256"],
                    answer.pixels,
                    shape=(height, width),
                    pixel_crc32=facts["crc32"],
                )
            yield int(plan.todo[answer.index]), facts | {"policy": policy}, writer


def _assemble(plan: _Plan, found: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """The scan of all lines that are known or found."""
    lines = np.array(sorted(found), np.int64)
    is_done = np.ones(len(plan.rows), bool)
    is_done[plan.todo] = False
    is_done[lines] = True
    columns = {name: plan.rows.loc[is_done, name] for name in _GIVEN}
    for name, dtype in SCAN_COLUMNS.items():
        if name not in _GIVEN:
            missing = "" if dtype == "str" else 0
            values = plan.rows[name].to_numpy(object, copy=True)
            values[lines] = [found[line].get(name, missing) for line in lines]
            columns[name] = pd.Series(values[is_done], dtype=dtype)
    # Image and path keep the type they came with: as `str`, pandas takes valid Unicode only.
    return pd.DataFrame({name: columns[name].reset_index(drop=True) for name in SCAN_COLUMNS})


def scan_errors(scan: pd.DataFrame) -> list[str]:
    """One line per quarantined image: which, why, and what was seen."""
    bad = scan[scan["verdict"] == "quarantined"]
    return [
        f"{image_id}: {reason}" + (f" ({detail})" if detail else "")
        for image_id, reason, detail in zip(
            bad["image_id"], bad["reason"], bad["detail"], strict=True
        )
    ]


def changed_files(scan: pd.DataFrame, *, root: Path, policy: DecodePolicy) -> pd.DataFrame:
    """Usable images whose file is no longer the one that was scanned; every file is read.

    Args:
        scan: What was scanned.
        root: Folder that holds all data.
        policy: As in the scan.

    Returns:
        Columns ``image_id``, ``path`` and ``problem``; empty when nothing has changed.
    """
    usable = scan[scan["verdict"] != "quarantined"]

    def problem(path: str, sha256: str) -> str:
        try:
            data = read_image_bytes(path, root=root, policy=policy)
        except Undecodable as error:
            return REASONS[error.reason]
        return (
            "" if sha256_bytes(data) == sha256 else "has other bytes than when it was scanned"
        )

    # Reading and hashing leave the interpreter alone: two threads hide the disk's delay.
    with ThreadPoolExecutor(2) as pool:
        problems = list(pool.map(problem, usable["path"], usable["sha256"]))
    table = usable[["image_id", "path"]].assign(
        problem=pd.Series(problems, usable.index, "str")
    )
    return table[table["problem"] != ""].reset_index(drop=True)
