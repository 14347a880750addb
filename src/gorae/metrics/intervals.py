"""How sure a score is: bootstrap intervals for the score itself and for the score to come."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gorae.errors import DataError
from gorae.metrics.scores import Floats, Scorer
from gorae.metrics.table import Metric, checked_score

# Rows times columns looked at in all draws together: about two seconds on one core.
WORK = 1e8
# A 2.5 % quantile of fewer draws is a guess; of more it does not change what is shown.
FEWEST_DRAWS, MOST_DRAWS = 200, 2000
# A perfect score does not prove perfection: each draw gets this many errors nobody saw. The
# spread (mean one half) gives, after n right answers, nearly the interval of Jeffreys' prior.
UNSEEN_ERRORS = (0.5, 0.5)
MOST_UNSEEN_ROWS = 500
# Undefined draws per good one, beyond which the rest would be a choice of the lucky ones.
MOST_REDRAWN = 3


@dataclass(frozen=True)
class Interval:
    """A score with its uncertainty."""

    score: float
    low: float
    """Lower end for the score on endlessly many such rows."""
    high: float
    predicted_low: float | None
    """Lower end for the score on ``num_rows_test`` new rows; None when not asked for."""
    predicted_high: float | None
    level: float
    num_draws: int
    num_redrawn: int
    """Draws thrown away because the metric was undefined on them (a class was absent)."""


@dataclass(frozen=True)
class _Population:
    """Seen rows, in units (groups or rows) that are drawn, then rows with made-up errors."""

    scorer: Scorer
    units: NDArray[np.int64]  # (N,) unit of each seen row
    num_units: int
    num_unseen: int

    def counts(self, picked: NDArray[np.int64], unseen: NDArray[np.int64]) -> Floats:
        per_unit = np.bincount(picked, minlength=self.num_units)
        seen = per_unit if self.num_units == len(self.units) else per_unit[self.units]
        made_up = np.bincount(unseen, minlength=self.num_unseen)
        return np.concatenate([seen, made_up]).astype(np.float64)


def bootstrap(
    metric: Metric,
    truth: NDArray[np.generic],
    values: NDArray[np.generic],
    *,
    groups: NDArray[np.int64] | None = None,
    num_rows_test: int | None = None,
    level: float = 0.95,
    num_draws: int | None = None,
    seed: int,
) -> Interval:
    """Percentile bootstrap of a score over rows, or over whole groups.

    Each draw takes as many units less one as there are, with replacement (which makes the
    variance unbiased). The prediction interval then draws ``num_rows_test`` rows, or the
    groups that make about as many, out of each draw: it holds the error of our estimate and
    the sampling error of the new rows. Label metrics of one label per row get a few errors
    nobody saw added, so that a perfect score has an interval too.

    Args:
        metric: From ``bind_metric`` or ``load_metric``.
        truth: Encoded targets, (N,) or (N, K).
        values: Predictions, (N, K).
        groups: Group of each row, (N,), when rows of a group resemble each other.
        num_rows_test: Number of new rows; absent: no prediction interval.
        level: Coverage, between 0 and 1.
        num_draws: Absent: as many as take about two seconds, from 200 to 2,000.
        seed: Seed of the draws.

    Raises:
        DataError: The metric is undefined, here or in most draws, or there is one unit only.

    Source: Efron, 1979; drawing one less: Rao and Wu, 1988, "Resampling inference with
    complex survey data".
    """
    score = metric.function(truth, values)
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers if numbers.ndim == 2 else numbers[:, None]
    rng = np.random.default_rng(seed)
    population = _build_population(metric, truth, numbers, groups=groups, rng=rng)
    columns = numbers.shape[1] if metric.needs in ("ranked", "probabilities") else 1
    if num_draws is None:
        num_draws = int(np.clip(WORK // (len(numbers) * columns), FEWEST_DRAWS, MOST_DRAWS))
    now: list[float] = []
    later: list[float] = []
    num_redrawn = 0
    while len(now) < num_draws:
        try:
            drawn = _draw(population, num_rows_test, rng)
        except DataError as error:
            num_redrawn += 1
            if num_redrawn > MOST_REDRAWN * num_draws:
                raise DataError(
                    f"No interval for {metric.name}: it is undefined in most draws of "
                    f"{population.num_units} rows or groups. {error}"
                ) from error
            continue
        now.append(drawn[0])
        later.append(drawn[1])
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = (float(q) for q in np.quantile(now, tails))
    ahead = None if num_rows_test is None else [float(q) for q in np.quantile(later, tails)]
    return Interval(
        score=score,
        low=low,
        high=high,
        predicted_low=ahead[0] if ahead else None,
        predicted_high=ahead[1] if ahead else None,
        level=level,
        num_draws=num_draws,
        num_redrawn=num_redrawn,
    )


def _build_population(
    metric: Metric,
    truth: NDArray[np.generic],
    values: Floats,
    *,
    groups: NDArray[np.int64] | None,
    rng: np.random.Generator,
) -> _Population:
    num_rows = len(truth)
    units = np.arange(num_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    num_units = 1 + int(units.max())
    if num_units < 2:
        raise DataError(
            f"No interval for {metric.name} from one {'row' if groups is None else 'group'}: "
            "it needs at least two."
        )
    num_unseen = 0
    if metric.needs == "labels" and truth.ndim == 1:
        num_unseen = min(num_rows, MOST_UNSEEN_ROWS)
        rows = rng.choice(num_rows, num_unseen, replace=False)
        values = values if values.shape[1] > 1 else np.hstack([1 - values, values])
        wrong = values[rows]
        # The true class comes last, so the best of the others is chosen.
        wrong[np.arange(num_unseen), truth[rows].astype(np.int64)] = values.min() - 1
        truth, values = np.concatenate([truth, truth[rows]]), np.vstack([values, wrong])
    return _Population(metric.scorer(truth, values), units, num_units, num_unseen)


def _draw(
    population: _Population, num_rows_test: int | None, rng: np.random.Generator
) -> tuple[float, float]:
    """The score of one resample, and of new rows drawn out of that resample."""
    num_units, num_unseen = population.num_units, population.num_unseen
    picked = rng.integers(0, num_units, num_units - 1)
    num_errors = int(rng.negative_binomial(*UNSEEN_ERRORS)) if num_unseen else 0
    unseen = rng.integers(0, max(num_unseen, 1), num_errors)
    counts = population.counts(picked, unseen)
    score = checked_score("", population.scorer(counts))
    if num_rows_test is None:
        return score, score
    num_rows = counts.sum()
    new_errors = int(rng.binomial(num_rows_test, num_errors / num_rows))
    unseen = rng.choice(unseen, new_errors) if new_errors else unseen[:0]
    share = (num_rows_test - new_errors) / len(population.units)
    num_new = max(1, round(num_units * share))
    counts = population.counts(rng.choice(picked, num_new), unseen)
    return score, checked_score("", population.scorer(counts))
