"""Prepared pixels: every picture scanned and decoded once, whoever asks first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gorae.data.decode import DecodePolicy
from gorae.data.dicom_header import pseudonym_key
from gorae.data.pixels import Interpolation, pixel_key
from gorae.data.scan import SCAN_COLUMNS, Beside, ScanOptions, policy_key, scan
from gorae.data.store import PixelStore, create_store
from gorae.data.thumbnail import THUMBNAIL_VERSION
from gorae.files import (
    TEMPORARY_SUFFIX,
    content_key,
    exclusive_lock,
    sweep_temporaries,
    write_json,
)
from gorae.workspace import read_frame, write_frame

STEPS_FILE = "steps.parquet"
"""Beside the pixels of a store with steps: what the steps met, one line per stored picture."""

NOTE_COLUMNS = ("key", "notes")


@dataclass(frozen=True)
class Prepared:
    """Scanned pictures and where their pixels are."""

    scan: pd.DataFrame
    """One line per image in the order asked for; columns as in ``data.scan.SCAN_COLUMNS``."""
    pixels: PixelStore
    """The pixels of every image that is not quarantined, by ``keys``."""
    thumbnails: PixelStore
    """Their thumbnails as decoded, without steps, by ``pixel_key`` of file and frame."""
    keys: tuple[str, ...]
    """``pixel_key`` of each line of ``scan``; "" where it is quarantined."""
    step_notes: tuple[str, ...]
    """What the steps met on each line of ``scan``; "" for nothing."""


def prepared_key(
    policy: DecodePolicy,
    *,
    short_side: int,
    interpolation: Interpolation,
    steps: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Name of a store: a hash of everything that decides its pixels beside the files.

    What differs from picture to picture (box, frame) is part of its own key.
    """
    decided = [policy_key(policy), short_side, interpolation]
    if steps:
        # OpenCV takes half a second to load, and most recipes have no steps.
        from gorae.preprocess.steps import steps_version

        decided += [steps_version(), [dict(step) for step in steps]]
    return content_key(decided)


def thumbnails_folder(prepared_root: Path, policy: DecodePolicy) -> Path:
    """Where the thumbnails of pictures decoded under ``policy`` lie."""
    return prepared_root / f"thumbnails-{content_key([policy_key(policy), THUMBNAIL_VERSION])}"


