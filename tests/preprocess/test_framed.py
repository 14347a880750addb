"""Coordinates follow the picture: what is drawn lies where its mapped box says."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.preprocess.framed import (
    Framed,
    after,
    box_corners,
    cropped,
    moved,
    padded,
    resized,
    scaling,
    shifting,
    warped,
)

GREEN = (0, 250, 0)
BLACK = (0, 0, 0)

shares = st.floats(0, 1)
operations = st.lists(
    st.tuples(st.sampled_from(["pad", "crop", "resize", "turn", "mirror"]), shares, shares),
    max_size=5,
)


def drawn(width: int, height: int, box: tuple[int, int, int, int]) -> Framed:
    pixels = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = GREEN
    return Framed(pixels, box)


def change(framed: Framed, name: str, a: float, b: float) -> Framed:
    """One operation of strength ``a`` and ``b`` that cuts nothing of the box."""
    width, height = framed.size
    if name == "pad":
        return padded(framed, (width + round(30 * a), height + round(30 * b)), fill=BLACK)
    if name == "resize":
        size = max(8, round(width * (0.6 + a))), max(8, round(height * (0.6 + b)))
        return resized(framed, size, interpolation="bilinear")
    if name == "mirror":
        return warped(
            framed, np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0]]), (width, height), fill=BLACK
        )
    if name == "crop":
        assert framed.box_here is not None
        left, top, right, bottom = framed.box_here
        low_x, low_y = max(0, math.floor(left * a) - 1), max(0, math.floor(top * b) - 1)
        high_x = min(width, math.ceil(right + (width - right) * b) + 1)
        high_y = min(height, math.ceil(bottom + (height - bottom) * a) + 1)
        return cropped(framed, (low_x, low_y, high_x, high_y))
    angle = math.pi * (a - 0.5)
    turn = np.array(
        [
            [math.cos(angle), math.sin(angle), 0.0],
            [-math.sin(angle), math.cos(angle), 0.0],
        ]
    )
    side = math.ceil(math.hypot(width, height))
    matrix = after(shifting(side / 2, side / 2), after(turn, shifting(-width / 2, -height / 2)))
    return warped(framed, matrix, (side, side), fill=BLACK)


@settings(max_examples=80, deadline=None)
@given(operations, st.integers(0, 40), st.integers(0, 30), st.integers(12, 40))
def test_a_box_lies_where_its_mapped_box_says(
    chain: list[tuple[str, float, float]], left: int, top: int, side: int
) -> None:
    framed = drawn(90, 75, (left, top, left + side, top + side + 5))
    for name, a, b in chain:
        framed = change(framed, name, a, b)
    rows, columns = np.nonzero(framed.pixels[..., 1] > 125)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert framed.box_here is not None
    # Each resampling may round by half a pixel; corners of a turned box are soft.
    assert np.allclose(found, framed.box_here, atol=2 + 0.7 * len(chain))
    corners = moved(framed.matrix, box_corners((left, top, left + side, top + side + 5)))
    centre = columns.mean() + 0.5, rows.mean() + 0.5
    assert np.allclose(centre, corners.mean(axis=0), atol=0.75 + 0.25 * len(chain))


def test_maps_are_joined_in_their_order() -> None:
    points = np.array([[1.0, 2.0], [-3.0, 5.0]])
    both = after(scaling(2, 3), shifting(10, 20))
    assert moved(both, points).tolist() == [[22, 66], [14, 75]]


def test_shrinking_by_a_map_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = warped(Framed(stripes), scaling(0.25, 0.25), (16, 16), fill=BLACK)
    inner = small.pixels[2:-2, 2:-2]
    assert inner.min() > 90
    assert inner.max() < 165
