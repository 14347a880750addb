"""What network is wanted, in words: its name, weights and pixels. Without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from gorae.errors import ConfigError, StorageError

LENET5 = "lenet5"
TORCHVISION = "torchvision/"


HeadKind = Literal["linear", "coral"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is put on a backbone and into it."""

    head: HeadKind = "linear"
    """One linear layer, or one direction with K - 1 thresholds."""
    drop_rate: float = 0.0
    """Dropout before the head."""
    drop_copies: int = 1
    """Dropouts whose outputs share the head and are averaged."""
    drop_path: float = 0.0
    """Probability to leave the last residual branch out; lower ones are left out less."""
    pooling: Literal["default", "gem"] = "default"
    """How maps become features: as the network does, or by a generalised mean."""


@dataclass(frozen=True)
class ModelPlan(Parts):
    """What network is wanted, in the words of a recipe."""

    name: str
    """A timm name, ``torchvision/NAME``, ``lenet5``, or ``file.py:Class``."""
    weights: str = "none"
    """``hub``, ``none``, or the path of a weight file."""
    num_outputs: int | None = None
    """Outputs of a new head; None keeps the classifier that the weights bring."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the network's constructor."""
    pixels: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's own fields of ``PixelSpec``; absent or None where it says nothing."""
    layer: str | None = None
    """Module of the backbone at which the features are taken; None: at its end."""
    seed: int = 0
    """Seed of what starts random."""


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