def ensure_prepared(
    images: pd.DataFrame,
    *,
    root: Path,
    prepared_root: Path,
    scan_path: Path,
    short_side: int,
    interpolation: Interpolation,
    policy: DecodePolicy,
    num_workers: int,
    steps: Sequence[Mapping[str, Any]] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Scan the images and store their pixels, as far as that is not done yet.

    Beside the scan, ``headers.parquet`` holds the header fields of files that have any: their
    ``image_id`` and a column of text per field.

    Args:
        images: Columns ``image_id`` and ``path`` (absolute, or relative to ``root``), and
            ``arguments`` where pictures have any (``data.pixels.write_arguments``).
        root: Folder that holds all data.
        prepared_root: Folder of all stores; this one is ``prepared_root/KEY``.
        scan_path: The scan of all images ever asked for (Parquet); kept up to date.
        short_side: Short side of stored pixels; smaller pictures are stored as they are.
        interpolation: Filter that shrinks them.
        policy: What is taken as a picture.
        num_workers: Decode processes.
        steps: What is done to decoded pixels before they are stored.
        on_progress: Told how many of how many images are done.

    Returns:
        The scan of ``images`` and the store with their pixels.

    Raises:
        UserError: Another process is preparing pictures here.
        StorageError: The disk is full or not writable, or a file of ours is damaged.
        ResourceError: No decode process can be started.
    """
    key = prepared_key(policy, short_side=short_side, interpolation=interpolation, steps=steps)
    folder, small = prepared_root / key, thumbnails_folder(prepared_root, policy)
    headers_path, notes_path = scan_path.with_name("headers.parquet"), folder / STEPS_FILE
    settings = {
        "policy": asdict(policy),
        "short_side": short_side,
        "interpolation": interpolation,
    }
    options = ScanOptions(policy, short_side, interpolation, num_workers, steps=tuple(steps))
    with exclusive_lock(scan_path.with_suffix(".lock"), purpose="preparing pictures"):
        _sweep((folder, small), (scan_path, headers_path))
        known = _read_known(scan_path)
        store = _open_or_create(
            folder, settings | {"steps": [dict(step) for step in steps]} if steps else settings
        )
        beside = Beside(
            thumbnails=_open_or_create(small, {"policy": asdict(policy)}),
            step_notes=_read_notes(notes_path) if steps else {},
            headers=_read_headers(headers_path),
            pseudonyms=pseudonym_key(scan_path.with_name("dicom.key")),
        )
        save = _saver(beside, known, scan_path, headers_path, notes_path)
        result = scan(
            images,
            root=root,
            known=known,
            store=store,
            options=options,
            beside=beside,
            on_progress=on_progress,
            on_checkpoint=save,
        )
        save(result)
    keys = _keys(result, images)
    notes = tuple(beside.step_notes.get(key, "") for key in keys)
    return Prepared(result, store, create_store(small), keys, notes)


def _saver(
    beside: Beside,
    known: pd.DataFrame | None,
    scan_path: Path,
    headers_path: Path,
    notes_path: Path,
) -> Callable[[pd.DataFrame], None]:
    """What writes down the finished lines; nothing is written that is written already."""
    written, num_notes = dict(beside.headers), len(beside.step_notes)

    def save(finished: pd.DataFrame) -> None:
        nonlocal written, num_notes
        # The scan last: a line of it says that all the rest of the picture is kept.
        if beside.headers != written:
            write_frame(headers_path, _header_table(beside.headers))
            written = dict(beside.headers)
        if len(beside.step_notes) != num_notes:
            lines = sorted(beside.step_notes.items())
            write_frame(notes_path, pd.DataFrame(lines, columns=list(NOTE_COLUMNS)))
            num_notes = len(beside.step_notes)
        merged = _merge(finished, known)
        if known is None or not merged.equals(known):
            write_frame(scan_path, merged)

    return save


def _keys(result: pd.DataFrame, images: pd.DataFrame) -> tuple[str, ...]:
    arguments = images["arguments"] if "arguments" in images else [""] * len(images)
    return tuple(
        "" if verdict == "quarantined" else pixel_key(sha256, text)
        for sha256, verdict, text in zip(
            result["sha256"], result["verdict"], arguments, strict=True
        )
    )


def _sweep(folders: Sequence[Path], files: Sequence[Path]) -> None:
    """Remove what an interrupted call left behind."""
    for folder in folders:
        sweep_temporaries(folder)
    for file in files:
        for leftover in file.parent.glob(f".{file.name}.*{TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)


def _read_notes(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    table = read_frame(path)
    return dict(zip(table["key"], table["notes"], strict=True))


def _read_headers(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    return {
        str(line["image_id"]): {
            str(name): value for name, value in line.items() if value and name != "image_id"
        }
        for line in read_frame(path).to_dict("records")
    }


def _header_table(headers: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """One line per image, "" where its header lacks a field."""
    fields = sorted({name for header in headers.values() for name in header})
    lines = [
        [image_id, *(headers[image_id].get(name, "") for name in fields)]
        for image_id in sorted(headers)
    ]
    return pd.DataFrame(lines, columns=["image_id", *fields], dtype="str")


def _open_or_create(folder: Path, settings: dict[str, object]) -> PixelStore:
    # For people who look at the folder; the key already holds all of it.
    if not (folder / "settings.json").exists():
        write_json(folder / "settings.json", settings)
    return create_store(folder)


def _read_known(scan_path: Path) -> pd.DataFrame | None:
    """The earlier scan; None when there is none, or one with other columns."""
    if not scan_path.exists():
        return None
    known = read_frame(scan_path)
    return known if list(known.columns) == list(SCAN_COLUMNS) else None


def _merge(scan: pd.DataFrame, known: pd.DataFrame | None) -> pd.DataFrame:
    """The scan, and earlier lines of other images; in one order whoever was asked for."""
    if known is not None:
        others = known[~known["image_id"].isin(scan["image_id"])]
        scan = pd.concat([scan, others]) if len(others) else scan
    return scan.sort_values("image_id", ignore_index=True)
