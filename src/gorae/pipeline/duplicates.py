"""Equal and nearly equal pictures of a competition; they depend on no recipe."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.pixels import frame_arguments, pixel_key
from gorae.data.store import open_store
from gorae.data.thumbnail import THUMBNAIL_VERSION
from gorae.eda.duplicates import DUPLICATE_THRESHOLD, near_duplicates
from gorae.eda.duplicates_sets import swallowing_sets, thresholds_offered
from gorae.errors import DataError
from gorae.events import Event, OnEvent
from gorae.pipeline.context import Context, decode_policy, listed_images
from gorae.stores.duplicates import ensure_duplicates
from gorae.stores.prepared import thumbnails_folder

# Raised when the same thumbnails give other pairs.
SEARCH_VERSION = 1


def find_duplicates(
    context: Context,
    scan: pd.DataFrame,
    image_ids: Sequence[str],
    *,
    similarity: float | None = None,
    features: Callable[[list[str]], NDArray[np.float32]] | None = None,
    on_event: OnEvent,
) -> pd.DataFrame:
    """Pairs of images that are the same picture, or nearly.

    Args:
        context: The competition; its pictures are prepared.
        scan: Indexed by ``image_id``.
        image_ids: The images to look among, all of them readable.
        similarity: From which likeness on; None: ``DUPLICATE_THRESHOLD``.
        features: Gives the features (n, D) of images, as a second way to come upon pairs; the
            result is then not kept.
        on_event: Hears progress.

    Returns:
        As of ``near_duplicates``, with image ids in ``first`` and ``second``; n - 1 pairs link
        a set of n pictures.
    """
    listed = listed_images(context.tables).set_index("image_id")
    listed = listed.loc[list(dict.fromkeys(image_ids))].reset_index()
    hashes = scan.loc[listed["image_id"], ["sha256", "pixel_sha256"]].reset_index(drop=True)
    keys = [
        pixel_key(sha256, frame_arguments(text))
        for sha256, text in zip(hashes["sha256"], listed["arguments"], strict=True)
    ]
    table = hashes.assign(image_id=listed["image_id"], key=keys)
    threshold = similarity or DUPLICATE_THRESHOLD
    store = open_store(thumbnails_folder(context.workspace.prepared, decode_policy(context)))
    of_key = table.drop_duplicates("key").set_index("key")

    def search(wanted: list[str]) -> pd.DataFrame:
        def on_progress(done: int, total: int) -> None:
            on_event(Event("progress", "duplicates", "look-alikes", done, total))

        lines = of_key.loc[wanted]
        return near_duplicates(
            lambda rows: np.stack([store.read(wanted[row]) for row in rows]),
            sha256=lines["sha256"].to_numpy(object),
            pixel_sha256=lines["pixel_sha256"].to_numpy(object),
            features=None if features is None else features(lines["image_id"].tolist()),
            threshold=threshold,
            on_progress=on_progress,
        )

    if features is not None:
        wanted = sorted(set(keys))
        found = search(wanted)
        named = {side: [wanted[row] for row in found[side]] for side in ("first", "second")}
        pairs = found.assign(**named)
    else:
        pairs = ensure_duplicates(
            keys,
            settings={
                "threshold": threshold,
                "thumbnails": store.folder.name,
                "versions": [THUMBNAIL_VERSION, SEARCH_VERSION],
            },
            duplicates_root=context.workspace.duplicates,
            search=search,
        )
    return pd.concat([_of_one_key(table), _of_images(pairs, table)], ignore_index=True)


def _of_one_key(table: pd.DataFrame) -> pd.DataFrame:
    """Images that are one file listed under several names, linked to the first."""
    first = table.groupby("key")["image_id"].transform("first")
    again = table["image_id"] != first
    return pd.DataFrame(
        {
            "first": first[again],
            "second": table["image_id"][again],
            "kind": "bytes",
            "similarity": 1.0,
            "found_by": "hash",
            "flipped": False,
        }
    )


def _of_images(pairs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    image_of = table.drop_duplicates("key").set_index("key")["image_id"]
    return pairs.assign(
        **{side: pairs[side].map(image_of).to_numpy(object) for side in ("first", "second")}
    )


def require_no_chain(
    pairs: pd.DataFrame,
    image_ids: Sequence[str],
    groups: NDArray[np.int64],
    *,
    num_folds: int,
) -> None:
    """Stop where look-alikes would join a large part of the pictures into one group.

    Args:
        pairs: As of ``find_duplicates``.
        image_ids: The images that are dealt to folds, N.
        groups: Their groups without look-alikes, (N,).
        num_folds: Number of folds; at least 2.

    Raises:
        DataError: A chain holds more than 1 / (2 x folds) of the images; the message says
            which, and what to do.
    """
    linked = rows_of_pairs(pairs, image_ids)
    linked = linked[groups[linked["first"]] != groups[linked["second"]]]
    found = swallowing_sets(linked, len(image_ids), num_folds=num_folds)
    if not found:
        return
    worst = found[0]
    link = worst.weakest.iloc[0]
    offered = thresholds_offered(linked, len(image_ids))
    limit = len(image_ids) / (2 * num_folds)
    enough = offered[offered["largest"] <= limit]
    choices = [
        "name the column of the subjects or videos in group_columns of competition.toml",
        "set split.near_duplicates = false, if different pictures merely look alike",
    ]
    if len(enough):
        first = enough.iloc[0]
        choices.insert(
            0,
            f"set split.similarity = {first['threshold']:g}: the largest set then has "
            f"{first['largest']:.0f} pictures",
        )
    raise DataError(
        f"{len(worst.rows):,} of {len(image_ids):,} pictures ({worst.share:.0%}) look alike in "
        f"one chain, and {num_folds} folds cannot be even with more than {limit:,.0f} in one "
        f"group. Its weakest link is {image_ids[int(link['first'])]} with "
        f"{image_ids[int(link['second'])]} (similarity {link['similarity']:.2f}). Look at them "
        "side by side with `gorae eda`; then:\n"
        + "\n".join(f"  - {choice}" for choice in choices)
    )


def rows_of_pairs(pairs: pd.DataFrame, image_ids: Sequence[str]) -> pd.DataFrame:
    """Pairs within ``image_ids``, by the numbers of their images."""
    row_of = {image_id: row for row, image_id in enumerate(image_ids)}
    known = pairs[pairs["first"].isin(row_of) & pairs["second"].isin(row_of)]
    rows = {side: known[side].map(row_of).astype(np.int64) for side in ("first", "second")}
    return known.assign(**rows).reset_index(drop=True)
