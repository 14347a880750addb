"""Steps that cut something out: a given box, a face, a round field of view, plain borders."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from gorae.preprocess.colour import grey_values
from gorae.preprocess.face import face_box
from gorae.preprocess.framed import Box, Framed, cropped

# Regions of the round field of view that are measured; the largest two are tried.
_NUM_REGIONS = 8
_NUM_TRIED = 2

# Asked for by `crop_box.aspect`, and how far the border may keep a box from it unremarked.
_ASPECT_TOLERANCE = 0.05


def crop_box(framed: Framed, *, margin: float, aspect: float | None) -> Framed:
    """Cut out the given box.

    Args:
        framed: The picture with its box.
        margin: Share of the box's width and height added on each side.
        aspect: Width divided by height, reached by growing the box; None leaves it.

    Returns:
        The box, grown, moved inside the picture as far as it fits, and cut at the border. The
        whole picture, with a note, where there is no box or none of it lies inside.
    """
    if framed.box_here is None:
        return framed.noted("box_missing: there is no box, the whole picture is kept")
    wanted = _grown(framed.box_here, margin=margin, aspect=aspect)
    left, top = math.floor(wanted[0]), math.floor(wanted[1])
    wide, high = math.ceil(wanted[2]) - left, math.ceil(wanted[3]) - top
    if aspect is not None:
        # Rounding outward moves the ratio; growing further brings it back.
        wide, high = max(wide, round(high * aspect)), max(high, round(wide / aspect))
    left, right = _inside(left, left + wide, framed.size[0])
    top, bottom = _inside(top, top + high, framed.size[1])
    if not _overlaps(framed.box_here, framed.size):
        return framed.noted("box_outside: the box lies outside, the whole picture is kept")
    found = cropped(framed, (left, top, right, bottom))
    if aspect is not None:
        got = (right - left) / (bottom - top)
        # Whole pixels alone move the ratio of a small box.
        slack = _ASPECT_TOLERANCE + 2 / min(right - left, bottom - top)
        if abs(got / aspect - 1) > slack:
            return found.noted(f"aspect: the border leaves {got:.2f} instead of {aspect:.2f}")
    return found


def _grown(box: Box, *, margin: float, aspect: float | None) -> Box:
    left, top, right, bottom = box
    width, height = (right - left) * (1 + 2 * margin), (bottom - top) * (1 + 2 * margin)
    if aspect is not None:
        width, height = max(width, height * aspect), max(height, width / aspect)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    return (
        middle_x - width / 2,
        middle_y - height / 2,
        middle_x + width / 2,
        middle_y + height / 2,
    )


def _inside(low: int, high: int, length: int) -> tuple[int, int]:
    """The range moved into 0 to ``length``, and cut where it does not fit."""
    if low < 0:
        low, high = 0, high - low
    if high > length:
        low, high = low - (high - length), length
    return max(0, low), high


def _overlaps(box: Box, size: tuple[int, int]) -> bool:
    left, top, right, bottom = box
    return left < size[0] and top < size[1] and right > 0 and bottom > 0


def face_crop(framed: Framed) -> Framed:
    """Cut out where the face of an upright portrait is likely to be."""
    box = face_box(framed.pixels)
    if box == (0, 0, *framed.size):
        return framed.noted("face_whole: the crop to the face is the whole picture")
    return cropped(framed, box)


def fov_crop(framed: Framed, *, margin: float, threshold: float, max_ratio: float) -> Framed:
    """Cut the square inside a round field of view out of its dark surroundings."""
    box = field_of_view(framed.pixels, margin=margin, threshold=threshold, max_ratio=max_ratio)
    if box is None:
        return framed.noted("fov_none: no round field of view, the whole picture is kept")
    return cropped(framed, box)


def field_of_view(
    pixels: NDArray[np.uint8], *, margin: float, threshold: float, max_ratio: float
) -> tuple[int, int, int, int] | None:
    """The square inside a bright disc on dark ground.

    Args:
        pixels: (H, W, 3).
        margin: Share of the disc's radius that the square stays inside of it.
        threshold: Share of Otsu's grey value above which a pixel is of the disc.
        max_ratio: Largest mean outside the square, divided by the mean inside.

    Returns:
        (left, top, right, bottom), or None where there is no such disc.

    Source: ngessert/isic2019, Matlab/adjust_2019.m: grey values blurred with sigma 2, regions
    by the mean of the axes of the ellipse with their second moments.
    """
    grey = grey_values(pixels)
    level = otsu_level(grey)
    # Replicated borders and nine pixels: what MATLAB's imgaussfilt does.
    blurred = cv2.GaussianBlur(grey, (9, 9), 2, borderType=cv2.BORDER_REPLICATE)
    bright = (blurred > threshold * level).astype(np.uint8)
    height, width = grey.shape
    for radius, centre_x, centre_y in _discs(bright)[:_NUM_TRIED]:
        half = (1 - margin) * radius
        left, top = round(centre_x - half), round(centre_y - half)
        right, bottom = round(centre_x + half), round(centre_y + half)
        if left < 0 or top < 0 or right > width or bottom > height:
            continue
        if left >= right or top >= bottom:
            continue
        box = left, top, right, bottom
        return box if _darkness_outside(pixels, box) < max_ratio else None
    return None


def otsu_level(grey: NDArray[np.uint8]) -> float:
    """The grey value that best parts dark from bright (Otsu, 1979).

    Of levels that part equally well, the mean: between two plain greys, half way (OpenCV would
    give the darker one).
    """
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    shares = counts / counts.sum()
    below = np.cumsum(shares)
    mean_below = np.cumsum(shares * np.arange(256))
    weight = below * (1 - below)
    difference = mean_below[-1] * below - mean_below
    between = np.divide(difference**2, weight, out=np.zeros(256), where=weight > 1e-12)
    return float(np.flatnonzero(between >= between.max() * (1 - 1e-9)).mean())


def _discs(bright: NDArray[np.uint8]) -> list[tuple[float, float, float]]:
    """Radius and centre of the regions, largest first."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    extent = stats[1:, cv2.CC_STAT_WIDTH] + stats[1:, cv2.CC_STAT_HEIGHT]
    found = []
    for region in 1 + np.argsort(-extent, kind="stable")[:_NUM_REGIONS]:
        left, top, width, height, area = stats[region].tolist()
        part = labels[top : top + height, left : left + width] == region
        moments = cv2.moments(part.astype(np.uint8), binaryImage=True)
        # A pixel is a square with a second moment of its own: 1/12.
        xx = moments["mu20"] / area + 1 / 12
        yy = moments["mu02"] / area + 1 / 12
        xy = moments["mu11"] / area
        spread = math.hypot((xx - yy) / 2, xy)
        axes = [4 * math.sqrt(max(0.0, (xx + yy) / 2 + sign * spread)) for sign in (1, -1)]
        # Moments count places of pixel centres.
        centre_x = left + moments["m10"] / area + 0.5
        centre_y = top + moments["m01"] / area + 0.5
        found.append((sum(axes) / 4, centre_x, centre_y))
    return sorted(found, key=lambda disc: -disc[0])


