"""Between which values the maps of a network are, on some pictures."""

import torch

from gorae.augment.names import IDENTITY
from gorae.inference.execution import Execution
from gorae.inference.pictures import Pictures, find_distinct, read_squares, view_batch
from gorae.models.cast import cast_products
from gorae.models.int8 import Ranges, observe_ranges, traced
from gorae.models.network import ImageModel
from gorae.training.evaluate import LOW_PRECISION, place, to_pixels


def measure_ranges(model: ImageModel, pictures: Pictures, *, execution: Execution) -> Ranges:
    """The ranges with which the weights of ``model`` predict in bytes.

    Pictures of training are what to measure on: held-out ones would be known before they are
    predicted, and with new ones a prediction would depend on what it is asked with.

    Args:
        model: The network with its weights; it is left in evaluation, on the CPU.
        pictures: Some dozens, seen without augmentation.
        execution: How they are computed; on the CPU.

    Raises:
        ConfigError: The network, or the machine, cannot compute with bytes.
        DataError: Its values are not finite.
    """
    arithmetic = execution.arithmetic
    assert arithmetic.device == "cpu"
    place(model, arithmetic)
    network = traced(model, input_size=pictures.spec.input_size)
    dtype = LOW_PRECISION.get(arithmetic.precision)
    if dtype is not None:
        cast_products(network, dtype)
    distinct = find_distinct(pictures, (IDENTITY,))
    starts = range(0, len(distinct.first), execution.batch_size)
    chosen = [distinct.first[start : start + execution.batch_size] for start in starts]
    squares = (view_batch(distinct, read_squares(distinct, part), IDENTITY) for part in chosen)
    batches = (to_pixels(part, pictures.spec, arithmetic) for part in squares)
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        return observe_ranges(network, batches)
