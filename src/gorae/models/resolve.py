"""Input pixels are right or it stops: which values a network gets, and who said so."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError, DataError
from gorae.models.encoder import ENCODER_MEAN, ENCODER_STD, map_size, read_encoder_info
from gorae.models.plan import (
    LENET5,
    TORCHVISION,
    ModelPlan,
    is_user_class,
    read_weights_metadata,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Used where nobody says anything: the pixels most published networks were made with.
DEFAULT_PIXELS: Mapping[str, Any] = {
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "input_size": 224,
    "interpolation": "bilinear",
    "crop_pct": 0.875,
}
LENET_PIXELS: Mapping[str, Any] = {
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "input_size": 32,
    "interpolation": "bilinear",
    "crop_pct": 1.0,
}
PIXEL_FIELDS = tuple(field.name for field in fields(PixelSpec) if field.name != "sources")


def resolve_pixels(
    recipe: Mapping[str, Any],
    metadata: Mapping[str, str],
    library: Mapping[str, Any],
    *,
    said_by: str = "weights",
) -> tuple[PixelSpec, list[str]]:
    """The input of a network: each value from the recipe, else the weights, else the library.

    Args:
        recipe: Values of the recipe by field name; absent or None where it says nothing.
        metadata: What the weights say of themselves, as text.
        library: What ``library_pixels`` gives for the network's name.
        said_by: Whose metadata it is.

    Returns:
        The values with their sources, and a note for each value of the recipe that
        contradicts the weights.

    Raises:
        DataError: A value of the weights' metadata cannot be understood.
        ConfigError: The library's size is not square and nobody gives another.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    notes = []
    for field in PIXEL_FIELDS:
        wanted, said = recipe.get(field), _read_field(metadata, field)
        if wanted is not None:
            values[field], sources[field] = wanted, "recipe"
            if said is not None and _differ(wanted, said):
                notes.append(
                    f"pixels.{field} = {wanted} of the recipe overrides {said} of the "
                    f"{said_by}."
                )
        elif said is not None:
            values[field], sources[field] = said, said_by
        else:
            values[field], sources[field] = library[field], str(library["source"])
    size = values["input_size"]
    if not isinstance(size, int):
        raise ConfigError(
            f"This network is made for pictures of {size[0]} x {size[1]}, which are not "
            "square. Set pixels.input_size (and model.kwargs, such as img_size) to a square."
        )
    for field in ("mean", "std"):
        values[field] = tuple(float(value) for value in values[field])
    if min(values["std"]) <= 0:
        raise ConfigError(f"pixels.std = {list(values['std'])}: each value must be above 0.")
    return PixelSpec(**values, sources=sources), notes


def encoder_pixels(plan: ModelPlan) -> tuple[PixelSpec, list[str]]:
    """The pixels of a plan with an encoder: the encoder's own, of values from 0 to 1.

    Returns:
        As ``resolve_pixels``.

    Raises:
        ConfigError: The recipe's size is no multiple of 4, or it asks for another scale.
    """
    assert plan.encoder is not None
    info = read_encoder_info(plan.encoder)
    spec, notes = resolve_pixels(plan.pixels, info.pixels, {}, said_by="encoder")
    if (spec.mean, spec.std) != (ENCODER_MEAN, ENCODER_STD):
        raise ConfigError(
            f"pixels.mean = {list(spec.mean)} and pixels.std = {list(spec.std)}: an encoder "
            "takes values from 0 to 1, and its map is standardised after it. Leave both out."
        )
    map_size(spec.input_size)
    return spec, notes


def find_pixels(plan: ModelPlan, *, folder: Path) -> PixelSpec:
    """The input of the network of ``plan``, without building it.

    No library is asked, and none loaded, where the recipe and the weights say everything.
    """
    if plan.encoder is not None:
        return encoder_pixels(plan)[0]
    metadata = read_weights_metadata(plan, folder=folder)
    said = {name for name in PIXEL_FIELDS if plan.pixels.get(name) is not None}
    is_complete = said | set(metadata) >= set(PIXEL_FIELDS)
    library: Mapping[str, Any] = {}
    if not is_complete:
        if plan.name != LENET5 and not is_user_class(plan.name):
            from gorae.models.build import check_name

            check_name(plan.name, folder=folder)
        library = library_pixels(plan.name)
    return resolve_pixels(plan.pixels, metadata, library)[0]


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return bool(one != other)
    if isinstance(one, (tuple, list)):
        return any(abs(a - b) > 1e-6 for a, b in zip(one, other, strict=True))
    return bool(abs(one - other) > 1e-6)


def _read_field(metadata: Mapping[str, str], field: str) -> Any:
    """One value of the weights' metadata, checked; None where it is absent."""
    text = metadata.get(field)
    if text is None:
        return None
    value: Any = text if field == "interpolation" else read_metadata(metadata, field)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if field in ("mean", "std"):
        is_right = _are_three(value) and (field == "mean" or min(value) > 0)
    elif field == "interpolation":
        is_right = value in ("bilinear", "bicubic")
    elif field == "input_size":
        is_right = is_number and isinstance(value, int) and value > 0
    else:
        is_right = is_number and 0 < value <= 1
    if not is_right:
        raise DataError(
            f"The weight file's metadata has {field} = {text!r}, which is no {field} gorae "
            f"understands. Set pixels.{field} in the recipe and remove it from the file."
        )
    return value


def _are_three(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(each, (int, float)) for each in value)
    )


def read_metadata(metadata: Mapping[str, str], field: str) -> Any:
    """The JSON value of one field of a weight file's metadata; None where it is absent.

    Raises:
        DataError: It is no JSON.
    """
    if field not in metadata:
        return None
    try:
        return json.loads(metadata[field])
    except ValueError as error:
        raise DataError(
            f"The weight file's metadata has {field} = {metadata[field]!r}, which is not "
            f"JSON ({error})."
        ) from error


def library_pixels(name: str) -> dict[str, Any]:
    """The pixels a library gives for its network, by field, and the library as ``source``."""
    if name == LENET5:
        return {**LENET_PIXELS, "source": "default"}
    if name.startswith(TORCHVISION) or is_user_class(name):
        return {**DEFAULT_PIXELS, "source": "default"}
    config = timm_config(name)
    height, width = config["input_size"][-2:]
    return {
        "mean": config["mean"],
        "std": config["std"],
        "input_size": height if height == width else (height, width),
        "interpolation": config["interpolation"],
        "crop_pct": config["crop_pct"],
        "source": "timm",
    }


def timm_config(name: str) -> dict[str, Any]:
    """timm's description of a network's weights and pixels; its default tag without a tag."""
    import timm

    config: Any = timm.get_pretrained_cfg(name)
    return {} if config is None else dict(config.to_dict())
