"""Pictures that are there more than once: equal ones, and copies that were changed a little."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from gorae.eda.duplicates_pixels import similarities
from gorae.eda.hashes import WINDOWS, perceptual_hashes
from gorae.eda.neighbours import nearest_codes, nearest_features

Ints = NDArray[np.int64]
Thumbnails = Callable[[Ints], NDArray[np.uint8]]
Progress = Callable[[int, int], None]

DUPLICATE_THRESHOLD = 0.8
"""Similarity from which a pair is a duplicate.

On photographs of cats and dogs copies of seven kinds are found with a recall of 0.97 or more
and nothing else is; on chest films and hands of several persons no two different pictures
reach it but films of one patient in one position (``benchmarks/duplicates.py``).
"""

_COLUMNS = {
    "first": np.int64,
    "second": np.int64,
    "kind": object,
    "similarity": np.float64,
    "found_by": object,
    "flipped": np.bool_,
}

# Copies differ in up to 12 of 64 bits from the window they show; different photographs in 19
# or more, films of different patients in 10.
_RADIUS = 12
# Of the pictures that come near, the nearest are compared; a copy is among them.
_MOST_BY_HASH = 8
_MOST_BY_FEATURES = 4
_LEAST_COSINE = 0.6

_ROWS_AT_ONCE = 4096


def near_duplicates(
    thumbnails: Thumbnails,
    *,
    sha256: Sequence[str] | NDArray[np.object_],
    pixel_sha256: Sequence[str] | NDArray[np.object_],
    features: NDArray[np.floating] | None = None,
    threshold: float = DUPLICATE_THRESHOLD,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Find pictures that are copies of each other.

    Copies are equal, re-encoded, resized, slightly cropped, mirrored, lighter or darker, or
    have a text over them, or several of these.

    Equal files and pixels are found by their hashes. Of each set of equal pictures one is
    compared with others: candidates come from perceptual hashes and, if given, from features;
    thumbnails decide. A picture in other colours is another picture, and so is a grey copy.
    Copies that lack more than 10 % of a side, or are turned by 90 degrees, are not looked for.

    Args:
        thumbnails: Rows to their thumbnails, (n, 48, 48, 3); see ``data.thumbnail``.
        sha256: Of each file, (N,).
        pixel_sha256: Of each decoded picture, (N,); "" where there is none: such a file is
            only compared by its bytes, and its thumbnail is never asked for.
        features: Of each picture, (N, D), for candidates that hashes miss. All pairs are
            compared: see ``nearest_features``.
        threshold: Least similarity of a near-duplicate, above 0 to 1.
        on_progress: Told how much of how much is done.

    Returns:
        Pairs that link every set, and no more: n - 1 for a set of n pictures, those of the
        highest similarity, so that the sets at any higher threshold follow from them. Columns
        first, second (rows, first < second), kind ("bytes", "pixels", "near"), similarity
        (1 for equal ones), found_by ("hash", "features"), flipped (mirrored along either
        axis). Equal ones first, then by falling similarity.
    """
    files, pixels = np.asarray(sha256, object), np.asarray(pixel_sha256, object)
    num_images = len(files)
    by_bytes = _links_of_equal(files, np.arange(num_images))
    single = np.setdiff1d(np.arange(num_images), by_bytes[:, 1])
    by_pixels = _links_of_equal(pixels, single)
    rows = np.setdiff1d(single, by_pixels[:, 1])
    rows = rows[pixels[rows] != ""]
    report = on_progress or (lambda _done, _total: None)
    near = _near_pairs(thumbnails, rows, features, threshold=threshold, report=report)
    parts = [_equal_pairs(by_bytes, "bytes"), _equal_pairs(by_pixels, "pixels")]
    return pd.concat([*parts, _spanning(near, num_images)], ignore_index=True)


def _links_of_equal(values: NDArray[np.object_], rows: Ints) -> Ints:
    """The first row of each value with each further row of it, (P, 2); "" equals nothing."""
    rows = rows[values[rows] != ""]
    codes = pd.factorize(values[rows])[0]
    first = np.unique(codes, return_index=True)[1]
    links = np.stack([rows[first][codes], rows], axis=1)
    further: Ints = links[links[:, 0] != links[:, 1]]
    return further


def _equal_pairs(links: Ints, kind: str) -> pd.DataFrame:
    return _table(
        first=links[:, 0], second=links[:, 1], kind=kind, similarity=1.0, found_by="hash",
        flipped=False,
    )  # fmt: skip


