"""Weights of members by their scores."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def score_weights(
    scores: Sequence[float | None], *, greater_is_better: bool
) -> NDArray[np.float64]:
    """Weight of each member by its score, (M,), summing to 1.

    A score that grows with quality weighs as it is, below 0 nothing: score / sum of scores. A
    loss weighs by its inverse; losses of 0 share everything, as is the limit. A negative
    number that is to be small (a score turned round) weighs by its size. ``None`` (undefined)
    weighs as the mean of the others; where nothing weighs anything, all are equal.

    Source: iloveslowfood/ImageClassfication (score / sum of scores, of macro F1).
    """
    known = np.array([score for score in scores if score is not None], dtype=np.float64)
    if not greater_is_better and (known < 0).any():
        known, greater_is_better = -known, True
    if greater_is_better:
        raw = known.clip(min=0)
    else:
        is_perfect = known == 0
        # The smallest over each: the same ratios as those of the inverses, which may overflow.
        raw = is_perfect * 1.0 if is_perfect.any() else known.min(initial=1.0) / known
    if not raw.any():
        return np.full(len(scores), 1 / len(scores))
    weights = np.full(len(scores), math.fsum(raw) / len(raw))
    weights[[score is not None for score in scores]] = raw
    found: NDArray[np.float64] = weights / math.fsum(weights)
    return found
