"""Is one predictions better than another on the same rows? Differences with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gorae.errors import DataError
from gorae.metrics import Metric
from gorae.metrics.scores import Scorer

# Rows times columns looked at in all draws of one comparison: about a fifth of a second.
WORK = 1e7
FEWEST_DRAWS, MOST_DRAWS = 200, 1000
# Undefined draws per good one, beyond which the rest would be a choice of the lucky ones.
MOST_REDRAWN = 3


@dataclass(frozen=True)
class Difference:
    """One predictions beside the one that others are compared with."""

    score: float
    """Its own score."""
    difference: float
    """The score of the other less its own."""
    interval: tuple[float, float] | None
    """Bootstrap interval of the difference, 95 %; None where there are too few rows."""


def paired_differences(
    metric: Metric,
    truth: NDArray[np.generic],
    values: NDArray[np.float32],
    rivals: Sequence[NDArray[np.float32]],
    *,
    groups: NDArray[np.int64],
    seed: int,
) -> list[Difference]:
    """The score of ``values`` less that of each rival, over draws of whole groups.

    All are scored on the same draws, so what is hard for both does not widen the interval.

    Args:
        metric: From ``bind_metric`` or ``load_metric``.
        truth: Encoded targets, (N,) or (N, K).
        values: The predictions that others are compared with, (N, K).
        rivals: Others, (N, K) each.
        groups: Group of each row, (N,).
        seed: Seed of the draws.

    Raises:
        DataError: The metric is undefined on the rows.

    Source: the paired bootstrap (Efron and Tibshirani, 1993); drawing one group less than
    there are: Rao and Wu, 1988.
    """
    if not rivals:
        return []
    scorers = [metric.scorer(truth, each) for each in (values, *rivals)]
    score, *others = (metric.function(truth, each) for each in (values, *rivals))
    units = np.unique(groups, return_inverse=True)[1]
    columns = values.shape[1] if metric.needs in ("ranked", "probabilities") else 1
    num_draws = int(np.clip(WORK // (len(values) * columns), FEWEST_DRAWS, MOST_DRAWS))
    rng = np.random.default_rng(seed)
    num_units = 1 + int(units.max())
    drawn: list[list[float]] = []
    for _ in range(num_draws * MOST_REDRAWN if num_units > 1 else 0):
        picked = rng.integers(0, num_units, num_units - 1)
        counts = np.bincount(picked, minlength=num_units)[units].astype(np.float64)
        if counts.any():
            drawn.extend(_scored(scorers, counts))
        if len(drawn) == num_draws:
            break
    if len(drawn) < num_draws:
        return [Difference(other, score - other, None) for other in others]
    table = np.array(drawn)
    tails = np.quantile(table[:, :1] - table[:, 1:], [0.025, 0.975], axis=0)
    return [
        Difference(other, score - other, (float(low), float(high)))
        for other, low, high in zip(others, *tails, strict=True)
    ]


def _scored(scorers: Sequence[Scorer], counts: NDArray[np.float64]) -> list[list[float]]:
    """The scores on one draw; nothing where the metric is undefined on it."""
    try:
        scores = [scorer(counts) for scorer in scorers]
    except DataError:
        return []
    return [scores] if np.isfinite(scores).all() else []
