"""What training makes small, and how outputs of a network become predicted values."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gorae.data.sources import Task

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs (B, K) float32 and targets to one loss per image (B,)."""


@dataclass(frozen=True)
class TargetScale:
    """Mean and spread of a number in the train part: the network learns it standardised.

    Without it a price of 100,000 would take a head, whose weights move by the learning rate
    per step, for ever to reach.
    """

    shift: float = 0.0
    scale: float = 1.0


def fit_target_scale(truth: NDArray[np.generic], *, task: Task) -> TargetScale:
    """The scale of a regression's train part; the neutral scale for every other task."""
    if task != "regression":
        return TargetScale()
    numbers = truth.astype(np.float64)
    # A constant target has no spread to divide by.
    return TargetScale(float(numbers.mean()), float(numbers.std()) or 1.0)


def encode_truth(truth: NDArray[np.generic], *, task: Task, target: TargetScale) -> Tensor:
    """The truth as the loss wants it: class indices, 0/1 rows, or standardised numbers."""
    if task == "regression":
        standard = (truth.astype(np.float64) - target.shift) / target.scale
        return torch.from_numpy(standard.astype(np.float32))
    return torch.from_numpy(truth.copy())


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Negative log probability of each image's class, (B,)."""
    return F.cross_entropy(outputs, labels, reduction="none")


def binary_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes of each one's own yes-or-no cross entropy, (B,)."""
    return F.binary_cross_entropy_with_logits(outputs, labels, reduction="none").mean(dim=1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared distance of the one output to the number, (B,)."""
    return (outputs[:, 0] - targets).square()


# An ordered class is learned as a plain class; its order counts in the metric.
LOSSES: dict[Task, Loss] = {
    "multiclass": cross_entropy,
    "ordinal": cross_entropy,
    "multilabel": binary_cross_entropy,
    "regression": squared_error,
}


def activate(
    outputs: Tensor, *, task: Task, target: TargetScale | None = None
) -> NDArray[np.float32]:
    """Predicted values (N, K) of a network's outputs (N, K).

    Probabilities that sum to 1 (multiclass, ordinal), independent probabilities
    (multilabel), or the number in its own unit (regression).
    """
    exact = outputs.double()
    if task in ("multiclass", "ordinal"):
        values = exact.softmax(dim=1)
    elif task == "multilabel":
        values = exact.sigmoid()
    else:
        target = target or TargetScale()
        values = exact * target.scale + target.shift
    result: NDArray[np.float32] = values.float().cpu().numpy()
    return result
