"""What boosters have in common: what is fitted, and what comes out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.heads.inner import LARGE
from gorae.tabular.features import Floats

Ints = NDArray[np.int64]

# Rows a leaf needs where nothing is said: a share of the train part, within bounds.
LEAF_SHARE = 0.02
FEWEST_LEAF_ROWS, MOST_LEAF_ROWS = 5, 100


@dataclass(frozen=True, kw_only=True)
class BoostPlan:
    """What is fitted, and how."""

    task: Task
    num_classes: int
    """Classes or labels; 1 for a regression."""
    model: str = "lightgbm"
    """A key of ``BOOSTERS``."""
    rounds: int = 1000
    """Trees (per class) at most."""
    patience: int = 50
    """Trees without a smaller loss after which no more are tried."""
    learning_rate: float = 0.03
    leaves: int = 7
    """Leaves of a tree at most."""
    min_leaf_rows: int | None = None
    """Rows of a leaf at least; None: 2 % of the rows, from 5 to 100."""
    row_share: float = 1.0
    """Share of the rows that each tree sees."""
    column_share: float = 1.0
    """Share of the features that each tree sees."""
    seed: int = 0

    def leaf_rows(self, num_rows: int) -> int:
        """Rows of a leaf at least, of so many."""
        leaf = int(np.clip(LEAF_SHARE * num_rows, FEWEST_LEAF_ROWS, MOST_LEAF_ROWS))
        return leaf if self.min_leaf_rows is None else self.min_leaf_rows

    @property
    def form(self) -> str:
        """What one booster answers: ``classes``, ``yes_no`` or ``value``."""
        if self.task in ("multiclass", "ordinal") and self.num_classes > 2:
            return "classes"
        return "value" if self.task == "regression" else "yes_no"


@dataclass(frozen=True)
class Trees:
    """One booster, fitted."""

    predict: Callable[[Floats], Floats]
    """Features (N, F), N at least 1, to probabilities (N, K), of class 1 (N, 1), or values
    (N, 1)."""
    gain: Floats
    """What each feature took off the loss, (F,)."""
    num_rounds: int
    text: str
    """The model as its library writes it."""


def best_number_of_rounds(
    best_round: Callable[[NDArray[np.bool_]], int], folds: Ints, plan: BoostPlan
) -> int:
    """How many trees; all that are allowed where one group leaves nothing to judge by.

    Args:
        best_round: The number of trees that is best for the rows that a train mask leaves out.
        folds: Inner fold of each row, (N,).
        plan: What is fitted.
    """
    present: Sequence[int] = np.unique(folds).tolist()
    if len(present) < 2:
        return plan.rounds
    tried = present if len(folds) <= LARGE else present[:1]
    return round(float(np.mean([best_round(folds != fold) for fold in tried])))
