"""A table of numbers for trees."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Features:
    """What trees see of N images."""

    names: tuple[str, ...]
    """Name of each feature, (F,); none twice."""
    values: Floats
    """(N, F); NaN is missing."""
    is_category: NDArray[np.bool_]
    """Whether a feature is the code of a category, (F,): its order means nothing."""

    def __post_init__(self) -> None:
        assert self.values.shape[1:] == (len(self.names),) == self.is_category.shape
        assert len(set(self.names)) == len(self.names)

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: NDArray[np.bool_]) -> "Features":
        """The images of a mask, (N,)."""
        return Features(self.names, self.values[rows], self.is_category)


def join_features(parts: Sequence[Features]) -> Features:
    """The features of all parts, which are of the same images."""
    return Features(
        tuple(name for part in parts for name in part.names),
        np.hstack([part.values for part in parts]),
        np.concatenate([part.is_category for part in parts]),
    )
