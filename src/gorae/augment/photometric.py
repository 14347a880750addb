"""Changes of colour, brightness and sharpness that leave everything in its place.

Every function takes pixels (H, W, 3) and numbers from 0 to 1 drawn beforehand.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gorae.augment.chance import Draws, around, between, child_rng

Pixels = NDArray[np.uint8]
Kernel = NDArray[np.float32]

# Degrees of hue, and saturation and value of 255 (the melanoma winners' 10 of 180, 20, 10).
HSV_LIMITS = 20.0 / 360 * 255, 20.0, 10.0

# Variance of Gaussian noise on values from 0 to 255.
NOISE_VARIANCE = 5.0, 30.0

# Tiles along each side in which brightness is equalised.
CLAHE_TILES = 8


def shift(pixels: Pixels, draws: Draws, *, limit: float) -> Pixels:
    """Add the same amount, up to ``limit`` of 255, to every value."""
    return _mapped(pixels, np.arange(256) + around(draws[0], limit) * 255)


def gain(pixels: Pixels, draws: Draws, *, limit: float) -> Pixels:
    """Multiply every value by ``1 - limit`` to ``1 + limit``."""
    return _mapped(pixels, np.arange(256) * (1 + around(draws[0], limit)))


def saturation(pixels: Pixels, draws: Draws, *, limit: float) -> Pixels:
    """Multiply each pixel's distance from its grey by ``1 - limit`` to ``1 + limit``."""
    image = Image.fromarray(pixels)
    grey = image.convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, image, 1 + around(draws[0], limit)))


def hue_saturation_value(pixels: Pixels, draws: Draws) -> Pixels:
    """Turn the hue by up to 20 degrees; add up to 20 to saturation and 10 to value, of 255."""
    amounts = [around(draw, limit) for draw, limit in zip(draws[:3], HSV_LIMITS, strict=True)]
    values = np.arange(256)
    tables = [
        np.mod(np.rint(values + amounts[0]), 256),
        np.clip(np.rint(values + amounts[1]), 0, 255),
        np.clip(np.rint(values + amounts[2]), 0, 255),
    ]
    image = Image.fromarray(pixels).convert("HSV")
    return np.asarray(image.point([int(v) for v in np.concatenate(tables)]).convert("RGB"))


def blur_or_noise(pixels: Pixels, draws: Draws) -> Pixels:
    """One of motion blur, median, Gaussian blur (3 or 5 pixels wide) and Gaussian noise."""
    width = 3 if draws[1] < 0.5 else 5
    kind = int(draws[0] * 4)
    if kind == 0:
        return filtered(pixels, motion_kernel(width, angle=draws[2] * math.pi))
    if kind == 1:
        return median(pixels, width)
    if kind == 2:
        return filtered(pixels, gaussian_kernel(width))
    return gaussian_noise(pixels, draws[2:])


def gaussian_noise(pixels: Pixels, draws: Draws) -> Pixels:
    """Noise of variance 5 to 30 on every value by itself."""
    deviation = math.sqrt(between(draws[0], *NOISE_VARIANCE))
    noise = child_rng(draws[1]).standard_normal(pixels.shape, dtype=np.float32)
    noise *= np.float32(deviation)
    noise += pixels
    return _rounded(noise)


