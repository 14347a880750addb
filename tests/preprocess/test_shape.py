"""Padding, resizing and the standard pose."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gorae.preprocess.framed import Framed
from gorae.preprocess.shape import align, pad_square, resize

BLACK = (0, 0, 0)
FILTER: dict[str, Any] = {"fill": BLACK, "interpolation": "bilinear"}


def test_a_wide_picture_is_padded_and_not_stretched() -> None:
    pixels = np.full((600, 1050, 3), 7, np.uint8)
    found = pad_square(Framed(pixels, (0, 0, 1050, 600)), fill=BLACK)
    assert found.pixels.shape == (1050, 1050, 3)
    rows = np.flatnonzero(found.pixels.any(axis=(1, 2)))
    assert (rows[0], rows[-1], len(rows)) == (225, 824, 600)
    assert list(found.box_here or ()) == [0, 225, 1050, 825]


@given(st.integers(1, 40), st.integers(1, 40))
def test_padding_keeps_every_pixel(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)
    found = pad_square(Framed(pixels), fill=(9, 8, 7))
    left, top = (int(v) for v in found.matrix[:, 2])
    assert np.array_equal(found.pixels[top : top + height, left : left + width], pixels)
    assert found.size == (max(height, width),) * 2


def test_a_thread_of_a_picture_does_not_fill_the_memory() -> None:
    found = pad_square(Framed(np.zeros((1, 300_000, 3), np.uint8)), fill=BLACK)
    assert found.size == (8000, 8000)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 60), st.integers(8, 60))
def test_each_policy_gives_its_size(height: int, width: int, wide: int, high: int) -> None:
    framed = Framed(np.zeros((height, width, 3), np.uint8))
    for how in ("stretch", "fit"):
        found = resize(framed, how=how, size=(wide, high), side=None, **FILTER)
        assert found.size == (wide, high)
    short = resize(framed, how="short_side", size=None, side=wide, **FILTER)
    assert min(short.size) == wide
    long = resize(framed, how="long_side", size=None, side=wide, **FILTER)
    assert max(long.size) == wide


def test_fit_keeps_the_aspect_and_stretch_tells() -> None:
    framed = Framed(np.full((50, 100, 3), 200, np.uint8), (0, 0, 100, 50))
    fitted = resize(framed, how="fit", size=(40, 40), side=None, **FILTER)
    assert list(fitted.box_here or ()) == [0, 10, 40, 30]
    assert fitted.pixels[:10].max() == 0
    stretched = resize(framed, how="stretch", size=(40, 40), side=None, **FILTER)
    assert list(stretched.box_here or ()) == [0, 0, 40, 40]
    assert stretched.notes == ("stretched: width to height changes 2.00 times",)


def face(first: tuple[int, int], second: tuple[int, int]) -> NDArray[np.uint8]:
    """Two bright spots of five pixels around places."""
    pixels = np.zeros((120, 160, 3), np.uint8)
    for channel, (x, y) in enumerate((first, second)):
        pixels[y - 2 : y + 3, x - 2 : x + 3, channel] = 255
    return pixels


@pytest.mark.parametrize(
    ("first", "second"), [((40, 50), (90, 70)), ((90, 70), (40, 50)), ((80, 20), (80, 100))]
)
def test_landmarks_come_to_lie_level_at_their_distance(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    points = tuple((x + 0.5, y + 0.5) for x, y in (first, second))
    found = align(
        Framed(face(first, second), None, points),
        size=(80, 100),
        distance=0.5,
        centre=(0.5, 0.3),
        fill=BLACK,
    )
    assert found.size == (80, 100)
    assert np.allclose(found.points_here, [(20, 30), (60, 30)])
    for channel, place in enumerate(((20, 30), (60, 30))):
        rows, columns = np.nonzero(found.pixels[..., channel] > 80)
        assert np.allclose((columns.mean() + 0.5, rows.mean() + 0.5), place, atol=0.8)


def test_without_landmarks_the_picture_stays() -> None:
    for points in ((), ((3.0, 3.0), (3.0, 3.2))):
        framed = Framed(np.zeros((9, 9, 3), np.uint8), None, points)
        found = align(framed, size=(20, 20), distance=0.4, centre=(0.5, 0.4), fill=BLACK)
        assert found.pixels is framed.pixels
        assert found.notes[0].startswith("points_missing:")
