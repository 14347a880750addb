"""A small copy of each picture on which near-duplicates are decided."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMBNAIL_SIDE = 48
"""Height and width in pixels, whatever the picture's own aspect."""

THUMBNAIL_VERSION = 1
"""Changes whenever the same picture would give other pixels; part of a store's key."""

# Rows that `resize` still sees per row of the thumbnail: it filters twice what it makes, so
# that plain averaging in front of it leaves no stripes.
_ROWS_LEFT = 2


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink or stretch a picture to a square, antialiased.

    Needs little memory beyond the picture, of any size. Measured on 384 x 512 photographs:
    0.28 ms beside 1.4 ms for decoding the JPEG; OpenCV's area filter takes 0.7 ms.

    Args:
        pixels: (H, W, 3), at least 1 x 1.

    Returns:
        (48, 48, 3).
    """
    height, width, _ = pixels.shape
    # Pillow copies what it is given at 4 bytes a pixel, so rows are averaged first, here. The
    # sums of 256 rows fit into 16 bits.
    step = min(max(1, height // (_ROWS_LEFT * THUMBNAIL_SIDE)), 256)
    rows = _average_rows(pixels, step)
    small = Image.fromarray(rows).resize(
        (THUMBNAIL_SIDE, THUMBNAIL_SIDE),
        Image.Resampling.BILINEAR,
        box=(0, 0, width, height / step),
        reducing_gap=2.0,
    )
    return np.asarray(small)


def _average_rows(pixels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Averages of every ``step`` rows; the last one of those that are left."""
    if step == 1:
        return np.ascontiguousarray(pixels)
    whole = len(pixels) // step
    blocks = pixels[: whole * step].reshape(whole, step, *pixels.shape[1:])
    sums = np.add.reduce(blocks, axis=1, dtype=np.uint16)
    averages: NDArray[np.uint8] = ((sums + step // 2) // step).astype(np.uint8)
    rest = pixels[whole * step :]
    if len(rest):
        averages = np.concatenate([averages, rest.mean(axis=0).round().astype(np.uint8)[None]])
    return averages
