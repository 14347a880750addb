"""Step ``model``: what a network is made of, what it costs, and which weights it has."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gorae.data.pixels import PixelSpec
from gorae.models.describe import Architecture, describe_architecture
from gorae.models.hub import PretrainedLine, list_pretrained
from gorae.models.load import fit_input_size
from gorae.models.plan import ModelPlan
from gorae.models.resolve import find_pixels


@dataclass(frozen=True)
class ModelDescription:
    """A network by name."""

    name: str
    spec: PixelSpec
    """What it is shown, and who says so."""
    architecture: Architecture
    weights: tuple[PretrainedLine, ...]
    """Pretrained weights that can be had, the default first."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs: every layer, however deep."""
        return {
            "name": self.name,
            "pixels": {**asdict(self.spec), "sources": dict(self.spec.sources)},
            **asdict(self.architecture),
            "weights": [asdict(line) for line in self.weights],
        }


def describe_model(
    folder: Path,
    *,
    name: str,
    kwargs: Mapping[str, Any] | None = None,
    size: int | None = None,
) -> ModelDescription:
    """Describe a network without its weights; nothing is downloaded.

    Args:
        folder: The folder a user's file is looked for in.
        name: A timm name, ``torchvision/NAME``, ``lenet5``, or ``file.py:Class``.
        kwargs: Arguments of the network's constructor.
        size: Side of its input in pixels; None: the network's own.

    Raises:
        ConfigError: The name is unknown, or the network takes no such argument or size.
    """
    spec = find_pixels(ModelPlan(name, pixels={"input_size": size}), folder=folder)
    architecture = describe_architecture(
        name,
        kwargs=fit_input_size(name, kwargs or {}, spec),
        input_size=spec.input_size,
        folder=folder,
    )
    return ModelDescription(name, spec, architecture, list_pretrained(name))
