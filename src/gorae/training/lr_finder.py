"""Which learning rate to begin with: a short training under ever higher rates.

Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017.
"""

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gorae.training.fit import build_trainer
from gorae.training.loop import grouped
from gorae.training.phases import begin_epoch
from gorae.training.plan import Control, FitPlan, FoldData
from gorae.training.schedules import Course, SchedulePlan
from gorae.training.state import Progress
from gorae.training.step import train_step
from gorae.training.trainer import NotFiniteError, Trainer

Floats = NDArray[np.float64]

# The sweep ends when the loss is so many times the lowest so far, and above where it began.
DIVERGED = 4.0

# Weight of the past in the running mean that is watched for it: about five steps.
WATCHED = 0.8

# Standard deviation of the bell curve that smooths the losses afterwards, in decades of the
# rate: about nine of a hundred steps. Unlike a running mean it does not lag behind.
SMOOTHING_DECADES = 0.25

# The descent begins where so much of the fall has happened; before it slopes are noise.
BEGUN_SHARE = 0.1

# A fall that is worth a word, as a share of the loss at the beginning.
LEAST_FALL = 0.02

# Standard deviation of a normal distribution divided by its median absolute deviation.
MAD_TO_STD = 1.4826

# The loss of a sweep is lowest just before it diverges; a tenth is on the safe side (the rule
# of fastai's finder).
SAFETY = 10


@dataclass(frozen=True)
class SweepPlan:
    """The rates that are tried, one per step, each a constant factor above the one before."""

    lowest: float = 1e-6
    highest: float = 10.0
    num_steps: int = 100


@dataclass(frozen=True)
class Suggestion:
    """What a curve of losses says of the learning rate."""

    rate: float | None
    """A peak learning rate to begin with; None where the losses say nothing."""
    steepest: float | None
    """Where the loss fell fastest."""
    minimum: float | None
    """Where it was lowest."""
    reason: str
    """Why this rate, or why none."""


@dataclass(frozen=True)
class RateSweep:
    """The losses under rising rates."""

    rates: Floats
    """Rate of each step, (T,)."""
    losses: Floats
    """Mean loss of each step's images before it, (T,); finite."""
    smoothed: Floats
    """The same without the noise of batches, (T,)."""
    stopped: Literal["diverged", "finished"]
    """Whether the loss went up for good, or all rates were tried."""
    suggestion: Suggestion


