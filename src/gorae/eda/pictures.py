"""What each picture is like: light, contrast, sharpness, colour; one line per picture."""

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.eda.colours import CHANNELS, ColourSums, channel_moments, level_counts

Read = Callable[[int], NDArray[np.uint8] | None]
"""Row of a picture to its pixels (H, W, 3), as stored; None where it has none."""

PICTURE_COLUMNS: dict[str, str] = {
    "brightness": "mean grey level, 0 to 255",
    "contrast": "standard deviation of the grey levels",
    "sharpness": "variance of the Laplacian at SHARPNESS_SIDE",
    "mean_red": "mean red, 0 to 255",
    "mean_green": "mean green",
    "mean_blue": "mean blue",
    "std_red": "standard deviation of red",
    "std_green": "standard deviation of green",
    "std_blue": "standard deviation of blue",
    "top_level_share": "share of pixels with the most frequent grey level",
    "entropy": "of the grey levels, 0 to 8 bits",
    "colour": "mean distance of the largest from the smallest channel",
}
"""Columns of ``picture_statistics`` and what they mean; all float64, NaN without pixels.
``is_grey`` (bool) follows them."""

# Sharpness falls with size, so all are brought to as many pixels as a square of this side: the
# smallest real set looked at has pictures of 100 pixels, the largest 256.
SHARPNESS_SIDE = 160

# Above what JPEG makes of neutral pixels, below any tint that is seen.
GREY_LEVEL = 4.0


def picture_statistics(
    read: Read,
    num_images: int,
    *,
    classes: NDArray[np.int64] | None = None,
    num_classes: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, ColourSums]:
    """Look at every picture once.

    Args:
        read: Gives the pixels of each row, None where there are none.
        num_images: N; rows are 0 to N - 1.
        classes: Class index of each image, (N,), -1 where it has none; None: all have none.
        num_classes: K.
        on_progress: Told how many of how many pictures are done.

    Returns:
        One line per picture with PICTURE_COLUMNS and ``is_grey``, and the summed levels of
        each class.
    """
    values = np.full((num_images, len(PICTURE_COLUMNS)), np.nan)
    sums = ColourSums.zeros(num_classes)
    for row in range(num_images):
        pixels = read(row)
        if pixels is not None:
            counts = level_counts(pixels)
            sums.add(counts, -1 if classes is None else int(classes[row]))
            values[row] = _statistics(pixels, counts)
        if on_progress:
            on_progress(row + 1, num_images)
    table = pd.DataFrame(values, columns=list(PICTURE_COLUMNS))
    return table.assign(is_grey=table["colour"] < GREY_LEVEL), sums


def _statistics(pixels: NDArray[np.uint8], counts: NDArray[np.int64]) -> tuple[float, ...]:
    """The values of PICTURE_COLUMNS; all but two are told by the levels alone."""
    mean, std = channel_moments(counts.astype(np.float64))
    shares = counts[CHANNELS.index("grey")] / counts[0].sum()
    present = shares[shares > 0]
    return (
        mean[0],
        std[0],
        sharpness(pixels),
        *mean[1:],
        *std[1:],
        shares.max(),
        # Adding 0.0 turns the -0.0 of one colour into 0.
        -(present * np.log2(present)).sum() + 0.0,
        colour_spread(pixels),
    )


def sharpness(pixels: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the grey picture, at as many pixels as SHARPNESS_SIDE^2.

    Small where no edge is sharp, also where there is nothing to see: compare it with the
    contrast. Source: LAPV of Pertuz et al. (2013), after Pech-Pacheco et al. (2000).
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = SHARPNESS_SIDE / (height * width) ** 0.5
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(grey, size, interpolation=method)
    return float(cv2.Laplacian(resized, cv2.CV_32F).var(dtype=np.float64))


def colour_spread(pixels: NDArray[np.uint8]) -> float:
    """Mean distance of the largest from the smallest channel of (H, W, 3); 0 is grey."""
    red, green, blue = cv2.split(pixels)
    largest = cv2.max(cv2.max(red, green), blue)
    smallest = cv2.min(cv2.min(red, green), blue)
    return float(cv2.mean(cv2.subtract(largest, smallest))[0])
