"""gorae.report.pictures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from gorae.report.pictures import data_uri, thumbnail


@pytest.mark.parametrize(
    ("shape", "size"),
    [((300, 600, 3), (96, 48)), ((600, 300, 3), (48, 96)), ((20, 30, 3), (30, 20))],
)
def test_a_thumbnail_keeps_its_shape_and_never_grows(
    shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    pixels = np.zeros(shape, np.uint8)
    pixels[:, : shape[1] // 2] = (200, 30, 30)
    image = Image.open(io.BytesIO(thumbnail(pixels, side_px=96)))
    assert image.format == "JPEG"
    assert image.size == size
    shown = np.asarray(image)
    assert np.abs(shown[5, 5].astype(int) - (200, 30, 30)).max() < 12
    assert thumbnail(pixels, side_px=96) == thumbnail(pixels, side_px=96)


def test_a_data_uri_holds_the_bytes() -> None:
    data = thumbnail(np.zeros((8, 8, 3), np.uint8), side_px=8)
    head, _, body = data_uri(data).partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(body) == data
    with pytest.raises(AssertionError, match="JPEG, PNG or WebP"):
        data_uri(b"<svg onload=alert(1)>")
