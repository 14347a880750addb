"""How fast a network trains and predicts here, from a few batches of noise."""

import time
from dataclasses import dataclass

import torch
from torch import nn

from gorae.data.pixels import PixelSpec
from gorae.training.evaluate import Arithmetic, compute_outputs, place

TIMED_BATCHES = 2


@dataclass(frozen=True)
class Speed:
    """Images per second at one input size."""

    training: float
    prediction: float


def measure_speed(
    model: nn.Module, spec: PixelSpec, *, arithmetic: Arithmetic, batch_size: int
) -> Speed:
    """Time forward and backward passes of ``model``; its weights stay as they are.

    Preparing pixels and the optimiser's step are not in it: they add little beside the network.

    Args:
        model: Any network; moved to the device and left in evaluation.
        spec: Size of its input.
        arithmetic: Where and in which numbers.
        batch_size: Images per pass.
    """
    place(model, arithmetic)
    size = spec.input_size
    images = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        training_s = _time(model, images, spec, arithmetic, is_training=True)
        prediction_s = _time(model, images, spec, arithmetic, is_training=False)
    finally:
        # Batch norms measured the noise.
        model.load_state_dict(state)
        model.zero_grad(set_to_none=True)
        model.eval()
    return Speed(batch_size / training_s, batch_size / prediction_s)


def _time(
    model: nn.Module,
    images: torch.Tensor,
    spec: PixelSpec,
    arithmetic: Arithmetic,
    *,
    is_training: bool,
) -> float:
    """Seconds per batch, the best of a few after one that warms up."""
    model.train(is_training)
    times = []
    for _ in range(1 + TIMED_BATCHES):
        started = time.perf_counter()
        with torch.set_grad_enabled(is_training):
            outputs = compute_outputs(model, images, spec=spec, arithmetic=arithmetic)
            if is_training:
                torch.autograd.backward(outputs.square().mean())
        if arithmetic.device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
