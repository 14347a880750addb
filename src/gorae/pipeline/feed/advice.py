"""What the measured speeds of feed and network say: who waits for whom, and what to set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gorae.training.feed_speed import Speed

Bottleneck = Literal["network", "feed", "cores"]

# Measured side by side, smaller differences than this are noise.
SAME_SHARE = 0.05
# A network that gets this share of its own speed does not wait.
FED_SHARE = 0.9
# A step that takes a smaller part of a picture is not worth a change.
LARGE_SHARE = 0.3


@dataclass(frozen=True)
class WorkerSpeed:
    """The feed of one number of worker processes."""

    workers: int
    feed: Speed
    """The feed alone."""
    together: Speed
    """Training with it, as measured."""

    def expected(self, network: Speed) -> float:
        """Pictures per second where feed and network have cores of their own: the smaller."""
        return min(self.feed.per_s, network.per_s)


@dataclass(frozen=True)
class Setup:
    """What the advice needs to know beside the speeds."""

    cores: int
    is_cpu: bool
    """Whether the network computes on the cores that prepare pictures."""
    workers: int | None
    """``train.workers`` of the recipe."""
    input_size: int
    stored_short_side: int | None
    """``pixels.stored_short_side`` of the recipe."""


@dataclass(frozen=True)
class Advice:
    """Who waits, how many workers are enough, and why."""

    bottleneck: Bottleneck
    """``cores``: feed and network slow each other down, as they share them."""
    workers: int
    throughput: float
    """Pictures per second of the training with so many workers."""
    lines: tuple[str, ...]
    """Sentences; the first is the verdict."""


def enough_workers(measured: Sequence[WorkerSpeed]) -> WorkerSpeed:
    """The fewest workers with which training is as fast as with any number, but for noise."""
    best = max(each.together.per_s for each in measured)
    return next(each for each in measured if each.together.per_s >= (1 - SAME_SHARE) * best)


def advise(
    measured: Sequence[WorkerSpeed],
    *,
    network: Speed,
    steps: Sequence[tuple[str, Speed]],
    setup: Setup,
) -> Advice:
    """Judge measured speeds.

    Args:
        measured: By number of workers, rising.
        network: The network's own speed in training.
        steps: Name and speed of what is done to each picture.
        setup: Machine and recipe.
    """
    enough = enough_workers(measured)
    fed, alone = enough.together.per_s, network.per_s
    how = f"train.workers = {enough.workers}"
    numbers = f"feeding {_rate(enough.feed.per_s)}, network {_rate(alone)} alone"
    if fed >= FED_SHARE * alone:
        verdict = (
            f"{numbers}: the network is the bottleneck. {how} is enough and trains "
            f"{_rate(fed)}."
        )
        return Advice("network", enough.workers, fed, (verdict, *_workers_line(enough, setup)))
    if enough.feed.per_s >= alone and setup.is_cpu:
        verdict = (
            f"{numbers}, {_rate(fed)} together: pictures and network share the "
            f"{setup.cores} cores. {how} is best here; cheaper steps leave more to the network."
        )
        lines = (verdict, *_workers_line(enough, setup), *_cheaper(steps, setup))
        return Advice("cores", enough.workers, fed, lines)
    verdict = (
        f"{numbers}: the network waits for pictures and trains {_rate(fed)}, "
        f"{fed / alone:.0%} of its speed. {how} is the best of those measured."
    )
    lines = (
        verdict,
        *_workers_line(enough, setup),
        *_more_workers(measured, enough, setup),
        *_cheaper(steps, setup),
    )
    return Advice("feed", enough.workers, fed, lines)


def _rate(per_s: float) -> str:
    return f"{per_s:,.3g}/s" if per_s < 100 else f"{per_s:,.0f}/s"


def _workers_line(enough: WorkerSpeed, setup: Setup) -> list[str]:
    if setup.workers is None or setup.workers == enough.workers:
        return []
    return [f"The recipe says train.workers = {setup.workers}; set it to {enough.workers}."]


def _more_workers(
    measured: Sequence[WorkerSpeed], enough: WorkerSpeed, setup: Setup
) -> list[str]:
    most = measured[-1].workers
    if enough.workers < most or most >= setup.cores:
        return []
    doubled = min(setup.cores, 2 * max(1, most))
    return [
        f"More may help: measure --workers {most},{doubled} ({setup.cores} cores are here)."
    ]


def _cheaper(steps: Sequence[tuple[str, Speed]], setup: Setup) -> list[str]:
    """The step that costs most, where it is much of the whole; and a smaller store."""
    total_s = sum(speed.picture_s for _, speed in steps)
    name, speed = max(steps, key=lambda step: step[1].picture_s)
    share = speed.picture_s / total_s
    if share < LARGE_SHARE:
        return []
    lines = [f"Most of a picture's time goes into: {name} ({share:.0%})."]
    stored = setup.stored_short_side
    if stored is not None and stored > 1.5 * setup.input_size:
        lines.append(
            f"Pictures are stored at pixels.stored_short_side = {stored}; left out, they are "
            "stored at 1.15 times the input size and are cut and resized faster."
        )
    return lines
