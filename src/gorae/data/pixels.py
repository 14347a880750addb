"""What a network expects of its input pixels, and the key under which pixels are stored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gorae.files import sha256_bytes

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


def write_arguments(values: Mapping[str, Any]) -> str:
    """What a picture is decoded and prepared with beside its file, as text; "" for nothing.

    Keys: ``frame`` (an index, "middle" or "max": which frame of a file of several), ``box``
    (left, top, right, bottom) and ``points`` ((x, y), ...), in pixels of the decoded picture.
    Equal values give equal texts.
    """
    if not values:
        return ""
    return json.dumps(dict(values), sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_arguments(text: str) -> dict[str, Any]:
    """The values of ``write_arguments``."""
    values: dict[str, Any] = json.loads(text) if text else {}
    return values


def frame_arguments(text: str) -> str:
    """The part of the arguments that decides what is decoded; steps do not see it."""
    values = read_arguments(text)
    return write_arguments({"frame": values["frame"]} if "frame" in values else {})


def pixel_key(sha256: str, arguments: str) -> str:
    """Name of a picture's pixels in a store, 64 hexadecimal digits.

    The hash of its file where there are no arguments, else a hash of both.
    """
    return sha256_bytes(f"{sha256}\n{arguments}".encode()) if arguments else sha256
