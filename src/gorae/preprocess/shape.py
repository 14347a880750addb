"""Steps that bring pictures to one shape, size or pose."""

import math
from typing import Literal

import numpy as np

from gorae.preprocess.framed import (
    MAX_PIXELS,
    Colour,
    Filter,
    Framed,
    padded,
    resized,
    warped,
)

How = Literal["stretch", "fit", "short_side", "long_side"]

# Beyond this a stretch is remarked on: a circle is an ellipse to the eye.
_STRETCH_NOTED = 1.25


def pad_square(framed: Framed, *, fill: Colour) -> Framed:
    """Put the picture in the middle of a square as long as its longer side."""
    longest = math.isqrt(MAX_PIXELS)
    if max(framed.size) > longest:
        framed = _scaled(framed, longest / max(framed.size), "bicubic")
    side = max(framed.size)
    return padded(framed, (side, side), fill=fill)


def resize(
    framed: Framed,
    *,
    how: How,
    size: tuple[int, int] | None,
    side: int | None,
    fill: Colour,
    interpolation: Filter,
) -> Framed:
    """Bring the picture to a size.

    Args:
        framed: The picture.
        how: ``stretch`` to ``size``; ``fit`` the whole of it into ``size`` and pad; or give
            its ``short_side`` or ``long_side`` the length ``side``.
        size: Width and height for ``stretch`` and ``fit``.
        side: Length for the two others.
        fill: Colour of what ``fit`` adds.
        interpolation: Filter; shrinking is antialiased.
    """
    width, height = framed.size
    if how in ("stretch", "fit"):
        assert size is not None, "checked where settings enter"
        if how == "fit":
            fitted = _scaled(
                framed, min(size[0] / width, size[1] / height), interpolation, most=size
            )
            return padded(fitted, size, fill=fill)
        ratio = (size[0] / size[1]) / (width / height)
        found = resized(framed, size, interpolation=interpolation)
        factor = max(ratio, 1 / ratio)
        if factor <= _STRETCH_NOTED:
            return found
        return found.noted(f"stretched: width to height changes {factor:.2f} times")
    assert side is not None, "checked where settings enter"
    length = min(framed.size) if how == "short_side" else max(framed.size)
    scale = min(side / length, math.sqrt(MAX_PIXELS / (width * height)))
    return _scaled(framed, scale, interpolation)


def _scaled(
    framed: Framed,
    scale: float,
    interpolation: Filter,
    *,
    most: tuple[int, int] = (MAX_PIXELS, MAX_PIXELS),
) -> Framed:
    width, height = framed.size
    size = (
        min(most[0], max(1, round(width * scale))),
        min(most[1], max(1, round(height * scale))),
    )
    return resized(framed, size, interpolation=interpolation)


def align(
    framed: Framed,
    *,
    size: tuple[int, int],
    distance: float,
    centre: tuple[float, float],
    fill: Colour,
) -> Framed:
    """Turn, scale and shift the picture so that two landmarks lie where all others' do.

    Args:
        framed: The picture; its first two points are level afterwards, the first one left.
        size: Width and height of the result.
        distance: Distance of the two points, as a share of the width.
        centre: Where the middle between them lies, as shares of width and height.
        fill: Colour of what lies outside of the picture.

    Returns:
        The picture in standard pose; as it was, with a note, where the points are missing or
        in one place.
    """
    if len(framed.points) < 2:
        return framed.noted("points_missing: there are no landmarks, the picture is kept")
    first, second = framed.points_here[:2]
    along = second - first
    length = float(np.hypot(*along))
    if length < 1:
        return framed.noted("points_missing: both landmarks are in one place, it is kept")
    width, height = size
    scale = distance * width / length
    cosine, sine = along / length * scale
    turn = np.array([[cosine, sine], [-sine, cosine]])
    middle = (first + second) / 2
    target = np.array([centre[0] * width, centre[1] * height])
    matrix = np.column_stack([turn, target - turn @ middle])
    return warped(framed, matrix, size, fill=fill)
