"""Networks by name, their weights, and the pixels they need.

Names are looked up when they are used: torch takes seconds to load, and a network's pixels can
be known without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gorae.models.build import build_model
    from gorae.models.class_table import map_class_probabilities
    from gorae.models.load import LoadedModel, load_model
    from gorae.models.network import ImageModel
    from gorae.models.plan import ModelPlan
    from gorae.models.weights import Weights, read_any_weights, read_weights, write_weights

__all__ = [
    "ImageModel",
    "LoadedModel",
    "ModelPlan",
    "Weights",
    "build_model",
    "load_model",
    "map_class_probabilities",
    "read_any_weights",
    "read_weights",
    "write_weights",
]

_HOMES = {
    "ImageModel": "network",
    "LoadedModel": "load",
    "ModelPlan": "plan",
    "Weights": "weights",
    "build_model": "build",
    "load_model": "load",
    "map_class_probabilities": "class_table",
    "read_any_weights": "weights",
    "read_weights": "weights",
    "write_weights": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gorae.models' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gorae.models.{_HOMES[name]}"), name)
