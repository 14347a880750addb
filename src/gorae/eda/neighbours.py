"""Pictures that may be alike, found without looking at all pairs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Codes = NDArray[np.uint64]

_NUM_BITS = 64

# Codes of one bucket that a query is compared with. Usual buckets hold 16; those of thousands
# are pictures with hardly any content, which no hash can tell apart.
_BUCKET_LIMIT = 64

_ROWS_AT_ONCE = 1 << 14
_HITS_AT_ONCE = 1 << 21


class Near(NamedTuple):
    """Pairs of rows that may be alike, (P,) each."""

    query: Ints
    found: Ints
    variant: Ints
    """Which code of the query came nearest."""
    distance: Ints
    """Bits in which the codes differ."""


class _Band(NamedTuple):
    turn: int
    codes: Codes  # turned, sorted
    rows: Ints
    starts: Ints  # of each bucket
    places: Ints  # rising: number of the distinct code x number of codes + row


def nearest_codes(
    codes: Codes,
    queries: Codes,
    *,
    radius: int,
    most: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Near:
    """For each row, the rows whose code is nearest to one of its own variants.

    Codes are sorted by several bands of their bits, and only those that are equal in a band
    are compared: two codes that differ in fewer bits than there are bands must agree in one
    (multi-index hashing, Norouzi et al., 2012). Bands are chosen so that a bucket holds about
    16 codes, so that fewer codes are searched deeper; see ``benchmarks/duplicates.py`` for
    what is found at which distance. In a bucket of more than 64 codes a query is compared
    with those whose other bits come nearest, and among equal ones with those whose rows
    stand where its own does: any number of equal codes costs no more than others.

    Args:
        codes: One per row, (N,).
        queries: Variants of each row's code, (N, variants).
        radius: Most bits in which a pair may differ.
        most: Rows kept for each query, the nearest first.
        on_progress: Told how many of how many rows are done.

    Returns:
        Pairs in order of the query, never of a row with itself.
    """
    bands = _build_bands(codes)
    parts = []
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(codes)))
        hits: list[Near] = []
        for band in bands:
            for variant in range(queries.shape[1]):
                hits.append(_compare(band, rows, queries[rows, variant], variant, radius))
                # Whatever the data, what is held stays small.
                if sum(len(hit.query) for hit in hits) > _HITS_AT_ONCE:
                    hits = [_keep_nearest(_join(hits), most)]
        parts.append(_keep_nearest(_join(hits), most))
        if on_progress is not None:
            on_progress(int(rows[-1]) + 1, len(codes))
    return _join(parts)


def nearest_features(
    features: NDArray[np.floating], *, most: int, least: float
) -> tuple[Ints, Ints]:
    """For each row, up to ``most`` rows with a cosine similarity of at least ``least``.

    Exact: all pairs are compared, in blocks of bounded memory. With 1,280 features 100,000
    rows take 2.6e13 operations, minutes on two cores; above that, time grows with the square.

    Args:
        features: (N, D), not all zero in any row.
        most: Rows kept for each row, at least 1.
        least: Smallest cosine similarity.

    Returns:
        Rows and their neighbours, (P,) each, in order of rows.
    """
    units = features.astype(np.float32)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    most = min(most, len(units) - 1)
    firsts, seconds = [], []
    step = max(1, (1 << 25) // max(len(units), 1))
    for start in range(0, len(units) if most > 0 else 0, step):
        cosine = units[start : start + step] @ units.T
        own = np.arange(len(cosine))
        cosine[own, start + own] = -2
        best = np.argpartition(cosine, -most, axis=1)[:, -most:]
        kept = np.take_along_axis(cosine, best, axis=1) >= least
        firsts.append(start + np.nonzero(kept)[0])
        seconds.append(best[kept])
    nothing = [np.empty(0, np.int64)]
    return np.concatenate(firsts or nothing), np.concatenate(seconds or nothing)


def _build_bands(codes: Codes) -> list[_Band]:
    bits = int(np.clip(np.ceil(np.log2(max(len(codes), 1) / 16)), 4, 16))
    # Wide bands overlap, for what one differing bit in each of few bands would hide.
    step = min(bits, 8)
    keys = np.arange((1 << bits) + 1, dtype=np.uint64) << np.uint64(_NUM_BITS - bits)
    bands = []
    for turn in range(0, _NUM_BITS - step + 1, step):
        turned = _turned(codes, turn)
        rows = np.argsort(turned, kind="stable")
        turned = turned[rows]
        starts = np.searchsorted(turned, keys)
        starts[-1] = len(codes)  # the last key does not fit into 64 bits
        places = (np.cumsum(_starts_of_runs(turned)) - 1) * len(codes) + rows
        bands.append(_Band(turn, turned, rows, starts, places))
    return bands


def _turned(codes: Codes, turn: int) -> Codes:
    if turn == 0:
        return codes
    return (codes << np.uint64(turn)) | (codes >> np.uint64(_NUM_BITS - turn))


def _compare(band: _Band, rows: Ints, queries: Codes, variant: int, radius: int) -> Near:
    """What is within ``radius`` of each query in its bucket of this band."""
    turned = _turned(queries, band.turn)
    bits = int(np.log2(len(band.starts)))
    keys = (turned >> np.uint64(_NUM_BITS - bits)).astype(np.intp)
    first, last = band.starts[keys], band.starts[keys + 1]
    large = np.flatnonzero(last - first > _BUCKET_LIMIT)
    if len(large):
        left = np.searchsorted(band.codes, turned[large])
        nearest = np.minimum(left, len(band.codes) - 1)
        # Equal codes stand in order of rows.
        same = band.places[nearest] // len(band.codes) * len(band.codes) + rows[large]
        place = np.where(
            band.codes[nearest] == turned[large], np.searchsorted(band.places, same), left
        )
        first[large] = np.clip(
            place - _BUCKET_LIMIT // 2, first[large], last[large] - _BUCKET_LIMIT
        )
        last[large] = first[large] + _BUCKET_LIMIT
    lengths = last - first
    ends = np.cumsum(lengths)
    asked = np.repeat(np.arange(len(rows)), lengths)
    entry = np.arange(len(asked)) + (first - ends + lengths)[asked]
    distance = np.bitwise_count(band.codes[entry] ^ turned[asked])
    near = np.flatnonzero(distance <= radius)
    query, found = rows[asked[near]], band.rows[entry[near]]
    other = query != found
    near_distance = distance[near][other].astype(np.int64)
    return Near(query[other], found[other], np.full(len(near_distance), variant), near_distance)


def _join(parts: list[Near]) -> Near:
    if not parts:
        return Near(*(np.empty(0, np.int64) for _ in Near._fields))
    return Near(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _keep_nearest(near: Near, most: int) -> Near:
    """The nearest variant of each pair, then the nearest pairs of each query."""
    order = np.lexsort((near.variant, near.distance, near.found, near.query))
    query, found = near.query[order], near.found[order]
    order = order[_starts_of_runs(query) | _starts_of_runs(found)]
    order = order[np.lexsort((near.found[order], near.distance[order], near.query[order]))]
    is_first = _starts_of_runs(near.query[order])
    rank = np.arange(len(order)) - np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    kept = order[rank < most]
    return Near(*(column[kept] for column in near))


def _starts_of_runs(values: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    return np.concatenate([np.ones(min(len(values), 1), bool), values[1:] != values[:-1]])
