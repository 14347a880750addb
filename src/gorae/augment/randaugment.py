"""RandAugment: a few of sixteen changes, all of one strength (Cubuk et al., 2020).

The sixteen and their ranges are those of ildoonet/pytorch-randaugment, done by the same Pillow
operations; lengths in pixels are of an input of 224 and grow with the input.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from gorae.augment.chance import Draws
from gorae.augment.occlude import clipped_box

Picture = Image.Image

# Picture, strength, and two numbers from 0 to 1 for a place in it.
Apply = Callable[[Picture, float, Draws], Picture]

MAX_MAGNITUDE = 30.0

# Side of the input that lengths are given for.
REFERENCE_SIDE = 224

# Mean colour of ImageNet, as that repository covers with.
COVER = (125, 123, 114)


class Change(NamedTuple):
    """One of the sixteen: its strength at magnitude 0 and at 30, and what it does."""

    low: float
    high: float
    apply: Apply
    is_signed: bool = False
    """The strength changes its sign half of the time."""
    is_length: bool = False
    """The strength is in pixels."""


def randaugment(
    pixels: NDArray[np.uint8], draws: Draws, *, magnitude: float
) -> NDArray[np.uint8]:
    """One of the sixteen changes for each row of ``draws``, one after another.

    Args:
        pixels: (S, S, 3).
        draws: Numbers from 0 to 1, (operations, 4): which change, its sign, and a place.
        magnitude: Strength of every change, 0 to 30.
    """
    changes = tuple(CHANGES.values())
    image = Image.fromarray(pixels)
    for row in draws:
        change = changes[int(row[0] * len(changes))]
        strength = strength_of(change, magnitude, side=len(pixels))
        if change.is_signed and row[1] < 0.5:
            strength = -strength
        image = change.apply(image, strength, row[2:])
    return np.asarray(image)


def strength_of(change: Change, magnitude: float, *, side: int) -> float:
    """Strength of a change on a picture of ``side`` pixels, without sign."""
    strength = change.low + magnitude / MAX_MAGNITUDE * (change.high - change.low)
    return strength * side / REFERENCE_SIDE if change.is_length else strength


def _posterize(image: Picture, bits: float, _: Draws) -> Picture:
    # Zero bits would be a black picture.
    return ImageOps.posterize(image, max(1, int(bits)))


def _solarize_add(image: Picture, amount: float, _: Draws) -> Picture:
    brighter = image.point([min(255, int(value + amount)) for value in range(256)] * 3)
    return ImageOps.solarize(brighter, 128)


def _cover(image: Picture, side: float, place: Draws) -> Picture:
    """A grey square around ``place``, cut off at the edge."""
    width, height = image.size
    centre = int(place[0] * width), int(place[1] * height)
    size = round(side), round(side)
    box = clipped_box(size, centre, width=width, height=height)
    covered = image.copy()
    covered.paste(COVER, box)
    return covered


def _affine(image: Picture, x_row: tuple[float, ...], y_row: tuple[float, ...]) -> Picture:
    """Pixel (x, y) is taken from where the two rows say; black from outside."""
    return image.transform(image.size, Image.Transform.AFFINE, (*x_row, *y_row))


CHANGES: dict[str, Change] = {
    "AutoContrast": Change(0, 1, lambda image, v, _: ImageOps.autocontrast(image)),
    "Equalize": Change(0, 1, lambda image, v, _: ImageOps.equalize(image)),
    "Invert": Change(0, 1, lambda image, v, _: ImageOps.invert(image)),
    "Rotate": Change(0, 30, lambda image, v, _: image.rotate(v), is_signed=True),
    "Posterize": Change(0, 4, _posterize),
    "Solarize": Change(0, 256, lambda image, v, _: ImageOps.solarize(image, v)),  # type: ignore[arg-type]
    "SolarizeAdd": Change(0, 110, _solarize_add),
    "Color": Change(0.1, 1.9, lambda image, v, _: ImageEnhance.Color(image).enhance(v)),
    "Contrast": Change(0.1, 1.9, lambda image, v, _: ImageEnhance.Contrast(image).enhance(v)),
    "Brightness": Change(
        0.1, 1.9, lambda image, v, _: ImageEnhance.Brightness(image).enhance(v)
    ),
    "Sharpness": Change(0.1, 1.9, lambda image, v, _: ImageEnhance.Sharpness(image).enhance(v)),
    "ShearX": Change(
        0, 0.3, lambda image, v, _: _affine(image, (1, v, 0), (0, 1, 0)), is_signed=True
    ),
    "ShearY": Change(
        0, 0.3, lambda image, v, _: _affine(image, (1, 0, 0), (v, 1, 0)), is_signed=True
    ),
    "Cutout": Change(0, 40, _cover, is_length=True),
    "TranslateX": Change(
        0,
        100,
        lambda image, v, _: _affine(image, (1, 0, v), (0, 1, 0)),
        is_signed=True,
        is_length=True,
    ),
    "TranslateY": Change(
        0,
        100,
        lambda image, v, _: _affine(image, (1, 0, 0), (0, 1, v)),
        is_signed=True,
        is_length=True,
    ),
}
