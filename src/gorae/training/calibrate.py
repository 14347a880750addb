"""Which arithmetic is fastest here: a short search by paired timings.

The search knows nothing of networks: it asks ``measure`` for the seconds of a setting. A
setting takes the place of the one before only where it won by more than the timings' noise,
and the last one must win once more against the default; so the choice may miss a gain, but it
is not slower than the default by more than that noise.
"""

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from gorae.training.evaluate import Precision

# Of the work ahead, what a calibration may take: 15 % of a short job up to 4 s (the number
# format alone gains two to three times where it gains: docs/log.md), 3 % up to 10 s, and half a
# percent from there on.
SHARES = ((0.15, 4.0), (0.03, 10.0), (0.005, math.inf))

# The number format may take more: ResNet-50 trains twice as fast in bf16 on a processor that
# multiplies it (docs/log.md), and at 4 s for a minute of work it was never tried.
PRECISION_SHARE = (0.1, 10.0)

# Of what a first timing promises to save, what may be spent on making sure of it.
PROMISE_SHARE = 0.5

# Less work than this is done before anything is gained; and a few seconds of it leave no room
# for timings that could be trusted.
LEAST_WORK_S = 6.0

# What is left of it for the last comparison.
CONFIRM_SHARE = 0.2

# Compiling is tried only where this much is within ``COMPILE_SHARE`` of the work: MobileNetV2
# takes 25 s forward (docs/log.md), and backward is about as much again.
COMPILE_GUESS_S = 60.0
COMPILE_SHARE = 0.03

# A rounder number format must earn its rounding; a layout or a thread only has to win.
ROUNDING_GAIN = 1.1
LEAST_GAIN = 1.02

# One-sided error of one comparison. Fewer pairs than two have no spread.
ERROR = 0.025
LEAST_PAIRS, MOST_PAIRS = 2, 6

# Spread of the logarithm below which agreeing timings are thought to agree by chance.
LEAST_SPREAD = 0.01

# So much slower in one timing is not looked at again.
HOPELESS = 2.0

# Preparing pictures that takes a smaller part of the network's time is not worth a process.
IDLE_SHARE = 0.03
SPARE_WORKERS = 1.25
SMALL_MACHINE_CORES = 4


@dataclass(frozen=True)
class Setting:
    """One way to compute; what it changes is time and rounding."""

    threads: int
    """Threads of the network's arithmetic."""
    precision: Precision = "fp32"
    channels_last: bool = True
    compile: bool = False
    workers: int = 1
    """Processes that prepare batches."""

    def describe(self) -> str:
        """Short text for records and screens, such as ``bf16, 1 thread``."""
        parts: list[str] = [self.precision]
        if not self.channels_last:
            parts.append("channels first")
        if self.compile:
            parts.append("compiled")
        parts.append(f"{self.threads} thread{'s' * (self.threads != 1)}")
        return ", ".join(parts)


Measure = Callable[[Setting], float]
"""Seconds per image of one fresh timing. Raises ``RuntimeError``, as torch does, where this
machine or network cannot compute so."""

Change = Mapping[str, Any]
"""Fields of a setting that a candidate changes."""


@dataclass(frozen=True)
class Ahead:
    """The work that a calibration is for."""

    num_images: int
    """Images that will go through the network."""
    num_compiles: int = 1
    """How often a compiled network would be compiled anew."""
    left_s: float | None = None
    """Seconds until all must be done; None without a limit."""


@dataclass(frozen=True)
class Calibration:
    """What was found."""

    setting: Setting
    speeds: Mapping[Setting, float]
    """Images per second of every setting that was timed, at its best."""
    failed: Mapping[Setting, str]
    """Why settings cannot be used here."""
    spent_s: float
    is_complete: bool
    """Whether every stage was tried; else there was too little work to pay for it."""


