"""A picture whose coordinates follow it through crops, paddings, resizes and turns.

Coordinates are edges: the left edge of the first column is 0 and its right edge 1, so a box
(left, top, right, bottom) with right and bottom excluded is the same thing on paper.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Colour = tuple[int, int, int]

Filter = Literal["bilinear", "bicubic"]

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

# What decoding takes at most (TRUST R1); no step makes a picture larger than that.
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class Framed:
    """Pixels, and where on them the places of the raw picture lie."""

    pixels: NDArray[np.uint8]
    """RGB, (H, W, 3)."""
    box: Box | None = None
    """What must not be cut, in the raw picture."""
    points: tuple[Point, ...] = ()
    """Landmarks (x, y) in the raw picture."""
    matrix: NDArray[np.float64] = field(default_factory=lambda: np.eye(2, 3))
    """From a place (x, y, 1) of the raw picture to the place here, (2, 3)."""
    notes: tuple[str, ...] = ()
    """What a step met; each begins with a stable code."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def box_here(self) -> Box | None:
        """The upright box around ``box`` as it lies here; it may leave the picture."""
        if self.box is None:
            return None
        corners = moved(self.matrix, box_corners(self.box))
        left, top = corners.min(axis=0).tolist()
        right, bottom = corners.max(axis=0).tolist()
        return left, top, right, bottom

    @property
    def points_here(self) -> NDArray[np.float64]:
        """``points`` as they lie here, (P, 2)."""
        return moved(self.matrix, np.array(self.points, np.float64).reshape(-1, 2))

    def noted(self, note: str) -> "Framed":
        """The same with one more note."""
        return replace(self, notes=(*self.notes, note))


def box_corners(box: Box) -> NDArray[np.float64]:
    """The corners of a box, clockwise from the left upper one, (4, 2)."""
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def moved(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (P, 2) under an affine map (2, 3)."""
    found: NDArray[np.float64] = points @ matrix[:, :2].T + matrix[:, 2]
    return found


def after(second: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine map that does ``first`` and then ``second``, (2, 3)."""
    return np.column_stack([second[:, :2] @ first[:, :2], moved(second, first[:, 2][None])[0]])


def scaling(x: float, y: float) -> NDArray[np.float64]:
    """The affine map that stretches by ``x`` and ``y``."""
    return np.array([[x, 0.0, 0.0], [0.0, y, 0.0]])


def shifting(x: float, y: float) -> NDArray[np.float64]:
    """The affine map that shifts by ``x`` and ``y`` pixels."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def cropped(framed: Framed, box: tuple[int, int, int, int]) -> Framed:
    """What is inside ``box``, which lies inside the picture and is not empty."""
    left, top, right, bottom = box
    return replace(
        framed,
        pixels=framed.pixels[top:bottom, left:right],
        matrix=after(shifting(-left, -top), framed.matrix),
    )


def padded(framed: Framed, size: tuple[int, int], *, fill: Colour) -> Framed:
    """The picture in the middle of a canvas of ``size`` (width, height), not smaller than it.

    Of an odd remainder the right and the lower side get more.
    """
    (width, height), (wide, high) = framed.size, size
    left, top = (wide - width) // 2, (high - height) // 2
    canvas = np.empty((high, wide, 3), np.uint8)
    canvas[:] = fill
    canvas[top : top + height, left : left + width] = framed.pixels
    return replace(framed, pixels=canvas, matrix=after(shifting(left, top), framed.matrix))


def resized(framed: Framed, size: tuple[int, int], *, interpolation: Filter) -> Framed:
    """The picture stretched to ``size`` (width, height), antialiased."""
    if framed.size == size:
        return framed
    image = Image.fromarray(np.ascontiguousarray(framed.pixels))
    pixels = np.asarray(image.resize(size, FILTERS[interpolation], reducing_gap=3.0))
    (width, height), (wide, high) = framed.size, size
    return replace(
        framed,
        pixels=pixels,
        matrix=after(scaling(wide / width, high / height), framed.matrix),
    )


def warped(
    framed: Framed, matrix: NDArray[np.float64], size: tuple[int, int], *, fill: Colour
) -> Framed:
    """The picture under an affine map (2, 3) that can be inverted, on a canvas of ``size``.

    Where it shrinks, it is shrunk with antialiasing before it is turned.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 1:
        width, height = framed.size
        small = max(1, round(width * scale)), max(1, round(height * scale))
        matrix = after(matrix, scaling(width / small[0], height / small[1]))
        framed = resized(framed, small, interpolation="bicubic")
    linear = np.linalg.inv(matrix[:, :2])
    back = np.column_stack([linear, -linear @ matrix[:, 2]])
    image = Image.fromarray(np.ascontiguousarray(framed.pixels))
    turned = image.transform(
        size,
        Image.Transform.AFFINE,
        tuple(back.ravel().tolist()),
        Image.Resampling.BICUBIC,
        fillcolor=tuple(fill),
    )
    return replace(framed, pixels=np.asarray(turned), matrix=after(matrix, framed.matrix))
