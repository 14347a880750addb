"""One forward pass, as fast as it gets: norms folded, weights cast, layout, compiling."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch._inductor import config as inductor

from gorae.data.pixels import PixelSpec
from gorae.inference.execution import Execution
from gorae.models.cast import cast_products
from gorae.models.fold import fold_batch_norms
from gorae.models.int8 import Ranges, to_int8, traced
from gorae.models.network import ImageModel
from gorae.training.evaluate import LOW_PRECISION, Precision, compute_outputs, place
from gorae.training.speed import Made, Run


class Forward(Protocol):
    """One pass."""

    def __call__(self, images: Tensor, metadata: Tensor | None = None, /) -> Tensor:
        """Outputs (B, O) float32 on the CPU of uint8 images (B, 3, S, S).

        Of a network with a place for metadata, (B, M), images without have none.
        """


# Largest change of an output by compiling, relative to the largest output. A compiled network
# rounds at other places, and bf16 keeps three digits.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 1e-2}


def build_forward(
    model: ImageModel,
    spec: PixelSpec,
    *,
    execution: Execution,
    features: bool = False,
    embedded: bool = False,
    ranges: Ranges | None = None,
    run: Run | None = None,
) -> Forward:
    """A forward pass of ``model`` as it is now; later changes of its weights may be missed.

    Args:
        model: The network; it is left in evaluation, on the device and in the layout used.
        spec: Size and normalisation of its input.
        execution: How passes are run.
        features: Give the pooled features in place of the outputs.
        embedded: Give the embedding after the outputs.
        ranges: Of ``measure_ranges``: convolutions multiply bytes, and nothing is compiled.
        run: Calls a function in a thread like those that will call the pass, where that is
            not this one: code and layouts are made for their number of cores.

    Raises:
        ConfigError: The network, or the machine, cannot compute with bytes.
    """
    place(model, execution.arithmetic)
    run = run or _run_here
    dtype = LOW_PRECISION.get(execution.arithmetic.precision)
    if ranges is not None:
        network = traced(model, input_size=spec.input_size)
        run(partial(to_int8, network, ranges, batch_size=execution.batch_size, dtype=dtype))
    else:
        network = fold_batch_norms(model, input_size=spec.input_size)
    if dtype is not None:
        network = copy.deepcopy(network) if network is model else network
        cast_products(network, dtype)
    plain = network.features if features else network.embedded if embedded else network
    num_metadata = 0 if features else model.num_metadata
    forward = _as_forward(plain, spec, execution, num_metadata)
    if ranges is not None:
        # Weights are laid out for batches of one size.
        return _in_full_batches(forward, execution.batch_size)
    if not execution.compile:
        return forward
    again = _as_forward(torch.compile(plain, dynamic=False), spec, execution, num_metadata)
    compiled = _compiled(again, forward, spec=spec, execution=execution, run=run)
    return forward if compiled is None else _in_full_batches(compiled, execution.batch_size)


def _run_here(work: Callable[[], Made]) -> Made:
    return work()


def _as_forward(
    network: Callable[..., Tensor], spec: PixelSpec, execution: Execution, num_metadata: int
) -> Forward:
    def forward(images: Tensor, metadata: Tensor | None = None, /) -> Tensor:
        # Always given or never: compiled code is for one of the two.
        if not num_metadata:
            metadata = None
        elif metadata is None:
            metadata = torch.full((len(images), num_metadata), torch.nan)
        with torch.inference_mode():
            return compute_outputs(
                network,
                images,
                spec=spec,
                arithmetic=execution.arithmetic,
                metadata=metadata,
            ).cpu()

    return forward


def _compiled(
    compiled: Forward,
    forward: Forward,
    *,
    spec: PixelSpec,
    execution: Execution,
    run: Run,
) -> Forward | None:
    """The pass compiled for batches of one size, or None, and a note, where it cannot be.

    Weights become constants, laid out as the processor wants them. The next checkpoint is
    compiled anew, but torch finds its machine code on disk: seconds in place of the first
    one's half minute (docs/log.md).
    """
    shape = (execution.batch_size, 3, spec.input_size, spec.input_size)
    images = torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    expected = run(lambda: forward(images))
    # Code of the last checkpoint would count towards the few versions torch keeps.
    torch.compiler.reset()

    def compile_now() -> Tensor:
        # As an option of ``torch.compile`` the tracer would not see it, and weights would stay
        # variables; and it is a thread's own, so it is set in the thread that compiles.
        with inductor.patch(freezing=True):
            return compiled(images)

    try:
        got = run(compile_now)
    # Whatever a compiler can lack: itself, headers, a place to write, support for a layer.
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        execution.on_note(
            f"The network could not be compiled and runs as it is: {reason[0]} "
            "Set predict.compile = false to go without."
        )
        return None
    allowed = TOLERANCE[execution.arithmetic.precision] * expected.abs().max()
    if not (got - expected).abs().max() <= allowed:
        execution.on_note(
            "The compiled network gives other outputs than the network and was not used. "
            "Set predict.compile = false to go without."
        )
        return None
    return compiled


def _in_full_batches(forward: Forward, batch_size: int) -> Forward:
    """For code made for one size: the last batch is filled up, and the surplus dropped."""

    def padded(images: Tensor, metadata: Tensor | None = None, /) -> Tensor:
        missing = batch_size - len(images)
        if not missing:
            return forward(images, metadata)
        filled = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)])
        if metadata is not None:
            metadata = torch.cat([metadata, metadata[-1:].expand(missing, -1)])
        return forward(filled, metadata)[: len(images)]

    return padded
