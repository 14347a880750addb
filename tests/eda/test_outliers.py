"""Planted outliers are found with their reason; clean sets give nearly none."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from gorae.data.decode import DecodePolicy, decode, read_image_bytes
from gorae.eda.outliers import OUTLIER_COLUMNS, find_outliers, robust_limit
from gorae.eda.pictures import picture_statistics

# Stated rate on clean data: nine kinds at 3.5 deviations report 0.1 % of normal data; real
# tails are longer.
CLEAN_RATE = 0.01


def crops(count: int, seed: int) -> list[NDArray[np.uint8]]:
    """Pieces of two photographs in different light: a clean set."""
    rng = np.random.default_rng(seed)
    found = []
    for row in range(count):
        image = load_sample_images().images[row % 2]
        top, left = rng.integers(0, 200), rng.integers(0, 400)
        piece = image[top : top + 220, left : left + 220].astype(np.float64)
        light = rng.uniform(0.5, 0.9)
        found.append(np.clip(piece * light, 0, 255).astype(np.uint8))
    return found


def blurred(pixels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def resized(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def outliers_of(pictures: list[NDArray[np.uint8]]) -> pd.DataFrame:
    table, _ = picture_statistics(lambda row: pictures[row], len(pictures))
    sizes = np.array([pixels.shape[:2] for pixels in pictures], np.int64)
    return find_outliers(table, width_px=sizes[:, 1], height_px=sizes[:, 0])


def kinds(found: pd.DataFrame, image: int) -> set[str]:
    return set(found.loc[found["image"] == image, "kind"])


def normal_table(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "brightness": rng.normal(120, 25, count),
            "contrast": rng.normal(55, 9, count),
            "sharpness": np.exp(rng.normal(6, 0.6, count)),
            "top_level_share": rng.beta(2, 60, count),
        }
    )


@pytest.mark.parametrize("seed", range(5))
def test_normal_data_give_fewer_than_the_stated_rate(seed: int) -> None:
    count = 4000
    rng = np.random.default_rng(seed)
    width = np.exp(rng.normal(6, 0.2, count)).astype(np.int64)
    height = np.exp(rng.normal(6, 0.2, count)).astype(np.int64)
    found = find_outliers(normal_table(count, seed), width_px=width, height_px=height)
    assert found["image"].nunique() <= CLEAN_RATE * count


def test_planted_pictures_are_found_with_their_reason_and_no_others() -> None:
    pictures = crops(60, seed=0)
    sharp = pictures[0].astype(np.float64)
    planted = {
        "dark": (sharp * 0.06).astype(np.uint8),
        "bright": (255 - (255 - sharp) * 0.01).astype(np.uint8),
        "low_contrast": (110 + sharp * 0.02).astype(np.uint8),
        "blurry": blurred(pictures[0], 6),
        "one_colour": np.full((220, 220, 3), 130, np.uint8),
        "small": resized(pictures[0], 40),
        "large": resized(pictures[0], 900),
        "tall": np.ascontiguousarray(pictures[0][:, 60:140]),
        "wide": np.ascontiguousarray(pictures[0][60:140]),
    }
    found = outliers_of([*pictures, *planted.values()])
    assert tuple(found.columns) == OUTLIER_COLUMNS
    for at, kind in enumerate(planted, len(pictures)):
        assert kind in kinds(found, at), kind
    assert not found["image"].lt(len(pictures)).any()


def test_each_line_names_a_limit_that_its_value_crosses() -> None:
    pictures = [*crops(30, seed=1), np.zeros((220, 220, 3), np.uint8)]
    found = outliers_of(pictures)
    found = found[found["image"] == 30].set_index("kind")
    assert set(found.index) == {"dark", "low_contrast", "one_colour"}
    for kind, value in (("dark", 0), ("low_contrast", 0), ("one_colour", 1)):
        line = found.loc[kind]
        assert line["value"] == value
        assert value != line["limit"] != line["typical"]
        assert (line["limit"] - value) * (line["typical"] - line["limit"]) > 0
        assert line["rule"] in ("data", "absolute")


def test_equal_pictures_have_no_outliers() -> None:
    table = normal_table(1, 0).loc[[0] * 50].reset_index(drop=True)
    side = np.full(50, 100)
    assert not len(find_outliers(table, width_px=side, height_px=side))


def test_a_tenth_of_another_shape_is_a_kind_of_its_own_and_a_few_are_odd() -> None:
    table = normal_table(100, 0)
    for num_odd, reported in ((20, 0), (5, 5)):
        width = np.full(100, 400)
        width[:num_odd] = 1600
        found = find_outliers(table, width_px=width, height_px=np.full(100, 300))
        assert (found["kind"] == "wide").sum() == reported


def test_pictures_that_were_not_read_are_left_out() -> None:
    table = normal_table(20, 0)
    table.loc[3] = np.nan
    side = np.full(20, 64)
    side[3] = 0
    assert 3 not in set(find_outliers(table, width_px=side, height_px=side)["image"])
    table.loc[:] = np.nan
    empty = find_outliers(table, width_px=np.zeros(20, int), height_px=np.zeros(20, int))
    assert tuple(empty.columns) == OUTLIER_COLUMNS
    assert not len(empty)


def test_the_limit_follows_the_longer_tail() -> None:
    values = np.random.default_rng(0).normal(0, 1, 20_000)
    assert robust_limit(values, side=1) == pytest.approx(3.5, rel=0.05)
    assert robust_limit(values, side=-1) == pytest.approx(-3.5, rel=0.05)
    skewed = np.exp(values)
    assert robust_limit(skewed, side=1) - 1 > 2 * (1 - robust_limit(skewed, side=-1))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["sign-digits", "chest-xray", "cattle-faces"])
def test_real_sets_are_clean_and_planted_pictures_in_them_are_found(
    name: str, shared: Path
) -> None:
    root = shared / "data" / name
    policy = DecodePolicy()
    files = sorted((root / "train").rglob("*.jpg"))[::6]
    pictures = [
        decode(read_image_bytes(path, root=root, policy=policy), policy).pixels
        for path in files
    ]
    found = outliers_of(pictures)
    assert found["image"].nunique() <= CLEAN_RATE * len(pictures)
    first = pictures[0]
    sigma = 6 * min(first.shape[:2]) / 256
    planted = {
        "dark": (first * 0.03).astype(np.uint8),
        "blurry": blurred(first, sigma),
        "one_colour": np.full(first.shape, 128, np.uint8),
    }
    found = outliers_of([*pictures, *planted.values()])
    for at, kind in enumerate(planted, len(pictures)):
        assert kind in kinds(found, at), kind
