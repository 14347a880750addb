"""How fast a network trains or predicts here, from a few batches of noise."""

import time

import torch
from torch import nn

from gorae.data.pixels import PixelSpec
from gorae.training.evaluate import Arithmetic, Precision, compute_outputs, place

TIMED_BATCHES = 2

# bf16 must gain at least this much before its rounding is accepted.
WORTHWHILE_GAIN = 1.1


def images_per_second(
    model: nn.Module,
    spec: PixelSpec,
    *,
    arithmetic: Arithmetic,
    batch_size: int,
    is_training: bool,
) -> float:
    """Time forward passes, and backward ones when training; the weights stay as they are.

    Preparing pixels and the optimiser's step are not in it: they add little beside the network.

    Args:
        model: Any network; moved to the device and left in evaluation.
        spec: Size of its input.
        arithmetic: Where and in which numbers.
        batch_size: Images per pass.
        is_training: Whether to go backward too.
    """
    place(model, arithmetic)
    size = spec.input_size
    images = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.train(is_training)
    try:
        times = [
            _pass_s(model, images, spec, arithmetic, is_training=is_training)
            for _ in range(1 + TIMED_BATCHES)
        ]
    finally:
        # Batch norms measured the noise.
        model.load_state_dict(state)
        model.zero_grad(set_to_none=True)
        model.eval()
    return batch_size / min(times[1:])


def _pass_s(
    model: nn.Module,
    images: torch.Tensor,
    spec: PixelSpec,
    arithmetic: Arithmetic,
    *,
    is_training: bool,
) -> float:
    """Seconds of one batch."""
    started = time.perf_counter()
    with torch.set_grad_enabled(is_training):
        outputs = compute_outputs(model, images, spec=spec, arithmetic=arithmetic)
        if is_training:
            torch.autograd.backward(outputs.square().mean())
    if arithmetic.device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def faster_precision(
    model: nn.Module,
    spec: PixelSpec,
    *,
    device: str,
    channels_last: bool,
    batch_size: int,
    is_training: bool,
) -> tuple[Precision, dict[Precision, float]]:
    """The number format in which a network is faster here, and images per second of each.

    bfloat16 is chosen only where it gains more than a tenth: on processors without arithmetic
    of its own it is slower, and for small networks it may be.
    """
    formats: tuple[Precision, ...] = ("fp32", "bf16")
    speeds = {
        precision: images_per_second(
            model,
            spec,
            arithmetic=Arithmetic(device, precision, channels_last),
            batch_size=batch_size,
            is_training=is_training,
        )
        for precision in formats
    }
    is_worth_it = speeds["bf16"] > WORTHWHILE_GAIN * speeds["fp32"]
    return ("bf16" if is_worth_it else "fp32"), speeds
