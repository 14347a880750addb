"""The head itself: layers that turn features into predictions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from gorae.data.sources import Task
from gorae.errors import StorageError

Output = Literal["softmax", "sigmoid", "identity"]
Layer = tuple[NDArray[np.float32], NDArray[np.float32]]  # weight (out, in), bias (out,)

# What each task makes of the last layer.
OUTPUTS: dict[Task, Output] = {
    "multiclass": "softmax",
    "ordinal": "softmax",
    "multilabel": "sigmoid",
    "regression": "identity",
}


@dataclass(frozen=True, eq=False)
class Head:
    """Linear layers with a ReLU between two, and how their strength was chosen.

    Weights lie as in ``nn.Linear``; their names are those of ``nn.Sequential(Linear)`` or
    ``nn.Sequential(Linear, ReLU, Linear)``. The standardisation of the features is folded
    into the first layer, so features go in as the backbone gives them.
    """

    layers: tuple[Layer, ...]
    output: Output
    strength: float
    """Inverse regularisation strength the head was fitted with."""
    inner_losses: tuple[tuple[float, float], ...]
    """Each strength tried and its mean loss inside the train part; empty: nothing to choose."""
    converged: bool
    """Whether the solver reached its tolerance before its limit of iterations."""

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, or values of a regression.

        Args:
            features: (N, D), as the backbone gives them.

        Returns:
            (N, K); rows sum to 1 where the output is ``softmax``.
        """
        hidden = np.asarray(features, dtype=np.float32)
        for place, (weight, bias) in enumerate(self.layers):
            if place > 0:
                hidden = np.maximum(hidden, 0)
            hidden = hidden @ weight.T + bias
        # float64, or rows over many classes would not sum to 1 in float32.
        logits = hidden.astype(np.float64)
        if self.output == "softmax":
            logits = softmax(logits, axis=1)
        elif self.output == "sigmoid":
            logits = expit(logits)
        return logits.astype(np.float32)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The weights by name (``0.weight``, ``0.bias``, and ``2.*`` of a second layer)."""
        named = {}
        for place, (weight, bias) in enumerate(self.layers):
            # safetensors writes memory as it lies: a transposed array would come back wrong.
            named[f"{2 * place}.weight"] = np.ascontiguousarray(weight)
            named[f"{2 * place}.bias"] = np.ascontiguousarray(bias)
        return named

    def metadata(self) -> dict[str, str]:
        """All but the weights, as the text that stands beside them in a file."""
        record = {
            "output": self.output,
            "strength": self.strength,
            "inner_losses": self.inner_losses,
            "converged": self.converged,
        }
        return {"head": json.dumps(record, allow_nan=False)}

    @staticmethod
    def from_tensors(
        tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]
    ) -> "Head":
        """The head that ``tensors`` and ``metadata`` were taken from.

        Raises:
            StorageError: A tensor or the record is missing.
        """
        try:
            record = json.loads(metadata["head"])
            places = sorted({int(name.split(".")[0]) for name in tensors})
            layers = tuple((tensors[f"{p}.weight"], tensors[f"{p}.bias"]) for p in places)
            return Head(
                layers=layers,
                output=record["output"],
                strength=record["strength"],
                inner_losses=tuple((tried, loss) for tried, loss in record["inner_losses"]),
                converged=record["converged"],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise StorageError(
                f"This is not a head of gorae or a part is missing ({error!r}). Train the run "
                "again to write it anew."
            ) from error
