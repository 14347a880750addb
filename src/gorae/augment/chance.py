"""Chance as numbers drawn beforehand, so that one change never shifts what another draws."""

import numpy as np
from numpy.typing import NDArray

Draws = NDArray[np.float64]

# Numbers kept for each step of a picture; none needs more.
DRAWS_PER_STEP = 16


def between(draw: float, low: float, high: float) -> float:
    """A number from ``low`` to ``high``, of one drawn from 0 to 1."""
    return low + draw * (high - low)


def around(draw: float, limit: float) -> float:
    """A number from ``-limit`` to ``limit``, of one drawn from 0 to 1."""
    return between(draw, -limit, limit)


def child_rng(draw: float) -> np.random.Generator:
    """A source of as much chance as wanted (noise of a whole picture), of one drawn number."""
    return np.random.Generator(np.random.Philox(key=int(draw * 2**53)))
