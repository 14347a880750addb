"""Individuals found by the nearest embeddings, among them ones never seen.

Scores (N, K) hold how much each of N pictures looks like each of K known individuals. An
unknown one is where no score reaches a threshold: it stands at its place among the guesses.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gorae.errors import DataError

Floats = NDArray[np.floating]
Scores = NDArray[np.float32]
Indices = NDArray[np.int64]

UNKNOWN = -1
"""Truth of a picture of an individual that is not among the known ones."""

# Rows of a block, whose similarities to 60,000 images are 240 MB.
BLOCK = 1024

# The least cosine there is.
NOTHING_ALIKE = -1.0


def identity_scores(
    queries: Floats,
    gallery: Floats,
    labels: Indices,
    *,
    num_identities: int,
    num_neighbours: int | None = None,
) -> Scores:
    """Largest cosine between each picture and the images of each individual, (N, K).

    An individual without images scores -1.

    Args:
        queries: Embeddings of the pictures, (N, D), of any length but 0.
        gallery: Embeddings of images of known individuals, (G, D).
        labels: Index of the individual of each of these, (G,).
        num_identities: K.
        num_neighbours: Nearest images of a picture that are looked at, and those as near as
            the last of them; an individual with none among them scores -1. None: all.

    Raises:
        DataError: An embedding is zero or not finite.
    """
    order = np.argsort(labels, kind="stable")
    known = unit_length(gallery[order])
    identities, starts = np.unique(labels[order], return_index=True)
    scores: Scores = np.full((len(queries), num_identities), NOTHING_ALIKE, dtype=np.float32)
    if not len(known):
        return scores
    for rows in _blocks(len(queries)):
        cosines = unit_length(queries[rows]) @ known.T
        if num_neighbours is not None and num_neighbours < len(known):
            last = len(known) - num_neighbours
            farthest = np.partition(cosines, last, axis=1)[:, last, None]
            cosines[cosines < farthest] = NOTHING_ALIKE
        scores[rows, identities] = np.maximum.reduceat(cosines, starts, axis=1)
    # Rounding may put a cosine just outside.
    np.clip(scores, -1, 1, out=scores)
    return scores


def unit_length(embeddings: Floats) -> Scores:
    """Embeddings (N, D) divided by their lengths.

    Raises:
        DataError: A length is 0 or not finite.
    """
    exact = embeddings.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    wrong = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
    if len(wrong):
        raise DataError(
            f"{len(wrong)} of {len(exact)} embeddings have no direction, first row {wrong[0]} "
            f"(length {lengths[wrong[0], 0]:g}). Look at the weights, or at these pictures."
        )
    units: Scores = (exact / lengths).astype(np.float32)
    return units


def _blocks(num_rows: int) -> Iterator[slice]:
    for start in range(0, num_rows, BLOCK):
        yield slice(start, start + BLOCK)


def mix_scores(nearest: Scores, classifier: Floats, *, nearest_share: float = 0.5) -> Scores:
    """A weighted mean of two scores (N, K), both cosines or otherwise of one scale.

    Args:
        nearest: As of ``identity_scores``.
        classifier: Cosines to the centres of the classes, or probabilities.
        nearest_share: Weight of the first.

    Source: half and half in knshnb/kaggle-happywhale-1st-place.
    """
    mixed = nearest_share * nearest.astype(np.float64) + (1 - nearest_share) * classifier
    return mixed.astype(np.float32)


def join_flipped(scores: Floats, flipped: Floats) -> Scores:
    """Scores of K individuals, of pictures and mirrored pictures scored over 2K, (N, K).

    A network that took the mirror image of individual k for individual K + k
    (``double_identities``) says of a picture's mirror image in the second half what it says of
    the picture in the first.

    Args:
        scores: Of the pictures, (N, 2K).
        flipped: Of the same pictures mirrored, (N, 2K).

    Source: earhian/Humpback-Whale-Identification-1st-.
    """
    half = scores.shape[1] // 2
    both = scores[:, :half].astype(np.float64) + flipped[:, half:].astype(np.float64)
    return (both / 2).astype(np.float32)


def double_identities(labels: Indices, *, num_identities: int) -> Indices:
    """Labels of N images and then of their N mirror images, (2N,), among 2K individuals."""
    return np.concatenate([labels, labels + num_identities])


def rank_identities(scores: Floats, *, k: int, threshold: float | None = None) -> Indices:
    """The k best individuals of each picture, best first, (N, k); K stands for an unknown one.

    Equal scores stand in the order of the individuals; the unknown one stands after all scores
    of ``threshold`` or more, as in a submission.

    Args:
        scores: (N, K); k is at most K, or K + 1 with an unknown one.
        k: Number of guesses.
        threshold: Score of an unknown individual; None: all are known.
    """
    left = scores.astype(np.float64)
    if threshold is not None:
        left = np.column_stack([left, np.full(len(left), threshold)])
    ranked = np.empty((len(left), k), dtype=np.int64)
    every = np.arange(len(left))
    # For a handful of guesses k passes are cheaper than sorting all individuals, and the first
    # of equal ones is found by definition.
    for place in range(k):
        ranked[:, place] = left.argmax(axis=1)
        left[every, ranked[:, place]] = -np.inf
    return ranked


def threshold_for_share(scores: Floats, *, share: float) -> float:
    """Threshold under which ``share`` of the pictures are first taken for unknown individuals.

    For a known share of such pictures, such as one probed or guessed. It lies midway between
    two pictures, so that it is no picture's own score. Equal best scores are not parted: fewer
    pictures than ``share`` may be below.

    Args:
        scores: Of the pictures to be ranked, (N, K).
        share: From 0 to 1.

    Source: knshnb/kaggle-happywhale-1st-place, by 30 bisections; here by sorting.
    """
    best = np.sort(scores.max(axis=1).astype(np.float64))
    num_unknown = round(share * len(best))
    if num_unknown == 0:
        return float(np.nextafter(best[0], -np.inf))
    if num_unknown == len(best):
        return float(np.nextafter(best[-1], np.inf))
    lower = best[best < best[num_unknown]]
    if not len(lower):
        return float(best[num_unknown])
    return float((lower[-1] + best[num_unknown]) / 2)


def choose_threshold(scores: Floats, truth: Indices, *, k: int = 5) -> tuple[float, float]:
    """The threshold of highest MAP@k, and that MAP@k.

    Every threshold that can make a difference is looked at. Of the best range the middle is
    taken; of equally good ranges the widest, of these the lowest.

    Args:
        scores: Of validation pictures, (N, K), some of them of individuals whose images were
            all held out.
        truth: Index of each picture's individual, (N,); ``UNKNOWN`` for those held out.
        k: Number of guesses that count.
    """
    start, places, changes = _threshold_changes(scores.astype(np.float64), truth, k)
    at, owner = np.unique(places, return_inverse=True)
    if not len(at):
        return 0.0, start
    steps = np.bincount(owner, weights=changes)
    # Gains before each place, and after the last: MAP@k of the ranges that places part.
    gains = start + np.r_[0.0, np.cumsum(steps)] / len(truth)
    best = np.flatnonzero(gains >= gains.max() - 1e-12)
    # A threshold beyond the scores is as good however far it is: the range ends a little off.
    margin = (at[-1] - at[0]) / len(at) or 1e-3
    edges = np.r_[at[0] - margin, at, at[-1] + margin]
    chosen = int(best[np.diff(edges)[best].argmax()])
    return float((edges[chosen] + edges[chosen + 1]) / 2), float(gains[chosen])


def _threshold_changes(
    scores: NDArray[np.float64], truth: Indices, k: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """MAP@k at the lowest threshold, and where and how much the sum over rows changes.

    A threshold just above a place has made its change. Known individuals lose a rank where the
    threshold passes their score; the unknown one wins a rank at each score it passes.
    """
    is_known = truth != UNKNOWN
    worth = np.r_[0.0, 1 / np.arange(1, k + 1), 0.0]  # of ranks 1 to k; k + 1 is too late
    rows = np.flatnonzero(is_known)
    own = scores[rows, truth[rows]]
    columns = np.arange(scores.shape[1])
    before = (scores[rows] > own[:, None]) | (
        (scores[rows] == own[:, None]) & (columns < truth[rows][:, None])
    )
    ranks = np.minimum(before.sum(axis=1) + 1, k + 1)
    losses = worth[np.minimum(ranks + 1, k + 1)] - worth[ranks]
    num_best = min(k, scores.shape[1])
    unknown = -np.sort(-scores[~is_known], axis=1)[:, :num_best]
    # A threshold above the j-th best score, but not above the one before, is rank j.
    wins = worth[1 : num_best + 1] - worth[2 : num_best + 2]
    total = worth[ranks].sum() + len(unknown) * worth[num_best + 1]
    counts = ranks <= k
    places = np.r_[own[counts], unknown.ravel()]
    changes = np.r_[losses[counts], np.tile(wins, len(unknown))]
    return float(total / len(truth)), places, changes
