"""The network's outputs on images, in the arithmetic it is trained in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gorae.augment.geometry import normalise
from gorae.data.pixels import PixelSpec

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches of uint8 images (B, 3, S, S) with their indices (B,)."""

Precision = Literal["fp32", "bf16", "fp16"]

LOW_PRECISION: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Arithmetic:
    """Where and in which numbers a network computes."""

    device: str = "cpu"
    """A torch device: ``cpu`` or ``cuda:N``."""
    precision: Precision = "fp32"
    """Number format of the network's products; weights and loss stay float32."""
    channels_last: bool = True
    """Memory layout of images and weights with the channel last."""
    compile: bool = False
    """Whether the network is compiled (torch.compile)."""

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch calls it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def place(model: nn.Module, arithmetic: Arithmetic) -> nn.Module:
    """Move a network, in place, to where it computes."""
    return model.to(torch.device(arithmetic.device)).to(memory_format=arithmetic.memory_format)


def to_pixels(images: Tensor, spec: PixelSpec, arithmetic: Arithmetic) -> Tensor:
    """Normalised float32 pixels, on the device and in the layout, of uint8 (B, 3, S, S)."""
    on_device = images.to(arithmetic.device, non_blocking=True)
    return normalise(on_device, spec, memory_format=arithmetic.memory_format)


def forward(
    network: Callable[..., Tensor],
    pixels: Tensor,
    arithmetic: Arithmetic,
    metadata: Tensor | None = None,
) -> Tensor:
    """Outputs (B, K) float32 of normalised pixels (B, 3, S, S).

    ``metadata`` (B, M) is for a network with a place for it; without, its images have none.
    """
    dtype = LOW_PRECISION.get(arithmetic.precision)
    with torch.autocast(pixels.device.type, dtype, enabled=dtype is not None):
        outputs = network(pixels) if metadata is None else network(pixels, metadata)
    return outputs.float()


def compute_outputs(
    network: Callable[..., Tensor],
    images: Tensor,
    *,
    spec: PixelSpec,
    arithmetic: Arithmetic,
    metadata: Tensor | None = None,
) -> Tensor:
    """Outputs (B, K) float32, on the model's device, of uint8 images (B, 3, S, S).

    ``metadata`` (B, M) as in ``forward``, on any device.
    """
    if metadata is not None:
        metadata = metadata.to(arithmetic.device, non_blocking=True)
    return forward(network, to_pixels(images, spec, arithmetic), arithmetic, metadata)


def predict_outputs(
    model: nn.Module,
    batches: Batches,
    *,
    spec: PixelSpec,
    arithmetic: Arithmetic,
    splits: int = 1,
    metadata: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs before activation (n, K) float32 on the CPU, and the index of each (n,).

    Args:
        model: Already placed; it is put in evaluation mode.
        batches: Images with their indices.
        spec: Normalisation of the images.
        arithmetic: Where and in which numbers.
        splits: Parts in which a batch is computed, to need less memory.
        metadata: What is known of the images, (N, M), which their indices find.
    """
    model.eval()
    outputs, indices = [torch.zeros(0)], [torch.zeros(0, dtype=torch.int64)]
    with torch.inference_mode():
        for images, index in batches:
            outputs += [
                compute_outputs(
                    model,
                    part,
                    spec=spec,
                    arithmetic=arithmetic,
                    metadata=None if metadata is None else metadata[rows],
                ).cpu()
                for part, rows in zip(images.chunk(splits), index.chunk(splits), strict=True)
            ]
            indices.append(index)
        # Without the empty tensors that stand for "no batch at all".
        found = torch.cat(outputs[1:] or outputs), torch.cat(indices)
    # Cloned outside inference mode, so they are ordinary tensors, usable anywhere.
    return found[0].clone(), found[1].clone()
