"""Adversarial validation: can a model tell test pictures from train pictures?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import expit

from gorae.eda.association import auc_association
from gorae.eda.boosting import boosted_oof, encode_columns
from gorae.errors import DataError
from gorae.splits import make_folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NUM_FOLDS = 5

# Chance that a train and a test set of one kind are called shifted.
FALSE_ALARM_RATE = 0.05

# Fewer pictures of either part tell nothing.
FEWEST_ROWS = 10

# Rows of each part that train a fold's model at most: more sharpen the answer little.
MOST_ROWS_OF_PART = 5_000

# Weight of the squared coefficients against the mean loss, for standardised features. Strong:
# there are more features than a few hundred pictures can fit.
L2 = 3.0
MOST_ITERATIONS = 200


@dataclass(frozen=True)
class Shift:
    """How well train and test pictures can be told apart."""

    auc: float
    """0.5: not at all; out of fold, groups kept together."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    p_value: float
    is_shifted: bool
    """Whether so high an AUC has a chance of at most 5 % where nothing differs."""
    test_likeness: Floats
    """Share of the other pictures of its fold that look less like test, (N,), 0 to 1."""
    top_columns: tuple[tuple[str, float], ...]
    """Columns by the share of the telling that is theirs; empty for embeddings."""


def embedding_shift(
    features: NDArray[np.floating[Any]], is_test: NDArray[np.bool_], groups: Ints, *, seed: int
) -> Shift:
    """Tell test from train by features of a network, with strongly regularised regression.

    Args:
        features: (N, D); standardised by the train part of each fold.
        is_test: Whether each picture is to be predicted, (N,).
        groups: Group of each row, (N,), over both parts: near-duplicates and subjects stay in
            one fold, so that recognising a picture is no proof of a shift. Subjects that are
            known for train only cannot be kept apart in test: what is told is then partly
            who is seen.
        seed: Of folds and of the rows that are drawn from large sets.

    Raises:
        DataError: Either part has fewer than ten pictures, or all are one group.
    """

    folds = _shift_folds(is_test, groups, seed=seed)
    rng = np.random.default_rng(seed)
    scores = np.zeros(len(is_test))
    for fold in range(int(folds.max()) + 1):
        train, valid = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        parts = [train[~is_test[train]], train[is_test[train]]]
        drawn = [
            part
            if len(part) <= MOST_ROWS_OF_PART
            else rng.choice(part, MOST_ROWS_OF_PART, replace=False)
            for part in parts
        ]
        scores[valid] = _logistic(features, is_test, np.sort(np.concatenate(drawn)), valid)
    return _shift(scores, is_test, groups, folds=folds)


def metadata_shift(
    columns: pd.DataFrame,
    is_test: NDArray[np.bool_],
    groups: Ints,
    *,
    seed: int,
    num_threads: int = 1,
) -> Shift:
    """Tell test from train by what surrounds the pictures, with small boosted trees.

    Args, result and errors as of ``embedding_shift``; ``columns`` as in ``metadata_leaks``.
    Leave out what differs by design: ids, orders, file numbers, folders.
    """
    if columns.shape[1] == 0:
        raise DataError("There are no columns to look for a shift in: give one at least.")
    folds = _shift_folds(is_test, groups, seed=seed)
    encoded = encode_columns(columns)
    scores, gains = boosted_oof(
        encoded,
        is_test.astype(np.int64),
        folds,
        task="multiclass",
        seed=seed,
        num_threads=num_threads,
    )
    told = [
        (encoded.names[place], float(gains[place]))
        for place in np.argsort(-gains, kind="stable")
        if gains[place] > 0
    ]
    return _shift(scores[:, 0], is_test, groups, folds=folds, top_columns=tuple(told))


def rows_like_test(
    shift: Shift, is_test: NDArray[np.bool_], *, count: int
) -> tuple[Ints, Ints]:
    """Train rows that look most like test, the most first; and least, the least first."""
    rows = np.flatnonzero(~is_test)
    order = np.argsort(-shift.test_likeness[rows], kind="stable")
    return rows[order[:count]], rows[order[::-1][:count]]


def _shift_folds(is_test: NDArray[np.bool_], groups: Ints, *, seed: int) -> Ints:
    num_test = int(is_test.sum())
    num_train = len(is_test) - num_test
    if min(num_test, num_train) < FEWEST_ROWS:
        raise DataError(
            f"Train and test cannot be compared: there are {num_train} train and {num_test} "
            f"test pictures, and {FEWEST_ROWS} of each are needed."
        )
    num_folds = int(np.clip(len(np.unique(groups)), 2, NUM_FOLDS))
    return make_folds(is_test.astype(np.int64), groups, num_folds=num_folds, seed=seed)


def _shift(
    scores: Floats,
    is_test: NDArray[np.bool_],
    groups: Ints,
    *,
    folds: Ints,
    top_columns: tuple[tuple[str, float], ...] = (),
) -> Shift:
    found = auc_association(is_test[:, None], scores[:, None], folds=folds, groups=groups)
    likeness = np.zeros(len(scores))
    for fold in np.unique(folds):
        rows = folds == fold
        likeness[rows] = (stats.rankdata(scores[rows]) - 1) / max(int(rows.sum()) - 1, 1)
    return Shift(
        auc=found.score,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        is_shifted=found.p_value <= FALSE_ALARM_RATE,
        test_likeness=likeness,
        top_columns=top_columns,
    )


def _logistic(
    features: NDArray[np.floating[Any]], is_test: NDArray[np.bool_], train: Ints, valid: Ints
) -> Floats:
    """Logits of the rows ``valid`` from a regression on the rows ``train``, (len(valid),).

    Both parts weigh the same, however few pictures one has.
    """
    rows = features[train].astype(np.float32)
    mean = rows.mean(axis=0, dtype=np.float64)
    spread = rows.std(axis=0, dtype=np.float64)
    # A feature that is constant in train has no scale; it is left out.
    scale = np.where(spread > 0, 1 / np.maximum(spread, 1e-12), 0)
    rows = ((rows - mean) * scale).astype(np.float32)
    target = is_test[train]
    share = float(target.mean())
    signs = np.where(target, 1.0, -1.0)
    weights = np.where(target, 0.5 / share, 0.5 / (1 - share)) / len(rows)

    def loss(point: Floats) -> tuple[float, Floats]:
        logits = rows @ point[:-1].astype(np.float32) + point[-1]
        value = weights @ np.logaddexp(0, -signs * logits)
        slopes = -weights * signs * expit(-signs * logits)
        gradient = np.r_[slopes.astype(np.float32) @ rows, slopes.sum()]
        gradient[:-1] += L2 * point[:-1]
        return float(value + L2 / 2 * (point[:-1] @ point[:-1])), gradient

    start = np.zeros(rows.shape[1] + 1)
    found = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MOST_ITERATIONS}
    ).x
    shown = ((features[valid].astype(np.float32) - mean) * scale) @ found[:-1]
    return np.asarray(shown + found[-1], dtype=np.float64)
