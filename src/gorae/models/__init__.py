"""Networks by name, their weights, and the pixels they need."""

from gorae.models.build import build_model
from gorae.models.class_table import map_class_probabilities
from gorae.models.load import LoadedModel, ModelPlan, load_model
from gorae.models.network import ImageModel
from gorae.models.weights import (
    Weights,
    read_any_weights,
    read_weights,
    use_weights,
    write_weights,
)

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
    "use_weights",
    "write_weights",
]
