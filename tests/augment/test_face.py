"""The face crop, against boxes worked out by hand (a portrait of 384 x 512)."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gorae.augment.face import _small_grey, face_axis, face_box, face_edges


def portrait(*rectangles: tuple[int, int, int, int, int]) -> torch.Tensor:
    """Grey 30, with rectangles (top, bottom, left, right, value)."""
    pixels: NDArray[np.uint8] = np.full((512, 384, 3), 30, np.uint8)
    for top, bottom, left, right, value in rectangles:
        pixels[top:bottom, left:right] = value
    return torch.from_numpy(pixels).permute(2, 0, 1)


def test_a_bright_rectangle() -> None:
    image = portrait((128, 384, 112, 272, 200))
    small = _small_grey(image)
    assert face_axis(small) == 29
    assert face_edges(small[:, 29]) == (21, 51)
    assert face_box(image) == (39, 35, 309, 397)


def test_a_face_with_eyes() -> None:
    eyes = (230, 260, 150, 180, 60), (230, 260, 204, 234, 60)
    assert face_box(portrait((160, 352, 120, 264, 200), *eyes)) == (88, 98, 260, 328)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (16, 500), (500, 16), (85, 64)])
def test_the_box_is_inside_any_picture_and_never_empty(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        image = torch.from_numpy(rng.integers(0, 256, (3, *shape), dtype=np.uint8))
        left, top, right, bottom = face_box(image)
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]
        assert face_box(image) == (left, top, right, bottom)
