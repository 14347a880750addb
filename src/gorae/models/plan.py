"""What network is wanted, in words: its name, weights and pixels. Without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from gorae.errors import ConfigError, StorageError

LENET5 = "lenet5"
TORCHVISION = "torchvision/"
CENTRE = "centre/"

DETECTORS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn_v2",
)
"""Detectors of torchvision that can be learned; beside them ``centre/NAME``."""


HeadKind = Literal["linear", "coral", "vanilla", "thanet", "cosine"]
NeckKind = Literal["none", "linear_bn_prelu", "bn_linear_bn"]
Outputs = Literal["classes", "parts", "both"]

# Their dropout follows a norm of theirs; before the others stands one of the model's own.
HEADS_WITH_DROPOUT: tuple[HeadKind, ...] = ("vanilla", "thanet", "cosine")


@dataclass(frozen=True, kw_only=True)
class CosinePlan:
    """The form of a ``CosineHead``."""

    neck: NeckKind = "linear_bn_prelu"
    """How features become an embedding; ``none``: they are it."""
    embedding: int = 512
    """Numbers of an embedding; without effect where ``neck`` is ``none``."""
    centres: int = 1
    """Centres per class, of which the nearest counts."""
    scale: float = 30.0
    """What cosines are multiplied by to be logits."""


MetadataStyle = Literal["isic2019", "isic2020"]
FeatureKind = Literal["number", "amount", "age", "yes_no", "level", "missing"]


@dataclass(frozen=True)
class MetadataFeature:
    """One number that metadata gives of each picture."""

    column: str
    """The column it comes of; all that comes of one column is known or missing together."""
    kind: FeatureKind
    """``number``; ``amount``: a logarithm; ``age``: years; ``yes_no``: 1 or 0; ``level``: 1
    where the cell is one category; ``missing``: 1 where the cell tells nothing, else 0."""
    level: int = -1
    """Which category of the column, of ``level``."""


@dataclass(frozen=True)
class MetadataPlan:
    """A network on metadata beside the backbone."""

    style: MetadataStyle
    """A name of ``gorae.models.metadata_net.METADATA_SHAPES``."""
    features: tuple[MetadataFeature, ...]
    """What it is given, M."""
    widths: tuple[int, ...] = ()
    """Outputs of its layers; empty: the style's."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is put on a backbone and into it."""

    head: HeadKind = "linear"
    """A name of ``gorae.models.head.HEADS``."""
    outputs: Outputs = "classes"
    """What the outputs are of a composed label: logits of the classes, of each part's values,
    or of both, in this order."""
    part_sizes: tuple[int, ...] = ()
    """Values of each part, where the head or the outputs are about parts."""
    cosine: CosinePlan = CosinePlan()
    """Form of the head ``cosine``."""
    features: Literal["pooled", "logits"] = "pooled"
    """What the head is put on: pooled maps, or the logits of the weights' own classifier."""
    drop_rate: float = 0.0
    """Dropout before the head, or in it where it has one."""
    drop_copies: int = 1
    """Dropouts whose outputs share the head and are averaged."""
    drop_path: float = 0.0
    """Probability to leave the last residual branch out; lower ones are left out less."""
    pooling: Literal["default", "gem"] = "default"
    """How maps become features: as the network does, or by a generalised mean."""
    pool_stages: int = 1
    """Last stages whose maps are pooled, each by itself, and joined; 1: the network's end."""
    metadata: MetadataPlan | None = None
    """A network on metadata, whose result is joined to the features under the head."""


@dataclass(frozen=True)
class ModelPlan(Parts):
    """What network is wanted, in the words of a recipe."""

    name: str
    """A timm name, ``torchvision/NAME``, ``lenet5``, or ``file.py:Class``."""
    weights: str = "none"
    """``hub``, ``none``, or the path of a weight file."""
    num_outputs: int | None = None
    """Outputs of a new head; None keeps the classifier that the weights bring."""
    num_logits: int | None = None
    """Logits that are features, where no weights are read that say how many."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the network's constructor."""
    pixels: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's own fields of ``PixelSpec``; absent or None where it says nothing."""
    layer: str | None = None
    """Module of the backbone at which the features are taken; None: at its end."""
    seed: int = 0
    """Seed of what starts random."""
    encoder: Path | None = None
    """File of an encoder that stands before the network; ``pixels`` are then the encoder's."""
    encoder_channels: int | None = None
    """Channels of an encoder whose weights come later, with the network's; None: no encoder,
    or that of ``encoder``."""


def is_user_class(name: str) -> bool:
    """Whether ``name`` means a class in a user's file (``file.py:Class``)."""
    return ".py:" in name


def find_weights_file(value: str, *, folder: Path) -> Path:
    """The file that a recipe's ``model.weights`` names.

    A relative path starts at the competition's folder or, where there is no such file, at the
    folder one stands in.

    Raises:
        ConfigError: There is no such file.
    """
    given = Path(value).expanduser()
    path = folder / given
    if not path.is_file() and given.is_file():
        path = given.absolute()
    if not path.is_file():
        raise ConfigError(
            f"model.weights = {value!r}: there is no file {path}. Give the path of a "
            'safetensors, .pth or .pt file, or set it to "hub" or "none".'
        )
    return path


def read_weights_metadata(plan: ModelPlan, *, folder: Path) -> dict[str, str]:
    """What the weight file of ``plan`` says of itself; nothing where there is no such file.

    Raises:
        ConfigError: There is no such file.
        StorageError: It is damaged.
    """
    if plan.weights in ("hub", "none"):
        return {}
    path = find_weights_file(plan.weights, folder=folder)
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="numpy") as handle:
            return dict(handle.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise StorageError(
            f"Cannot read the weights in {path}: {error}. The file is damaged or no "
            "safetensors file; copy or download it again."
        ) from error
