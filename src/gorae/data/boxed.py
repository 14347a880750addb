"""Pictures with the boxes on them, as a detector sees them: fitted into a square.

A box is in pixels of the upright original, the picture comes shrunk out of the prepared store,
and the detector sees it fitted into a square of its own. Corners of pictures lie on corners all
the way, so one factor along each side carries a box over and back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gorae.data.dataset import Pixels, philox

Box = NDArray[np.float64]
"""(left, top, right, bottom), (4,)."""

# What the square shows where there is no picture: the middle of the usual mean colours.
FILL = 114


@dataclass(frozen=True)
class Fit:
    """Where in the square a picture lies."""

    width: int
    """Width of the picture in the square, in pixels of it."""
    height: int
    left: int = 0
    top: int = 0
    is_flipped: bool = False
    """Whether the picture is mirrored left to right."""


def fit_whole(width: int, height: int, side: int, *, share: float = 1.0) -> Fit:
    """The picture in the upper left corner, its longer side at ``share`` of the square's."""
    scale = share * side / max(width, height)
    return Fit(max(1, round(width * scale)), max(1, round(height * scale)))


def draw_fit(
    width: int, height: int, side: int, *, hflip: float, zoom: float, rng: np.random.Generator
) -> Fit:
    """The picture somewhere in the square, smaller by up to ``zoom``, flipped by chance."""
    # A fixed number of draws, whatever the picture.
    share, right, down, flip = rng.random(4)
    found = fit_whole(width, height, side, share=1 - zoom * share)
    return Fit(
        found.width,
        found.height,
        left=int(right * (side - found.width + 1)),
        top=int(down * (side - found.height + 1)),
        is_flipped=bool(flip < hflip),
    )


def fitted(pixels: NDArray[np.uint8], fit: Fit, side: int) -> torch.Tensor:
    """A picture (H, W, 3) put into the square by ``fit``: uint8 (3, side, side)."""
    image = Image.fromarray(pixels).resize(
        (fit.width, fit.height), Image.Resampling.BILINEAR, reducing_gap=3.0
    )
    shown = np.asarray(image)
    if fit.is_flipped:
        shown = shown[:, ::-1]
    square = np.full((side, side, 3), FILL, np.uint8)
    square[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width] = shown
    return torch.from_numpy(square).permute(2, 0, 1).contiguous()


def to_square(boxes: Box, size: tuple[int, int], fit: Fit) -> Box:
    """Boxes in pixels of an original of ``size`` (width, height), (N, 4), as in the square."""
    factor_x, factor_y = fit.width / size[0], fit.height / size[1]
    left, top, right, bottom = np.asarray(boxes, np.float64).T
    if fit.is_flipped:
        left, right = size[0] - right, size[0] - left
    return np.stack(
        [
            left * factor_x + fit.left,
            top * factor_y + fit.top,
            right * factor_x + fit.left,
            bottom * factor_y + fit.top,
        ],
        axis=1,
    )


def from_square(boxes: Box, size: tuple[int, int], fit: Fit) -> Box:
    """What ``to_square`` was given; boxes are cut at the border of the picture."""
    factor_x, factor_y = size[0] / fit.width, size[1] / fit.height
    left, top, right, bottom = np.asarray(boxes, np.float64).T
    left, right = (left - fit.left) * factor_x, (right - fit.left) * factor_x
    top, bottom = (top - fit.top) * factor_y, (bottom - fit.top) * factor_y
    if fit.is_flipped:
        left, right = size[0] - right, size[0] - left
    inside_x, inside_y = np.clip([left, right], 0, size[0]), np.clip([top, bottom], 0, size[1])
    return np.stack([inside_x[0], inside_y[0], inside_x[1], inside_y[1]], axis=1)


@dataclass(frozen=True)
class BoxedPictures:
    """Prepared pictures, their original sizes and, where known, the box on each."""

    store: Pixels
    keys: Sequence[str]
    """Under which key the pixels of each lie in the store, N."""
    sizes: NDArray[np.int64]
    """Width and height of the originals, (N, 2)."""
    side: int
    """Side of the square."""
    boxes: Box | None = None
    """In pixels of the originals, (N, 4); None where they are to be found."""

    def __len__(self) -> int:
        return len(self.keys)

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of an original."""
        width, height = self.sizes[index].tolist()
        return width, height

    def whole(self, index: int) -> tuple[torch.Tensor, Fit]:
        """A picture without chance: uint8 (3, S, S), and where it lies."""
        fit = fit_whole(*self.size(index), self.side)
        return fitted(self.store.read(self.keys[index]), fit, self.side), fit

    def drawn(
        self, index: int, *, epoch: int, seed: int, hflip: float, zoom: float
    ) -> tuple[torch.Tensor, Box]:
        """A picture with its box in the square, (4,); chance by (seed, epoch, index) alone."""
        assert self.boxes is not None
        rng = philox(seed, epoch, index)
        fit = draw_fit(*self.size(index), self.side, hflip=hflip, zoom=zoom, rng=rng)
        box = to_square(self.boxes[index : index + 1], self.size(index), fit)[0]
        return fitted(self.store.read(self.keys[index]), fit, self.side), box
