"""Pictures unlike the others: dark, bright, flat, blurry, of one colour, of an odd size."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Kind = Literal[
    "dark", "bright", "low_contrast", "blurry", "one_colour", "small", "large", "tall", "wide"
]

OUTLIER_COLUMNS = ("image", "kind", "value", "limit", "typical", "rule")
"""Columns of ``find_outliers``: row of the picture, a Kind, its value, the limit that it
crosses, the median, and whose the limit is: ``data`` (from the other pictures) or ``absolute``
(a limit that holds for any data)."""

# Standard deviations of a normal distribution: one in 4,300 on one side, so that nine kinds
# report about 0.1 % of normal data.
SIGMAS = 3.5

# Up to this share on one side are a kind of picture of their own, not outliers.
TAIL = 0.10
_TAIL_SIGMAS = 1.2816


@dataclass(frozen=True)
class _Rule:
    """A limit from the data, kept between two that hold for any data."""

    kind: Kind
    column: str
    is_low: bool
    """Whether small values are reported."""
    always: float
    """Beyond it a picture is reported whatever the others are."""
    never: float
    """Before it no picture is reported, however alike the others are."""
    is_ratio: bool = False
    """Whether ``always`` and ``never`` are factors of the median."""


# Chosen on four real sets (photographs, hands, x-rays, cattle): a blur of sigma 4 of 256 pixels
# leaves 0.001 to 0.008 of detail; 1 % of the sharp pictures have less than 0.02, none 0.008.
_RULES = (
    _Rule("dark", "brightness", True, always=10, never=50),
    _Rule("bright", "brightness", False, always=250, never=205),
    _Rule("low_contrast", "contrast", True, always=4, never=25),
    _Rule("blurry", "detail", True, always=0.006, never=0.012),
    _Rule("one_colour", "top_level_share", False, always=0.98, never=0.6),
    _Rule("small", "pixels", True, always=1 / 64, never=1 / 4, is_ratio=True),
    _Rule("large", "pixels", False, always=64, never=4, is_ratio=True),
    _Rule("tall", "aspect", True, always=1 / 4, never=1 / 1.5, is_ratio=True),
    _Rule("wide", "aspect", False, always=4, never=1.5, is_ratio=True),
)

# Quantities that spread by factors; their limits are taken from logarithms.
_LOGARITHMIC = frozenset(("detail", "pixels", "aspect"))


def find_outliers(
    statistics: pd.DataFrame,
    *,
    width_px: NDArray[np.int64],
    height_px: NDArray[np.int64],
) -> pd.DataFrame:
    """Pictures beyond a robust limit, with the value, the limit and the kind.

    The limit is ``median -+ 3.5 deviations``; the deviation is the larger of the scaled MAD and
    of what the tenth on that side gives, so that a skewed tail or a second kind of picture
    (ten per cent and more) is not reported. Absolute bounds keep the limit within reason: a
    black picture is reported among dark ones, a sharp one never among sharper ones.

    Args:
        statistics: From ``picture_statistics``, N lines; lines of NaN are left out.
        width_px: Width of each file as scanned, (N,).
        height_px: Height, (N,); 0 where unknown.

    Returns:
        OUTLIER_COLUMNS; a picture has a line per kind. ``value`` and ``limit`` of blurry are
        the variance of the Laplacian divided by that of the grey levels; of small and large,
        pixels; of tall and wide, width / height. Strongest first within a kind.
    """
    columns = _quantities(statistics, width_px, height_px)
    found = [_apply(rule, columns[rule.column]) for rule in _RULES]
    return pd.concat(found, ignore_index=True)


def _quantities(
    statistics: pd.DataFrame, width_px: NDArray[np.int64], height_px: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    size = np.where((width_px > 0) & (height_px > 0), 1.0, np.nan)
    contrast = statistics["contrast"].to_numpy(np.float64)
    # Nothing to see is low contrast, not blur.
    seen = np.where(contrast > 1, contrast, np.nan)
    return {
        **{name: statistics[name].to_numpy(np.float64) for name in _DIRECT},
        "detail": statistics["sharpness"].to_numpy(np.float64) / seen**2,
        "pixels": size * width_px * height_px,
        "aspect": size * width_px / np.maximum(height_px, 1),
    }


_DIRECT = ("brightness", "contrast", "top_level_share")


def _apply(rule: _Rule, values: NDArray[np.float64]) -> pd.DataFrame:
    known = values[np.isfinite(values)]
    if not len(known):
        return pd.DataFrame({name: [] for name in OUTLIER_COLUMNS}).astype(_DTYPES)
    typical = float(np.median(known))
    limit, whose = _limit(rule, known, typical=typical)
    rows = np.flatnonzero(values < limit if rule.is_low else values > limit)
    rows = rows[np.argsort(values[rows] * (1 if rule.is_low else -1), kind="stable")]
    return pd.DataFrame(
        {
            "image": rows,
            "kind": rule.kind,
            "value": values[rows],
            "limit": limit,
            "typical": typical,
            "rule": whose,
        }
    ).astype(_DTYPES)


_DTYPES = dict(
    zip(OUTLIER_COLUMNS, ("int64", "str", "float64", "float64", "float64", "str"), strict=True)
)


def _limit(rule: _Rule, known: NDArray[np.float64], *, typical: float) -> tuple[float, str]:
    """The limit, and whether the data or an absolute bound set it."""
    side = -1.0 if rule.is_low else 1.0
    if rule.column in _LOGARITHMIC:
        from_data = float(np.exp(robust_limit(np.log(known[known > 0]), side=side)))
    else:
        from_data = robust_limit(known, side=side)
    scale = typical if rule.is_ratio else 1.0
    bounds = sorted((rule.always * scale, rule.never * scale))
    limit = min(max(from_data, bounds[0]), bounds[1])
    return limit, "data" if limit == from_data else "absolute"


def robust_limit(values: NDArray[np.float64], *, side: float) -> float:
    """``median + side * 3.5 deviations``; side is -1 or 1; NaN of no values.

    The deviation is the larger of 1.4826 MAD and the distance of the tenth on that side from
    the median, divided by 1.2816: both are the standard deviation of a normal distribution.
    """
    if not len(values):
        return float("nan")
    median = float(np.median(values))
    mad = 1.4826 * float(np.median(np.abs(values - median)))
    tail = float(np.quantile(values, 1 - TAIL if side > 0 else TAIL))
    return median + side * SIGMAS * max(mad, abs(tail - median) / _TAIL_SIGMAS)
