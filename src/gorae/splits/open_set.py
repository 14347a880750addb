"""Open sets: individuals that are held out wholly, and so unknown where they validate.

On the test set of such a competition some pictures show individuals that nobody knows. A
validation part tells how well they are told apart only if it has such pictures too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.errors import DataError
from gorae.splits.assign import Ints

NOBODY = -1
"""Label of a picture of an individual that nobody knows."""

# A choice among fewer is none.
LEAST_KNOWN = 2


def choose_unknown(
    labels: Ints,
    groups: Ints,
    *,
    share: float,
    seed: int,
    names: Sequence[str],
    every_row_validates: bool,
) -> NDArray[np.bool_]:
    """Draw individuals that are to be held out wholly: which rows are theirs, (N,).

    Individuals are drawn until about ``share`` of the rows are unknown. Where every row
    validates once, an individual of a single group is always unknown there, as nothing of it
    is left to train on: those count first, and so do rows that show nobody. The draw depends
    on the counts of each individual, not on the order of the rows.

    Args:
        labels: Individual of each row, (N,), from 0; ``NOBODY`` for one that nobody knows.
        groups: Group of each row, (N,).
        share: Share of the rows, 0 to below 1.
        seed: Which are drawn.
        names: Of the individuals, K, for messages.
        every_row_validates: Whether the split has folds; else it holds one part out.

    Raises:
        DataError: Too few individuals would be left to be known.
    """
    is_somebody = labels != NOBODY
    pairs = pd.DataFrame({"label": labels, "group": groups})[is_somebody]
    found = pairs.groupby("label")["group"].agg(["size", "nunique"])
    is_single = (found["nunique"] < 2).to_numpy(bool)
    individuals, sizes = found.index.to_numpy(np.int64), found["size"].to_numpy(np.int64)
    is_chosen = is_single.copy() if every_row_validates else np.zeros(len(found), dtype=bool)
    wanted = share * len(labels)
    num_rows = int(sizes[is_chosen].sum())
    if every_row_validates:
        num_rows += int((~is_somebody).sum())
    for place in np.random.default_rng(seed).permutation(len(found)):
        size = int(sizes[place])
        if not is_chosen[place] and abs(num_rows + size - wanted) < abs(num_rows - wanted):
            is_chosen[place] = True
            num_rows += size
    known = individuals[~is_chosen & ~is_single]
    if len(known) < LEAST_KNOWN:
        shown = ", ".join(names[label] for label in known) or "none"
        raise DataError(
            f"split.unknown_share = {share:g} leaves {len(known)} individuals ({shown}) with "
            f"two groups of pictures or more, and {LEAST_KNOWN} are needed to be told apart. "
            "Set it lower."
        )
    return np.isin(labels, individuals[is_chosen])


def unknown_rows(
    folds: Ints, groups: Ints, labels: Ints, *, may_train: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Rows that validate where no row of their individual trains, (N,).

    Args:
        folds: Fold that each row validates in, (N,), from 0; -1 for none.
        groups: Group of each row, (N,); what shares one with a validating row does not train.
        labels: Individual of each row, (N,); ``NOBODY`` never trains.
        may_train: Whether a row can train at all, (N,).
    """
    is_unknown = np.zeros(len(folds), dtype=bool)
    for fold in np.unique(folds[folds >= 0]):
        validates = folds == fold
        trains = may_train & (labels != NOBODY) & ~np.isin(groups, groups[validates])
        is_unknown |= validates & ~np.isin(labels, labels[trains])
    return is_unknown


def together(groups: Ints, labels: Ints, held_out: NDArray[np.bool_]) -> list[Any]:
    """Columns for ``join_groups`` that keep each held-out individual in one group."""
    return [groups, np.where(held_out, labels.astype(object), "")]
