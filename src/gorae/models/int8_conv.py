"""A convolution that multiplies bytes, and the numbers that bytes stand for.

Weights are rounded to 255 steps per output channel, maps to 256 steps of a range; sums are
exact. The arithmetic is oneDNN's.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 255


class Grid(NamedTuple):
    """The numbers ``(byte - zero) * scale`` that bytes stand for."""

    scale: float
    zero: int


def grid_over(low: float, high: float) -> Grid:
    """Numbers from ``low`` to ``high`` in equal steps, with zero among them."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, 1e-12) / STEPS
    return Grid(scale, round(-low / scale))


def to_bytes(values: Tensor, scale: float, zero: int) -> Tensor:
    """The nearest number of a grid for each value, uint8; those outside go to the ends."""
    # Channels last is how convolutions of bytes want them, and sums must have them.
    if values.ndim == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    # Float32, whatever came: bfloat16 cannot tell steps apart far from zero.
    steps = values.float().mul(1 / scale).round_().add_(zero)
    return steps.clamp_(0, STEPS).to(torch.uint8)


def to_floats(values: Tensor, scale: float, zero: int, dtype: torch.dtype) -> Tensor:
    """What bytes stand for on a grid."""
    return values.float().sub_(zero).mul_(scale).to(dtype)


class Int8Conv(nn.Module):
    """A convolution of bytes, with what comes after it: a sum with another map, and a ReLU."""

    def __init__(
        self,
        convolution: nn.Conv2d,
        *,
        given: Grid,
        made: Grid | None,
        onto: Grid | None,
        rectifies: bool,
        dtype: torch.dtype,
        shape: tuple[int, ...],
    ) -> None:
        """Round and lay out the weights.

        Args:
            convolution: The convolution, with its weights as floats.
            given: Of its input.
            made: Of its output; None for an output of floats.
            onto: Of the map that the output is added to.
            rectifies: Set what is below zero to zero in the end.
            dtype: Of an output of floats.
            shape: Of its input (B, C, H, W), which decides about the best layout.
        """
        super().__init__()
        weight = convolution.weight.detach().float()
        # 127 steps to each side of zero, so that zero is one of them.
        scale = weight.abs().amax(dim=(1, 2, 3)).clamp_min(1e-12) / (STEPS // 2)
        rounded = (weight / scale.view(-1, 1, 1, 1)).round().to(torch.int8)
        self.given, self.made, self.onto = given, made or Grid(1.0, 0), onto
        self.out_dtype = dtype if made is None else torch.uint8
        self.then = "relu" if rectifies else "none"
        padding = cast(tuple[int, int], convolution.padding)
        self.steps = (
            *(list(convolution.stride), list(padding), list(convolution.dilation)),
            convolution.groups,
        )
        self.around = _own_padding(convolution, shape)
        left, right, top, bottom = self.around
        bias = convolution.bias
        self.register_buffer("bias", None if bias is None else bias.detach().float())
        self.register_buffer("scale", scale)
        self.register_buffer("zeros", torch.zeros(len(scale), dtype=torch.int64))
        padded = [*shape[:2], shape[2] + top + bottom, shape[3] + left + right]
        packed = torch.ops.onednn.qconv_prepack(rounded, scale, *given, *self.steps, padded)
        self.register_buffer("weight", packed)

    def forward(self, images: Tensor, onto: Tensor | None = None) -> Tensor:
        """The output of ``images`` (B, C, H, W) uint8; ``onto`` is used up."""
        if any(self.around):
            images = F.pad(images, self.around, value=self.given.zero)
        given = (images, *self.given, self.weight, self.scale, self.zeros)
        made = (self.bias, *self.steps, *self.made, self.out_dtype)
        if onto is None:
            return cast(
                Tensor,
                torch.ops.onednn.qconv2d_pointwise(*given, *made, self.then, [], ""),
            )
        assert self.onto is not None
        return cast(
            Tensor,
            torch.ops.onednn.qconv2d_pointwise.binary(
                *given, onto, *made, *self.onto, "sum", 1.0, self.then, [], ""
            ),
        )


def _own_padding(convolution: nn.Conv2d, shape: tuple[int, ...]) -> list[int]:
    """What a convolution puts left, right, above and below maps of a shape by itself."""
    if type(convolution) is nn.Conv2d:
        return [0, 0, 0, 0]
    # TensorFlow's: as many places come out as strides go in, with the odd one at the end.
    from timm.layers.padding import pad_same_arg

    sides = list(shape[2:]), list(convolution.kernel_size)
    return pad_same_arg(*sides, list(convolution.stride), list(convolution.dilation))
