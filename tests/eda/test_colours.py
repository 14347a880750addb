"""Levels and what follows from them agree with numpy on the pixels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.eda.colours import (
    ColourSums,
    channel_moments,
    colour_table,
    level_counts,
    level_histograms,
    rgb_constants,
)


def drawn(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def summed(pictures: list[NDArray[np.uint8]], classes: list[int]) -> ColourSums:
    sums = ColourSums.zeros(2)
    for pixels, class_index in zip(pictures, classes, strict=True):
        sums.add(level_counts(pixels), class_index)
    return sums


def test_levels_are_counted_as_numpy_counts_them() -> None:
    pixels = drawn(13, 7, 0)
    counts = level_counts(pixels)
    for channel in range(3):
        expected = np.bincount(pixels[..., channel].ravel(), minlength=256)
        np.testing.assert_array_equal(counts[channel + 1], expected)
    assert counts.sum(axis=1).tolist() == [91] * 4


def test_blue_is_29_in_grey_and_red_76() -> None:
    blue, red = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    blue[..., 2], red[..., 0] = 255, 255
    assert level_counts(blue)[0].argmax() == 29
    assert level_counts(red)[0].argmax() == 76


def test_moments_of_levels_are_those_of_the_pixels() -> None:
    pixels = drawn(20, 30, 1)
    mean, std = channel_moments(level_counts(pixels).astype(np.float64))
    np.testing.assert_allclose(mean[1:], pixels.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(std[1:], pixels.std(axis=(0, 1)), rtol=1e-12)


def test_one_colour_has_exactly_no_spread() -> None:
    _, std = channel_moments(level_counts(np.full((5, 5, 3), 201, np.uint8)).astype(float))
    assert std.tolist() == [0, 0, 0, 0]


def test_constants_are_those_of_all_pixels_when_pictures_have_one_size() -> None:
    pictures = [drawn(8, 8, seed) // (seed + 1) for seed in range(5)]
    mean, std = rgb_constants(summed(pictures, [0, 1, 0, -1, 1]))
    pixels = np.stack(pictures).reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-12)


def test_a_large_picture_weighs_as_much_as_a_small_one() -> None:
    black, white = np.zeros((50, 50, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    mean, std = rgb_constants(summed([black, white], [0, 1]))
    assert mean == pytest.approx((0.5, 0.5, 0.5))
    assert std == pytest.approx((0.5, 0.5, 0.5))


def test_the_table_has_a_line_of_all_and_one_per_class() -> None:
    dark, light = np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 3), 30, np.uint8)
    table = colour_table(summed([dark, light, light], [0, 1, -1]), ("day", "night"))
    assert table["name"].tolist()[1:] == ["day", "night"]
    assert table["name"].isna().tolist() == [True, False, False]
    assert table["pictures"].tolist() == [3, 1, 1]
    assert table["mean_grey"].tolist() == pytest.approx([70 / 3, 10, 30])


def test_a_class_without_pictures_has_no_numbers() -> None:
    sums = summed([drawn(4, 4, 0)], [1])
    assert colour_table(sums, ("a", "b"))["mean_red"].isna().tolist() == [False, True, False]
    assert np.isnan(level_histograms(sums)[1]).all()


@pytest.mark.parametrize("num_bins", [1, 16, 64, 256])
def test_histograms_sum_to_one_and_bins_hold_their_levels(num_bins: int) -> None:
    histograms = level_histograms(
        summed([np.full((4, 4, 3), 200, np.uint8)], [0]), num_bins=num_bins
    )
    assert histograms.shape == (3, 4, num_bins)
    np.testing.assert_allclose(histograms[:2].sum(axis=-1), 1)
    assert histograms[0, 1].argmax() == 200 * num_bins // 256