@dataclass(frozen=True)
class _Log:
    """What has been timed so far."""

    measure: Measure
    clock: Callable[[], float]
    times: dict[Setting, list[float]] = field(default_factory=dict)
    ratios: dict[tuple[Setting, Setting], list[float]] = field(default_factory=dict)
    """Logarithms of how much faster the second was, by pair."""
    elapsed: dict[Setting, float] = field(default_factory=dict)
    """Seconds of the latest timing, all that it needed included."""

    def time(self, setting: Setting) -> float:
        started = self.clock()
        seconds = self.measure(setting)
        self.elapsed[setting] = self.clock() - started
        self.times.setdefault(setting, []).append(seconds)
        return seconds


def calibrate(
    measure: Measure,
    default: Setting,
    stages: Iterable[Sequence[Change]],
    *,
    ahead: Ahead,
    clock: Callable[[], float] = time.monotonic,
) -> Calibration:
    """The fastest setting found within a small share of the work ahead.

    Args:
        measure: Times a setting.
        default: What is used where nothing beats it.
        stages: Changes tried one after the other, each on the best setting so far.
        ahead: The work to be done.
        clock: Seconds, counted from anywhere.
    """
    started = clock()
    log = _Log(measure, clock)
    cold_s = log.time(default)
    work_s = log.time(default) * ahead.num_images
    limit_s = min(work_s, ahead.left_s) if ahead.left_s is not None else work_s
    until = started + (1 - CONFIRM_SHARE) * allowed_s(limit_s)
    precise_until = started + (1 - CONFIRM_SHARE) * _share(limit_s, PRECISION_SHARE)
    best, failed, is_complete = default, dict[Setting, str](), True
    if limit_s < LEAST_WORK_S:
        stages, is_complete = (), False
    for change in (change for stage in stages for change in stage):
        candidate = replace(best, **change)
        if candidate == best:
            continue
        end = max(until, precise_until) if "precision" in change else until
        if candidate.compile and not best.compile:
            work_s = min(log.times[best]) * ahead.num_images
            if COMPILE_SHARE * min(work_s, limit_s) < COMPILE_GUESS_S:
                continue
            # An allowance of its own, which the other stages took nothing of.
            until = end = max(until, clock() + COMPILE_SHARE * work_s)
        elif clock() + log.elapsed[best] > end:
            is_complete = False
            continue
        first_s = _first_timing(log, candidate, failed)
        if first_s is None or (first_s > HOPELESS * cold_s and not candidate.compile):
            continue
        if not candidate.compile:
            end = _pairs_until(log, best, first_s, end=end, limit_s=limit_s)
            if clock() > end:
                is_complete = False
                continue
        price_s = log.elapsed[candidate] * ahead.num_compiles if candidate.compile else 0.0
        gain = _least_gain(log, best, candidate, until=end)
        saved_s = min(log.times[best]) * ahead.num_images * -math.expm1(-max(gain, 0.0))
        if gain > _needed_gain(best, candidate) and saved_s > price_s:
            best = candidate
    if best != default and _least_gain(log, default, best) <= _needed_gain(default, best):
        best = default
    speeds = {setting: 1 / min(times) for setting, times in log.times.items()}
    return Calibration(best, speeds, failed, clock() - started, is_complete)


def _first_timing(log: _Log, candidate: Setting, failed: dict[Setting, str]) -> float | None:
    """Seconds per image; None, and the reason kept, where this cannot be computed here."""
    try:
        return log.time(candidate)
    except RuntimeError as error:
        failed[candidate] = (str(error).strip() or type(error).__name__).splitlines()[0]
        return None


def _pairs_until(
    log: _Log, best: Setting, first_s: float, *, end: float, limit_s: float
) -> float:
    """Until when pairs may be timed: ``end``, or later where a first timing promises much.

    Args:
        log: What was timed.
        best: The setting to beat.
        first_s: The candidate's first seconds per image.
        end: Until when the search may go on anyway.
        limit_s: Seconds of the work with ``best``.
    """
    pairs_s = 2 * LEAST_PAIRS * log.elapsed[best]
    promised_s = limit_s * (1 - first_s / min(log.times[best]))
    if log.clock() + pairs_s <= end:
        return end
    return log.clock() + pairs_s if pairs_s <= PROMISE_SHARE * promised_s else -math.inf


