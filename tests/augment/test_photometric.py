import colorsys
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from gorae.augment import photometric
from gorae.augment.photometric import (
    blur_or_noise,
    clahe,
    filtered,
    gain,
    gaussian_kernel,
    gaussian_noise,
    hue_saturation_value,
    local_contrast,
    median,
    motion_kernel,
    saturation,
    shift,
)

Pixels = NDArray[np.uint8]
STILL = np.full(16, 0.5)


def picture(height: int = 40, width: int = 40, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def draws(*values: float) -> NDArray[np.float64]:
    return np.array([*values, *[0.5] * (16 - len(values))])


def test_the_middle_of_the_range_changes_nothing() -> None:
    image = picture()
    assert np.array_equal(shift(image, STILL, limit=0.2), image)
    assert np.array_equal(gain(image, STILL, limit=0.2), image)
    assert np.array_equal(saturation(image, STILL, limit=0.5), image)


def test_brightness_and_gain_by_hand() -> None:
    image = np.array([[[0, 100, 250]]], np.uint8)
    assert shift(image, draws(1.0), limit=0.2).tolist() == [[[51, 151, 255]]]
    assert shift(image, draws(0.0), limit=0.2).tolist() == [[[0, 49, 199]]]
    assert gain(image, draws(1.0), limit=0.2).tolist() == [[[0, 120, 255]]]
    assert gain(image, draws(0.0), limit=0.2).tolist() == [[[0, 80, 200]]]


def test_saturation_moves_towards_the_grey_of_red_green_and_blue() -> None:
    blue = np.array([[[0, 0, 255]]], np.uint8)
    # Grey of pure blue is 29: half the saturation is half the way there.
    assert saturation(blue, draws(0.0), limit=0.5).tolist() == [[[14, 14, 142]]]
    grey = np.full((4, 4, 3), 93, np.uint8)
    assert np.array_equal(saturation(grey, draws(1.0), limit=0.5), grey)


@pytest.mark.parametrize("move", [(1.0, 0.5, 0.5), (0.0, 0.5, 0.5), (0.5, 1.0, 0.0)])
def test_hue_saturation_and_value_are_those_of_colorsys(move: tuple[float, ...]) -> None:
    colours = np.array([[[200, 60, 30], [30, 90, 160], [70, 180, 60]]], np.uint8)
    limits = 20 / 360, 20 / 255, 10 / 255
    changed = hue_saturation_value(colours, draws(*move))
    for before, after in zip(colours[0], changed[0], strict=True):
        hsv = colorsys.rgb_to_hsv(*(before / 255))
        wanted = [v + (2 * m - 1) * s for v, m, s in zip(hsv, move, limits, strict=True)]
        expected = 255 * np.array(colorsys.hsv_to_rgb(wanted[0] % 1, *wanted[1:]))
        assert np.abs(expected - after).max() <= 4, "steps of eight bits"


@pytest.mark.parametrize("width", [3, 5])
def test_median_is_scipys(width: int) -> None:
    image = picture(23, 31)
    expected = ndimage.median_filter(image, size=(width, width, 1), mode="reflect")
    assert np.array_equal(median(image, width), expected)


@pytest.mark.parametrize(
    "kernel", [gaussian_kernel(3), gaussian_kernel(5), motion_kernel(5, angle=0.7)]
)
def test_filter_is_scipys(kernel: NDArray[np.float32]) -> None:
    image = picture(23, 31)
    expected = ndimage.correlate(
        image.astype(np.float64), kernel[:, :, None].astype(np.float64), mode="reflect"
    )
    assert np.abs(filtered(image, kernel) - expected).max() <= 0.501


@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 3.0])
def test_kernels_keep_the_brightness(width: int, angle: float) -> None:
    for kernel in (gaussian_kernel(width), motion_kernel(width, angle=angle)):
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        flat = np.full((9, 9, 3), 200, np.uint8)
        assert np.array_equal(filtered(flat, kernel), flat)


def test_a_move_along_a_row_is_a_row() -> None:
    assert np.allclose(motion_kernel(5, angle=0.0)[2], 0.2)
    assert np.allclose(motion_kernel(5, angle=math.pi / 2)[:, 2], 0.2)


def test_noise_has_the_variance_asked_for() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    for draw, variance in ((0.0, 5), (1.0, 30)):
        noise = gaussian_noise(grey, draws(draw, 0.3)).astype(float) - 128
        assert noise.mean() == pytest.approx(0, abs=0.1)
        assert noise.var() == pytest.approx(variance + 1 / 12, rel=0.05)


def test_each_kind_of_blur_and_noise_has_a_quarter() -> None:
    image = picture()
    results = {
        blur_or_noise(image, draws(draw, 0.9, 0.1, 0.2)).tobytes()
        for draw in (0.0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 0.99)
    }
    assert len(results) == 4


def slow_clahe(values: Pixels, limit: float, tiles: int) -> NDArray[np.float64]:
    """The same, a pixel at a time, from the definition."""
    side = len(values)
    edges = [math.ceil(k * side / tiles) for k in range(tiles + 1)]
    tables = {}
    for i in range(tiles):
        for j in range(tiles):
            part = values[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
            counts = np.bincount(part.ravel(), minlength=256).astype(float)
            capped = np.minimum(counts, max(1.0, limit * part.size / 256))
            capped += (part.size - capped.sum()) / 256
            tables[i, j] = np.cumsum(capped) / part.size * 255
    result = np.zeros(values.shape)
    for y in range(side):
        for x in range(side):
            v, u = ((p + 0.5) * tiles / side - 0.5 for p in (y, x))
            for i in range(tiles):
                for j in range(tiles):
                    near = max(0, 1 - abs(np.clip(v, 0, tiles - 1) - i))
                    near *= max(0, 1 - abs(np.clip(u, 0, tiles - 1) - j))
                    result[y, x] += near * tables[i, j][values[y, x]]
    return result


@pytest.mark.parametrize("limit", [1.0, 2.5, 40.0])
def test_local_contrast_is_its_definition(limit: float) -> None:
    values = picture(26, 26)[:, :, 0] // 3 + 60
    expected = slow_clahe(values, limit, tiles=4)
    assert np.abs(clahe(values, limit=limit, tiles=4) - expected).max() <= 0.51


def test_local_contrast_keeps_the_order_inside_a_tile_and_the_colour() -> None:
    ramp = np.repeat(np.arange(64, 128, dtype=np.uint8)[None], 64, axis=0)
    spread = clahe(ramp, limit=40.0, tiles=1)[0].astype(int)
    assert (np.diff(spread) >= 0).all()
    assert spread[-1] - spread[0] > 100
    red = np.stack([ramp, ramp // 2, ramp // 2], axis=2)
    changed = local_contrast(red, draws(1.0), limit=4.0).astype(int)
    assert (changed[:, :, 0] > changed[:, :, 1]).mean() > 0.99


def test_uint8_in_and_out_for_everything_and_nothing_is_changed_in_place() -> None:
    image = picture()
    before = image.copy()
    for change in (hue_saturation_value, blur_or_noise):
        for draw in np.linspace(0, 0.99, 5):
            after = change(image, draws(draw))
            assert after.dtype == np.uint8
            assert after.shape == image.shape
    assert np.array_equal(image, before)
    assert photometric.CLAHE_TILES <= 16, "the smallest input has as many pixels"
