"""Prepared pixels: every picture scanned and decoded once, whoever asks first."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from gorae.data.decode import DecodePolicy
from gorae.data.pixels import Interpolation
from gorae.data.scan import SCAN_COLUMNS, ScanOptions, policy_key, scan
from gorae.data.store import PixelStore, create_store
from gorae.files import (
    TEMPORARY_SUFFIX,
    content_key,
    exclusive_lock,
    sweep_temporaries,
    write_json,
)
from gorae.workspace import read_frame, write_frame


@dataclass(frozen=True)
class Prepared:
    """Scanned pictures and where their pixels are."""

    scan: pd.DataFrame
    """One line per image in the order asked for; columns as in ``data.scan.SCAN_COLUMNS``."""
    pixels: PixelStore
    """The pixels of every image that is not quarantined, by the hash of its file."""


def prepared_key(policy: DecodePolicy, *, short_side: int, interpolation: Interpolation) -> str:
    """Name of a store: a hash of everything that decides its pixels beside the files."""
    return content_key([policy_key(policy), short_side, interpolation])


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
    on_progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Scan the images and store their pixels, as far as that is not done yet.

    Args:
        images: Columns ``image_id`` and ``path`` (absolute, or relative to ``root``).
        root: Folder that holds all data.
        prepared_root: Folder of all stores; this one is ``prepared_root/KEY``.
        scan_path: The scan of all images ever asked for (Parquet); kept up to date.
        short_side: Short side of stored pixels; smaller pictures are stored as they are.
        interpolation: Filter that shrinks them.
        policy: What is taken as a picture.
        num_workers: Decode processes.
        on_progress: Told how many of how many images are done.

    Returns:
        The scan of ``images`` and the store with their pixels.

    Raises:
        UserError: Another process is preparing pictures here.
        StorageError: The disk is full or not writable, or a file of ours is damaged.
        ResourceError: No decode process can be started.
    """
    key = prepared_key(policy, short_side=short_side, interpolation=interpolation)
    folder = prepared_root / key
    with exclusive_lock(scan_path.with_suffix(".lock"), purpose="preparing pictures"):
        _sweep(folder, scan_path)
        known = _read_known(scan_path)
        store = _open_or_create(
            folder,
            {
                "policy": asdict(policy),
                "short_side": short_side,
                "interpolation": interpolation,
            },
        )

        def save(finished: pd.DataFrame) -> None:
            merged = _merge(finished, known)
            if known is None or not merged.equals(known):
                write_frame(scan_path, merged)

        result = scan(
            images,
            root=root,
            known=known,
            store=store,
            options=ScanOptions(policy, short_side, interpolation, num_workers),
            on_progress=on_progress,
            on_checkpoint=save,
        )
        save(result)
    return Prepared(result, store)


def _sweep(folder: Path, scan_path: Path) -> None:
    """Remove what an interrupted call left behind."""
    sweep_temporaries(folder)
    for leftover in scan_path.parent.glob(f".{scan_path.name}.*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)


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
