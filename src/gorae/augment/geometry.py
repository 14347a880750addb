"""From a stored image to the input of a network: one geometry for training and evaluation.

Everything works on ``uint8`` and is one resize per image; normalisation happens on the
batch, on the device of the network. Images are tensors (3, H, W), in any memory layout.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gorae.data.pixels import Interpolation, PixelSpec

INTERPOLATIONS: dict[Interpolation, InterpolationMode] = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}

# A crop is drawn at most this often before the fallback, as in torchvision.
CROP_ATTEMPTS = 10

# Only the centre square is kept, so nothing beyond eight times the short side is seen.
MAX_ASPECT = 8


def horizontal_flip(image: torch.Tensor) -> torch.Tensor:
    """The image with left and right exchanged."""
    return image.flip(-1)


def eval_transform(image: torch.Tensor, spec: PixelSpec) -> torch.Tensor:
    """The centre of the image at the network's size, without chance and without squashing.

    The short side becomes ``input_size / crop_pct``, then the centre square is cut out.

    Args:
        image: uint8 (3, H, W).
        spec: Size, crop and interpolation of the network.

    Returns:
        uint8 (3, S, S) with S = ``spec.input_size``.
    """
    size, resized = spec.input_size, resize_whole(image, spec)
    top = (resized.shape[-2] - size) // 2
    left = (resized.shape[-1] - size) // 2
    return resized[..., top : top + size, left : left + size].contiguous()


def resize_whole(image: torch.Tensor, spec: PixelSpec) -> torch.Tensor:
    """The whole image, its short side at ``input_size / crop_pct``, never below the input.

    Args:
        image: uint8 (3, H, W).
        spec: Size, crop and interpolation of the network.

    Returns:
        uint8 (3, H', W').
    """
    image = _without_far_ends(image)
    height, width = image.shape[-2:]
    size = spec.input_size
    scale = max(size, round(size / spec.crop_pct)) / min(height, width)
    resized: torch.Tensor = F.resize(
        image,
        [max(size, round(height * scale)), max(size, round(width * scale))],
        interpolation=INTERPOLATIONS[spec.interpolation],
        antialias=True,
    )
    return resized


def _without_far_ends(image: torch.Tensor) -> torch.Tensor:
    """The middle of a very long image: one of 65500 x 1 would not fit memory once resized."""
    height, width = image.shape[-2:]
    longest = MAX_ASPECT * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return image[..., top : top + longest, left : left + longest]


def train_transform(
    image: torch.Tensor,
    spec: PixelSpec,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    hflip: float,
    rng: np.random.Generator,
) -> torch.Tensor:
    """A random part of the image at the network's size, left-right flipped by chance.

    Args:
        image: uint8 (3, H, W).
        spec: Size and interpolation of the network.
        scale: Smallest and largest share of the area that is kept, above 0 up to 1.
        ratio: Smallest and largest width divided by height of the part.
        hflip: Probability of the flip.
        rng: Source of all chance; a fixed number of draws, whatever the image.

    Returns:
        uint8 (3, S, S) with S = ``spec.input_size``.

    Source: random resized crop of Szegedy et al., 2015, as in torchvision.
    """
    height, width = image.shape[-2:]
    box = crop_box(width, height, scale=scale, ratio=ratio, rng=rng)
    square = resized_box(image, box, spec)
    flipped = rng.random() < hflip
    return (horizontal_flip(square) if flipped else square).contiguous()


def resized_box(
    image: torch.Tensor, box: tuple[int, int, int, int], spec: PixelSpec
) -> torch.Tensor:
    """What is inside ``box``, at the network's size: uint8 (3, S, S), in any memory layout."""
    left, top, right, bottom = box
    square: torch.Tensor = F.resized_crop(
        image,
        top,
        left,
        bottom - top,
        right - left,
        [spec.input_size, spec.input_size],
        interpolation=INTERPOLATIONS[spec.interpolation],
        antialias=True,
    )
    return square


def crop_box(
    width: int,
    height: int,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[int, int, int, int]:
    """A random box (left, top, right, bottom) of the wanted area and shape.

    Where no drawn box fits, the largest centred box whose shape is within ``ratio``.
    """
    draws = rng.random((CROP_ATTEMPTS, 4))
    return drawn_box(width, height, scale=scale, ratio=ratio, draws=draws)


def drawn_box(
    width: int,
    height: int,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    draws: NDArray[np.float64],
) -> tuple[int, int, int, int]:
    """``crop_box`` of numbers from 0 to 1 drawn beforehand, (attempts, 4)."""
    log_ratio = math.log(ratio[0]), math.log(ratio[1])
    for area_draw, ratio_draw, left_draw, top_draw in draws.tolist():
        area = width * height * (scale[0] + area_draw * (scale[1] - scale[0]))
        aspect = math.exp(log_ratio[0] + ratio_draw * (log_ratio[1] - log_ratio[0]))
        box_width = round(math.sqrt(area * aspect))
        box_height = round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            left = int(left_draw * (width - box_width + 1))
            top = int(top_draw * (height - box_height + 1))
            return left, top, left + box_width, top + box_height
    box_width = max(1, min(width, round(height * ratio[1])))
    box_height = max(1, min(height, round(width / ratio[0])))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height


def normalise(
    batch: torch.Tensor,
    spec: PixelSpec,
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """``(value / 255 - mean) / std`` of each channel, on the batch's device.

    Args:
        batch: uint8 (B, 3, S, S).
        spec: Mean and standard deviation, of values from 0 to 1.
        memory_format: Layout of the result.
        dtype: Number format of the result; the arithmetic is float32.

    Returns:
        (B, 3, S, S).
    """
    factor, offset = _factor_and_offset(spec.mean, spec.std, batch.device)
    pixels = batch.to(torch.float32, memory_format=memory_format)
    return pixels.mul_(factor).add_(offset).to(dtype)


# A constant of the network: made once per device, not once per batch.
@lru_cache(maxsize=16)
def _factor_and_offset(
    mean: tuple[float, float, float], std: tuple[float, float, float], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    # Kept for later calls, so it must be an ordinary tensor even when first asked for in
    # inference mode.
    with torch.inference_mode(False):
        means = torch.tensor(mean, dtype=torch.float64).view(3, 1, 1)
        stds = torch.tensor(std, dtype=torch.float64).view(3, 1, 1)
        factor, offset = 1 / (255 * stds), -means / stds
        return factor.float().to(device), offset.float().to(device)
