"""Several settings against one: is any better than the base, or is it chance?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gorae.errors import DataError
from gorae.metrics import Metric
from gorae.metrics.scores import Floats, Scorer

Values = NDArray[np.float32]  # (N, K)

# Rows times columns looked at in all draws, for each predictions that is scored.
WORK = 2e7
FEWEST_DRAWS, MOST_DRAWS = 400, 1000
# Undefined draws per good one, beyond which the rest would be a choice of the lucky ones.
MOST_REDRAWN = 3
LEVEL = 0.95
# As for the interval of one score (gorae.metrics.intervals): a few rows of which only one of
# two is right do not prove it better. Each draw gives each setting some errors nobody saw.
UNSEEN_ERRORS = (0.5, 0.5)
MOST_UNSEEN_ROWS = 100


@dataclass(frozen=True)
class Against:
    """One setting beside the base."""

    score: float
    """Mean over its seeds."""
    gain: float
    """How much better than the base; above 0 is better whatever the metric's direction."""
    interval: tuple[float, float] | None
    """Of the gain: with 95 % all intervals of the comparison hold at once. None where there
    are too few rows to tell."""


def compare_with_base(
    metric: Metric,
    truth: NDArray[np.generic],
    settings: Sequence[Sequence[Values]],
    *,
    groups: NDArray[np.int64],
    seed: int,
) -> list[Against]:
    """How much better each setting is than the first, judged together.

    All are scored on the same draws of whole groups, so what is hard for all does not widen
    the intervals. Where settings were trained with several seeds, the spread over seeds is
    part of the intervals; with one seed they say nothing about the chance of training. The
    intervals are as wide as needed for all to hold at once (max-t), so of many useless
    settings one is taken for better or worse in one comparison of twenty.

    Args:
        metric: From ``bind_metric`` or ``load_metric``.
        truth: Encoded targets, (N,) or (N, K).
        settings: For each setting, the base first, its predictions (N, K) with each seed; all
            with as many seeds.
        groups: Group of each row, (N,).
        seed: Seed of the draws.

    Returns:
        One value per setting; the first is the base beside itself.

    Raises:
        DataError: The metric is undefined on the rows.

    Source: paired bootstrap: Efron and Tibshirani, 1993; one group less than there are: Rao
    and Wu, 1988; several against one: Dunnett, 1955; max-t: Westfall and Young, 1993.
    """
    num_seeds = len(settings[0])
    assert all(len(setting) == num_seeds for setting in settings)
    sign = 1.0 if metric.greater_is_better else -1.0
    scores = np.array([[metric.function(truth, v) for v in each] for each in settings])
    means = scores.mean(axis=1)  # (M,)
    gains = sign * (means - means[0])
    rng = np.random.default_rng(seed)
    drawn = _draw_scores(metric, truth, settings, groups=groups, rng=rng)
    if drawn is None:
        return [Against(float(s), float(g), None) for s, g in zip(means, gains, strict=True)]
    totals = drawn.mean(axis=2)  # (draws, M)
    if num_seeds > 1:
        totals = totals + _seed_spread(scores) * rng.standard_normal(totals.shape)
    moved = sign * (totals - totals[:, :1])
    spread = moved.std(axis=0)
    away = np.abs(moved - moved.mean(axis=0)) / np.where(spread > 0, spread, 1)
    reach = float(np.quantile(away.max(axis=1), LEVEL)) * spread
    return [
        Against(float(score), float(gain), (float(gain - width), float(gain + width)))
        for score, gain, width in zip(means, gains, reach, strict=True)
    ]


def _seed_spread(scores: Floats) -> Floats:
    """Standard error of each setting's mean over seeds, (M,).

    Widened, as so few seeds tell a spread badly: a difference of two means of S seeds has a t
    distribution of 2 (S - 1) degrees of freedom.
    """
    num_seeds = scores.shape[1]
    tail = (1 + LEVEL) / 2
    widened = stats.t.ppf(tail, 2 * (num_seeds - 1)) / stats.norm.ppf(tail)
    spread: Floats = scores.std(axis=1, ddof=1) / np.sqrt(num_seeds) * widened
    return spread


