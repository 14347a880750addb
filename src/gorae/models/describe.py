"""A network in numbers: its layers, what they give and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gorae.errors import ConfigError
from gorae.models.build import build_model
from gorae.models.encoded import put_encoder
from gorae.models.network import ImageModel
from gorae.models.plan import LENET5, TORCHVISION, ModelPlan, is_user_class

# A user's class is built for this many; what its last layer holds follows from it.
NUM_OUTPUTS = 2


@dataclass(frozen=True)
class LayerLine:
    """One layer, as ``model.layer`` names it."""

    name: str
    kind: str
    """Its class."""
    shape: tuple[int, ...] | None
    """What it gives of one image the first time; None where it is not called, or gives no
    tensor."""
    num_parameters: int
    """Its own and those of all it holds."""


@dataclass(frozen=True)
class Architecture:
    """A network without its weights."""

    layers: tuple[LayerLine, ...]
    """In the order of definition; each before those it holds."""
    num_parameters: int
    """Without a new head."""
    num_features: int | None
    """None for a user's class without a method ``features``."""
    multiply_adds: int
    """Of one image, in convolutions and matrix products."""


def describe_architecture(
    name: str,
    *,
    kwargs: Mapping[str, Any],
    input_size: int,
    folder: Path,
    encoder_channels: int | None = None,
) -> Architecture:
    """The layers of a network, seen while one empty image passes it.

    Args:
        name: As in ``build_model``.
        kwargs: Arguments of the network's constructor.
        input_size: Side of its input in pixels.
        folder: The folder a user's file is looked for in.
        encoder_channels: Channels of an encoder that stands before it; None: there is none.

    Raises:
        ConfigError: The name or an argument is wrong, the encoder has no place, or the network
            does not take the size.
    """
    # Without memory or arithmetic: a network of a billion parameters takes a second. Others
    # than timm's may look at numbers while they are built.
    is_timm = not (name.startswith(TORCHVISION) or name == LENET5 or is_user_class(name))
    device = torch.device("meta" if is_timm else "cpu")
    with device:
        model = build_model(name, num_outputs=NUM_OUTPUTS, kwargs=kwargs, seed=0, folder=folder)
        put_encoder(model, ModelPlan(name, encoder_channels=encoder_channels))
    model.eval()
    images = torch.zeros(1, 3, input_size, input_size, device=device)
    shapes, multiply_adds = _pass(model, images, name=name)
    layers = tuple(
        LayerLine(each, type(module).__name__, shapes.get(each), _num_parameters(module))
        for each, module in model.backbone.named_modules()
        if each
    )
    return Architecture(
        layers, _num_parameters(model.backbone), _num_features(model, images), multiply_adds
    )


def _pass(
    model: ImageModel, images: Tensor, *, name: str
) -> tuple[dict[str, tuple[int, ...]], int]:
    """The shape each layer gives, by name, and the multiply-adds."""
    shapes: dict[str, tuple[int, ...]] = {}

    def listen(layer: str, module: nn.Module) -> Any:
        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes.setdefault(layer, tuple(output.shape[1:]))

        return module.register_forward_hook(after)

    handles = [listen(layer, module) for layer, module in model.backbone.named_modules()]
    try:
        # With gradients: without, torch's attention is one operation that nobody counts.
        with FlopCounterMode(display=False) as counter:
            model(images) if model.is_whole else model.features(images)
    # A network says in its own way what it cannot take.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"{name} does not take a picture of {images.shape[-1]} x {images.shape[-1]} "
            f"pixels: {reason}. Give another --size."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    # It counts a multiplication and an addition as two.
    return shapes, counter.get_total_flops() // 2


def _num_features(model: ImageModel, images: Tensor) -> int | None:
    if not model.is_whole:
        return model.num_features
    if not callable(getattr(model.backbone, "features", None)):
        return None
    return model.features(images).shape[1]


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
