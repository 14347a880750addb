"""Thumbnails: of any shape, the same each time, and the mean of what they shrink."""

import numpy as np
import pytest
from PIL import Image

from gorae.data.thumbnail import THUMBNAIL_SIDE, thumbnail

SHAPE = (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 5000), (5000, 1), (48, 48), (97, 95), (384, 512)]
)
def test_any_shape_gives_a_square_and_one_colour_stays(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), (10, 200, 77), np.uint8)
    small = thumbnail(pixels)
    assert small.shape == SHAPE
    assert small.dtype == np.uint8
    assert (small == [10, 200, 77]).all()


@pytest.mark.parametrize("shape", [(383, 512), (640, 333), (2000, 3001), (47, 60)])
def test_it_is_close_to_filtering_the_whole_picture_at_once(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    picture = coarse.resize(shape[::-1], Image.Resampling.BICUBIC)
    whole = np.asarray(picture.resize(SHAPE[:2], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(thumbnail(np.asarray(picture)) - whole).mean() < 1


def test_fine_stripes_become_their_mean() -> None:
    pixels = np.zeros((960, 960, 3), np.uint8)
    pixels[::2] = 255
    pixels[:, ::3] = 128
    small = thumbnail(pixels).astype(int)
    assert small.max() - small.min() <= 2


def test_two_calls_and_a_view_of_other_strides_give_the_same() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    turned = np.ascontiguousarray(pixels[::-1, ::-1])[::-1, ::-1]
    assert (thumbnail(pixels) == thumbnail(pixels.copy())).all()
    assert (thumbnail(pixels) == thumbnail(turned)).all()


def test_a_tall_picture_of_many_rows_does_not_overflow() -> None:
    pixels = np.full((48 * 600, 2, 3), 255, np.uint8)
    assert (thumbnail(pixels) == 255).all()
