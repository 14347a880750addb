"""Labels that out-of-fold predictions contradict: confident learning, and its kin for numbers.

Ours and no package: the method is the few lines of ``confident_classes`` below, which tests
hold against examples worked by hand; a package would bring classifiers and folds of its own.
Source: Northcutt, Jiang and Chuang, 2021, "Confident learning: estimating uncertainty in
dataset labels" (arXiv 1911.00068).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Iglewicz and Hoaglin, 1993: residuals beyond this many robust standard deviations.
FAR_RESIDUAL = 3.5
# First place of PANDA 2020: train images whose grade lies further from its out-of-fold
# prediction were dropped.
FAR_GRADE = 1.6

NUM_NEIGHBOURS = 10
# Similarities held at once while neighbours are sought.
BLOCK_CELLS = 20_000_000


def confident_joint(truth: Ints, proba: NDArray[np.floating[Any]]) -> Ints:
    """How many rows given as class i are confidently of class j, (K, K).

    A row is confidently of class j when its probability of j is at least the mean probability
    of j over the rows given as j; of several such classes the most probable counts. Rows that
    are confidently nothing are not counted. The diagonal holds labels that stand.

    Args:
        truth: Given class of each row, (N,).
        proba: Out-of-fold probabilities, (N, K).
    """
    num_classes = proba.shape[1]
    joint = np.zeros((num_classes, num_classes), dtype=np.int64)
    confident = confident_classes(truth, proba)
    known = confident >= 0
    np.add.at(joint, (truth[known], confident[known]), 1)
    return joint


def confident_classes(truth: Ints, proba: NDArray[np.floating[Any]]) -> Ints:
    """The class that each row confidently is, (N,); -1 where it is confidently nothing."""
    rows = proba.astype(np.float64)
    counts = np.bincount(truth, minlength=rows.shape[1])
    own = rows[np.arange(len(rows)), truth]
    sums = np.bincount(truth, weights=own, minlength=rows.shape[1])
    # A class that no row is given as has no mean: nothing is confidently of it.
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    # The mean of equal numbers may be off in the last digit, which must not exclude them.
    above = np.where(rows >= thresholds - 1e-9, rows, -1.0)
    return np.where(above.max(axis=1) >= 0, above.argmax(axis=1), -1).astype(np.int64)


def estimated_joint(truth: Ints, proba: NDArray[np.floating[Any]]) -> Floats:
    """Estimated share of all rows that are given as class i and truly of class j, (K, K).

    The confident joint with each row scaled to the number of rows given as that class; it
    sums to 1. Off the diagonal stand the labels estimated to be wrong.
    """
    joint = confident_joint(truth, proba).astype(np.float64)
    # A class without a confident row is taken as right.
    joint[np.diag_indices(len(joint))] += joint.sum(axis=1) == 0
    counts = np.bincount(truth, minlength=len(joint))
    scaled = joint / joint.sum(axis=1, keepdims=True) * counts[:, None]
    return np.asarray(scaled / scaled.sum())


def noise_share(truth: Ints, proba: NDArray[np.floating[Any]]) -> float:
    """Estimated share of wrong labels, from 0 to 1; of no use where classes have a few rows."""
    return float(1 - np.trace(estimated_joint(truth, proba)))


def self_confidence(truth: Ints, proba: Floats) -> Floats:
    """1 less the probability of the given class, (N,): 1 is most suspect."""
    return 1 - proba[np.arange(len(truth)), truth]


def margin(truth: Ints, proba: Floats) -> Floats:
    """The normalised margin turned round, (N,): 1 is most suspect, 0.5 undecided, 0 least.

    Half of 1 plus the best other probability less that of the given class.
    """
    others = proba.copy()
    others[np.arange(len(truth)), truth] = -np.inf
    return np.asarray((1 + others.max(axis=1) - proba[np.arange(len(truth)), truth]) / 2)


SCORES: dict[str, Callable[[Ints, Floats], Floats]] = {
    "margin": margin,
    "self_confidence": self_confidence,
}


def class_suspects(
    truth: Ints, proba: NDArray[np.floating[Any]], *, score: str = "margin"
) -> pd.DataFrame:
    """All rows, the most suspect label first.

    Args:
        truth: Given class of each row, (N,).
        proba: Out-of-fold probabilities, (N, K), K at least 2; or those averaged with the
            class shares of neighbours, see ``neighbour_shares``.
        score: A name of ``SCORES``.

    Returns:
        Columns ``image`` (row), ``given``, ``suggested`` (the most probable other class),
        ``score`` (0 to 1, falling), ``rank`` (from 1) and ``is_flagged``: the row is
        confidently of another class, and another is more probable than the given.
    """
    values = proba.astype(np.float64)
    others = values.copy()
    others[np.arange(len(truth)), truth] = -np.inf
    confident = confident_classes(truth, values)
    return _ranked(
        {
            "image": np.arange(len(truth)),
            "given": truth,
            "suggested": others.argmax(axis=1),
            "score": SCORES[score](truth, values),
            # With a few rows of a class its mean says little; nothing less likely than the
            # given class is put forward.
            "is_flagged": (confident >= 0)
            & (confident != truth)
            & (margin(truth, values) > 0.5),
        }
    )


def multilabel_suspects(
    truth: NDArray[np.generic], proba: NDArray[np.floating[Any]]
) -> pd.DataFrame:
    """The entries of 0/1 labels that the model contradicts, the most suspect first.

    Each label is a question of two classes of its own.

    Args:
        truth: 0/1 labels, (N, K).
        proba: Out-of-fold probabilities of each label, (N, K).

    Returns:
        Columns as of ``class_suspects``, and ``label`` (column); ``given`` and ``suggested``
        are 0 or 1. Entries with a score of at most 0.5 are left out.
    """
    parts = []
    for label in range(proba.shape[1]):
        yes = proba[:, label].astype(np.float64)
        part = class_suspects(
            truth[:, label].astype(np.int64), np.stack([1 - yes, yes], axis=1)
        )
        parts.append(part[part["score"] > 0.5].assign(label=label))
    whole = pd.concat(parts, ignore_index=True).drop(columns="rank")
    return _ranked({str(name): whole[name].to_numpy() for name in whole})


def number_suspects(
    truth: NDArray[np.floating[Any]], values: NDArray[np.floating[Any]]
) -> pd.DataFrame:
    """All rows by the size of their residual in robust standard deviations.

    Args:
        truth: Given numbers, (N,).
        values: Out-of-fold predictions, (N,).

    Returns:
        Columns as of ``class_suspects``; ``suggested`` is the prediction, ``score`` the
        modified z-score, flagged beyond 3.5.

    Source: Iglewicz and Hoaglin, 1993, "How to detect and handle outliers".
    """
    residuals = truth.astype(np.float64) - values.astype(np.float64)
    off = np.abs(residuals - np.median(residuals))
    # Normal numbers: median absolute deviation 0.6745, mean absolute deviation 0.7979. The
    # mean stands in where more than half of the residuals are equal.
    scale = np.median(off) / 0.6745 or off.mean() / 0.7979 or 1.0
    return _ranked(
        {
            "image": np.arange(len(truth)),
            "given": truth.astype(np.float64),
            "suggested": values.astype(np.float64),
            "score": off / scale,
            "is_flagged": off / scale > FAR_RESIDUAL,
        }
    )


def grade_suspects(truth: Ints, proba: NDArray[np.floating[Any]]) -> pd.DataFrame:
    """All rows of an ordinal task by the distance of their grade from the expected grade.

    Args:
        truth: Given grade of each row, (N,).
        proba: Out-of-fold probabilities of the grades, (N, K).

    Returns:
        Columns as of ``class_suspects``; ``suggested`` is the expected grade, rounded;
        ``score`` the distance in grades, flagged beyond 1.6.
    """
    expected = proba.astype(np.float64) @ np.arange(proba.shape[1])
    return _ranked(
        {
            "image": np.arange(len(truth)),
            "given": truth,
            "suggested": np.floor(expected + 0.5).astype(np.int64),
            "score": np.abs(truth - expected),
            "is_flagged": far_labels(truth, expected, threshold=FAR_GRADE),
        }
    )


SUSPECTS: dict[Task, Callable[[Any, Any], pd.DataFrame]] = {
    "multiclass": class_suspects,
    "multilabel": multilabel_suspects,
    "ordinal": grade_suspects,
    "regression": number_suspects,
}


def far_labels(
    truth: NDArray[Any], oof_values: NDArray[np.floating[Any]], *, threshold: float
) -> NDArray[np.bool_]:
    """Whether each label is further than ``threshold`` from its out-of-fold value, (N,).

    Source: PANDA 2020, first place, which dropped these from training; see ``FAR_GRADE``.
    """
    return np.asarray(np.abs(truth - oof_values.astype(np.float64)) > threshold)


def neighbour_shares(
    features: NDArray[np.floating[Any]],
    truth: Ints,
    groups: Ints,
    *,
    num_classes: int,
    num_neighbours: int = NUM_NEIGHBOURS,
) -> Floats:
    """Shares of the classes among the nearest pictures of other groups, (N, K).

    Neighbours are found by the cosine of standardised features and weigh by it. Averaged with
    the probabilities of a linear model they rank wrong labels better than either
    (``benchmarks/label_errors.py``): the model sees classes, they see single pictures.

    Args:
        features: (N, D).
        truth: Given class of each row, (N,).
        groups: Group of each row, (N,); a row's own group never votes.
        num_classes: K.
        num_neighbours: Votes per row; fewer where there are fewer other rows.
    """
    num_rows = len(features)
    unit = _unit_rows(features)
    shares = np.full((num_rows, num_classes), 1 / num_classes)
    num_nearest = min(num_neighbours, num_rows - 1)
    step = max(BLOCK_CELLS // num_rows, 1)
    for start in range(0, num_rows if num_nearest > 0 else 0, step):
        rows = np.arange(start, min(start + step, num_rows))
        likeness = unit[rows] @ unit.T
        likeness[groups[rows][:, None] == groups] = -np.inf
        nearest = np.argpartition(-likeness, num_nearest - 1, axis=1)[:, :num_nearest]
        votes = np.maximum(np.take_along_axis(likeness, nearest, axis=1), 0).astype(np.float64)
        table = np.zeros((len(rows), num_classes))
        np.add.at(table, (np.arange(len(rows))[:, None], truth[nearest]), votes)
        total = table.sum(axis=1)
        # Without a single neighbour on the same side nothing is known: even shares stay.
        shares[rows[total > 0]] = table[total > 0] / total[total > 0, None]
    return shares


def _unit_rows(features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Standardised features scaled to length 1, (N, D)."""
    numbers = features.astype(np.float32)
    spread = numbers.std(axis=0, dtype=np.float64)
    centred = numbers - numbers.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred *= np.where(spread > 0, 1 / np.maximum(spread, 1e-12), 0).astype(np.float32)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-12), dtype=np.float32)


def _ranked(columns: dict[str, NDArray[Any]]) -> pd.DataFrame:
    """The columns by falling score, equal ones in the order given, with their rank."""
    order = np.argsort(-columns["score"], kind="stable")
    table = pd.DataFrame({name: values[order] for name, values in columns.items()})
    table["rank"] = np.arange(1, len(table) + 1)
    return table
