"""The scan: what every picture file is, whether it can be used, and its pixels on the way."""

import contextlib
import os
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
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
from gorae.data.decode_pool import Answer, ChildSettings, examine_files
from gorae.data.dicom_header import pseudonymise
from gorae.data.pixels import Interpolation, frame_arguments, pixel_key
from gorae.data.store import PixelStore, StoreWriter, append_to
from gorae.data.thumbnail import THUMBNAIL_SIDE
from gorae.files import content_key, require_free_space, sha256_bytes

SCAN_COLUMNS: dict[str, str] = {
    "image_id": "str",
    "path": "str",
    "frame": "str",
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

``frame`` says which frame of a file of several is meant (``data.pixels.frame_arguments``), ""
for the usual one. ``verdict`` is ok, note (usable; ``notes`` says what is unusual) or
quarantined (no pixels;
``reason`` is a key of ``decode.REASONS``). ``sha256`` is of the file, ``pixel_sha256`` of its
upright RGB pixels at full size, whatever the encoding; both are empty where they could not
be had. ``orientation`` is the EXIF orientation that was undone. ``policy`` names the rules
under which the file was judged.
"""

# Width to height of most cameras, and how many bytes of pixels a byte of a photograph's file
# gives at most: together a cautious guess of what the store will need.
_USUAL_RATIO = 1.5
_LARGEST_INFLATION = 60

_GIVEN = ("image_id", "path", "frame", "size_bytes", "mtime_ns")

# What a picture is refused for may be the doing of the steps: it holds under these only.
_LIMITS = ("memory", "too_slow", "crashed")

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
    steps: tuple[Mapping[str, Any], ...] = ()
    """What is done to decoded pixels before they are stored (``gorae.preprocess.steps``)."""

    @property
    def limits_key(self) -> str:
        """A short name of the rules under which a picture met a limit: policy and steps."""
        policy = policy_key(self.policy)
        return content_key([policy, list(self.steps)]) if self.steps else policy


@dataclass
class Beside:
    """What comes of a scan beside its table: known before it, and more after it."""

    thumbnails: PixelStore | None = None
    """Where thumbnails go, by ``pixel_key`` of file and frame; None makes none."""
    step_notes: dict[str, str] = field(default_factory=dict)
    """What the steps met, "" for nothing, by ``pixel_key`` of file and arguments."""
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """Header fields by ``image_id``, of files that have any."""
    pseudonyms: bytes = b""
    """Key by which ids of patients become pseudonyms."""


@dataclass(frozen=True)
class _Plan:
    """Which files are known and which must be read."""

    rows: pd.DataFrame
    """One line per image; whole where known, else only image, path, frame, size and time."""
    arguments: list[str]
    """What each picture is prepared with beside its file."""
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
    beside: Beside | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_checkpoint: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Scan picture files in limited child processes, decoding each that is new once.

    A file whose path, size and modification time stand in ``known``, judged by the same
    policy, is not read again (unless the store lacks its pixels).

    Args:
        images: Columns ``image_id`` and ``path`` (absolute, or relative to ``root``), and
            ``arguments`` where pictures have any (``data.pixels.write_arguments``).
        root: Folder that holds all data.
        known: An earlier scan.
        store: Where the shrunken pixels go; None stores nothing.
        options: Policy, steps, stored size and processes.
        beside: Thumbnails, notes of the steps and headers; filled as pictures are read.
        on_progress: Told how many of how many images are done.
        on_checkpoint: Given the finished lines once a minute, after their pixels are durable.

    Returns:
        Columns SCAN_COLUMNS, one line per image in the order of ``images``.

    Raises:
        StorageError: The store cannot be written.
        ResourceError: No decode process can be started.
    """
    beside = beside or Beside()
    plan = _plan(images, beside, root=root, known=known, store=store, options=options)
    total, done = len(plan.rows), len(plan.rows) - len(plan.todo)
    if on_progress:
        on_progress(done, total)
    found: dict[int, dict[str, Any]] = {}
    if len(plan.todo):
        if store is not None:
            _require_space(plan, store, options.short_side)
        saved_at = time.monotonic()
        for row, facts, commit in _examine(
            plan, beside, root=root, store=store, options=options
        ):
            found[row] = facts
            if on_progress:
                on_progress(done + len(found), total)
            if on_checkpoint and time.monotonic() - saved_at >= _CHECKPOINT_S:
                commit()
                on_checkpoint(_assemble(plan, found))
                saved_at = time.monotonic()
    return _assemble(plan, found)


def _plan(
    images: pd.DataFrame,
    beside: Beside,
    *,
    root: Path,
    known: pd.DataFrame | None,
    store: PixelStore | None,
    options: ScanOptions,
) -> _Plan:
    rows = images[["image_id", "path"]].reset_index(drop=True)
    arguments = images["arguments"].tolist() if "arguments" in images else [""] * len(rows)
    rows["frame"] = pd.Series([frame_arguments(text) for text in arguments], dtype="str")
    stats = [_stat(os.path.join(root, path)) for path in rows["path"]]
    rows[["size_bytes", "mtime_ns"]] = np.array(stats, np.int64).reshape(-1, 2)
    earlier = _earlier(rows, known, {policy_key(options.policy), options.limits_key})
    # As objects: a missing value would turn nanoseconds into floats, which round.
    is_same = (earlier["size_bytes"] == rows["size_bytes"].astype(object)) & (
        earlier["mtime_ns"] == rows["mtime_ns"].astype(object)
    )
    # A file that could not even be looked at may be there now.
    is_same &= rows["mtime_ns"] != 0
    # So may the decoder that was missing.
    is_same &= earlier["reason"] != "decoder_missing"
    is_whole = [
        _is_kept(sha256, text, beside, store=store, has_steps=bool(options.steps))
        for sha256, text in zip(earlier["sha256"], arguments, strict=True)
    ]
    is_same &= np.array(is_whole, bool) | (earlier["verdict"] == "quarantined")
    others = [name for name in SCAN_COLUMNS if name not in rows]
    rows[others] = earlier[others]
    return _Plan(rows, arguments, np.flatnonzero(~is_same.to_numpy(bool)))


def _is_kept(
    sha256: Any, arguments: str, beside: Beside, *, store: PixelStore | None, has_steps: bool
) -> bool:
    """Whether all that is made of a picture's pixels is there."""
    if not isinstance(sha256, str):
        return False
    key = pixel_key(sha256, arguments)
    if store is not None and (key not in store or (has_steps and key not in beside.step_notes)):
        return False
    small = pixel_key(sha256, frame_arguments(arguments))
    return beside.thumbnails is None or small in beside.thumbnails


def _earlier(
    rows: pd.DataFrame, known: pd.DataFrame | None, policies: Collection[str]
) -> pd.DataFrame:
    """The known line of each picture, judged by the same rules; missing where there is none."""
    if known is None:
        return pd.DataFrame(index=range(len(rows)), columns=list(SCAN_COLUMNS), dtype=object)
    usable = known[known["policy"].isin(policies)].reset_index(drop=True).astype(object)
    places = zip(usable["path"], usable["frame"], strict=True)
    line_of = {place: line for line, place in enumerate(places)}
    wanted = zip(rows["path"], rows["frame"], strict=True)
    found = usable.reindex([line_of.get(place, -1) for place in wanted])
    return found.reset_index(drop=True)


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
    plan: _Plan,
    beside: Beside,
    *,
    root: Path,
    store: PixelStore | None,
    options: ScanOptions,
) -> Iterator[tuple[int, dict[str, Any], Callable[[], None]]]:
    """Line and columns of each file that is read, as it is done, and what commits pixels."""
    paths = [os.fsencode(path) for path in plan.rows["path"].iloc[plan.todo]]
    arguments = [plan.arguments[row] for row in plan.todo]
    image_ids = plan.rows["image_id"].tolist()
    settings = ChildSettings(
        root=root.absolute(),
        policy=options.policy,
        short_side=options.short_side if store is not None else None,
        interpolation=options.interpolation,
        timeout_s=options.timeout_s,
        steps=options.steps,
        has_thumbnails=beside.thumbnails is not None,
    )
    answers = examine_files(
        paths, settings, num_children=max(1, options.num_workers), arguments=arguments
    )
    policy = policy_key(options.policy)
    with contextlib.ExitStack() as stack:
        stack.callback(answers.close)
        pixels = stack.enter_context(append_to(store)) if store is not None else None
        small = (
            stack.enter_context(append_to(beside.thumbnails))
            if beside.thumbnails is not None
            else None
        )

        def commit() -> None:
            for writer in (pixels, small):
                if writer is not None:
                    writer.commit()

        for answer in answers:
            facts, row = answer.facts, int(plan.todo[answer.index])
            if facts["verdict"] != "quarantined":
                key = _keep(answer, plan.arguments[row], pixels=pixels, thumbnails=small)
                if options.steps:
                    beside.step_notes[key] = facts.get("steps", "")
                if facts.get("header"):
                    beside.headers[image_ids[row]] = pseudonymise(
                        facts["header"], key=beside.pseudonyms
                    )
            rules = options.limits_key if facts["reason"] in _LIMITS else policy
            yield row, facts | {"policy": rules}, commit


def _keep(
    answer: Answer,
    arguments: str,
    *,
    pixels: StoreWriter | None,
    thumbnails: StoreWriter | None,
) -> str:
    """Add what came of a picture to the stores; the key of its pixels."""
    sha256 = answer.facts["sha256"]
    key = pixel_key(sha256, arguments)
    if pixels is not None:
        height, width = answer.facts["shape"]
        pixels.add(key, answer.pixels, shape=(height, width), pixel_crc32=answer.facts["crc32"])
    if thumbnails is not None:
        thumbnails.add(
            pixel_key(sha256, frame_arguments(arguments)),
            answer.thumbnail,
            shape=(THUMBNAIL_SIDE, THUMBNAIL_SIDE),
            pixel_crc32=zlib.crc32(answer.thumbnail),
        )
    return key


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
