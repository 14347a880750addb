"""Values: grey in the right order of channels, enhancement as torchvision's, constancy."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional as F

from gorae.preprocess import colour


def noise(height: int = 30, width: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_pure_blue_is_29_and_not_76() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    for channel, value in enumerate((76, 150, 29)):
        pixels[:] = 0
        pixels[..., channel] = 255
        assert (colour.greyscale(pixels) == value).all()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.brightness, F.adjust_brightness),
        (colour.contrast, F.adjust_contrast),
        (colour.saturation, F.adjust_saturation),
    ],
)
@pytest.mark.parametrize("factor", [0.4, 1.7])
def test_enhancement_is_torchvisions(ours, theirs, factor: float) -> None:  # type: ignore[no-untyped-def]
    pixels = noise()
    wanted = theirs(torch.from_numpy(pixels).permute(2, 0, 1), factor).permute(1, 2, 0)
    difference = np.abs(ours(pixels, factor=factor).astype(int) - wanted.numpy().astype(int))
    # Pillow rounds the grey picture, torchvision does not.
    assert difference.max() <= 2


def test_gamma_is_a_power_of_values_from_0_to_1() -> None:
    pixels = np.array([[[0, 64, 255]]], np.uint8)
    assert colour.gamma(pixels, power=2).tolist() == [[[0, 16, 255]]]
    assert colour.gamma(pixels, power=0.5).tolist() == [[[0, 128, 255]]]


@given(st.integers(0, 255), st.integers(0, 255))
def test_min_max_reaches_both_ends_or_leaves_one_colour(low: int, high: int) -> None:
    pixels = np.array([[[low, low, high]]], np.uint8)
    found = colour.min_max(pixels)
    if low == high:
        assert np.array_equal(found, pixels)
    else:
        assert {int(found.min()), int(found.max())} == {0, 255}
        assert (found[0, 0, 0] < found[0, 0, 2]) == (low < high)


def test_clahe_is_opencvs_on_lightness_and_leaves_grey_grey() -> None:
    grey = np.repeat(noise()[..., :1], 3, axis=2)
    found = colour.clahe(grey, limit=2, grid=4).astype(int)
    assert np.abs(found - found[..., :1]).max() <= 1
    lightness = cv2.cvtColor(grey, cv2.COLOR_RGB2LAB)[..., 0]
    wanted = cv2.createCLAHE(2, (4, 4)).apply(lightness)
    got = cv2.cvtColor(found.astype(np.uint8), cv2.COLOR_RGB2LAB)[..., 0]
    assert np.abs(got.astype(int) - wanted).max() <= 1


def test_shades_of_grey_takes_the_colour_of_the_light_out() -> None:
    scene = np.random.default_rng(0).integers(20, 120, (50, 60, 1)).repeat(3, 2)
    lit = np.rint(scene * (1.8, 1.0, 0.6)).astype(np.uint8)
    means = colour.shades_of_grey(lit, power=6).reshape(-1, 3).mean(axis=0)
    assert np.ptp(means) < 1
    assert np.ptp(lit.reshape(-1, 3).mean(axis=0)) > 50


def test_shades_of_grey_of_power_1_is_grey_world_by_hand() -> None:
    pixels = np.array([[[10, 20, 40], [30, 60, 120]]], np.uint8)
    # Means 20, 40, 80: norm sqrt(20^2 + 40^2 + 80^2) / sqrt 3 = 52.915.
    wanted = np.rint(pixels * (52.915 / np.array([20, 40, 80])))
    assert np.array_equal(colour.shades_of_grey(pixels, power=1), wanted)


def test_saturated_pixels_say_nothing_of_the_light() -> None:
    pixels = noise().clip(0, 200)
    with_glare = pixels.copy()
    with_glare[:3] = (255, 250, 10)
    without = colour.shades_of_grey(pixels[3:], power=6)
    assert np.array_equal(colour.shades_of_grey(with_glare, power=6)[3:], without)
    for dead in (0, 255):
        flat = np.full((4, 4, 3), dead, np.uint8)
        assert np.array_equal(colour.shades_of_grey(flat, power=6), flat)


def test_an_outline_is_where_the_edge_is() -> None:
    pixels = np.full((60, 80, 3), 40, np.uint8)
    pixels[20:40, 30:50] = 200
    edges = colour.outline(pixels, into="mask", share=0.1)
    rows, columns, _ = np.nonzero(edges)
    assert set(np.unique(edges)) == {0, 255}
    assert np.allclose(
        (rows.min(), rows.max(), columns.min(), columns.max()), (20, 39, 30, 49), atol=1
    )
    assert not edges[25:35, 35:45].any()
    beside = colour.outline(pixels, into="blue", share=0.1)
    assert np.array_equal(beside[..., :2], pixels[..., :2])
    assert np.array_equal(beside[..., 2], edges[..., 0])
    assert not colour.outline(np.full((9, 9, 3), 77, np.uint8), into="mask", share=0.5).any()
