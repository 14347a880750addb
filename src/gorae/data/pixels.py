"""What a network expects of its input pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class PixelSpec:
    """How a stored image becomes the input of one model: geometry and normalisation.

    The short side is resized to ``input_size / crop_pct``, the centre ``input_size`` square
    is cut out, and each channel becomes ``(value / 255 - mean) / std``.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: int
    """Side of the square the network sees, in pixels."""
    interpolation: Interpolation
    crop_pct: float
    """Share of the resized short side that the centre crop keeps, above 0 up to 1."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each field came from: its name -> "recipe", "weights", "timm" or "default"."""
