"""Metrics on probabilities, scores and numbers.

Each comes as a ``prepare_`` function that does what is the same for every choice of rows
(sorting, logarithms) once, and returns a scorer: it takes how often each row counts, (N,),
and returns the score. The bootstrap calls a scorer thousands of times.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gorae.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Scorer = Callable[[Floats], float]

# Kaggle's rule for log loss: probabilities are clipped so that no row costs infinity.
LOG_LOSS_FLOOR = 1e-15
# Squares of larger numbers would leave no digits, and those beyond 1e154 overflow.
LARGEST_VALUE = 1e12


def weighted_mean(rows: Floats) -> Scorer:
    """The scorer of a metric that is the mean of one number per row, (N,)."""
    return lambda counts: float(counts @ rows / counts.sum())


def prepare_log_loss(truth: NDArray[np.generic], values: Floats) -> Scorer:
    """Mean of -ln p of the true class, rows divided by their sum, clipped to 1e-15.

    Multi-label (0/1 truth (N, K)): mean over all entries of the binary log loss, no division.

    Raises:
        DataError: A value is outside 0 to 1, or a row sums to 0.
    """
    outside = ((values < 0) | (values > 1)).any(axis=1)
    if outside.any():
        raise DataError(
            f"Log loss needs probabilities from 0 to 1: {int(outside.sum())} of {len(values)} "
            f"rows have a value outside, first row {int(outside.argmax())}."
        )
    if truth.ndim == 2:
        p = values.clip(LOG_LOSS_FLOOR, 1 - LOG_LOSS_FLOOR)
        return weighted_mean(-np.log(np.where(truth == 1, p, 1 - p)).mean(axis=1))
    sums = values.sum(axis=1)
    if (sums == 0).any():
        raise DataError(
            f"Log loss needs rows with a positive sum: {int((sums == 0).sum())} of "
            f"{len(values)} rows are all 0, first row {int((sums == 0).argmax())}."
        )
    rows = np.arange(len(values))
    p = values[rows, truth.astype(np.int64)] / sums
    return weighted_mean(-np.log(p.clip(LOG_LOSS_FLOOR, 1 - LOG_LOSS_FLOOR)))


def _ties(scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ascending order of the scores, and where each run of equal scores starts in it."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    return order, starts


def _one_class(counts: Floats, is_positive: NDArray[np.bool_]) -> DataError:
    missing = "negative" if counts @ is_positive > 0 else "positive"
    return DataError(
        f"ROC-AUC is undefined: no {missing} row among {int(counts.sum())}. "
        "It needs rows of both classes."
    )


def _prepare_auc(is_positive: NDArray[np.bool_], scores: Floats) -> Scorer:
    """Mann-Whitney: share of positive-negative pairs in the right order, ties one half."""
    order, starts = _ties(scores)
    ends = np.r_[starts[1:], len(order)]
    tie_of = np.repeat(np.arange(len(starts)), ends - starts)
    places = np.flatnonzero(is_positive[order])
    first, last = starts[tie_of[places]], ends[tie_of[places]]

    def score(counts: Floats) -> float:
        taken = counts[order]
        below = np.r_[0.0, np.cumsum(taken)]
        weights = taken[places]
        num_positives = weights.sum()
        num_pairs = num_positives * (below[-1] - num_positives)
        if num_pairs == 0:
            return float("nan")
        # Rows below each positive, less the pairs of two positives: half of their square.
        total = weights @ (below[first] + below[last]) / 2 - num_positives**2 / 2
        return float(total / num_pairs)

    return score


def positive_scores(
    truth: NDArray[np.generic], values: Floats
) -> tuple[NDArray[np.bool_], Floats]:
    """Whether each row is positive, and its score: of class 1, or of the only column.

    Raises:
        ConfigError: There are more than two classes.
    """
    if truth.ndim == 2 and truth.shape[1] == 1:
        return truth[:, 0] == 1, values[:, 0]
    if truth.ndim == 2 or values.shape[1] > 2:
        raise ConfigError(
            f"This metric is for two classes, here are {values.shape[1]}. Use roc_auc_macro, "
            "log_loss or another metric for several classes."
        )
    return truth == 1, values[:, -1]


def prepare_roc_auc(truth: NDArray[np.generic], values: Floats) -> Scorer:
    """Area under the ROC curve of class 1, or of the only column; any finite score is taken."""
    is_positive, scores = positive_scores(truth, values)
    auc = _prepare_auc(is_positive, scores)

    def score(counts: Floats) -> float:
        value = auc(counts)
        if np.isnan(value):
            raise _one_class(counts, is_positive)
        return value

    return score


def _class_aucs(truth: NDArray[np.generic], values: Floats) -> list[Scorer]:
    matrix = truth if truth.ndim == 2 else truth[:, None] == np.arange(values.shape[1])
    return [_prepare_auc(matrix[:, k] == 1, values[:, k]) for k in range(values.shape[1])]


def roc_auc_per_class(truth: NDArray[np.generic], values: Floats) -> Floats:
    """One-vs-rest AUC of each class, (K,); NaN where a class has no or only positive rows."""
    ones = np.ones(len(values))
    return np.array([auc(ones) for auc in _class_aucs(truth, values.astype(np.float64))])


def prepare_roc_auc_macro(truth: NDArray[np.generic], values: Floats) -> Scorer:
    """Plain mean of the one-vs-rest AUC of the classes with a positive and a negative row."""
    aucs = _class_aucs(truth, values)

    def score(counts: Floats) -> float:
        scores = np.array([auc(counts) for auc in aucs])
        if np.isnan(scores).all():
            raise DataError(
                "ROC-AUC is undefined: no class has both a positive and a negative row among "
                f"{int(counts.sum())}."
            )
        return float(np.nanmean(scores))

    return score


def prepare_partial_auc(
    truth: NDArray[np.generic], values: Floats, *, min_tpr: float
) -> Scorer:
    """Area between the ROC curve and the line of true positive rate ``min_tpr``.

    Not rescaled: 1 - min_tpr is perfect, (1 - min_tpr)^2 / 2 is chance. Source: the score of
    ISIC 2024 ("pAUC above 80 % TPR", 0 to .2), which takes scikit-learn's partial AUC up to
    the false positive rate 1 - min_tpr after swapping classes and scores, and undoes its
    scaling.
    """
    if not 0 <= min_tpr < 1:
        raise ConfigError(f"min_tpr of partial_auc must be from 0 to below 1, got {min_tpr:g}.")
    is_positive, scores = positive_scores(truth, values)
    order, starts = _ties(scores)
    positive_first = is_positive[order].astype(np.float64)
    limit = 1 - min_tpr

    def score(counts: Floats) -> float:
        taken = counts[order]
        positives = np.add.reduceat(taken * positive_first, starts)
        negatives = np.add.reduceat(taken, starts) - positives
        if positives.sum() == 0 or negatives.sum() == 0:
            raise _one_class(counts, is_positive)
        # Seen from the lowest score up: missed positives to the right, true negatives upward.
        missed = np.r_[0.0, np.cumsum(positives) / positives.sum()]
        kept = np.r_[0.0, np.cumsum(negatives) / negatives.sum()]
        stop = int(np.searchsorted(missed, limit, side="right"))
        if stop < len(missed):
            height = np.interp(limit, missed[stop - 1 : stop + 1], kept[stop - 1 : stop + 1])
            missed, kept = np.r_[missed[:stop], limit], np.r_[kept[:stop], height]
        return float((np.diff(missed) * (kept[1:] + kept[:-1]) / 2).sum())

    return score


def prepare_probabilistic_f_beta(
    truth: NDArray[np.generic], values: Floats, *, beta: float
) -> Scorer:
    """F-beta whose hits are sums of probabilities of class 1 instead of counts.

    Precision is p(positives) / p(all), recall p(positives) / number of positives; 0 when
    either is 0. Source: RSNA 2022 breast cancer detection (probabilistic F1).
    """
    is_positive, scores = positive_scores(truth, values)
    p = scores.clip(0, 1)
    positive = is_positive.astype(np.float64)

    def score(counts: Floats) -> float:
        num_positives, hits, called = counts @ positive, counts @ (p * positive), counts @ p
        if num_positives == 0:
            raise DataError(
                f"The probabilistic F-beta is undefined: no positive row among "
                f"{int(counts.sum())}. It needs at least one."
            )
        if hits == 0:
            return 0.0
        return float((1 + beta**2) * hits / (beta**2 * num_positives + called))

    return score


def _differences(truth: NDArray[np.generic], values: Floats) -> Floats:
    told, said = truth.astype(np.float64), values[:, 0]
    too_large = (np.abs(told) > LARGEST_VALUE) | (np.abs(said) > LARGEST_VALUE)
    if too_large.any():
        raise DataError(
            f"{int(too_large.sum())} of {len(said)} rows have a number beyond "
            f"{LARGEST_VALUE:g}, first row {int(too_large.argmax())}: an error of that size "
            "cannot be averaged. Rescale the target."
        )
    return said - told


def prepare_mae(truth: NDArray[np.generic], values: Floats) -> Scorer:
    """Mean absolute error."""
    return weighted_mean(np.abs(_differences(truth, values)))


def prepare_rmse(truth: NDArray[np.generic], values: Floats) -> Scorer:
    """Root of the mean squared error."""
    mean = weighted_mean(_differences(truth, values) ** 2)
    return lambda counts: float(np.sqrt(mean(counts)))
