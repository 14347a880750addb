"""A part of the picture is covered: cutout and random erasing."""

import math

import numpy as np
from numpy.typing import NDArray

from gorae.augment.chance import Draws, between, child_rng

Box = tuple[int, int, int, int]

# Share of the area and height divided by width of the erased box (Zhong et al., 2020).
ERASED_SHARE = 0.02, 0.4
ERASED_RATIO = 0.3, 1 / 0.3


def clipped_box(
    size: tuple[int, int], centre: tuple[int, int], *, width: int, height: int
) -> Box:
    """The part inside a picture of a box of ``size`` around ``centre``, both x before y."""
    left, top = centre[0] - size[0] // 2, centre[1] - size[1] // 2
    return (
        max(0, left),
        max(0, top),
        min(width, left + size[0]),
        min(height, top + size[1]),
    )


def cutout(pixels: NDArray[np.uint8], draws: Draws, *, side: float) -> NDArray[np.uint8]:
    """A black square whose centre is anywhere in the picture, cut off at the edge.

    Args:
        pixels: (H, W, 3).
        draws: Two numbers from 0 to 1, for the centre.
        side: Side of the square divided by the shorter side of the picture.

    Source: DeVries and Taylor, 2017.
    """
    height, width = pixels.shape[:2]
    side_px = max(1, round(side * min(height, width)))
    centre = int(draws[0] * width), int(draws[1] * height)
    left, top, right, bottom = clipped_box(
        (side_px, side_px), centre, width=width, height=height
    )
    covered = pixels.copy()
    covered[top:bottom, left:right] = 0
    return covered


def random_erasing(pixels: NDArray[np.uint8], draws: Draws) -> NDArray[np.uint8]:
    """A box of noise of 2 to 40 % of the area, wholly inside the picture.

    Args:
        pixels: (H, W, 3).
        draws: Five numbers from 0 to 1, for area, shape, place and noise.

    Source: Zhong et al., 2020; shapes drawn evenly in logarithms, as torchvision does. A box
    too long for the picture is cut to it instead of drawn again.
    """
    height, width = pixels.shape[:2]
    area = between(draws[0], *ERASED_SHARE) * height * width
    ratio = math.exp(between(draws[1], *(math.log(edge) for edge in ERASED_RATIO)))
    box_height = min(height, max(1, round(math.sqrt(area * ratio))))
    box_width = min(width, max(1, round(math.sqrt(area / ratio))))
    top = int(draws[2] * (height - box_height + 1))
    left = int(draws[3] * (width - box_width + 1))
    noise = child_rng(draws[4]).integers(0, 256, (box_height, box_width, 3), dtype=np.uint8)
    covered = pixels.copy()
    covered[top : top + box_height, left : left + box_width] = noise
    return covered
