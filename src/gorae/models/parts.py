"""What can be put into a backbone: pooling, stochastic depth, a cut at a layer, stages."""

import difflib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from gorae.errors import ConfigError

GEM_START = 3.0
GEM_FLOOR = 1e-6


class GeneralisedMean(nn.Module):
    """The mean of a map to the power ``p``: between average (1) and maximum (infinite).

    Values below the floor, negative ones too, count as the floor.

    Source: Radenovic et al., 2019 (GeM).
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([GEM_START]))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, 1, 1) of maps (B, C, H, W)."""
        # In half precision the powers would overflow.
        powers = maps.float().clamp(min=GEM_FLOOR).pow(self.p)
        return powers.mean(dim=(2, 3), keepdim=True).pow(1 / self.p).to(maps.dtype)


def use_generalised_mean(backbone: nn.Module, *, name: str) -> None:
    """Put a ``GeneralisedMean`` where ``backbone`` averages its last maps, in place.

    Raises:
        ConfigError: It has no average pooling of maps (B, C, H, W) at its end.
    """
    places = list(_global_averages(backbone))
    if not places:
        raise ConfigError(
            f'model.pooling = "gem" needs a network that averages maps at its end; {name} does '
            'not, or does so inside its code. Set model.pooling to "default", or choose a '
            "convolutional network such as resnet50, efficientnet_b0 or convnext_tiny."
        )
    for parent, attribute in places:
        setattr(parent, attribute, GeneralisedMean())


def _global_averages(backbone: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Parent and attribute of timm's pooling, or of torchvision's, a child of the network."""
    from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d

    for module in list(backbone.modules()):
        if module is backbone or isinstance(module, SelectAdaptivePool2d):
            for attribute, child in module.named_children():
                is_average = isinstance(child, nn.AdaptiveAvgPool2d)
                if is_average and child.output_size in (1, (1, 1)):
                    yield module, attribute


class StagedBackbone(nn.Module):
    """A network of timm up to its last stages; the map of each is pooled by itself.

    Source: knshnb/kaggle-happywhale-1st-place, which joins two stages of EfficientNet, each
    by a generalised mean.
    """

    def __init__(self, network: nn.Module, *, num_stages: int, is_gem: bool) -> None:
        super().__init__()
        self.network = network
        self.num_stages = num_stages
        self.pools = nn.ModuleList(
            GeneralisedMean() if is_gem else nn.AdaptiveAvgPool2d(1) for _ in range(num_stages)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, sum of the stages' channels) of images (B, 3, H, W), earliest first."""
        # Said of the class by timm, not by torch.
        network = cast(Any, self.network)
        maps = network.forward_intermediates(
            images, indices=self.num_stages, intermediates_only=True
        )
        pooled = [pool(each) for pool, each in zip(self.pools, maps, strict=True)]
        return torch.cat([each.flatten(1) for each in pooled], dim=1)


def scale_drop_path(backbone: nn.Module, rate: float) -> None:
    """Make ``rate`` the highest of torchvision's probabilities to leave a branch out."""
    from torchvision.ops import StochasticDepth

    layers = [each for each in backbone.modules() if isinstance(each, StochasticDepth)]
    highest = max((layer.p for layer in layers), default=0.0)
    for layer in layers:
        layer.p *= rate / highest if highest else 0.0


def has_drop_path(backbone: nn.Module) -> bool:
    """Whether a branch of timm's or torchvision's can be left out."""
    from timm.layers.drop import DropPath
    from torchvision.ops import StochasticDepth

    return any(
        (isinstance(each, DropPath) and each.drop_prob)
        or (isinstance(each, StochasticDepth) and each.p)
        for each in backbone.modules()
    )


class _TakenError(Exception):
    """Carries a layer's output out of a network whose further layers are not needed."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def _take(_module: nn.Module, _inputs: Any, output: Any) -> None:
    raise _TakenError(output)


def cut_at(network: nn.Module, layer: str) -> None:
    """Let ``network`` end at a layer from now on: read it by ``output_at_cut``.

    Raises:
        ConfigError: There is no such layer; the nearest names are listed.
    """
    names = [name for name, _ in network.named_modules() if name]
    if layer not in names:
        near = difflib.get_close_matches(layer, names, n=8, cutoff=0.4)
        shown = f"Near it: {', '.join(near)}" if near else f"The first: {', '.join(names[:8])}"
        raise ConfigError(
            f"model.layer = {layer!r} is no layer of this network. {shown}. `gorae model NAME` "
            "lists them all."
        )
    network.get_submodule(layer).register_forward_hook(_take)


def output_at_cut(network: nn.Module, images: Tensor) -> Tensor | None:
    """What the layer of ``cut_at`` gives, averaged (B, D); None where it is never reached.

    A map (B, C, H, W) is averaged over its places, one with the channels last too: it is
    known by H = W. Tokens (B, N, C) are averaged.

    Raises:
        ConfigError: The layer gives something else.
    """
    try:
        network(images)
    except _TakenError as taken:
        output = taken.output
    else:
        return None
    if (
        not isinstance(output, Tensor)
        or not 2 <= output.ndim <= 4
        or len(output) != len(images)
    ):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError(
            f"model.layer gives {shape} of {len(images)} images: no map, tokens or vector of "
            "each. Name another layer, for example the block this one is in."
        )
    if output.ndim == 4:
        _, first, second, third = output.shape
        return output.mean(dim=(1, 2) if first == second != third else (2, 3))
    return output.mean(dim=1) if output.ndim == 3 else output
