"""Whether two thumbnails show one picture: the share of their detail that agrees."""

import numpy as np
from numpy.typing import NDArray

from gorae.eda.duplicates_alignment import align, biweight, fit_light, sample
from gorae.eda.hashes import WINDOWS, grey

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]

_BLOCK = 6  # pixels; a thumbnail of 48 has 8 x 8 blocks
_BLUR = 2.0  # standard deviation, in pixels, of what is taken off to leave the detail
_NOISE = 2.0  # grey levels that encoding leaves

# Correlation of the detail in a block of two copies. In prototypes the share of detail that
# agrees was 0.9 for the worst 1 % of crops, 0.25 for the likest of different photographs, 0.7
# for different hands and 0.8 for films of different patients.
_BLOCK_AGREES = 0.8

# A colour differs by more than this share of the stronger one, and by more than noise. Of
# photographs made lighter until they clip, the worst 1 % keep 0.86 of their colour.
_COLOUR_DIFFERS = 0.5
_COLOUR_NOISE = 8.0

# Correlation of all detail after a rough fit; copies under a watermark reach 0.79.
_ROUGHLY_ALIKE = 0.5

# Share of detail in waves shorter than 6 pixels: 0.05 to 0.08 in digits of 8 x 8 pixels made
# large, above 0.12 in the 5,395 photographs and films looked at.
_LEAST_FINE = 0.1
_FIRST_FINE_WAVE = 16

# Blocks with detail, of 64. With 20, drawn single shapes were taken for copies of each other.
_LEAST_BLOCKS = 24

# What is told by little must be equal: 2 grey levels and 5 % of the contrast give 0.8.
_LEVELS_TO_ZERO = 10.0
_CONTRAST_TO_ZERO = 0.25

_PAIRS_AT_ONCE = 256


def is_telling(thumbnails: Pixels) -> NDArray[np.bool_]:
    """Whether each thumbnail holds enough detail to be known again, (n,).

    One colour, a single shape, or a few pixels made large do not: there, different pictures
    look like crops of each other.
    """
    pictures = grey(thumbnails)[:, None]
    whole = np.ones((1, pictures.shape[3]), np.float32)
    detail = _detail(pictures, whole, whole)
    side = detail.shape[2]
    place = np.arange(side)
    cosines = np.cos(np.pi * (place + 0.5) * place[:, None] / side).astype(np.float32)
    energy = (cosines @ detail[:, 0] @ cosines.T) ** 2
    coarse = energy[:, :_FIRST_FINE_WAVE, :_FIRST_FINE_WAVE].sum((1, 2))
    is_fine = coarse <= (1 - _LEAST_FINE) * energy.sum((1, 2))
    strength = np.sqrt(_block_sums(detail**2) / _BLOCK**2)
    has_blocks = (strength > 1.5 * _NOISE).sum((1, 2)) >= _LEAST_BLOCKS
    return np.asarray(is_fine & has_blocks)


def similarities(first: Pixels, second: Pixels, variants: Ints) -> Floats:
    """How much of each pair's content agrees, from 0 to 1.

    ``second`` is laid over the named window of ``first``, moved and scaled until it fits, and
    gain and offset of the light are taken off. What counts is the share of detail, weighted
    by its strength, that lies in blocks of 1/8 of a side where both have the same, or the
    share of colour that is the same if that is less. Pictures that are not ``is_telling``
    count by their difference as they are.

    Args:
        first: (n, 48, 48, 3).
        second: (n, 48, 48, 3).
        variants: Which of ``hashes.WINDOWS`` of ``first`` each ``second`` shows, (n,).

    Returns:
        (n,). Copies reach 0.8; see ``benchmarks/duplicates.py``.
    """
    result = np.empty(len(first), np.float32)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        turned, places = _place(first[part], variants[part])
        telling = is_telling(turned) & is_telling(second[part])
        of_part = _plain_similarity(turned, second[part])
        rows = np.flatnonzero(telling)
        if len(rows):
            of_part[rows] = _aligned_similarity(turned[rows], second[part][rows], places[rows])
        result[part] = of_part
    return result


def _place(pictures: Pixels, variants: Ints) -> tuple[Pixels, Floats]:
    """The pictures mirrored as their windows are, and where each window lies then."""
    left, top, right, bottom, mirrored, upside_down = np.array(WINDOWS, np.float32)[variants].T
    turned = pictures.copy()
    is_mirrored, is_turned = mirrored > 0, upside_down > 0
    turned[is_mirrored] = turned[is_mirrored][:, :, ::-1]
    turned[is_turned] = turned[is_turned][:, ::-1]
    left, right = (
        np.where(is_mirrored, 1 - right, left),
        np.where(is_mirrored, 1 - left, right),
    )
    top, bottom = np.where(is_turned, 1 - bottom, top), np.where(is_turned, 1 - top, bottom)
    return turned, np.stack([right - left, left + right - 1, bottom - top, top + bottom - 1], 1)


def _plain_similarity(first: Pixels, second: Pixels) -> Floats:
    a, b = first.astype(np.float32), second.astype(np.float32)
    difference = np.sqrt(((a - b) ** 2).mean((1, 2, 3)))
    contrast = np.minimum(*(x.std(axis=(1, 2)).max(axis=1) for x in (a, b)))
    # One colour is like nothing: that its pixels are equal is found by their hash.
    loss = np.maximum(
        difference / _LEVELS_TO_ZERO,
        difference / np.maximum(_CONTRAST_TO_ZERO * contrast, 1e-3),
    )
    return np.where(contrast < 1, 0, np.maximum(1 - loss, 0))