def _darkness_outside(pixels: NDArray[np.uint8], box: tuple[int, int, int, int]) -> float:
    """Mean of the four sides outside a box, each counted alike, divided by the mean inside."""
    left, top, right, bottom = box
    inside = float(pixels[top:bottom, left:right].mean())
    sides = (
        pixels[:top],
        pixels[bottom:],
        pixels[top:bottom, :left],
        pixels[top:bottom, right:],
    )
    means = [float(side.mean()) for side in sides if side.size]
    if not means or inside == 0:
        return math.inf
    return sum(means) / len(means) / inside


def border_crop(framed: Framed, *, tolerance: int) -> Framed:
    """Cut off borders of one colour."""
    box = content_box(framed.pixels, tolerance=tolerance)
    if box is None:
        return framed.noted("border_all: the picture is of one colour, all of it is kept")
    return cropped(framed, box)


def content_box(
    pixels: NDArray[np.uint8], *, tolerance: int
) -> tuple[int, int, int, int] | None:
    """The picture without the rows and columns at its edges that are of one colour.

    Args:
        pixels: (H, W, 3).
        tolerance: Largest difference of any channel inside a border.

    Returns:
        (left, top, right, bottom), or None where everything is border.
    """
    # Bounds of rows and of columns; what is cut of one may bare a border of the other, which
    # is then looked for once more, but never where something was cut already: slow slopes
    # would be eaten up bit by bit.
    bounds = [(0, pixels.shape[0]), (0, pixels.shape[1])]
    for axis in (0, 1, 0):
        low, high = bounds[axis]
        if (low, high) != (0, pixels.shape[axis]):
            continue
        inside = pixels[slice(*bounds[0]), slice(*bounds[1])]
        first, last = _plain_ends(inside, axis=1 - axis, tolerance=tolerance)
        if first + last >= high - low:
            return None
        bounds[axis] = low + first, high - last
    (top, bottom), (left, right) = bounds
    return left, top, right, bottom


def _plain_ends(pixels: NDArray[np.uint8], *, axis: int, tolerance: int) -> tuple[int, int]:
    """How many lines at the start and at the end are of the colour of the outermost one."""
    low, high = pixels.min(axis=axis).astype(int), pixels.max(axis=axis).astype(int)
    counts = []
    for step in (1, -1):
        # The range of all channels over the lines so far.
        lowest = np.minimum.accumulate(low[::step], axis=0)
        highest = np.maximum.accumulate(high[::step], axis=0)
        is_plain = np.all(highest - lowest <= tolerance, axis=1)
        counts.append(len(low) if is_plain.all() else int(np.argmin(is_plain)))
    return counts[0], counts[1]
