"""Boxes go over into the square of a detector and back, whatever the picture."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gorae.data.boxed import (
    BoxedPictures,
    Fit,
    draw_fit,
    fit_whole,
    fitted,
    from_square,
    to_square,
)
from gorae.data.decode import DecodePolicy
from gorae.stores.prepared import ensure_prepared

sides = st.integers(8, 3000)


@given(sides, sides, st.integers(32, 640), st.integers(0, 2**32 - 1))
def test_boxes_come_back_and_stay_in_the_square(
    width: int, height: int, side: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    fit = draw_fit(width, height, side, hflip=0.5, zoom=0.5, rng=rng)
    corners = np.sort(rng.random((5, 2, 2)), axis=1) * [width, height]
    boxes = corners.reshape(5, 4)
    inside = to_square(boxes, (width, height), fit)
    assert (inside[:, 2:] >= inside[:, :2]).all()
    assert inside.min() >= 0
    assert inside.max() <= side
    back = from_square(inside, (width, height), fit)
    np.testing.assert_allclose(back, boxes, atol=1e-6 * max(width, height))


@given(sides, sides, st.integers(32, 640))
def test_the_whole_picture_is_the_whole_fit(width: int, height: int, side: int) -> None:
    fit = fit_whole(width, height, side)
    assert max(fit.width, fit.height) == side
    whole = to_square(np.array([[0, 0, width, height]], float), (width, height), fit)
    np.testing.assert_allclose(whole, [[0, 0, fit.width, fit.height]])


def test_what_is_found_outside_is_cut_at_the_border() -> None:
    fit = Fit(100, 50)
    found = from_square(np.array([[-10.0, -10, 120, 60]]), (200, 100), fit)
    np.testing.assert_array_equal(found, [[0, 0, 200, 100]])


def extent(square: np.ndarray, threshold: int = 200) -> list[int]:
    rows = np.flatnonzero((square.min(axis=0) > threshold).any(axis=1))
    columns = np.flatnonzero((square.min(axis=0) > threshold).any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_lies_where_its_pixels_do_through_turns_and_the_store(
    orientation: int, tmp_path: Path
) -> None:
    upright = np.zeros((310, 450, 3), np.uint8)
    box = (90, 40, 260, 200)
    upright[40:200, 90:260] = 255
    turned = Image.fromarray(upright)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    if orientation in undo:
        turned = turned.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=95, exif=exif)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    prepared = ensure_prepared(
        pd.DataFrame({"image_id": ["a"], "path": ["a.jpg"]}),
        root=tmp_path,
        prepared_root=tmp_path / "prepared",
        scan_path=tmp_path / "scan.parquet",
        short_side=150,
        interpolation="bilinear",
        policy=DecodePolicy(),
        num_workers=1,
    )
    size = prepared.scan[["width_px", "height_px"]].to_numpy(np.int64)
    assert size.tolist() == [[450, 310]]
    pictures = BoxedPictures(
        prepared.pixels, [prepared.keys[0]], size, 160, np.array([box], float)
    )
    square, fit = pictures.whole(0)
    wanted = to_square(np.array([box], float), (450, 310), fit)[0]
    np.testing.assert_allclose(extent(square.numpy()), wanted, atol=1.5)
    for epoch in range(6):
        drawn, there = pictures.drawn(0, epoch=epoch, seed=0, hflip=0.5, zoom=0.4)
        np.testing.assert_allclose(extent(drawn.numpy()), there, atol=1.5)


def test_a_drawn_picture_is_a_function_of_seed_epoch_and_index() -> None:
    class Store:
        def read(self, sha256: str) -> np.ndarray:
            return np.random.default_rng(int(sha256)).integers(0, 255, (40, 60, 3), np.uint8)

        def __contains__(self, sha256: str) -> bool:
            return True

    sizes, boxes = np.full((3, 2), [60, 40]), np.tile([5.0, 6, 30, 31], (3, 1))
    pictures = BoxedPictures(Store(), ["0", "1", "2"], sizes, 64, boxes)
    settings = {"hflip": 0.5, "zoom": 0.3}
    first, box = pictures.drawn(1, epoch=2, seed=5, **settings)
    again, same = pictures.drawn(1, epoch=2, seed=5, **settings)
    assert first.equal(again)
    np.testing.assert_array_equal(box, same)
    other, _ = pictures.drawn(1, epoch=3, seed=5, **settings)
    assert not first.equal(other)


def test_a_picture_is_never_squashed() -> None:
    pixels = np.full((100, 50, 3), 255, np.uint8)
    square = fitted(pixels, fit_whole(50, 100, 64), 64)
    assert extent(square.numpy()) == [0, 0, 32, 64]
