"""Step ``model``: what a network is made of, what it costs, and which weights it has."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gorae.data.pixels import PixelSpec
from gorae.models.describe import Architecture, describe_architecture
from gorae.models.encoded import network_input
from gorae.models.encoder import read_encoder_info
from gorae.models.hub import PretrainedLine, list_pretrained
from gorae.models.load import fit_input_size
from gorae.models.plan import ModelPlan
from gorae.models.resolve import find_pixels
from gorae.pipeline.encoders import find_encoder
from gorae.workspace import Workspace


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
    encoder: str | None = None,
) -> ModelDescription:
    """Describe a network without its weights; nothing is downloaded.

    Args:
        folder: The folder a user's file is looked for in.
        name: A timm name, ``torchvision/NAME``, ``lenet5``, or ``file.py:Class``.
        kwargs: Arguments of the network's constructor.
        size: Side of its input in pixels; None: the network's own, or its encoder's.
        encoder: What ``model.encoder`` names; its layers come first.

    Raises:
        ConfigError: The name is unknown, the network takes no such argument or size, or there
            is no such encoder.
    """
    file = find_encoder(Workspace(folder.resolve()), encoder)
    plan = ModelPlan(name, pixels={"input_size": size}, encoder=file)
    spec = find_pixels(plan, folder=folder)
    architecture = describe_architecture(
        name,
        kwargs=fit_input_size(name, kwargs or {}, network_input(plan, spec)),
        input_size=spec.input_size,
        folder=folder,
        encoder_channels=None if file is None else read_encoder_info(file).channels,
    )
    return ModelDescription(name, spec, architecture, list_pretrained(name))
