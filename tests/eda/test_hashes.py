"""Perceptual hashes: what changes them and what must not."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gorae.eda.hashes import WINDOWS, Window, perceptual_hashes

Pixels = NDArray[np.uint8]


def drawn(count: int, *, seed: int = 0) -> Pixels:
    """Smooth pictures with detail at several sizes, (count, 48, 48, 3)."""
    rng = np.random.default_rng(seed)
    pictures = np.empty((count, 48, 48, 3), np.uint8)
    for picture in pictures:
        mixed = np.zeros((48, 48, 3))
        for side in (4, 8, 16):
            coarse = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
            mixed += np.asarray(coarse.resize((48, 48), Image.Resampling.BICUBIC))
        picture[:] = mixed / 3
    return pictures


def apart(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    distance: NDArray[np.uint8] = np.bitwise_count(first ^ second)
    return distance


def test_gain_and_offset_change_no_more_than_a_bit() -> None:
    pictures = drawn(40)
    darker = (pictures * 0.6 + 20).astype(np.uint8)
    assert (
        apart(perceptual_hashes(pictures)[:, 0], perceptual_hashes(darker)[:, 0]) <= 2
    ).all()


@pytest.mark.parametrize(
    "number", [w for w in range(len(WINDOWS)) if WINDOWS[w][:4] == (0, 0, 1, 1)]
)
def test_a_mirrored_window_has_the_hash_of_the_mirrored_picture(number: int) -> None:
    pictures = drawn(20)
    window = WINDOWS[number]
    turned = pictures[:, :, ::-1] if window.mirrored else pictures
    turned = turned[:, ::-1] if window.upside_down else turned
    expected = perceptual_hashes(turned, [Window(0, 0, 1, 1)])
    # A frequency of no strength may have either sign.
    assert (apart(perceptual_hashes(pictures)[:, number], expected[:, 0]) <= 1).all()


def test_a_window_has_the_hash_of_the_crop_made_of_it() -> None:
    pictures = drawn(20)
    crops = np.stack(
        [
            np.asarray(
                Image.fromarray(picture).resize((48, 48), box=(0.96, 0.96, 44.16, 44.16))
            )
            for picture in pictures
        ]
    )
    number = WINDOWS.index(Window(0.02, 0.02, 0.92, 0.92))
    whole, window = perceptual_hashes(pictures)[:, [0, number]].T
    of_crop = perceptual_hashes(crops)[:, 0]
    assert apart(window, of_crop).max() <= 4
    assert np.median(apart(whole, of_crop)) > 6


def test_different_pictures_differ_in_half_of_the_bits() -> None:
    codes = perceptual_hashes(drawn(200))[:, 0]
    distances = apart(codes[:100], codes[100:])
    assert 30 < distances.mean() < 34
    assert distances.min() > 12