@dataclass(frozen=True)
class _Population:
    """Seen rows in units that are drawn, then for each setting rows it alone gets wrong."""

    scorers: tuple[tuple[Scorer, ...], ...]  # settings, seeds
    units: NDArray[np.int64]  # (N,)
    num_units: int
    num_unseen: int  # rows per setting

    def draw(self, rng: np.random.Generator) -> Floats:
        """How often each row counts."""
        picked = rng.integers(0, self.num_units, self.num_units - 1)
        parts = [np.bincount(picked, minlength=self.num_units)[self.units]]
        for _ in self.scorers if self.num_unseen else ():
            rows = rng.integers(0, self.num_unseen, rng.negative_binomial(*UNSEEN_ERRORS))
            parts.append(np.bincount(rows, minlength=self.num_unseen))
        return np.concatenate(parts).astype(np.float64)

    def score(self, counts: Floats) -> Floats | None:
        """The scores on one draw, (M, S); None where the metric is undefined on it."""
        if not counts[: len(self.units)].any():
            return None
        try:
            scores = np.array([[each(counts) for each in row] for row in self.scorers])
        except DataError:
            return None
        return scores if np.isfinite(scores).all() else None


def _draw_scores(
    metric: Metric,
    truth: NDArray[np.generic],
    settings: Sequence[Sequence[Values]],
    *,
    groups: NDArray[np.int64],
    rng: np.random.Generator,
) -> Floats | None:
    """Scores on resampled rows, (draws, M, S); None where too few draws have a score."""
    population = _build_population(metric, truth, settings, groups=groups, rng=rng)
    if population.num_units < 2:
        return None
    num_rows, num_columns = settings[0][0].shape
    columns = num_columns if metric.needs in ("ranked", "probabilities") else 1
    num_draws = int(np.clip(WORK // (num_rows * columns), FEWEST_DRAWS, MOST_DRAWS))
    drawn: list[Floats] = []
    for _ in range(num_draws * MOST_REDRAWN):
        scores = population.score(population.draw(rng))
        if scores is not None:
            drawn.append(scores)
        if len(drawn) == num_draws:
            return np.array(drawn)
    return None


def _build_population(
    metric: Metric,
    truth: NDArray[np.generic],
    settings: Sequence[Sequence[Values]],
    *,
    groups: NDArray[np.int64],
    rng: np.random.Generator,
) -> _Population:
    units = np.unique(groups, return_inverse=True)[1]
    num_unseen, rows = 0, np.arange(0)
    if metric.needs == "labels" and truth.ndim == 1:
        num_unseen = min(len(truth), MOST_UNSEEN_ROWS)
        rows = rng.choice(len(truth), num_unseen, replace=False)
    extended = np.concatenate([truth, *(truth[rows] for _ in settings if num_unseen)])
    scorers = tuple(
        tuple(
            metric.scorer(
                extended, _with_unseen(values, truth[rows], place, num_settings=len(settings))
            )
            for values in setting
        )
        for place, setting in enumerate(settings)
    )
    return _Population(scorers, units, 1 + int(units.max()), num_unseen)


def _with_unseen(
    values: Values, truth: NDArray[np.generic], place: int, *, num_settings: int
) -> NDArray[np.float64]:
    """Predictions, then for each setting the same rows: this one is wrong in its own alone."""
    numbers = np.asarray(values, dtype=np.float64)
    if not len(truth):
        return numbers
    numbers = numbers if numbers.shape[1] > 1 else np.hstack([1 - numbers, numbers])
    right = np.eye(numbers.shape[1])[truth.astype(np.int64)]
    # The true class comes last; of the others the first is answered.
    blocks = [1 - right if each == place else right for each in range(num_settings)]
    return np.vstack([numbers, *blocks])
