"""An encoder's file: what it says of itself, read without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError, DataError, StorageError

# Two poolings of two: the network sees a map of a fourth of the picture's side.
STRIDE = 4

MAP_CHANNELS = 3

KIND = "gorae encoder"

# An encoder sees values from 0 to 1, whatever the network after it was made with.
ENCODER_MEAN = (0.0, 0.0, 0.0)
ENCODER_STD = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class EncoderInfo:
    """What an encoder was trained on."""

    channels: int
    """1 (grey) or 3 (colour)."""
    pixels: Mapping[str, str]
    """Fields of its ``PixelSpec`` as text: size, crop, interpolation; mean 0, deviation 1."""
    preprocess: tuple[Mapping[str, Any], ...]
    """The ``[[preprocess]]`` steps of the pictures it was trained on."""
    uses_test: bool
    """Whether test pictures were among them."""


def encoder_metadata(
    spec: PixelSpec, *, channels: int, preprocess: list[dict[str, Any]], uses_test: bool
) -> dict[str, str]:
    """What is written into an encoder's file; ``read_encoder_info`` reads it."""
    return {
        "kind": KIND,
        "channels": json.dumps(channels),
        "preprocess": json.dumps(preprocess, sort_keys=True),
        "uses_test": json.dumps(uses_test),
        "mean": json.dumps(list(spec.mean)),
        "std": json.dumps(list(spec.std)),
        "input_size": json.dumps(spec.input_size),
        "interpolation": spec.interpolation,
        "crop_pct": json.dumps(spec.crop_pct),
    }


def read_encoder_info(path: Path) -> EncoderInfo:
    """What the encoder in ``path`` says of itself.

    Raises:
        StorageError: The file is missing or damaged.
        DataError: It holds other weights.
    """
    try:
        with safe_open(path, framework="numpy") as handle:
            found = dict(handle.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise StorageError(
            f"Cannot read the encoder in {path}: {error}. Train it again with "
            "`gorae autoencoder`."
        ) from error
    if found.get("kind") != KIND:
        raise DataError(
            f"{path} holds no encoder. `gorae autoencoder` writes one as encoder.safetensors; "
            "weights of the network itself belong to model.weights."
        )
    names = ("mean", "std", "input_size", "interpolation", "crop_pct")
    return EncoderInfo(
        channels=int(found["channels"]),
        pixels={name: found[name] for name in names},
        preprocess=tuple(json.loads(found["preprocess"])),
        uses_test=json.loads(found["uses_test"]),
    )


def map_size(input_size: int) -> int:
    """Side of the map that an encoder makes of a picture.

    Raises:
        ConfigError: The side is no multiple of 4.
    """
    if input_size % STRIDE:
        raise ConfigError(
            f"An autoencoder takes pictures whose sides are multiples of {STRIDE}, not "
            f"{input_size}. Set pixels.input_size to one."
        )
    return input_size // STRIDE