def allowed_s(work_s: float) -> float:
    """Seconds that may be spent on making ``work_s`` seconds of work shorter."""
    return max(_share(work_s, each) for each in SHARES)


def _share(work_s: float, part: tuple[float, float]) -> float:
    """A share of the work, up to so many seconds."""
    share, most_s = part
    return min(share * work_s, most_s)


def _needed_gain(before: Setting, after: Setting) -> float:
    """Logarithm of the gain below which ``before`` stays."""
    is_rounder = after.precision != before.precision
    return math.log(ROUNDING_GAIN if is_rounder else LEAST_GAIN)


def _least_gain(
    log: _Log, before: Setting, after: Setting, *, until: float = math.inf
) -> float:
    """Logarithm of how much faster ``after`` is than ``before``, at least.

    Pairs are timed in turn, first one then the other, until the answer is beyond the noise:
    whatever else the machine does slows both, and a steady drift favours neither.
    """
    ratios = log.ratios.setdefault((before, after), [])
    needed = _needed_gain(before, after)
    least = -math.inf
    # Also where pairs are known already, so that a confirmation is one.
    for _ in range(MOST_PAIRS):
        order = (before, after) if len(ratios) % 2 else (after, before)
        seconds = {setting: log.time(setting) for setting in order}
        ratios.append(math.log(seconds[before] / seconds[after]))
        if ratios[-1] < -math.log(HOPELESS):
            break
        if len(ratios) >= LEAST_PAIRS:
            least, most = _interval(ratios)
            if least > needed or most < needed:
                break
        if log.clock() > until:
            break
    return least


def _interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Where the mean of the ratios lies, by Student's t."""
    spread = max(LEAST_SPREAD, float(np.std(ratios, ddof=1)))
    half = float(stdtrit(len(ratios) - 1, 1 - ERROR)) * spread / math.sqrt(len(ratios))
    mean = float(np.mean(ratios))
    return mean - half, mean + half


def list_stages(
    default: Setting, *, device: str, cores: int, fixed: Collection[str]
) -> list[list[dict[str, Any]]]:
    """What is tried, the largest gains first.

    Args:
        default: Where the search starts.
        device: A torch device; fp16 is for GPUs, threads are for CPUs.
        cores: Cores this process may use.
        fixed: Fields that are given and not to be changed.
    """
    is_cpu = device == "cpu"
    precisions = ("bf16",) if is_cpu else ("bf16", "fp16")
    threads = {1, default.threads // 2, cores} - {0, default.threads} if is_cpu else set()
    stages: dict[str, list[Any]] = {
        "precision": list(precisions),
        "channels_last": [not default.channels_last],
        "threads": sorted(threads, reverse=True),
        # Last: a compiled network is compiled anew for every other change.
        "compile": [True],
    }
    return [
        [{name: value} for value in values]
        for name, values in stages.items()
        if name not in fixed and values
    ]


def needed_workers(picture_s: float, image_s: float, *, cores: int, is_cpu: bool) -> int | None:
    """Processes that keep a network busy; None where that is to be measured.

    On a small machine the processes take the cores that the network computes on, so that no
    rule says what is best (docs/log.md).

    Args:
        picture_s: Seconds in which one core prepares a picture.
        image_s: Seconds in which the network trains on one.
        cores: Cores this process may use.
        is_cpu: Whether the network computes on these cores.
    """
    needed = picture_s / image_s
    if needed < IDLE_SHARE:
        return 0
    if is_cpu and cores <= SMALL_MACHINE_CORES:
        return None
    return max(1, min(math.ceil(SPARE_WORKERS * needed), cores - 1))


def measured_workers(
    measure: Measure,
    setting: Setting,
    *,
    ahead: Ahead,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Whether training is faster with one process that prepares batches, or with none.

    Args:
        measure: Times training together with its feed.
        setting: The arithmetic chosen; its workers are the default.
        ahead: The work to be done.
        clock: Seconds, counted from anywhere.
    """
    stages = [[{"workers": 1 - min(1, setting.workers)}]]
    return calibrate(measure, setting, stages, ahead=ahead, clock=clock).setting.workers
