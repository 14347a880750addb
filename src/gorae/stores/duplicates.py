"""Pairs of equal and nearly equal pictures on disk: searched once for a set of pictures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gorae.files import content_key, exclusive_lock, sha256_bytes, sweep_temporaries
from gorae.workspace import read_frame, write_frame

Search = Callable[[list[str]], pd.DataFrame]


def ensure_duplicates(
    keys: Sequence[str],
    *,
    settings: Mapping[str, Any],
    duplicates_root: Path,
    search: Search,
) -> pd.DataFrame:
    """Pairs among pictures, from disk where the same pictures were searched before.

    They depend on the pictures alone, not on their order or names.

    Args:
        keys: Key of each picture in the store of thumbnails; equal ones are one picture.
        settings: Everything else the search depends on (JSON-able).
        duplicates_root: Folder of all searches; this one is a file named by its key.
        search: Finds the pairs of different pictures, given in order of their keys; columns
            as of ``eda.duplicates.near_duplicates``.

    Returns:
        As ``search``, with the keys of the pictures in ``first`` and ``second``.

    Raises:
        StorageError: The disk is full or not writable.
        UserError: Another process is searching here.
    """
    wanted = sorted(set(keys))
    name = content_key([dict(settings), sha256_bytes("\n".join(wanted).encode("ascii"))])
    path = duplicates_root / f"{name}.parquet"
    if not path.exists():
        with exclusive_lock(duplicates_root / "lock", purpose="looking for duplicates"):
            sweep_temporaries(duplicates_root)
            found = search(wanted)
            named = {side: [wanted[row] for row in found[side]] for side in ("first", "second")}
            write_frame(path, found.assign(**named))
    return read_frame(path)
