"""Changes that move pixels: affine maps, lenses, uneven grids and soft waves.

Every function takes square pixels (S, S, 3) and numbers from 0 to 1 drawn beforehand. Places
are from -1 to 1, the outer edges of the picture; a map says, for each place of the result,
where in the picture it is taken from.
"""

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gorae.augment.chance import Draws, around, between, child_rng
from gorae.augment.plan import Affine

Pixels = NDArray[np.uint8]

# Lens: strongest k of ``1 + k r^2 + k r^4``. Grid: widest change of its cells' sides, and how
# many cells. Waves: their height at an input of 224 pixels, and how many points are drawn.
OPTICAL_LIMIT = 1.0
GRID_LIMIT = 1.0
GRID_STEPS = 5
ELASTIC_SHARE = 3.0 / 224
ELASTIC_POINTS = 8


def affine(pixels: Pixels, draws: Draws, *, limits: Affine) -> Pixels:
    """Shift, zoom, turn and slant about the centre; what comes from outside is black."""
    zoom = between(draws[2], *limits.scale)
    turn = math.radians(around(draws[3], limits.rotate_deg))
    slant = math.tan(math.radians(around(draws[4], limits.shear_deg)))
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    back = np.linalg.inv(zoom * rotation @ np.array([[1.0, slant], [0.0, 1.0]]))
    shift = 2 * limits.shift * (2 * draws[:2] - 1)
    rows = torch.from_numpy(np.column_stack([back, -back @ shift])).float()
    side = len(pixels)
    places = F.affine_grid(rows[None], [1, 3, side, side], align_corners=False)
    return resampled(pixels, places, outside="zeros")


def distorted(pixels: Pixels, draws: Draws) -> Pixels:
    """One of a lens, an uneven grid and soft waves; the picture goes on mirrored."""
    kind = int(draws[0] * 3)
    side = len(pixels)
    if kind == 0:
        places = lens_places(side, around(draws[1], OPTICAL_LIMIT))
    elif kind == 1:
        factors = 1 + GRID_LIMIT * (2 * draws[1 : 1 + 2 * GRID_STEPS] - 1)
        places = grid_places(side, factors[:GRID_STEPS], factors[GRID_STEPS:])
    else:
        places = wave_places(side, child_rng(draws[1]))
    return resampled(pixels, places, outside="reflection")


def lens_places(side: int, k: float) -> torch.Tensor:
    """Places of a lens: outwards from the centre by ``1 + k r^2 + k r^4``, (1, S, S, 2).

    r is 0.5 at the middle of an edge, as in OpenCV with a focal length of one side.
    """
    still = _still(side)
    square = (still**2).sum(dim=-1, keepdim=True) / 4
    return still * (1 + k * square + k * square**2)


def grid_places(side: int, columns: Draws, rows: Draws) -> torch.Tensor:
    """Places of a grid whose cells are shown from parts of other widths, (1, S, S, 2).

    Args:
        side: Side of the picture in pixels.
        columns: Width that each column of cells is taken from, divided by its own.
        rows: The same of heights.
    """
    centres = (np.arange(side) + 0.5) / side
    lines = []
    for factors in (columns, rows):
        ends = np.concatenate([[0.0], np.cumsum(factors) / len(factors)])
        lines.append(2 * np.interp(centres, np.linspace(0, 1, len(ends)), ends) - 1)
    across, down = (torch.from_numpy(line).float() for line in lines)
    return torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None]


def wave_places(side: int, rng: np.random.Generator) -> torch.Tensor:
    """Places moved by soft waves about 3 pixels of 224 high, (1, S, S, 2).

    Source: elastic deformations of Simard et al., 2003, from few points instead of a blur.
    """
    points = rng.standard_normal((1, 2, ELASTIC_POINTS, ELASTIC_POINTS), dtype=np.float32)
    waves = F.interpolate(
        torch.from_numpy(points), [side, side], mode="bicubic", align_corners=True
    )
    return _still(side) + 2 * ELASTIC_SHARE * waves.permute(0, 2, 3, 1)


def resampled(
    pixels: Pixels, places: torch.Tensor, *, outside: Literal["zeros", "reflection"]
) -> Pixels:
    """The picture taken from ``places`` (1, S, S, 2), x before y, bilinearly."""
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))
    moved = F.grid_sample(image[None], places, padding_mode=outside, align_corners=False)
    rounded: Pixels = moved[0].round_().to(torch.uint8).permute(1, 2, 0).numpy()
    return rounded


def _still(side: int) -> torch.Tensor:
    """Every place as it is, (1, S, S, 2)."""
    line = (torch.arange(side, dtype=torch.float32) * 2 + 1) / side - 1
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)[None]