def motion_kernel(width: int, *, angle: float) -> Kernel:
    """Weights of a move along a line through the centre, (width, width), of sum 1."""
    steps = np.linspace(-(width // 2), width // 2, 4 * width)
    rows = np.rint(width // 2 + steps * math.sin(angle)).astype(int)
    columns = np.rint(width // 2 + steps * math.cos(angle)).astype(int)
    kernel = np.zeros((width, width), np.float32)
    kernel[rows, columns] = 1
    kernel /= kernel.sum()
    return kernel


def gaussian_kernel(width: int) -> Kernel:
    """Weights of a Gaussian as wide as OpenCV makes it for this width, of sum 1."""
    sigma = 0.3 * ((width - 1) / 2 - 1) + 0.8
    places = np.arange(width) - width // 2
    weights = np.exp(-(places**2) / (2 * sigma**2))
    kernel: Kernel = np.outer(weights, weights).astype(np.float32)
    kernel /= kernel.sum()
    return kernel


def filtered(pixels: Pixels, kernel: Kernel) -> Pixels:
    """Every value as the weighted sum of its neighbours; the picture goes on mirrored."""
    total = np.zeros(pixels.shape, np.float32)
    for weight, part in zip(kernel.ravel(), _neighbours(pixels, len(kernel)), strict=True):
        if weight:
            total += weight * part
    return _rounded(total)


def median(pixels: Pixels, width: int) -> Pixels:
    """Every value as the median of the square of ``width`` around it; mirrored at the edge.

    Source: forgetful selection: of half the values and two more, the smallest and the largest
    are never the median; they are dropped, and one of those left out comes in.
    """
    parts = [np.ascontiguousarray(part) for part in _neighbours(pixels, width)]
    kept, waiting = parts[: len(parts) // 2 + 2], parts[len(parts) // 2 + 2 :]
    spare = np.empty_like(parts[0])
    while True:
        for low in range(len(kept) - 1):
            spare = _exchange(kept, low, len(kept) - 1, spare)
        for high in range(1, len(kept) - 1):
            spare = _exchange(kept, 0, high, spare)
        kept = kept[1:-1]
        if not waiting:
            return kept[0]
        kept.append(waiting.pop())


def _exchange(parts: list[Pixels], low: int, high: int, spare: Pixels) -> Pixels:
    """The smaller of two at ``low``, the larger at ``high``; returns the memory left over."""
    np.minimum(parts[low], parts[high], out=spare)
    np.maximum(parts[low], parts[high], out=parts[high])
    parts[low], spare = spare, parts[low]
    return spare


def _neighbours(pixels: Pixels, width: int) -> list[Pixels]:
    """The picture moved to each place of a square, width * width views."""
    height, length = pixels.shape[:2]
    margin = width // 2
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    return [
        padded[top : top + height, left : left + length]
        for top in range(width)
        for left in range(width)
    ]


def local_contrast(pixels: Pixels, draws: Draws, *, limit: float) -> Pixels:
    """CLAHE of the brightness, its contrast limited to 1 up to ``limit`` times the even one."""
    brightness, *colour = Image.fromarray(pixels).convert("YCbCr").split()
    level = clahe(np.asarray(brightness), limit=between(draws[0], 1.0, limit))
    return np.asarray(Image.merge("YCbCr", (Image.fromarray(level), *colour)).convert("RGB"))


def clahe(values: Pixels, *, limit: float, tiles: int = CLAHE_TILES) -> Pixels:
    """Contrast-limited adaptive histogram equalisation.

    Args:
        values: One channel, (H, W), neither side shorter than ``tiles``.
        limit: No value may be this much more frequent in a tile than if all were alike; what
            is above is spread over all values.
        tiles: Tiles along each side.

    Returns:
        (H, W).

    Source: Zuiderveld, 1994, Graphics Gems IV.
    """
    height, width = values.shape
    rows, row_share = _tile_places(height, tiles)
    columns, column_share = _tile_places(width, tiles)
    tile = _tile_of(height, tiles)[:, None] * tiles + _tile_of(width, tiles)[None, :]
    counts = np.bincount((tile * 256 + values).ravel(), minlength=tiles * tiles * 256)
    counts = counts.reshape(-1, 256).astype(np.float64)
    sizes = counts.sum(axis=1, keepdims=True)
    ceiling = np.maximum(1.0, limit * sizes / 256)
    capped = np.minimum(counts, ceiling)
    capped += (sizes - capped.sum(axis=1, keepdims=True)) / 256
    tables = (
        (np.cumsum(capped, axis=1) / sizes * 255).astype(np.float32).reshape(tiles, tiles, 256)
    )
    upper = _between_columns(tables, rows, columns, column_share, values)
    lower = _between_columns(tables, _next(rows, tiles), columns, column_share, values)
    return _rounded(upper + row_share[:, None] * (lower - upper))


def _between_columns(
    tables: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    share: NDArray[np.float32],
    values: Pixels,
) -> NDArray[np.float32]:
    """Each pixel's new value between the tiles to its left and right."""
    tiles = len(tables)
    flat = tables.ravel()
    place = rows[:, None] * tiles
    left = flat.take((place + columns) * 256 + values)
    right = flat.take((place + _next(columns, tiles)) * 256 + values)
    between_both: NDArray[np.float32] = left + share * (right - left)
    return between_both


def _next(places: NDArray[np.int64], tiles: int) -> NDArray[np.int64]:
    return np.minimum(places + 1, tiles - 1)


def _tile_of(length: int, tiles: int) -> NDArray[np.int64]:
    """Tile of each place along a side."""
    return np.arange(length) * tiles // length


@cache
def _tile_places(length: int, tiles: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each place, the tile whose centre is before it, and how far on the next one is."""
    at = (np.arange(length) + 0.5) * tiles / length - 0.5
    first = np.clip(np.floor(at), 0, tiles - 1).astype(np.int64)
    return first, np.clip(at - first, 0, 1).astype(np.float32)


def _mapped(pixels: Pixels, table: NDArray[np.floating]) -> Pixels:
    """Every value as ``table`` (256) says."""
    return _rounded(table).take(pixels)


def _rounded(values: NDArray[np.floating]) -> Pixels:
    rounded: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
