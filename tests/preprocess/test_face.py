"""The face crop, against boxes worked out by hand (a portrait of 384 x 512)."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.preprocess.face import face_axis, face_box, face_edges, small_grey


def portrait(*rectangles: tuple[int, int, int, int, int]) -> NDArray[np.uint8]:
    """Grey 30, with rectangles (top, bottom, left, right, value)."""
    pixels: NDArray[np.uint8] = np.full((512, 384, 3), 30, np.uint8)
    for top, bottom, left, right, value in rectangles:
        pixels[top:bottom, left:right] = value
    return pixels


def test_a_bright_rectangle() -> None:
    pixels = portrait((128, 384, 112, 272, 200))
    small = small_grey(pixels)
    assert face_axis(small) == 29
    assert face_edges(small[:, 29]) == (21, 51)
    assert face_box(pixels) == (39, 35, 309, 397)


def test_a_face_with_eyes() -> None:
    eyes = (230, 260, 150, 180, 60), (230, 260, 204, 234, 60)
    assert face_box(portrait((160, 352, 120, 264, 200), *eyes)) == (88, 98, 260, 328)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (16, 500), (500, 16), (85, 64)])
def test_the_box_is_inside_any_picture_and_never_empty(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        left, top, right, bottom = face_box(pixels)
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]
        assert face_box(pixels) == (left, top, right, bottom)
