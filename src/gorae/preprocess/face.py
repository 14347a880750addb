"""A crop to the face without a detector, from how grey values are spread.

Source: iloveslowfood/ImageClassfication. A face is nearly the same left and right of its axis,
and the picture changes abruptly where hair begins and where the chin ends.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The small grey copy that everything is measured on: width, height.
SMALL = 64, 85

# Columns that may be the axis, around the middle.
AXES = range(25, 36, 2)

# The third most symmetric one is taken.
AXIS_RANK = 3

GREY_BINS = 32
SMOOTHING = 8

# Where the upper and the lower edge are looked for, first and last place, and what is added to
# the place found inside that range: the smoothed column is shorter than the picture.
UPPER, UPPER_OFFSET = (1, 26), 7
LOWER, LOWER_OFFSET = (50, 76), 43


def face_box(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Where the face of an upright portrait is likely to be; no chance is involved.

    Args:
        pixels: (H, W, 3).

    Returns:
        (left, top, right, bottom): three quarters as wide as high before the picture's edges
        cut it; the whole picture where it is too small to hold such a box.
    """
    height, width = pixels.shape[:2]
    small = small_grey(pixels)
    axis = face_axis(small)
    upper, lower = face_edges(small[:, axis])
    centre_x = int(width * axis / SMALL[0])
    top_y, bottom_y = int(height * upper / SMALL[1]), int(height * lower / SMALL[1])
    centre_y, half_height = int((top_y + bottom_y) / 2), bottom_y - top_y
    half_width = int(0.75 * half_height)
    left, right = max(0, centre_x - half_width), min(width, centre_x + half_width)
    top, bottom = max(0, centre_y - half_height), min(height, centre_y + half_height)
    if left >= right or top >= bottom:
        return 0, 0, width, height
    return left, top, right, bottom


def small_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The copy that is measured, (85, 64)."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize(SMALL, Image.Resampling.BILINEAR).convert("L"))


def face_axis(grey: NDArray[np.uint8]) -> int:
    """Column of the axis of symmetry in the small grey copy (85, 64)."""
    bins = grey // (256 // GREY_BINS)
    likeness = []
    for axis in AXES:
        left = np.bincount(bins[:, :axis].ravel(), minlength=GREY_BINS)
        right = np.bincount(bins[:, axis : 2 * axis].ravel(), minlength=GREY_BINS)
        likeness.append(np.minimum(left, right).sum() / (axis * SMALL[0]))
    return AXES[int(np.argsort(likeness, kind="stable")[-AXIS_RANK])]


def face_edges(column: NDArray[np.uint8]) -> tuple[int, int]:
    """Rows of the upper and the lower edge along one column (85) of the small grey copy."""
    smooth = np.convolve(column.astype(np.float64), np.ones(SMOOTHING) / SMOOTHING, "valid")
    # change[i] is between places i - 1 and i.
    change = np.abs(np.diff(smooth, prepend=smooth[0]))
    upper = int(change[UPPER[0] : UPPER[1] + 1].argmax()) + UPPER_OFFSET
    lower = int(change[LOWER[0] : LOWER[1] + 1].argmax()) + LOWER_OFFSET
    return upper, lower
