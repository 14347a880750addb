"""Labels as the matrix a head is fitted to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gorae.data.sources import Task

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Targets:
    """What a head is fitted to."""

    values: Floats
    """One-hot or 0/1 columns, or one column of standardised values; (N, K)."""
    is_one_hot: bool
    offset: float = 0.0
    """Added to a prediction of a standardised value, after ``scale``."""
    scale: float = 1.0

    def scorable(self, train: NDArray[np.int64], valid: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of ``valid`` whose class has a row in ``train``.

        No strength can predict the others: their losses would be no evidence.
        """
        if not self.is_one_hot:
            return valid
        absent = self.values[train].sum(axis=0) == 0
        known: NDArray[np.bool_] = self.values[np.ix_(valid, absent)].sum(axis=1) == 0
        return valid[known]


def encode(
    truth: NDArray[np.int64] | NDArray[np.float32], *, task: Task, num_classes: int
) -> Targets:
    """``truth`` (class indices, 0/1 labels, or values) as a matrix."""
    if task == "multilabel":
        return Targets(truth.astype(np.float64), is_one_hot=False)
    if task == "regression":
        values = truth.astype(np.float64).reshape(-1, 1)
        offset, scale = float(values.mean()), float(values.std()) or 1.0
        return Targets((values - offset) / scale, is_one_hot=False, offset=offset, scale=scale)
    one_hot = np.zeros((len(truth), num_classes))
    one_hot[np.arange(len(truth)), truth.astype(np.int64)] = 1
    return Targets(one_hot, is_one_hot=True)
