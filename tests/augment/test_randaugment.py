"""RandAugment, operation by operation, against Pillow called as its source calls it."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from gorae.augment.randaugment import CHANGES, COVER, randaugment, strength_of

AFFINE = Image.Transform.AFFINE
Picture = Image.Image


def smooth_picture(side: int = 224) -> Picture:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(60, 190, (12, 12, 3), dtype=np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def row(name: str, sign: float = 0.9, x: float = 0.5, y: float = 0.5) -> np.ndarray:
    return np.array([[(list(CHANGES).index(name) + 0.5) / len(CHANGES), sign, x, y]])


def changed(name: str, magnitude: float = 9.0, **where: float) -> Picture:
    pixels = randaugment(np.array(smooth_picture()), row(name, **where), magnitude=magnitude)
    return Image.fromarray(pixels)


def solarize_add(image: Picture) -> Picture:
    brighter = np.minimum(np.asarray(image).astype(int) + 33, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(brighter), 128)


# What magnitude 9 of 30 means.
AT_NINE: dict[str, Callable[[Picture], Picture]] = {
    "AutoContrast": ImageOps.autocontrast,
    "Equalize": ImageOps.equalize,
    "Invert": ImageOps.invert,
    "Rotate": lambda image: image.rotate(9),
    "Posterize": lambda image: ImageOps.posterize(image, 1),
    "Solarize": lambda image: ImageOps.solarize(image, 76.8),  # type: ignore[arg-type]
    "SolarizeAdd": solarize_add,
    "Color": lambda image: ImageEnhance.Color(image).enhance(0.64),
    "Contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.64),
    "Brightness": lambda image: ImageEnhance.Brightness(image).enhance(0.64),
    "Sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(0.64),
    "ShearX": lambda image: image.transform(image.size, AFFINE, (1, 0.09, 0, 0, 1, 0)),
    "ShearY": lambda image: image.transform(image.size, AFFINE, (1, 0, 0, 0.09, 1, 0)),
    "TranslateX": lambda image: image.transform(image.size, AFFINE, (1, 0, 30, 0, 1, 0)),
    "TranslateY": lambda image: image.transform(image.size, AFFINE, (1, 0, 0, 0, 1, 30)),
}


def test_there_are_sixteen() -> None:
    assert len(CHANGES) == 16
    assert {*AT_NINE, "Cutout"} == set(CHANGES)


@pytest.mark.parametrize("name", AT_NINE)
def test_each_change_is_pillows(name: str) -> None:
    expected = AT_NINE[name](smooth_picture())
    difference = np.asarray(changed(name)).astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= (1 if name in ("Color", "Contrast") else 0)
    assert not np.array_equal(np.asarray(changed(name)), np.asarray(smooth_picture()))


def test_cutout_is_twelve_pixels_of_the_mean_colour() -> None:
    before, after = np.asarray(smooth_picture()), np.asarray(changed("Cutout"))
    rows, columns = np.nonzero((before != after).any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (106, 117, 106, 117)
    assert (after[106:118, 106:118] == COVER).all()


def test_cutout_is_cut_off_at_the_corner() -> None:
    before, after = np.asarray(smooth_picture()), np.asarray(changed("Cutout", x=0.0, y=0.0))
    assert (after[:6, :6] == COVER).all()
    assert np.array_equal(before[6:], after[6:])


@pytest.mark.parametrize("name", ["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"])
def test_movements_go_both_ways(name: str) -> None:
    other = changed(name, sign=0.1)
    assert not np.array_equal(np.asarray(other), np.asarray(changed(name)))
    signed = {other for other, change in CHANGES.items() if change.is_signed}
    assert signed == {"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"}


@pytest.mark.parametrize(
    ("name", "weak", "strong"),
    [
        ("Rotate", 0, 30),
        ("Posterize", 0, 4),
        ("Solarize", 0, 256),
        ("SolarizeAdd", 0, 110),
        ("Color", 0.1, 1.9),
        ("ShearX", 0, 0.3),
        ("Cutout", 0, 40),
        ("TranslateY", 0, 100),
    ],
)
def test_strengths_from_none_to_thirty(name: str, weak: float, strong: float) -> None:
    change = CHANGES[name]
    assert strength_of(change, 0, side=224) == weak
    assert strength_of(change, 30, side=224) == pytest.approx(strong)
    assert strength_of(change, 15, side=224) == pytest.approx((weak + strong) / 2)


def test_lengths_grow_with_the_input() -> None:
    assert strength_of(CHANGES["TranslateX"], 9, side=448) == pytest.approx(60)
    assert strength_of(CHANGES["Rotate"], 9, side=448) == pytest.approx(9)


def test_rows_are_applied_one_after_another() -> None:
    image = np.array(smooth_picture())
    twice = randaugment(image, np.concatenate([row("Invert"), row("Invert")]), magnitude=9)
    assert np.array_equal(twice, image)
    assert np.array_equal(randaugment(image, np.empty((0, 4)), magnitude=9), image)


def test_magnitude_nought_never_blackens_a_picture() -> None:
    bits = np.unique(np.asarray(changed("Posterize", magnitude=0)))
    assert bits.tolist() == [0, 128]
