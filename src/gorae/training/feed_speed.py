"""How fast pictures are made ready: each step, each order of steps, each number of workers.

All that is compared is timed in turn, once per round, so that whatever else the machine does
slows all of it alike. The first round warms up and is not counted.
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gorae.augment.plan import AugmentPlan
from gorae.augment.policies import augmented
from gorae.data.dataset import philox
from gorae.data.pixels import PixelSpec
from gorae.training.calibrate import Measure, Setting
from gorae.training.speed import TIMED_FEED_BATCHES, Ready, time_feed

Floats = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

Timing = Callable[[int], float]
"""Seconds per picture of one fresh timing, by the number of the round."""

MOST_ROUNDS = 60

# The warm-up and the fewest timings that have a middle.
LEAST_ROUNDS = 1 + 3

# In smaller batches the passing on would be timed.
LEAST_BATCH = 4

# The course behind this comparison turned pictures by up to 8 degrees and enlarged to 1024.
TURN_DEG = 8.0
CROPPED_SHARE = 0.5


@dataclass(frozen=True)
class Speed:
    """Seconds per picture: the median of several timings, and their middle half."""

    picture_s: float
    low_s: float
    high_s: float
    num_timings: int

    @property
    def per_s(self) -> float:
        """Pictures per second."""
        return 1 / self.picture_s

    @property
    def spread(self) -> float:
        """Width of the middle half, as a share of the median."""
        return (self.high_s - self.low_s) / self.picture_s


def speed_of(times_s: Floats, *, least_s: float = 1e-9) -> Speed:
    """Timings (R,) as a speed; nothing is faster than ``least_s``."""
    low, median, high = np.maximum(np.quantile(times_s, [0.25, 0.5, 0.75]), least_s).tolist()
    return Speed(median, low, high, len(times_s))


def time_in_turn(
    timings: Mapping[Key, Timing],
    *,
    seconds: float,
    most_rounds: int = MOST_ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, Floats]:
    """Timings of all in rounds: seconds per picture (R,) by name.

    Args:
        timings: What is timed; at least once each after the warm-up, however long that takes.
        seconds: No round begins that is not likely to end within them.
        most_rounds: Rounds that are enough.
        clock: Seconds, counted from anywhere.
    """
    started, rounds = clock(), list[list[float]]()
    while len(rounds) <= most_rounds:
        begun = clock()
        rounds.append([timing(len(rounds)) for timing in timings.values()])
        now = clock()
        if len(rounds) > 1 and 2 * now - begun - started > seconds:
            break
    columns = np.array(rounds[1:], dtype=np.float64).T
    return dict(zip(timings, columns, strict=True))


def timing_of(work: Callable[[int], object], *, num_pictures: int) -> Timing:
    """Times ``work`` on ``num_pictures`` numbers, other ones in every round, on one core."""

    def timing(round_number: int) -> float:
        first, threads = round_number * num_pictures, torch.get_num_threads()
        # As in a worker process.
        torch.set_num_threads(1)
        try:
            started = time.perf_counter()
            for number in range(first, first + num_pictures):
                work(number)
            return (time.perf_counter() - started) / num_pictures
        finally:
            torch.set_num_threads(threads)

    return timing


class Part(NamedTuple):
    """One step of a plan, as a plan in which it always happens."""

    name: str
    share: float
    """Share of the pictures to which it happens in the whole plan."""
    plan: AugmentPlan


_FRAMING = ("face_crop", "center_square", "scale", "ratio")
# Fields of a plan in the order in which ``augmented`` obeys them.
_BEFORE = (
    "transpose",
    "vflip",
    "hflip",
    "shift",
    "gain",
    "saturation",
    "blur_noise",
    "distortion",
    "clahe",
    "hsv",
    "affine",
)
_AFTER = ("cutout", "erasing")


def plan_parts(plan: AugmentPlan) -> tuple[Part, ...]:
    """The steps of ``plan`` after its crop and resize, in their order."""
    parts = [_part(plan, name) for name in _BEFORE]
    drawn = AugmentPlan(rand_ops=plan.rand_ops, rand_magnitude=plan.rand_magnitude)
    parts.append(Part("rand_ops", float(plan.rand_ops > 0), drawn))
    for transform in plan.transforms:
        p = transform.p
        always = transform if p is None else transform._replace(p=1.0)
        share = 1.0 if p is None else p
        parts.append(Part(transform.name, share, AugmentPlan(transforms=(always,))))
    parts += [_part(plan, name) for name in _AFTER]
    return tuple(part for part in parts if part.share > 0)


def _part(plan: AugmentPlan, name: str) -> Part:
    value = getattr(plan, name)
    share, always = 0.0, value
    if isinstance(value, float):
        share, always = value, 1.0
    elif value is not None:
        share, always = value.p, value._replace(p=1.0)
    fields: dict[str, Any] = {name: always, "cutout_side": plan.cutout_side}
    return Part(name, share, AugmentPlan(**fields))


def framing_of(plan: AugmentPlan) -> AugmentPlan:
    """Only the crop and resize of ``plan``."""
    return AugmentPlan(**{name: getattr(plan, name) for name in _FRAMING})


def plan_timings(
    images: Sequence[Tensor], *, spec: PixelSpec, plan: AugmentPlan, num_pictures: int
) -> dict[str, Timing]:
    """Timings of "frame", of "nothing" and of each part of ``plan`` by its place ("0", "1" ..).

    The parts work on pictures that have the network's size already and take, beside their own
    work, what "nothing" takes.

    Args:
        images: Stored pictures, uint8 (3, H, W).
        spec: Size, crop and interpolation of the network.
        plan: What may happen to a picture.
        num_pictures: Pictures per timing.
    """
    framing = framing_of(plan)
    squares = [_shown(image, spec, framing, number) for number, image in enumerate(images)]
    as_is = replace(spec, crop_pct=1.0)

    def timing(sources: Sequence[Tensor], spec: PixelSpec, plan: AugmentPlan) -> Timing:
        def work(number: int) -> Tensor:
            return _shown(sources[number % len(sources)], spec, plan, number)

        return timing_of(work, num_pictures=num_pictures)

    parts = {
        str(place): timing(squares, as_is, part.plan)
        for place, part in enumerate(plan_parts(plan))
    }
    return {
        "frame": timing(images, spec, framing),
        "nothing": timing(squares, as_is, AugmentPlan()),
        **parts,
    }


def _shown(image: Tensor, spec: PixelSpec, plan: AugmentPlan, number: int) -> Tensor:
    return augmented(image, spec=spec, plan=plan, rng=philox(0, 0, number))


def part_speeds(times_s: Mapping[str, Floats], plan: AugmentPlan) -> list[tuple[Part, Speed]]:
    """What each part adds to a picture on average, of ``plan_timings`` that were taken."""
    nothing = times_s["nothing"]
    return [
        (part, speed_of((times_s[str(place)] - nothing) * part.share))
        for place, part in enumerate(plan_parts(plan))
    ]


def order_timings(
    pictures: Sequence[NDArray[np.uint8]], *, side: int, num_pictures: int
) -> dict[str, Timing]:
    """Timings of a turn and of a crop, each before and after the resize.

    A turn by up to 8 degrees, or a crop of half the area, and a resize whose short side (of
    what is left) is ``side``: both orders show the same part at the same scale.

    Args:
        pictures: RGB, (H, W, 3), as decoded from their files.
        side: Short side of the result in pixels.
        num_pictures: Pictures per timing.

    Returns:
        By name: ``turn_first``, ``turn_last``, ``crop_first`` and ``crop_last``.
    """
    images = [Image.fromarray(pixels) for pixels in pictures]

    def chosen(number: int) -> tuple[Image.Image, tuple[float, float, float]]:
        draws = philox(0, 0, number).random(3).tolist()
        return images[number % len(images)], (draws[0], draws[1], draws[2])

    def turn_first(number: int) -> Image.Image:
        image, draws = chosen(number)
        return _resized(_turned(image, draws[0]), side)

    def turn_last(number: int) -> Image.Image:
        image, draws = chosen(number)
        return _turned(_resized(image, side), draws[0])

    def crop_first(number: int) -> Image.Image:
        image, draws = chosen(number)
        return _resized(_cropped(image, draws[1:]), side)

    def crop_last(number: int) -> Image.Image:
        image, draws = chosen(number)
        return _cropped(_resized(image, round(side / CROPPED_SHARE**0.5)), draws[1:])

    works = (turn_first, turn_last, crop_first, crop_last)
    return {work.__name__: timing_of(work, num_pictures=num_pictures) for work in works}


def _turned(image: Image.Image, draw: float) -> Image.Image:
    return image.rotate((2 * draw - 1) * TURN_DEG, Image.Resampling.BILINEAR)


def _resized(image: Image.Image, side: int) -> Image.Image:
    scale = side / min(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BILINEAR)


def _cropped(image: Image.Image, draws: tuple[float, ...]) -> Image.Image:
    width = max(1, round(image.width * CROPPED_SHARE**0.5))
    height = max(1, round(image.height * CROPPED_SHARE**0.5))
    left = int(draws[0] * (image.width - width + 1))
    top = int(draws[1] * (image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class Loads:
    """What the timing of feeds with workers can afford."""

    workers: tuple[int, ...]
    """Numbers of workers that are timed."""
    batch_size: int


def affordable(
    workers: Sequence[int],
    *,
    batch_size: int,
    feed_s: float,
    network_s: float,
    seconds: float,
) -> Loads:
    """Which numbers of workers can be timed within ``seconds``, and in which batches.

    Smaller batches are taken before the largest numbers of workers are given up.

    Args:
        workers: Numbers of workers wanted, in rising order.
        batch_size: Pictures per batch of the training.
        feed_s: Seconds in which one core prepares a picture.
        network_s: Seconds in which the network trains on one.
        seconds: Time there is.
    """
    least = min(LEAST_BATCH, batch_size)
    kept = tuple(workers)
    while True:
        # Each feed is timed alone and with the network, behind the batches read ahead.
        batches = sum(TIMED_FEED_BATCHES + 3 * number for number in kept)
        picture_s = LEAST_ROUNDS * batches * (2 * feed_s + network_s)
        fitting = int(seconds / picture_s)
        if fitting >= least:
            return Loads(kept, min(batch_size, fitting))
        if len(kept) == 1:
            return Loads(kept, min(batch_size, max(2, fitting)))
        kept = kept[:-1]


def worker_speeds(
    ready: Ready,
    prepare: Callable[[int], Tensor],
    *,
    num_pictures: int,
    loads: Loads,
    setting: Setting,
    seconds: float,
) -> tuple[dict[int, Speed], dict[int, Speed]]:
    """Speeds of the feed alone, and of the network with it, by number of workers.

    Args:
        ready: See ``ready_to_train``; must be open.
        prepare: Gives a training picture, uint8 (3, S, S), by a number below ``num_pictures``.
        num_pictures: Pictures at hand.
        loads: Numbers of workers and pictures per batch.
        setting: Arithmetic of the network.
        seconds: See ``time_in_turn``.
    """

    def idle(setting: Setting) -> Callable[[Tensor], None]:
        torch.set_num_threads(setting.threads)
        return lambda images: None

    def timings(how: Ready, name: str) -> dict[tuple[str, int], Timing]:
        measure = time_feed(
            how, prepare, num_pictures=num_pictures, batch_size=loads.batch_size
        )
        return {
            (name, workers): partial(_measured, measure, replace(setting, workers=workers))
            for workers in loads.workers
        }

    threads = torch.get_num_threads()
    try:
        times_s = time_in_turn(
            {**timings(idle, "alone"), **timings(ready, "fed")}, seconds=seconds
        )
    finally:
        torch.set_num_threads(threads)
    alone, fed = (
        {workers: speed_of(times_s[name, workers]) for workers in loads.workers}
        for name in ("alone", "fed")
    )
    return alone, fed


def _measured(measure: Measure, setting: Setting, round_number: int) -> float:
    return measure(setting)
