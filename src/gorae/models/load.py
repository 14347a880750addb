"""A network ready for use: architecture, weights and pixels that belong together."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError, DataError
from gorae.models.build import build_model, check_name
from gorae.models.encoded import network_input, put_encoder
from gorae.models.hub import fetch_weights
from gorae.models.network import ImageModel, cut_model, join_stages, on_logits
from gorae.models.plan import LENET5, TORCHVISION, ModelPlan, find_weights_file, is_user_class
from gorae.models.resolve import (
    encoder_pixels,
    library_pixels,
    read_metadata,
    resolve_pixels,
    timm_config,
)
from gorae.models.weights import Weights, read_any_weights, use_weights


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, the pixels it needs, and what the user should know."""

    model: ImageModel
    spec: PixelSpec
    kwargs: Mapping[str, Any]
    """Arguments the network was really built with."""
    notes: tuple[str, ...]
    """What was taken from the weight file, left out, or contradicts it."""
    weights_sha256: str | None
    """Hash of the weights; None where they are random."""
    weights_origin: str
    """Path of the weights, their hub, or "random weights"."""
    encoder_sha256: str | None = None
    """Hash of the encoder's file, where one stands before the network."""


def load_model(plan: ModelPlan, *, folder: Path) -> LoadedModel:
    """Build the network of ``plan``, give it its weights, and find the pixels it needs.

    Args:
        plan: What is wanted.
        folder: The competition's folder: relative paths start there.

    Raises:
        ConfigError: A name, argument, path or layer is wrong, a part has no place in the
            network, or no classifier can be kept.
        DataError: The weights do not fit, or their file is unsafe.
        StorageError: The weight file is damaged.
        UserError: The hub's weights are not at hand and cannot be fetched.
    """
    check_name(plan.name, folder=folder)
    weights = _find_weights(plan, folder)
    metadata = weights.metadata if weights is not None else {}
    kwargs, notes = merge_kwargs(plan.kwargs, metadata)
    if plan.encoder is not None:
        spec, pixel_notes = encoder_pixels(plan)
    else:
        spec, pixel_notes = resolve_pixels(plan.pixels, metadata, library_pixels(plan.name))
    notes += pixel_notes
    kwargs = fit_input_size(plan.name, kwargs, network_input(plan, spec))
    if weights is None and plan.weights == "hub":
        weights = fetch_weights(plan.name, kwargs=kwargs)
    keeps_classifier = plan.num_outputs is None or plan.features == "logits"
    _require_classifier(plan, has_weights=weights is not None)
    model = build_model(
        plan.name,
        # A classifier that is kept brings its own number.
        num_outputs=(plan.num_logits if keeps_classifier else plan.num_outputs) or 1,
        kwargs=kwargs,
        seed=plan.seed,
        folder=folder,
        parts=replace(plan, head="linear") if keeps_classifier else plan,
    )
    if weights is not None:
        notes += use_weights(model, weights, name=plan.name, keep_classifier=keeps_classifier)
    if plan.num_outputs is not None and keeps_classifier:
        model = on_logits(model, plan, num_outputs=plan.num_outputs, seed=plan.seed)
    if plan.pool_stages > 1:
        side = network_input(plan, spec).input_size
        model = join_stages(model, plan, name=plan.name, input_size=side, seed=plan.seed)
    encoder_sha256 = put_encoder(model, plan)
    if plan.layer is not None:
        cut_model(model, plan.layer, input_size=spec.input_size, seed=plan.seed)
    return LoadedModel(
        model,
        spec,
        kwargs,
        tuple(notes),
        weights.sha256 if weights is not None else None,
        weights.origin if weights is not None else "random weights",
        encoder_sha256,
    )


def _require_classifier(plan: ModelPlan, *, has_weights: bool) -> None:
    """Refuse to keep a classifier where none is brought."""
    why = None
    if plan.num_outputs is None:
        why = 'model.use = "as_is" predicts the classes the weights were made for'
    elif plan.features == "logits" and plan.num_logits is None:
        why = 'model.features = "logits" are those of the classifier the weights were made with'
    if why and (not has_weights or is_user_class(plan.name)):
        raise ConfigError(
            f'{why}: set model.weights to "hub" or to the path of a file, and model.name to a '
            "network of timm or torchvision."
        )


def _find_weights(plan: ModelPlan, folder: Path) -> Weights | None:
    """Weights that are at hand before the network's arguments are known."""
    if plan.weights == "none":
        return None
    if plan.weights != "hub":
        return read_any_weights(find_weights_file(plan.weights, folder=folder))
    # timm fits its weights to the arguments, so they are fetched once those are known.
    is_timm = not (plan.name.startswith((TORCHVISION, LENET5)) or is_user_class(plan.name))
    return None if is_timm else fetch_weights(plan.name, kwargs=plan.kwargs)


def merge_kwargs(
    kwargs: Mapping[str, Any], metadata: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """The recipe's arguments of the network, completed by those its weights were made with.

    Returns:
        The arguments, and a note for each that was taken from the file or contradicts it.

    Raises:
        DataError: The file's ``model_kwargs`` are no JSON object.
    """
    said = read_metadata(metadata, "model_kwargs")
    if said is None:
        return dict(kwargs), []
    if not isinstance(said, dict):
        raise DataError(
            f"The weight file's metadata has model_kwargs = {said!r}; it must be an object."
        )
    notes = []
    for key, value in said.items():
        if key not in kwargs:
            notes.append(f"model.kwargs.{key} = {value!r} was taken from the weight file.")
        elif kwargs[key] != value:
            notes.append(
                f"model.kwargs.{key} = {kwargs[key]!r} contradicts the weight file, which was "
                f"made with {value!r}; expect worse predictions."
            )
    return {**said, **kwargs}, notes


def fit_input_size(name: str, kwargs: Mapping[str, Any], spec: PixelSpec) -> dict[str, Any]:
    """Tell a network that is built for one size which size it gets."""
    argument = "img_size"
    if name.startswith(TORCHVISION):
        from torchvision import models

        argument = "image_size"
        builder = models.get_model_builder(name.removeprefix(TORCHVISION))
        is_fixed = "VisionTransformer" in str(inspect.signature(builder).return_annotation)
    elif name == LENET5 or is_user_class(name):
        is_fixed = False
    else:
        config = timm_config(name)
        is_fixed = bool(config.get("fixed_input_size")) and tuple(
            config["input_size"][-2:]
        ) != (spec.input_size, spec.input_size)
    return {argument: spec.input_size, **kwargs} if is_fixed else dict(kwargs)
