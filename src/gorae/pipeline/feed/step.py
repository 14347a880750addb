"""Step ``bench_feed``: how fast pictures are made ready, against what the network can take."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gorae.augment.plan import SETTABLE, resolve_augment
from gorae.config import Recipe
from gorae.errors import ConfigError
from gorae.events import Event, OnEvent, ignore_events
from gorae.machine import num_cores
from gorae.models import LoadedModel
from gorae.pipeline.calibration import (
    CALIBRATION_FILE,
    Work,
    calibration_key,
    given_choices,
    measure_choices,
    read_calibration,
    work_ahead,
)
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.feed.advice import Advice, Setup, WorkerSpeed, advise
from gorae.pipeline.feed.timings import (
    NUM_FILES,
    NUM_STORED,
    Bench,
    OrderSpeed,
    StepSpeed,
    fed_speeds,
    order_speeds,
    predicted_per_s,
    prediction_speed,
    spread_over,
    step_speeds,
    training_speed,
)
from gorae.pipeline.learning import first_change
from gorae.pipeline.network import devices, load_network
from gorae.pipeline.pixels import prepare, stored_short_side
from gorae.stores.prepared import Prepared
from gorae.training.calibrate import SPARE_WORKERS, Setting
from gorae.training.feed import choose_workers
from gorae.training.feed_speed import Speed

DEFAULT_SECONDS = 30.0
USUAL_WORKERS = (0, 1, 2, 3)

# Parts of the time, in this order: what a slow network takes too long for is lost to the last.
SHARES = {"steps": 0.25, "order": 0.1, "network": 0.3, "workers": 0.35}

# Fewer timings have no middle; a wider middle half is not the network's own.
LEAST_TIMINGS, LARGE_SPREAD = 3, 0.3

# More than any search for the fastest arithmetic would stop at; the time bounds it.
PLENTY = 1_000_000


@dataclass(frozen=True)
class FeedResult:
    """Pictures per second of the feed and of the network."""

    recipe: str
    batch_size: int
    """Pictures per batch of the training."""
    steps: tuple[StepSpeed, ...]
    orders: tuple[OrderSpeed, ...]
    workers: tuple[WorkerSpeed, ...]
    """Empty where the recipe does not train a network on pictures."""
    training: Speed | None
    """The network alone, forward and backward."""
    prediction: Speed
    """The network alone, forward."""
    predicted_per_s: float
    """Pictures per second of prediction, reading and resizing included."""
    arithmetic: str
    """Device and numbers in which the network computed."""
    advice: Advice | None
    notes: tuple[str, ...]
    elapsed_s: float

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "recipe": self.recipe,
            "batch_size": self.batch_size,
            "arithmetic": self.arithmetic,
            "steps": [
                {"name": each.name, "part": each.part, **_plain(each.speed)}
                for each in self.steps
            ],
            "orders": [
                {
                    "what": each.what,
                    "side": each.side,
                    "before_resize": _plain(each.first),
                    "after_resize": _plain(each.last),
                    "ratio": each.ratio,
                }
                for each in self.orders
            ],
            "workers": [
                {
                    "workers": each.workers,
                    "feed": _plain(each.feed),
                    "together": _plain(each.together),
                }
                for each in self.workers
            ],
            "training": _plain(self.training) if self.training else None,
            "prediction": _plain(self.prediction),
            "predicted_per_s": self.predicted_per_s,
            "advice": asdict(self.advice) if self.advice else None,
            "notes": list(self.notes),
            "elapsed_s": self.elapsed_s,
        }


def _plain(speed: Speed) -> dict[str, Any]:
    return {"images_per_s": speed.per_s, **asdict(speed)}


class _Clock:
    """The time there is, handed out in shares; what one part saves the next ones have."""

    def __init__(self, seconds: float) -> None:
        self.num_begun = 0
        self._seconds = seconds
        self._started = time.perf_counter()

    def next_share(self) -> float:
        """Seconds for the next part."""
        self.num_begun += 1
        until = self._seconds * sum(list(SHARES.values())[: self.num_begun])
        return max(0.0, until - self.elapsed_s())

    def elapsed_s(self) -> float:
        return time.perf_counter() - self._started


def bench_feed(
    folder: Path,
    *,
    recipe: Recipe,
    seconds: float = DEFAULT_SECONDS,
    workers: Sequence[int] | None = None,
    on_event: OnEvent = ignore_events,
) -> FeedResult:
    """Measure how fast pictures are fed, step by step, and how fast the network takes them.

    Args:
        folder: The competition; its pictures are prepared where they are not yet.
        recipe: The settings: network, augmentation, sizes and batch size.
        seconds: Time for the measurements; loading and preparing come before. Where a single
            timing of everything takes longer, that is how long it takes.
        workers: Numbers of worker processes to compare; absent: 0 to 3, and what the measured
            speeds ask for, as far as the machine has cores.
        on_event: Hears progress.

    Raises:
        ConfigError: More workers than cores, or a setting cannot be used.
        DataError: No picture can be read.
        ResourceError: A batch of training does not fit the memory.
    """
    _require_possible(workers)
    context = open_context(folder, is_prepared=False)
    on_event(Event("stage", "network", f"loading {recipe.model.name}"))
    loaded = load_network(context, recipe)
    # Refuses transforms that cannot be used before anything is measured.
    first_change(recipe, loaded.spec)
    prepared = prepare(context, recipe, loaded.spec, on_event=on_event)
    clock = _Clock(seconds)
    on_event(Event("stage", "bench", f"measuring for {seconds:g} s"))

    def begin(text: str) -> float:
        on_event(Event("progress", "bench", text, clock.num_begun, len(SHARES)))
        return clock.next_share()

    bench = _bench(context, recipe, loaded, prepared)
    steps, evaluated = step_speeds(bench, seconds=begin("each step"))
    orders = order_speeds(bench, seconds=begin("the order of steps"))
    left_s, begun_s = begin("the network"), clock.elapsed_s()
    setting, origin = _arithmetic(context, bench, seconds=left_s)
    bench = replace(bench, setting=setting)
    left_s = max(0.0, left_s + begun_s - clock.elapsed_s()) / (1 + bench.is_trained)
    training = training_speed(bench, seconds=left_s) if bench.is_trained else None
    prediction = prediction_speed(bench, seconds=left_s)
    left_s = begin("worker processes")
    measured, advice, notes = list[WorkerSpeed](), None, list[str]()
    if training is not None:
        picture = next(step.speed for step in steps if step.part == "sum")
        wanted, notes = _wanted(workers, bench, picture, training)
        measured = fed_speeds(bench, wanted, picture=picture, network=training, seconds=left_s)
        if len(measured) < len(wanted):
            left_out = ", ".join(map(str, wanted[len(measured) :]))
            notes.append(f"No time for {left_out} workers: give --seconds a larger number.")
        listed = [(each.name, each.speed) for each in steps if each.part == "picture"]
        setup = _setup(bench)
        advice = advise(measured, network=training, steps=listed, setup=setup)
    on_event(Event("progress", "bench", "", len(SHARES), len(SHARES)))
    return FeedResult(
        recipe=recipe.name,
        batch_size=bench.batch_size,
        steps=tuple(steps),
        orders=tuple(orders),
        workers=tuple(measured),
        training=training,
        prediction=prediction,
        predicted_per_s=predicted_per_s(bench, prediction, evaluated),
        arithmetic=f"{bench.setting.describe()} on {bench.device}, {origin}",
        advice=advice,
        notes=(*notes, *_doubts(training or prediction, measured)),
        elapsed_s=clock.elapsed_s(),
    )


def _require_possible(workers: Sequence[int] | None) -> None:
    cores = num_cores()
    too_many = [number for number in workers or () if number > cores]
    if too_many:
        raise ConfigError(
            f"--workers {','.join(map(str, too_many))}: training starts no more worker "
            f"processes than there are cores, {cores} here. Leave them out."
        )


def _bench(context: Context, recipe: Recipe, loaded: LoadedModel, prepared: Prepared) -> Bench:
    augment = recipe.augment
    decoded = spread_over(prepared, NUM_FILES)
    plan = resolve_augment("none", {})
    if recipe.model.use == "finetune":
        plan = resolve_augment(augment.policy, augment.model_dump(include=set(SETTABLE)))
    return Bench(
        folder=context.workspace.folder,
        recipe=recipe,
        loaded=loaded,
        plan=plan,
        setting=Setting(threads=torch.get_num_threads()),
        device=devices(recipe.train.devices)[0],
        pixels=prepared.pixels,
        short_side=stored_short_side(recipe, loaded.spec),
        stored=spread_over(prepared, NUM_STORED)["key"].tolist(),
        files=list(zip(decoded["path"], decoded["frame"], strict=True)),
    )


def _arithmetic(context: Context, bench: Bench, *, seconds: float) -> tuple[Setting, str]:
    """How the network computes, and who says so: an earlier training, else a short search.

    The outcome of the search is not kept: a training looks longer.
    """
    recipe, loaded, device = bench.recipe, bench.loaded, bench.device
    given = given_choices(recipe)
    work = work_ahead(
        recipe,
        num_train=len(context.tables.train),
        num_test=len(context.tables.test),
        num_folds=recipe.split.num_folds * recipe.split.repeats,
    )
    key = calibration_key(recipe, loaded, device=device, given=given)
    chosen = read_calibration(context.workspace.home / CALIBRATION_FILE, key, work=work)
    if chosen is None:
        amounts = (PLENTY, 0) if bench.is_trained else (0, PLENTY)
        chosen = measure_choices(
            recipe,
            loaded,
            work=Work(*amounts, left_s=seconds),
            device=device,
            given=given,
            samples=None,
        )
    # Compiling takes longer than a benchmark; the speed without it is a lower bound.
    origin = chosen["origin"] + (", without compiling" if chosen["compile"] else "")
    return Setting(chosen["threads"], chosen["precision"], chosen["channels_last"]), origin


def _wanted(
    workers: Sequence[int] | None, bench: Bench, picture: Speed, network: Speed
) -> tuple[list[int], list[str]]:
    """Numbers of workers to compare, rising, and what is to be said of them."""
    cores = num_cores()
    needed = math.ceil(SPARE_WORKERS * picture.picture_s / network.picture_s)
    usual = {*USUAL_WORKERS, min(needed, cores - 1)}
    wanted = {number for number in usual if number <= cores} if workers is None else {*workers}
    side = bench.spec.input_size
    room, note = choose_workers(max(wanted), batch_bytes=3 * bench.batch_size * side**2)
    fitting = sorted(number for number in wanted if number <= room) or [0]
    return fitting, [note] if note else []


def _doubts(network: Speed, measured: Sequence[WorkerSpeed]) -> list[str]:
    """What is to be said of speeds that rest on few timings, or on timings that differ."""
    speeds = [network, *(each.together for each in measured)]
    fewest = min(speed.num_timings for speed in speeds)
    if fewest < LEAST_TIMINGS:
        return [
            f"Some speeds rest on {fewest} timing{'s' * (fewest != 1)}: a larger --seconds "
            "makes them surer."
        ]
    widest = max(speed.spread for speed in speeds)
    if widest > LARGE_SPREAD:
        return [
            f"Timings of one thing differ by {widest:.0%}: something else is at work on this "
            "machine. Measure again when it is quiet."
        ]
    return []


def _setup(bench: Bench) -> Setup:
    return Setup(
        cores=num_cores(),
        is_cpu=bench.device == "cpu",
        workers=bench.recipe.train.workers,
        input_size=bench.spec.input_size,
        stored_short_side=bench.recipe.pixels.stored_short_side,
    )
