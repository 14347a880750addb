"""Steps that change values and no places: grey, contrast, brightness, colour constancy."""

import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

Channel = Literal["red", "green", "blue"]

# Slopes are looked at on about so many pixels, evenly spread.
_PIXELS_MEASURED = 1_000_000

# A step of eight grey levels, as Sobel's filter sees it.
_LEAST_SLOPE = 32.0

CHANNELS: dict[Channel, int] = {"red": 0, "green": 1, "blue": 2}


def grey_values(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma of RGB pixels, (H, W): 0.299 red + 0.587 green + 0.114 blue."""
    return np.asarray(_image(pixels).convert("L"))


def greyscale(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma in all three channels."""
    return _spread(grey_values(pixels))


def clahe(pixels: NDArray[np.uint8], *, limit: float, grid: int) -> NDArray[np.uint8]:
    """Equalise lightness tile by tile with limited contrast; colours stay (Zuiderveld, 1994).

    Args:
        pixels: (H, W, 3).
        limit: How many times the mean of a tile's histogram one grey value may count.
        grid: Tiles along each side.
    """
    lab = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2LAB)
    equaliser = cv2.createCLAHE(clipLimit=limit, tileGridSize=(grid, grid))
    lab[..., 0] = equaliser.apply(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def brightness(pixels: NDArray[np.uint8], *, factor: float) -> NDArray[np.uint8]:
    """All values times ``factor``."""
    return np.asarray(ImageEnhance.Brightness(_image(pixels)).enhance(factor))


def contrast(pixels: NDArray[np.uint8], *, factor: float) -> NDArray[np.uint8]:
    """The distance of all values from the mean luma times ``factor``."""
    return np.asarray(ImageEnhance.Contrast(_image(pixels)).enhance(factor))


def saturation(pixels: NDArray[np.uint8], *, factor: float) -> NDArray[np.uint8]:
    """The distance of each pixel from its own luma times ``factor``."""
    return np.asarray(ImageEnhance.Color(_image(pixels)).enhance(factor))


def gamma(pixels: NDArray[np.uint8], *, power: float) -> NDArray[np.uint8]:
    """``value^power`` of values from 0 to 1: above 1 darkens, below 1 brightens the middle."""
    values = np.arange(256) / 255.0
    return _looked_up(pixels, np.rint(255 * values**power).astype(np.uint8))


def min_max(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stretch the values of all channels together to 0 to 255; one colour stays as it is."""
    low, high = int(pixels.min()), int(pixels.max())
    if low == high:
        return pixels
    values = (np.arange(256) - low) * (255.0 / (high - low))
    return _looked_up(pixels, np.rint(values.clip(0, 255)).astype(np.uint8))


def shades_of_grey(pixels: NDArray[np.uint8], *, power: float) -> NDArray[np.uint8]:
    """Take the colour of the light out: the ``power``-mean of the picture becomes grey.

    Pixels with a channel at 255 say nothing of the light and do not count. A picture without
    light in a channel stays as it is.

    Source: Finlayson and Trezzi, 2004; van de Weijer's general_cc, as in ngessert/isic2019.
    """
    counted = (pixels.max(axis=2) < 255).astype(np.uint8)
    counts = np.array(
        [
            cv2.calcHist([np.ascontiguousarray(pixels)], [c], counted, [256], [0, 256]).ravel()
            for c in range(3)
        ],
        np.float64,
    )
    # Of values from 0 to 1, or the sixth power of many would leave float64's exact range.
    sums = counts @ (np.arange(256) / 255.0) ** power
    if not sums.all():
        return pixels
    light = sums ** (1 / power)
    gains = np.linalg.norm(light) / (math.sqrt(3) * light)
    table = np.rint((np.arange(256)[:, None] * gains).clip(0, 255)).astype(np.uint8)
    return _looked_up(pixels, table[None])


def outline(
    pixels: NDArray[np.uint8], *, into: Literal["mask", "red", "green", "blue"], share: float
) -> NDArray[np.uint8]:
    """The edges of the picture (Canny, 1986), white on black.

    Args:
        pixels: (H, W, 3).
        into: ``mask``: only the edges are left; else the channel that they replace.
        share: Share of the pixels whose slope is steep enough to begin an edge; it goes on
            down to 0.4 times that slope.
    """
    grey = cv2.GaussianBlur(grey_values(pixels), (5, 5), 1.4)
    across, down = (cv2.Sobel(grey, cv2.CV_16S, *order) for order in ((1, 0), (0, 1)))
    every = max(1, math.isqrt(grey.size // _PIXELS_MEASURED))
    slopes = np.hypot(across[::every, ::every], down[::every, ::every], dtype=np.float32)
    steep = float(np.quantile(slopes, 1 - share))
    # Where most of the picture is flat, any slope at all is not yet an edge.
    steep = max(steep, _LEAST_SLOPE)
    edges = np.asarray(cv2.Canny(across, down, 0.4 * steep, steep, L2gradient=True), np.uint8)
    if into == "mask":
        return _spread(edges)
    found = pixels.copy()
    found[..., CHANNELS[into]] = edges
    return found


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))


def _spread(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2)


def _looked_up(pixels: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each value replaced by that of a table: (256) for all channels, or (1, 256, 3)."""
    return np.asarray(cv2.LUT(np.ascontiguousarray(pixels), table), np.uint8)
