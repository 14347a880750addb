"""Statistics of single pictures: by hand, against numpy, and under changes of the picture."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from gorae.eda.pictures import (
    PICTURE_COLUMNS,
    colour_spread,
    picture_statistics,
    sharpness,
)


def photograph() -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = load_sample_images().images[0]
    return pixels


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(
        cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8
    )


def blurred(pixels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def statistics_of(pixels: NDArray[np.uint8]) -> dict[str, float]:
    table, _ = picture_statistics(lambda row: pixels, 1)
    return {str(name): float(table[name].iloc[0]) for name in table.columns}


def test_black_and_white_halves_by_hand() -> None:
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:, 5:] = 255
    found = statistics_of(pixels)
    assert found["brightness"] == found["contrast"] == 127.5
    assert (found["top_level_share"], found["entropy"]) == (0.5, 1)
    assert (found["colour"], found["is_grey"]) == (0, True)


def test_one_colour_has_no_contrast_no_entropy_and_no_edge() -> None:
    found = statistics_of(np.full((30, 40, 3), (10, 200, 30), np.uint8))
    assert found["contrast"] == found["entropy"] == found["sharpness"] == 0
    assert (found["top_level_share"], found["colour"], found["is_grey"]) == (1, 190, False)


def test_a_photograph_agrees_with_numpy() -> None:
    pixels = photograph()
    found = statistics_of(pixels)
    for channel, name in enumerate(("red", "green", "blue")):
        assert found[f"mean_{name}"] == pytest.approx(pixels[..., channel].mean())
        assert found[f"std_{name}"] == pytest.approx(pixels[..., channel].std())
    assert found["brightness"] == pytest.approx(
        (pixels @ np.array([0.299, 0.587, 0.114])).mean(), abs=0.1
    )
    assert colour_spread(pixels) == pytest.approx(np.ptp(pixels.astype(int), axis=2).mean())


def test_blur_lowers_sharpness_and_size_hardly_changes_it() -> None:
    pixels = photograph()
    assert sharpness(shrunk(pixels)) == pytest.approx(sharpness(pixels), rel=0.3)
    levels = [sharpness(blurred(pixels, sigma)) for sigma in (1, 3, 6)]
    assert sharpness(pixels) > levels[0] > levels[1] > levels[2] > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (2000, 2)])
def test_thin_pictures_have_statistics_too(shape: tuple[int, int]) -> None:
    found = statistics_of(np.full((*shape, 3), 7, np.uint8))
    assert found["brightness"] == 7
    assert found["sharpness"] == 0


def test_jpeg_of_a_grey_picture_is_grey_and_a_tinted_one_is_not() -> None:
    grey = np.repeat(photograph()[..., :1], 3, axis=2)
    _, packed = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert statistics_of(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8))[
        "is_grey"
    ]
    assert not statistics_of(np.clip(grey + np.array([20, 0, 0]), 0, 255).astype(np.uint8))[
        "is_grey"
    ]


def test_a_picture_without_pixels_has_no_numbers_and_counts_nowhere() -> None:
    told: list[tuple[int, int]] = []
    table, sums = picture_statistics(
        lambda row: None if row == 1 else np.full((2, 2, 3), row, np.uint8),
        3,
        classes=np.array([1, 0, -1]),
        num_classes=2,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert table.columns.tolist() == [*PICTURE_COLUMNS, "is_grey"]
    assert table["brightness"].isna().tolist() == [False, True, False]
    assert table["is_grey"].tolist() == [True, False, True]
    assert sums.num_pictures.tolist() == [0, 1, 1]
    assert told == [(1, 3), (2, 3), (3, 3)]
