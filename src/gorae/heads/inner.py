"""The choice of a strength inside the train part."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Up to here all inner folds are fitted; a single hold-out of more rows than a fifth of this
# tells strengths apart as well (their losses come from the same rows) at a fifth of the time.
LARGE = 5_000
NUM_INNER_FOLDS = 5

# Fits one strength after another on rows ``train``; yields the mean loss on rows ``valid``.
Trial = Callable[[NDArray[np.int64], NDArray[np.int64]], Iterator[float]]

# Losses fall and then rise along the strengths. After two in a row that are worse than the
# best the rest, which are the slowest to fit, are left out.
MAX_WORSE = 2


def inner_folds(
    truth: NDArray[np.int64] | NDArray[np.float32],
    groups: NDArray[np.int64],
    *,
    seed: int,
) -> NDArray[np.int64]:
    """Deal groups to folds, like next to like, so that every fold sees every kind.

    Simpler than the folds of a run: these only rank strengths, and are made in milliseconds.

    Args:
        truth: Class indices or values (N,), or 0/1 rows (N, K).
        groups: Group of each row, (N,); none is in two folds.
        seed: Order of groups of one kind.

    Returns:
        Fold of each row, (N,): five folds, or as many as there are groups.
    """
    kinds = truth if truth.ndim == 1 else np.unique(truth, axis=0, return_inverse=True)[1]
    _, first_rows, group_of_row = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first_rows))
    order = shuffled[np.argsort(kinds[first_rows][shuffled], kind="stable")]
    fold_of_group = np.empty(len(order), dtype=np.int64)
    fold_of_group[order] = np.arange(len(order)) % NUM_INNER_FOLDS
    return fold_of_group[group_of_row]


def choose_strength(
    trial: Trial,
    folds: NDArray[np.int64],
    *,
    strengths: Sequence[float],
    max_folds: int,
) -> tuple[float, tuple[tuple[float, float], ...]]:
    """The strength with the least mean loss over inner folds, and the losses found.

    Equal losses: the stronger regularisation. With one strength, or one group, there is
    nothing to compare: the middle one is taken, and no losses are given.
    """
    if len(strengths) == 1 or folds.max() == 0:
        return strengths[len(strengths) // 2], ()
    trials = [
        trial(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
        for fold in range(min(int(folds.max()) + 1, max_folds))
    ]
    losses: list[float] = []
    for of_strength in zip(*trials, strict=True):
        losses.append(float(np.mean(of_strength)))
        if len(losses) - 1 - int(np.argmin(losses)) >= MAX_WORSE:
            break
    best = strengths[int(np.argmin(losses))]
    return best, tuple(zip(strengths, losses, strict=False))
