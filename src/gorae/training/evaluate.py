"""The network's outputs, loss and values on images, in the arithmetic it is trained in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gorae.augment import normalise
from gorae.data.pixels import PixelSpec
from gorae.data.sources import Task
from gorae.training.losses import LOSSES, TargetScale, activate, encode_truth

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches of uint8 images (B, 3, S, S) with their indices (B,)."""


Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Arithmetic:
    """Where and in which numbers a network computes."""

    device: str = "cpu"
    """A torch device: ``cpu`` or ``cuda:N``."""
    precision: Precision = "fp32"
    """Number format of the network's products; weights and loss stay float32."""
    channels_last: bool = True
    """Memory layout of images and weights with the channel last."""

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch calls it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def place(model: nn.Module, arithmetic: Arithmetic) -> nn.Module:
    """Move a network, in place, to where it computes."""
    return model.to(torch.device(arithmetic.device)).to(memory_format=arithmetic.memory_format)


def compute_outputs(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    spec: PixelSpec,
    arithmetic: Arithmetic,
) -> Tensor:
    """Outputs (B, K) float32, on the model's device, of uint8 images (B, 3, S, S)."""
    on_device = images.to(arithmetic.device, non_blocking=True)
    pixels = normalise(on_device, spec, memory_format=arithmetic.memory_format)
    with torch.autocast(
        on_device.device.type, torch.bfloat16, enabled=arithmetic.precision == "bf16"
    ):
        outputs: Tensor = model(pixels)
    return outputs.float()


def predict_outputs(
    model: nn.Module, batches: Batches, *, spec: PixelSpec, arithmetic: Arithmetic
) -> Tensor:
    """Outputs before activation (N, K) float32 on the CPU, row i for index i.

    Args:
        model: Already placed; it is put in evaluation mode.
        batches: Each index from 0 to N - 1 once, in any order.
        spec: Normalisation of the images.
        arithmetic: Where and in which numbers.
    """
    model.eval()
    outputs, indices = [], []
    with torch.inference_mode():
        for images, index in batches:
            outputs.append(compute_outputs(model, images, spec=spec, arithmetic=arithmetic))
            indices.append(index)
        joined, order = torch.cat(outputs).cpu(), torch.cat(indices).argsort()
    # Indexed outside inference mode, so it is an ordinary tensor, usable anywhere.
    return joined[order]


def predict_values(
    model: nn.Module,
    batches: Batches,
    *,
    spec: PixelSpec,
    arithmetic: Arithmetic,
    task: Task,
    target: TargetScale | None = None,
) -> NDArray[np.float32]:
    """Predicted values (N, K), row i for index i; see ``activate``."""
    outputs = predict_outputs(model, batches, spec=spec, arithmetic=arithmetic)
    return activate(outputs, task=task, target=target)


def mean_loss(
    outputs: Tensor, truth: NDArray[np.generic], *, task: Task, target: TargetScale
) -> float:
    """The loss averaged over images, whatever the batches were."""
    encoded = encode_truth(truth, task=task, target=target)
    return float(LOSSES[task](outputs, encoded).double().mean())