def _aligned_similarity(first: Pixels, second: Pixels, places: Floats) -> Floats:
    result = np.zeros(len(first), np.float32)
    grey_first, grey_second = grey(first), grey(second)
    half_first, half_second = _halved(grey_first), _halved(grey_second)
    places = align(_halved(half_first), _halved(half_second), places, num_steps=4)
    places = align(half_first, half_second, places, num_steps=4)
    rows = np.flatnonzero(_detail_correlation(grey_first, grey_second, places) > _ROUGHLY_ALIKE)
    if len(rows) == 0:
        return result
    places = align(grey_first[rows], grey_second[rows], places[rows], num_steps=2)
    result[rows] = _agreement(_planes(first[rows]), _planes(second[rows]), places)
    return result


def _halved(pictures: Floats) -> Floats:
    count, side, _ = pictures.shape
    halved: Floats = pictures.reshape(count, side // 2, 2, side // 2, 2).mean((2, 4))
    return halved


def _planes(pictures: Pixels) -> Floats:
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), dtype=np.float32)


def _detail_correlation(first: Floats, second: Floats, places: Floats) -> Floats:
    seen, is_column, is_row = sample(first[:, None], places)
    a, b = _detail(seen, is_column, is_row), _detail(second[:, None], is_column, is_row)
    axes = (1, 2, 3)
    scale = np.sqrt((a * a).sum(axes) * (b * b).sum(axes) + 1)
    return np.asarray((a * b).sum(axes) / scale)


def _agreement(first: Floats, second: Floats, places: Floats) -> Floats:
    seen, is_column, is_row = sample(first, places)
    is_inside = is_row[:, None, :, None] * is_column[:, None, None, :]  # (n, 1, S, S)
    # One gain for all channels: another colour is another picture.
    weight = is_inside
    for _ in range(3):
        gain, offset = fit_light(seen, second, weight * np.ones((1, 3, 1, 1), np.float32))
        gain, offset = gain[:, None, None], offset[:, None, None]
        weight = biweight(second - gain[:, None] * seen - offset[:, None], is_inside)
    covered = _block_sums(is_inside) / _BLOCK**2
    is_block = covered > 0.5
    a, b = _detail(seen, is_column, is_row), _detail(second, is_column, is_row)
    of_a, of_b, both = _block_sums(a * a), _block_sums(b * b), _block_sums(a * b)
    strength = np.sqrt(np.maximum(gain**2 * of_a, of_b) / (3 * _BLOCK**2))
    detail = np.maximum(strength - _NOISE, 0) * is_block
    agrees = both > _BLOCK_AGREES * np.sqrt(of_a * of_b)
    of_detail = (detail * agrees).sum((1, 2)) / (detail.sum((1, 2)) + 1e-3)
    area = np.maximum(covered * _BLOCK**2, 1)[:, None]
    colour_a = gain[:, None] * _colour(seen * is_inside) / area
    colour_b = _colour(second * is_inside) / area
    apart = np.linalg.norm(colour_a - colour_b, axis=1)
    colour = is_block * np.maximum(*(np.linalg.norm(c, axis=1) for c in (colour_a, colour_b)))
    differs = apart > np.maximum(_COLOUR_NOISE, _COLOUR_DIFFERS * colour)
    # As if a level of other colour were in every block, so that greys are not judged by noise.
    of_colour = 1 - (colour * differs).sum((1, 2)) / (colour.sum((1, 2)) + colour[0].size)
    return np.asarray(np.minimum(of_detail, of_colour))


def _colour(pictures: Floats) -> Floats:
    """Red against green and blue against both, summed over blocks, (n, 2, 8, 8)."""
    red, green, blue = (_block_sums(pictures[:, c : c + 1]) for c in range(3))
    return np.stack([red - green, blue - (red + green) / 2], axis=1)


def _block_sums(values: Floats) -> Floats:
    """Sums over channels and blocks, (n, 8, 8)."""
    count, channels, side, _ = values.shape
    blocks = side // _BLOCK
    split = values.reshape(count, channels, blocks, _BLOCK, blocks, _BLOCK)
    return np.asarray(split.sum((1, 3, 5)))


def _detail(pictures: Floats, is_column: Floats, is_row: Floats) -> Floats:
    """What a blur of the part inside would take away, (n, C, S, S); 0 outside."""
    blurred = _blur(is_row)[:, None] @ pictures @ _blur(is_column).swapaxes(1, 2)[:, None]
    return (pictures - blurred) * (is_row[:, None, :, None] * is_column[:, None, None, :])


def _blur(is_inside: Floats) -> Floats:
    """Weights of a line's points in the blurred line, (n, S, S)."""
    place = np.arange(is_inside.shape[1], dtype=np.float32)
    bell = np.exp(-((place - place[:, None]) ** 2) / (2 * _BLUR**2))
    weights = bell * is_inside[:, None, :]
    return np.asarray(weights / np.maximum(weights.sum(axis=2, keepdims=True), 1e-3))
