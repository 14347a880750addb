"""Crops: boxes with margin and aspect, round fields of view, plain borders."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gorae.preprocess.crops import content_box, crop_box, field_of_view, otsu_level
from gorae.preprocess.framed import Framed

ISIC = {"margin": 0.1, "threshold": 0.2, "max_ratio": 0.3}


def noise(height: int, width: int, *, low: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(low, 256, (height, width, 3), np.uint8)


def test_a_box_is_cut_out_exactly() -> None:
    pixels = noise(40, 60)
    found = crop_box(Framed(pixels, (10, 5, 30, 25)), margin=0, aspect=None)
    assert np.array_equal(found.pixels, pixels[5:25, 10:30])
    assert list(found.box_here or ()) == [0, 0, 20, 20]
    assert not found.notes


def test_margin_and_aspect_grow_the_box() -> None:
    found = crop_box(Framed(noise(100, 200), (80, 40, 100, 60)), margin=0.5, aspect=2)
    assert found.size == (80, 40)
    assert list(found.box_here or ()) == [30, 10, 50, 30]


@settings(max_examples=60, deadline=None)
@given(
    *(st.floats(-20, 70) for _ in range(2)),
    *(st.floats(0.5, 60) for _ in range(2)),
    st.floats(0, 1),
    st.one_of(st.none(), st.floats(0.2, 5)),
)
def test_no_crop_cuts_what_the_picture_shows_of_the_box(
    left: float, top: float, width: float, height: float, margin: float, aspect: float | None
) -> None:
    framed = Framed(noise(60, 50), (left, top, left + width, top + height))
    found = crop_box(framed, margin=margin, aspect=aspect)
    assert found.pixels.size > 0
    x, y = -found.matrix[:, 2]
    assert 0 <= x <= max(0, left)
    assert 0 <= y <= max(0, top)
    assert x + found.size[0] >= min(50, left + width)
    assert y + found.size[1] >= min(60, top + height)
    if aspect is not None and not found.notes:
        slack = 0.051 + 2 / min(found.size)
        assert found.size[0] / found.size[1] == pytest.approx(aspect, rel=slack)


def test_a_picture_without_a_box_or_with_one_outside_stays_whole() -> None:
    pixels = noise(8, 9)
    for box, code in ((None, "box_missing"), ((20, 1, 30, 5), "box_outside")):
        found = crop_box(Framed(pixels, box), margin=0.1, aspect=1)
        assert found.pixels is pixels
        assert found.notes[0].startswith(f"{code}:")


def disc(
    height: int, width: int, radius: float, centre: tuple[float, float]
) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width] + 0.5
    is_inside = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= radius**2
    pixels: NDArray[np.uint8] = np.where(is_inside[..., None], 180, 6).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2)


def test_a_round_field_of_view_gives_the_square_nine_tenths_of_its_diameter() -> None:
    box = field_of_view(disc(300, 400, 120, (210, 140)), **ISIC)
    assert box is not None
    assert np.allclose(box, (210 - 108, 140 - 108, 210 + 108, 140 + 108), atol=3)


def test_otsus_level_is_opencvs_and_half_way_between_two_plain_greys() -> None:
    grey = (
        np.random.default_rng(0).normal((60, 180), 20, (500, 2)).clip(0, 255).astype(np.uint8)
    )
    level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    # The valley between them is flat and shallow.
    assert abs(otsu_level(grey) - level) <= 3
    assert otsu_level(np.array([[6] * 9, [180] * 9], np.uint8)) == (6 + 179) / 2
    assert otsu_level(np.zeros((3, 3), np.uint8)) >= 0


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (noise(120, 160, low=100), "bright everywhere"),
        (np.zeros((50, 60, 3), np.uint8), "black"),
        (disc(300, 400, 220, (200, 150)), "wider than the picture"),
        (np.full((1, 1, 3), 9, np.uint8), "one pixel"),
    ],
)
def test_no_field_of_view(pixels: NDArray[np.uint8], why: str) -> None:
    assert field_of_view(pixels, **ISIC) is None, why


def test_a_field_that_is_not_much_brighter_than_its_surroundings_is_left() -> None:
    pixels = disc(300, 400, 120, (200, 150))
    box = field_of_view(pixels, **ISIC)
    assert box is not None
    left, top, right, bottom = box
    inside = pixels[top:bottom, left:right].mean()
    sides = (
        pixels[:top],
        pixels[bottom:],
        pixels[top:bottom, :left],
        pixels[top:bottom, right:],
    )
    ratio = np.mean([side.mean() for side in sides]) / inside
    assert field_of_view(pixels, **{**ISIC, "max_ratio": ratio * 1.01}) == box
    assert field_of_view(pixels, **{**ISIC, "max_ratio": ratio * 0.99}) is None


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_borders_of_one_colour_are_cut_and_nothing_else(
    left: int, top: int, right: int, bottom: int
) -> None:
    content = noise(20, 30)
    pixels = np.pad(content, ((top, bottom), (left, right), (0, 0)), constant_values=250)
    assert content_box(pixels, tolerance=10) == (left, top, left + 30, top + 20)


def test_frames_inside_frames_and_pictures_of_one_colour() -> None:
    content = noise(20, 30)
    inner = np.pad(content, ((3, 3), (0, 0), (0, 0)), constant_values=0)
    outer = np.pad(inner, ((0, 0), (5, 5), (0, 0)), constant_values=255)
    assert content_box(outer, tolerance=0) == (5, 3, 35, 23)
    assert content_box(np.full((7, 9, 3), 3, np.uint8), tolerance=0) is None
    slope = np.arange(40, dtype=np.uint8)[:, None, None].repeat(30, 1).repeat(3, 2)
    # A slow slope is content: a border is of one colour as a whole.
    assert content_box(slope, tolerance=4) == (0, 5, 30, 35)
