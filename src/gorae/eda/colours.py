"""How light and coloured the pictures are: histograms, means and spreads, per class too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

CHANNELS = ("grey", "red", "green", "blue")
"""Order of the channels in every array of levels."""

NUM_LEVELS = 256

# Rec. 601, as in OpenCV and Pillow.
GREY_WEIGHTS = (0.299, 0.587, 0.114)

# Pictures without a class are summed behind the classes.
_NO_CLASS = -1


def level_counts(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels of (H, W, 3) have each level, (4, 256), in the order of CHANNELS."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    planes = (grey, *cv2.split(pixels))
    # Counted as float32 by OpenCV: exact up to 16 million pixels of one level. OpenCV 5 gives a
    # row, OpenCV 4 a column.
    counts = [
        cv2.calcHist([plane], [0], None, [NUM_LEVELS], [0, NUM_LEVELS]).reshape(-1)
        for plane in planes
    ]
    return np.stack(counts).astype(np.int64)


@dataclass(frozen=True)
class ColourSums:
    """Levels of many pictures, summed per class; each picture weighs the same at any size.

    A network sees all pictures at one size, so its constants must not follow the large ones.
    """

    shares: NDArray[np.float64]
    """Sums of the share of pixels at each level, (K + 1, 4, 256); last: without a class."""
    num_pictures: NDArray[np.int64]
    """Pictures in each sum, (K + 1,)."""

    @classmethod
    def zeros(cls, num_classes: int) -> Self:
        """Sums of no pictures."""
        size = num_classes + 1
        return cls(np.zeros((size, len(CHANNELS), NUM_LEVELS)), np.zeros(size, np.int64))

    def add(self, counts: NDArray[np.int64], class_index: int = _NO_CLASS) -> None:
        """Add one picture's ``level_counts``; -1 is no class."""
        self.shares[class_index] += counts / counts[0].sum()
        self.num_pictures[class_index] += 1


def channel_moments(shares: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Mean and standard deviation, 0 to 255, of levels (..., 256) in any scale; NaN of none."""
    levels = np.arange(NUM_LEVELS, dtype=np.float64)
    total = shares.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        mean = shares @ levels / total
        # About the mean, not E[x^2] - E[x]^2: the same digits of a picture of one colour.
        variance = (shares * (levels - mean[..., None]) ** 2).sum(axis=-1) / total
    return mean, np.sqrt(variance)


def rgb_constants(sums: ColourSums) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of red, green and blue over all pictures, 0 to 1.

    The deviation is of all pixels about the one mean, as normalisation needs it; the mean of
    the pictures' own deviations, which some tables show, is smaller.
    """
    mean, std = channel_moments(sums.shares.sum(axis=0)[1:])
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def colour_table(sums: ColourSums, classes: Sequence[str]) -> pd.DataFrame:
    """Mean and deviation of each channel, 0 to 255, over all pictures and per class.

    Args:
        sums: Summed levels, K classes and those without.
        classes: Their K names.

    Returns:
        Columns ``name`` (missing on the first line, which is of all pictures), ``pictures``,
        and ``mean_grey`` ... ``std_blue``; K + 1 lines, NaN where there is no picture.
    """
    shares = np.concatenate([sums.shares.sum(axis=0, keepdims=True), sums.shares[:-1]])
    mean, std = channel_moments(shares)
    counts = [int(sums.num_pictures.sum()), *sums.num_pictures[:-1].tolist()]
    columns = {f"mean_{name}": mean[:, at] for at, name in enumerate(CHANNELS)}
    columns |= {f"std_{name}": std[:, at] for at, name in enumerate(CHANNELS)}
    names = pd.Series([None, *classes], dtype="str")
    return pd.DataFrame({"name": names, "pictures": counts, **columns})


def level_histograms(sums: ColourSums, *, num_bins: int = 64) -> NDArray[np.float64]:
    """Share of pixels per bin and channel: all pictures, then each class, (K + 1, 4, bins).

    Bin b holds the levels from ``b * 256 / num_bins`` up to the next bin. The shares of one
    histogram sum to 1; a class without pictures is NaN.

    Args:
        sums: Summed levels.
        num_bins: Divides 256.
    """
    shares = np.concatenate([sums.shares.sum(axis=0, keepdims=True), sums.shares[:-1]])
    binned = shares.reshape(*shares.shape[:2], num_bins, NUM_LEVELS // num_bins).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        histograms: NDArray[np.float64] = binned / binned.sum(axis=-1, keepdims=True)
    return histograms
