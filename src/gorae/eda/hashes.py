"""Perceptual hashes of thumbnails: 64 signs of low frequencies, so that likeness is nearness.

Source: the DCT hash of pHash (Zauner, 2010), with signs instead of the median, so that a
mirrored picture's hash is the hash with some bits inverted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Window(NamedTuple):
    """A part of a picture, as shares of its width and height, and how it is mirrored."""

    left: float
    top: float
    right: float
    bottom: float
    mirrored: bool = False
    upside_down: bool = False


NUM_BITS = 64

_CUTS = (
    (0.0, 0.0, 1.0, 1.0),
    (0.04, 0.04, 0.96, 0.96),
    (0.07, 0.07, 0.93, 0.93),
    (0.0, 0.05, 1.0, 0.95),
    (0.05, 0.0, 0.95, 1.0),
    (0.02, 0.02, 0.92, 0.92),
    (0.08, 0.02, 0.98, 0.92),
    (0.02, 0.08, 0.92, 0.98),
    (0.08, 0.08, 0.98, 0.98),
)

WINDOWS = (
    *(Window(*cut, mirrored=mirrored) for mirrored in (False, True) for cut in _CUTS),
    Window(0, 0, 1, 1, upside_down=True),
    Window(0, 0, 1, 1, mirrored=True, upside_down=True),
)
"""What a copy may show of a picture; the first is the whole picture as it is."""


def _frequencies() -> NDArray[np.int64]:
    """The lowest frequencies but the constant one, vertical and horizontal, (64, 2).

    They are shuffled, once for all, because neighbours among them change together and a band
    of bits must not be lost to one change.
    """
    grid = np.stack(np.meshgrid(np.arange(10), np.arange(10), indexing="ij"), -1).reshape(-1, 2)
    order = np.argsort((grid**2).sum(axis=1), kind="stable")[1 : NUM_BITS + 1]
    shuffled: NDArray[np.int64] = grid[np.random.default_rng(0).permutation(order)]
    return shuffled


_FREQUENCIES = _frequencies()


def grey(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Luma (ITU-R BT.601) of thumbnails (n, S, S, 3), as (n, S, S) from 0 to 255."""
    return thumbnails.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def perceptual_hashes(
    thumbnails: NDArray[np.uint8], windows: Sequence[Window] = WINDOWS
) -> NDArray[np.uint64]:
    """Hash of each window of each thumbnail.

    Hashes of a picture and its copy differ in few of their 64 bits; those of two pictures
    that have nothing in common differ in about 32. A gain and an offset change nothing.

    Args:
        thumbnails: (n, S, S, 3).
        windows: Parts of a picture; each is hashed as if it had been cut out and mirrored.

    Returns:
        (n, len(windows)).
    """
    pictures = grey(thumbnails)
    side = pictures.shape[1]
    down, across = _FREQUENCIES.T
    weights = np.uint64(1) << np.arange(NUM_BITS, dtype=np.uint64)
    hashes = np.empty((len(pictures), len(windows)), np.uint64)
    for number, window in enumerate(windows):
        rows = _cosines(side, window.top, window.bottom)
        columns = _cosines(side, window.left, window.right)
        spectrum = rows @ pictures @ columns.T  # (n, 10, 10)
        bits = spectrum[:, down, across] > 0
        # Mirroring turns the sign of every odd frequency, and of nothing else.
        bits ^= (window.mirrored & (across % 2 == 1)) ^ (window.upside_down & (down % 2 == 1))
        hashes[:, number] = bits @ weights
    return hashes


def _cosines(side: int, start: float, stop: float) -> NDArray[np.float32]:
    """Cosine transform of the part from ``start`` to ``stop`` of a line, (10, side)."""
    edges = np.clip((np.arange(side + 1) / side - start) / (stop - start), 0, 1)
    frequency = np.arange(10)[:, None]
    # Integrals over pixels, so that a window may cut through one; without the mean, which
    # keeps the constant out of the other frequencies.
    with np.errstate(invalid="ignore", divide="ignore"):
        integral = np.where(
            frequency == 0, edges, np.sin(np.pi * frequency * edges) / (np.pi * frequency)
        )
    return np.diff(integral, axis=1).astype(np.float32)
