"""Averages of weights over a training: a moving one (EMA) and an even one (SWA).

An average is a second network of the same make. Floating-point buffers are averaged as weights
are; counters are copied.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def start_average(model: nn.Module) -> nn.Module:
    """A copy of ``model`` for averages to move; its weights do not learn."""
    return copy.deepcopy(model).requires_grad_(False).eval()


@torch.no_grad()
def move_average(average: nn.Module, model: nn.Module, share: float) -> None:
    """Move every weight of ``average`` this share of the way towards ``model``'s."""
    own, new = average.state_dict().values(), model.state_dict().values()
    pairs = list(zip(own, new, strict=True))
    floats = [(mine, other) for mine, other in pairs if mine.is_floating_point()]
    torch._foreach_lerp_([mine for mine, _ in floats], [other for _, other in floats], share)
    for mine, other in pairs:
        if not mine.is_floating_point():
            mine.copy_(other)


def moving_share(decay: float, count: int) -> float:
    """How far a moving average goes at its next step, after ``count`` steps.

    A young average spans a tenth of its steps: it must not hold on to the first weights.
    """
    return 1 - min(decay, (1 + count) / (10 + count))


def even_share(count: int) -> float:
    """How far an even average of ``count`` members goes towards the next.

    Source: stochastic weight averaging of Izmailov et al., 2018.
    """
    return 1 / (count + 1)


def default_decay(total_steps: int) -> float:
    """A decay whose average spans a tenth of the training, whatever its length."""
    return 1 - 1 / max(2.0, total_steps / 10)


@contextmanager
def measuring_norms(model: nn.Module) -> Iterator[bool]:
    """Within it, forward passes measure the statistics of batch normalisations anew.

    Averaged weights give other activations than those the statistics were measured on.

    Yields:
        Whether there is anything to measure.
    """
    resting = getattr(model, "resting", ())
    norms = [
        module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and module.track_running_stats
        # What rests keeps its statistics with its weights.
        and not any(name == each or name.startswith(f"{each}.") for each in resting)
    ]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        # An even average over all batches.
        norm.momentum = None
        norm.train()
    try:
        yield bool(norms)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.eval()
