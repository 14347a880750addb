"""Lay one thumbnail over another: scale and place of each axis, gain and offset, in batches."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# A copy lacks up to 10 % of a side at either end; a little more, so that a fit need not stop.
_LEAST_SCALE, _MOST_SCALE = 0.78, 1.28
_MOST_SHIFT = 0.15

# Grey levels that encoding leaves between two copies; smaller differences say nothing.
_NOISE_LEVELS = 2.0


def sample(pictures: Floats, places: Floats) -> tuple[Floats, Floats, Floats]:
    """Pictures as seen through a window each, by linear interpolation.

    Args:
        pictures: (n, C, S, S).
        places: Horizontal scale and shift, vertical scale and shift, (n, 4): the point x of
            what is returned, from -1 at the left edge to 1 at the right one, shows the
            point ``scale * x + shift`` of the picture.

    Returns:
        What is seen, (n, C, S, S), and for each column (n, S) and each row (n, S) 1 where it
        lies within the picture, else 0.
    """
    side = pictures.shape[2]
    across, is_column = _interpolation(side, places[:, 0], places[:, 1])
    down, is_row = _interpolation(side, places[:, 2], places[:, 3])
    seen = down[:, None] @ pictures @ across.swapaxes(1, 2)[:, None]
    return np.asarray(seen, np.float32), is_column, is_row


def _interpolation(side: int, scale: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Weights of a line's points in the line that is seen, (n, side, side)."""
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    points = (scale[:, None] * centres + shift[:, None] + 1) / 2 * side - 0.5  # (n, side)
    is_inside = (points > -0.5) & (points < side - 0.5)
    points = np.clip(points, 0, side - 1)
    distance = np.abs(points[:, :, None] - np.arange(side, dtype=np.float32))
    weights: Floats = np.maximum(1 - distance, 0).astype(np.float32)
    return weights, is_inside.astype(np.float32)


def align(first: Floats, second: Floats, places: Floats, *, num_steps: int) -> Floats:
    """Improve the windows through which ``first`` looks like ``second``.

    Scale and shift of each axis, a gain and an offset are fitted together by Gauss-Newton;
    what fits badly, like a text over one of the two, loses its weight (Tukey's biweight).
    It finds windows a few pixels off.

    Args:
        first: Grey pictures, (n, S, S).
        second: (n, S, S).
        places: Where to begin, (n, 4); see ``sample``.
        num_steps: Steps of the fit.

    Returns:
        (n, 4).

    Source: Lucas and Kanade, 1981, with the mean gradient of both pictures (Malis, 2004).
    """
    count, side, _ = first.shape
    places = places.copy()
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    horizontal, vertical = centres[None, None, :], centres[None, :, None]
    for _ in range(num_steps):
        seen, is_column, is_row = sample(first[:, None], places)
        seen = seen[:, 0]
        is_inside = is_row[:, :, None] * is_column[:, None, :]
        gain, offset = fit_light(seen, second, is_inside)
        fitted = gain[:, None, None] * seen + offset[:, None, None]
        residual = second - fitted
        weight = biweight(residual, is_inside)
        down, across = np.gradient((fitted + second) / 2, 2 / side, axis=(1, 2))
        slopes = np.stack(
            [across * horizontal, across, down * vertical, down, seen, np.ones_like(seen)], 1
        ).reshape(count, 6, -1)
        weighted = slopes * weight.reshape(count, 1, -1)
        normal = (weighted @ slopes.swapaxes(1, 2)).astype(np.float64)
        towards = (weighted @ residual.reshape(count, -1, 1)).astype(np.float64)
        # Levenberg's damping: flat pictures leave the window where it is.
        normal += 1e-3 * normal * np.eye(6) + 1e-2 * np.eye(6)
        step = np.linalg.solve(normal, towards)[:, :4, 0]
        places += np.clip(step, -0.1, 0.1).astype(np.float32)
        places[:, ::2] = np.clip(places[:, ::2], _LEAST_SCALE, _MOST_SCALE)
        places[:, 1::2] = np.clip(places[:, 1::2], -_MOST_SHIFT, _MOST_SHIFT)
    return places


def fit_light(first: Floats, second: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Gain and offset, (n,) each, that take ``first`` to ``second``, by least squares."""
    axes = tuple(range(1, first.ndim))
    total = np.maximum(weight.sum(axes), 1e-3)
    first_mean = (first * weight).sum(axes) / total
    second_mean = (second * weight).sum(axes) / total
    shape = (-1, *(1,) * len(axes))
    centred = (first - first_mean.reshape(shape)) * weight
    gain = (centred * second).sum(axes) / ((centred * first).sum(axes) + 1)
    return gain, second_mean - gain * first_mean


def biweight(residual: Floats, is_inside: Floats) -> Floats:
    """Weight of each residual, from 1 at none to 0 at three times the usual one."""
    count = len(residual)
    size = np.abs(residual).reshape(count, -1)
    usual = np.maximum(1.4826 * np.median(size, axis=1), _NOISE_LEVELS)
    share = np.minimum(size / (3 * usual[:, None]), 1)
    weight: Floats = ((1 - share**2) ** 2).reshape(residual.shape) * is_inside
    return weight