def sweep_rates(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    take_step: Callable[[int], float],
    *,
    lr: float,
    plan: SweepPlan | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> RateSweep:
    """Train with a rate that rises in every step until the loss diverges.

    Weights, buffers, optimiser and modes of the model are afterwards what they were.

    Args:
        model: Changed by the steps, and restored.
        optimizer: Its groups have a ``peak_lr``; they keep the ratio of their rates.
        take_step: Does step i with the rates it finds in the optimiser; gives the mean loss
            of its images before the step, which may be infinite or NaN.
        lr: The ``peak_lr`` that the rates of the sweep stand for: that of the head.
        plan: The rates.
        on_step: Told the steps done and the most there can be.
    """
    plan = plan or SweepPlan()
    rates = np.geomspace(plan.lowest, plan.highest, plan.num_steps)
    losses: list[float] = []
    mean, best, first = 0.0, math.inf, math.inf
    stopped: Literal["diverged", "finished"] = "finished"
    with _restored(model, optimizer):
        peaks = [group["peak_lr"] for group in optimizer.param_groups]
        for step, rate in enumerate(rates.tolist()):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                # Both: a step of a training sets the one from the other.
                group["lr"] = group["peak_lr"] = peak * rate / lr
            loss = take_step(step)
            if not math.isfinite(loss):
                stopped = "diverged"
                break
            losses.append(loss)
            on_step(step + 1, plan.num_steps)
            mean = WATCHED * mean + (1 - WATCHED) * loss
            level = mean / (1 - WATCHED ** (step + 1))
            first, best = (level if step == 0 else first), min(best, level)
            if level > DIVERGED * best and level > first:
                stopped = "diverged"
                break
    tried, seen = rates[: len(losses)], np.array(losses)
    smoothed = smooth_losses(tried, seen)
    suggestion = suggest_rate(tried, seen, has_diverged=stopped == "diverged")
    return RateSweep(tried, seen, smoothed, stopped, suggestion)


def smooth_losses(rates: Floats, losses: Floats) -> Floats:
    """Losses (T,) averaged over neighbouring rates with the weights of a bell curve."""
    decades = np.log10(rates)
    distances = (decades[:, None] - decades[None, :]) / SMOOTHING_DECADES
    weights = np.exp(-0.5 * distances**2)
    result: Floats = weights @ losses / weights.sum(axis=1)
    return result


def suggest_rate(rates: Floats, losses: Floats, *, has_diverged: bool) -> Suggestion:
    """The lower of two: where the loss fell fastest, and a tenth of where it was lowest.

    Either alone is known to be too high at times: the steepest place moves with the noise of
    batches, and the lowest loss comes late, as training has gone on meanwhile. A rate that is
    too low costs some epochs; one that is too high costs the pretrained weights.

    Args:
        rates: Rising rates, (T,).
        losses: Loss at each, (T,), finite.
        has_diverged: Whether the loss went up for good after the last.
    """
    if len(rates) < 3:
        return Suggestion(None, None, None, "The loss was not finite from the beginning.")
    smoothed = smooth_losses(rates, losses)
    lowest = int(smoothed.argmin())
    # A decade of rates too low to teach anything.
    start = float(losses[rates < 10 * rates[0]].mean())
    fall = start - smoothed[lowest]
    # The median, since the fall and the rise leave large residuals.
    noise = MAD_TO_STD * float(np.median(np.abs(losses - smoothed)))
    is_real = fall > max(1.5 * noise, LEAST_FALL * start)
    if not is_real or rates[lowest] < 10 * rates[0]:
        reason = "The loss did not fall by more than its own noise at any rate."
        return Suggestion(None, None, None, reason)
    above = np.flatnonzero(smoothed[: lowest + 1] >= start - BEGUN_SHARE * fall)
    begun = int(above.max(initial=0))
    slopes = np.gradient(smoothed, np.log10(rates))
    steepest = float(rates[begun + int(slopes[begun : lowest + 1].argmin())])
    minimum = float(rates[lowest])
    rate = float(f"{min(steepest, minimum / SAFETY):.2g}")
    reason = (
        f"The loss fell fastest at {steepest:.2g}."
        if steepest <= minimum / SAFETY
        else f"A tenth of {minimum:.2g}, where the loss was lowest."
    )
    if not has_diverged:
        reason += " It had not diverged at the highest rate: a higher one may do as well."
    return Suggestion(rate, steepest, minimum, reason)


def sweep_fold(
    model: nn.Module,
    data: FoldData,
    *,
    plan: FitPlan,
    sweep: SweepPlan | None = None,
    control: Control | None = None,
) -> RateSweep:
    """``sweep_rates`` with the very steps of a training: its images, mixing, loss, clipping.

    Nothing is written, and the weights of ``model`` are afterwards what they were (on the
    plan's device).

    Args:
        model: As for ``fit_fold``.
        data: Its train part is shown from the first epoch on, as often as it takes.
        plan: Of the training. All that learns at some time learns from the first step.
        sweep: The rates of the head that are tried; the backbone keeps its share of them.
        control: Workers and ``on_step``.
    """
    control = control or Control()
    device = torch.device(plan.arithmetic.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainer = build_trainer(
            model,
            replace(data, valid=None, valid_truth=None),
            plan=_without_ends(plan),
            # Nothing is written there.
            folder=Path(),
            control=control,
            notes=[],
        )
        with closing(_losses(trainer)) as losses:
            return sweep_rates(
                model,
                trainer.optimizer,
                lambda _: next(losses),
                lr=plan.optim.lr,
                plan=sweep,
                on_step=control.on_step,
            )


def _without_ends(plan: FitPlan) -> FitPlan:
    """The plan of a training whose rates are those found in the optimiser, without an end."""
    return replace(
        plan,
        course=Course(SchedulePlan("constant", warmup_epochs=0), epochs=1_000_000),
        ema_decay=None,
        unfreeze_every=None,
        # Compiling takes longer than the sweep.
        arithmetic=replace(plan.arithmetic, compile=False),
    )


def _losses(trainer: Trainer) -> Generator[float, None, None]:
    """The mean loss of one step after another, over as many epochs as are asked for."""
    before = Progress()
    for epoch in count():
        before = replace(before, epoch=epoch, batch=0)
        network = begin_epoch(trainer, before)
        trainer.keys.epoch, trainer.keys.start = epoch, 0
        for batches in grouped(trainer.read_train(), trainer.plan.accumulate):
            before = replace(before, loss_sum=0.0, images=0)
            try:
                after = train_step(trainer, network, before, batches)
            except NotFiniteError:
                yield math.inf
                return
            if after.images:
                yield after.loss_sum / after.images
            elif after.skipped:
                yield math.inf
            # Else the loss scale of fp16 was halved: the next batch tries again.
            before = after


@contextmanager
def _restored(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Put weights, modes and optimiser back, whatever happens in the block."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    modes = {module: module.training for module in model.modules()}
    learning = {parameter: parameter.requires_grad for parameter in model.parameters()}
    moments = {
        parameter: {what: value.clone() for what, value in state.items()}
        for parameter, state in optimizer.state.items()
    }
    rates = [(group["lr"], group["peak_lr"]) for group in optimizer.param_groups]
    try:
        yield
    finally:
        model.load_state_dict(weights)
        for module, is_training in modes.items():
            module.training = is_training
        for parameter, learns in learning.items():
            parameter.requires_grad_(learns)
        optimizer.state.clear()
        optimizer.state.update(moments)
        for group, (lr, peak_lr) in zip(optimizer.param_groups, rates, strict=True):
            group["lr"], group["peak_lr"] = lr, peak_lr
        optimizer.zero_grad(set_to_none=True)