def _table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns, columns=list(_COLUMNS)).astype(_COLUMNS)


def _near_pairs(
    thumbnails: Thumbnails,
    rows: Ints,
    features: NDArray[np.floating] | None,
    *,
    threshold: float,
    report: Progress,
) -> pd.DataFrame:
    """All candidates among ``rows`` that reach the threshold."""
    total = 3 * len(rows)
    hashes = np.empty((len(rows), len(WINDOWS)), np.uint64)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        hashes[part] = perceptual_hashes(thumbnails(rows[part]))
        report(min(part.stop, len(rows)), total)
    pairs = _candidates(
        hashes,
        None if features is None else features[rows],
        on_progress=lambda done, _: report(len(rows) + done, total),
    )
    # In steps, so that pictures of few pairs are in memory at once.
    similarity = np.empty(len(pairs))
    for start in range(0, len(pairs), _ROWS_AT_ONCE):
        chunk = pairs.iloc[start : start + _ROWS_AT_ONCE]
        ends = chunk[["query", "found"]].to_numpy()
        needed, place = np.unique(ends, return_inverse=True)
        pictures = thumbnails(rows[needed])
        first, second = place.reshape(ends.shape).T
        similarity[start : start + len(chunk)] = similarities(
            pictures[first], pictures[second], chunk["variant"].to_numpy()
        )
        report(total - len(rows) * (len(pairs) - start - len(chunk)) // len(pairs), total)
    is_near = similarity >= threshold
    kept = pairs[is_near]
    ends = np.sort(rows[kept[["query", "found"]].to_numpy()], axis=1)
    windows = np.array(WINDOWS)[kept["variant"]]
    return _table(
        first=ends[:, 0], second=ends[:, 1], kind="near", similarity=similarity[is_near],
        found_by=kept["found_by"].to_numpy(), flipped=windows[:, 4:].any(axis=1),
    )  # fmt: skip


def _candidates(
    hashes: NDArray[np.uint64],
    features: NDArray[np.floating] | None,
    *,
    on_progress: Progress,
) -> pd.DataFrame:
    """Pairs worth a look, once each: query, found, variant, distance, found_by."""
    codes = np.ascontiguousarray(hashes[:, 0])
    near = nearest_codes(
        codes, hashes, radius=_RADIUS, most=_MOST_BY_HASH, on_progress=on_progress
    )
    parts = [pd.DataFrame(near._asdict()).assign(found_by="hash")]
    if features is not None:
        query, found = nearest_features(features, most=_MOST_BY_FEATURES, least=_LEAST_COSINE)
        for start in range(0, len(query), 1 << 20):
            ends = query[start : start + (1 << 20)], found[start : start + (1 << 20)]
            apart = np.bitwise_count(hashes[ends[0]] ^ codes[ends[1]][:, None])
            variant = apart.argmin(axis=1)
            distance = np.take_along_axis(apart, variant[:, None], axis=1)[:, 0]
            part = pd.DataFrame({"query": ends[0], "found": ends[1], "variant": variant})
            parts.append(part.assign(distance=distance.astype(np.int64), found_by="features"))
    pairs = pd.concat(parts, ignore_index=True)
    # Of a pair found in several ways: the nearest codes, and hashes before features.
    pairs["low"] = pairs[["query", "found"]].min(axis=1)
    pairs["high"] = pairs[["query", "found"]].max(axis=1)
    order = ["low", "high", "distance", "found_by", "query"]
    pairs = pairs.sort_values(order, ascending=[True, True, True, False, True], kind="stable")
    return pairs.drop_duplicates(["low", "high"])


def _spanning(pairs: pd.DataFrame, num_images: int) -> pd.DataFrame:
    """The pairs of highest similarity that link what all pairs link."""
    # An edge must not weigh 0; the highest similarity weighs least.
    graph = coo_array(
        (2 - pairs["similarity"], (pairs["first"], pairs["second"])),
        shape=(num_images, num_images),
    )
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    kept = pd.DataFrame({"first": tree.row, "second": tree.col}).astype(np.int64)
    kept = kept.merge(pairs, on=["first", "second"])[list(_COLUMNS)]
    return kept.sort_values(
        ["similarity", "first", "second"], ascending=[False, True, True], kind="stable"
    )
