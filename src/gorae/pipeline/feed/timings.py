"""What `gorae bench feed` measures: the network, each step, orders of steps, workers."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

from gorae.augment.geometry import eval_transform, normalise
from gorae.augment.plan import AugmentPlan
from gorae.config import Recipe
from gorae.data.dataset import ImageDataset, TrainDataset
from gorae.data.decode import (
    DecodePolicy,
    Undecodable,
    decode,
    read_image_bytes,
    resize_short_side,
)
from gorae.data.pixels import PixelSpec, read_arguments
from gorae.data.store import PixelStore
from gorae.errors import DataError, ResourceError
from gorae.inference import MOST_THREADS, Execution
from gorae.inference.network import build_forward
from gorae.models import LoadedModel
from gorae.pipeline.calibration import SLOW_BATCH_SIZE
from gorae.pipeline.feed.advice import WorkerSpeed
from gorae.pipeline.learning import first_change
from gorae.pipeline.network import PREDICT_BATCH_SIZE
from gorae.stores.prepared import Prepared
from gorae.training.calibrate import Setting
from gorae.training.feed_speed import (
    Speed,
    Timing,
    affordable,
    order_timings,
    part_speeds,
    plan_timings,
    speed_of,
    time_in_turn,
    timing_of,
    worker_speeds,
)
from gorae.training.speed import (
    Forward,
    Ready,
    Run,
    as_arithmetic,
    ready_to_predict,
    ready_to_train,
    time_network,
)
from gorae.training.step import is_out_of_memory

# Pictures that are read again and again, and pictures per timing of a step.
NUM_STORED, NUM_FILES, TIMED_PICTURES = 256, 16, 4

# Decoded pictures held at once for the comparison of orders: 150 MB.
MOST_HELD_PIXELS = 50_000_000

# What pictures were enlarged to in the course that the comparison of orders comes from.
ENLARGED_SIDE = 1024

NAMES = {
    "transpose": "transpose",
    "vflip": "upside-down flip",
    "hflip": "left-right flip",
    "shift": "brightness",
    "gain": "all values times a factor",
    "saturation": "saturation",
    "blur_noise": "blur or noise",
    "distortion": "lens, grid or wave distortion",
    "clahe": "local contrast",
    "hsv": "hue, saturation, value",
    "affine": "turn, zoom and shift",
    "rand_ops": "RandAugment",
    "cutout": "black square",
    "erasing": "random erasing",
}


@dataclass(frozen=True)
class StepSpeed:
    """One thing that is done to a picture."""

    name: str
    part: str
    """When: ``once`` per file, ``picture`` by picture in every epoch, ``batch`` by batch, or
    ``sum``: all of ``picture``."""
    speed: Speed


@dataclass(frozen=True)
class OrderSpeed:
    """The same two steps in both orders."""

    what: str
    """``turn`` or ``crop``."""
    side: int
    """Short side of the result in pixels."""
    first: Speed
    """The turn or the crop before the resize."""
    last: Speed
    """After it."""
    ratio: float
    """Time of ``last`` divided by that of ``first``: the median of timings side by side."""


@dataclass(frozen=True)
class Bench:
    """What is measured, and on which pictures."""

    folder: Path
    """The competition."""
    recipe: Recipe
    loaded: LoadedModel
    plan: AugmentPlan
    setting: Setting
    device: str
    pixels: PixelStore
    short_side: int
    """Of the pictures in the store, in pixels."""
    stored: Sequence[str]
    """Keys of the stored pixels that are read."""
    files: Sequence[tuple[str, str]]
    """Paths of files that are decoded, and which frame of each (``data.pixels``)."""

    @property
    def is_trained(self) -> bool:
        """Whether the recipe trains a network on pictures."""
        return self.recipe.model.use == "finetune"

    @property
    def spec(self) -> PixelSpec:
        """What training shows the network; prediction, where nothing is trained."""
        size = self.recipe.pixels.train_size if self.is_trained else None
        return replace(self.loaded.spec, input_size=size or self.loaded.spec.input_size)

    @property
    def predict_batch_size(self) -> int:
        """Pictures per batch of the prediction."""
        return self.recipe.predict.batch_size or PREDICT_BATCH_SIZE[self.device[:4]]

    @property
    def batch_size(self) -> int:
        """Pictures per batch of the training; of the prediction, where nothing is trained."""
        return self.recipe.train.batch_size if self.is_trained else self.predict_batch_size

    @property
    def num_threads(self) -> int:
        """Threads that predict."""
        return min(MOST_THREADS, self.setting.threads) if self.device == "cpu" else 1


def spread_over(prepared: Prepared, most: int) -> pd.DataFrame:
    """At most ``most`` readable pictures, evenly over the scan: its columns, and ``key``.

    Raises:
        DataError: There is none.
    """
    good = prepared.scan.assign(key=prepared.keys)
    good = good[good["verdict"] != "quarantined"].drop_duplicates("key")
    if good.empty:
        raise DataError("No picture can be read; .gorae/scan.parquet says why.")
    places = np.linspace(0, len(good) - 1, min(most, len(good))).round().astype(np.int64)
    return good.iloc[places]


def training_speed(bench: Bench, *, seconds: float) -> Speed:
    """The network alone, forward and backward, in batches of the recipe's size.

    Raises:
        ResourceError: Such a batch does not fit the memory.
    """
    with ready_to_train(bench.loaded.model, bench.spec, device=bench.device) as ready:
        return _network_speed(ready, bench, bench.batch_size, seconds)


def prediction_speed(bench: Bench, *, seconds: float) -> Speed:
    """The network alone, forward, as several threads predict.

    Raises:
        ResourceError: A batch does not fit the memory.
    """
    with _ready_to_predict(bench) as ready:
        size = bench.num_threads * bench.predict_batch_size
        return _network_speed(ready, bench, size, seconds)


def _ready_to_predict(bench: Bench) -> AbstractContextManager[Ready]:
    def build(setting: Setting, run: Run) -> Forward:
        execution = Execution(
            batch_size=bench.predict_batch_size,
            arithmetic=as_arithmetic(setting, bench.device),
        )
        # The network itself may be in training.
        network = copy.deepcopy(bench.loaded.model)
        return build_forward(network, bench.loaded.spec, execution=execution, run=run)

    return ready_to_predict(
        build,
        device=bench.device,
        num_threads=bench.num_threads,
        threads=bench.setting.threads,
    )


def _network_speed(ready: Ready, bench: Bench, batch_size: int, seconds: float) -> Speed:
    measure = time_network(
        ready, bench.spec, batch_size=batch_size, least=min(SLOW_BATCH_SIZE, batch_size)
    )
    try:
        times_s = time_in_turn({"": lambda _: measure(bench.setting)}, seconds=seconds)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"A batch of {batch_size} pictures does not fit the memory of {bench.device}. Set "
            "train.batch_size (or predict.batch_size) to a smaller number."
        ) from error
    return speed_of(times_s[""])


def step_speeds(bench: Bench, *, seconds: float) -> tuple[list[StepSpeed], Speed]:
    """What is done to a picture, in its order, and the speed of a picture for prediction.

    Raises:
        DataError: A file cannot be read any more.
    """
    images = [_stored(bench, number) for number in range(min(64, len(bench.stored)))]
    train, evaluate = _train_picture(bench), _evaluated_picture(bench)
    squares = [evaluate(number) for number in range(min(bench.batch_size, 64))]
    batch = default_collate(squares)
    per_batch = {
        "collate": timing_of(lambda _: default_collate(squares), num_pictures=1),
        "normalise": timing_of(lambda _: normalise(batch, bench.loaded.spec), num_pictures=1),
    }
    per_picture: dict[str, Callable[[int], object]] = {
        "decode": partial(_decoded, bench),
        "shrink": _shrinking(bench),
        "read": partial(_stored, bench),
        "whole": train if bench.is_trained else evaluate,
        "evaluated": evaluate,
    }
    timings: dict[str, Timing] = {
        name: timing_of(work, num_pictures=TIMED_PICTURES) for name, work in per_picture.items()
    }
    plan, spec = bench.plan, bench.spec
    parts = plan_timings(images, spec=spec, plan=plan, num_pictures=TIMED_PICTURES)
    times_s = time_in_turn({**timings, **per_batch, **parts}, seconds=seconds)
    for name in per_batch:
        times_s[name] = times_s[name] / len(squares)
    speeds = {name: speed_of(values) for name, values in times_s.items()}
    resized = "cut and resize" if plan.scale or plan.center_square else "resize and cut"
    steps = [
        StepSpeed("decode the file", "once", speeds["decode"]),
        StepSpeed(f"shrink to {bench.short_side} px", "once", speeds["shrink"]),
        StepSpeed("read from the store", "picture", speeds["read"]),
        StepSpeed(f"{resized} to {spec.input_size} px", "picture", speeds["frame"]),
        *(
            StepSpeed(_named(part.name, part.share), "picture", speed)
            for part, speed in part_speeds(times_s, plan)
        ),
        StepSpeed(f"join {bench.batch_size} to a batch", "picture", speeds["collate"]),
        StepSpeed("one picture, measured as a whole", "sum", speeds["whole"]),
        StepSpeed("to numbers, with the network", "batch", speeds["normalise"]),
    ]
    return steps, speeds["evaluated"]


def _named(name: str, share: float) -> str:
    shown = NAMES.get(name, name)
    return shown if share == 1 else f"{shown} ({share:.0%})"


def _stored(bench: Bench, number: int) -> Tensor:
    pixels = bench.pixels.read(bench.stored[number % len(bench.stored)]).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _train_picture(bench: Bench) -> Callable[[int], Tensor]:
    change = first_change(bench.recipe, bench.loaded.spec)
    dataset = TrainDataset(bench.pixels, bench.stored, change, seed=bench.recipe.seed)
    return partial(_item, dataset, len(bench.stored))


def _item(dataset: TrainDataset, num_images: int, number: int) -> Tensor:
    # Drawn anew each time a picture comes, as in a training.
    return dataset[number // num_images, number % num_images][0]


def _evaluated_picture(bench: Bench) -> Callable[[int], Tensor]:
    as_evaluated = partial(eval_transform, spec=bench.loaded.spec)
    dataset = ImageDataset(bench.pixels, bench.stored, as_evaluated)
    return lambda number: dataset[number % len(dataset)][0]


def _decoded(bench: Bench, number: int) -> NDArray[np.uint8]:
    path, frame = bench.files[number % len(bench.files)]
    policy = DecodePolicy()
    try:
        data = read_image_bytes(path, root=bench.folder, policy=policy)
        return decode(data, policy, **read_arguments(frame)).pixels
    except Undecodable as error:
        raise DataError(
            f"{path} was readable when it was scanned and is not any more: {error.detail}. Put "
            "it back, or run `gorae preprocess`."
        ) from error


def _shrinking(bench: Bench) -> Callable[[int], NDArray[np.uint8]]:
    held = _held(bench)
    return lambda number: resize_short_side(
        held[number % len(held)],
        short_side=bench.short_side,
        interpolation=bench.loaded.spec.interpolation,
    )


def _held(bench: Bench) -> list[NDArray[np.uint8]]:
    """Decoded pictures, as many as may be held; at least one."""
    held, num_pixels = [_decoded(bench, 0)], 0
    for number in range(1, len(bench.files)):
        num_pixels += held[-1].shape[0] * held[-1].shape[1]
        if num_pixels > MOST_HELD_PIXELS:
            break
        held.append(_decoded(bench, number))
    return held


def order_speeds(bench: Bench, *, seconds: float) -> list[OrderSpeed]:
    """A turn and a crop before and after the resize, to the input's size and enlarged."""
    held = _held(bench)
    sides = dict.fromkeys((bench.spec.input_size, ENLARGED_SIDE))
    timings = {
        (side, name): timing
        for side in sides
        for name, timing in order_timings(held, side=side, num_pictures=2).items()
    }
    times_s = time_in_turn(timings, seconds=seconds)
    found = []
    for side in sides:
        for what in ("turn", "crop"):
            first, last = times_s[side, f"{what}_first"], times_s[side, f"{what}_last"]
            ratio = float(np.median(last / first))
            found.append(OrderSpeed(what, side, speed_of(first), speed_of(last), ratio))
    return found


def fed_speeds(
    bench: Bench, wanted: Sequence[int], *, picture: Speed, network: Speed, seconds: float
) -> list[WorkerSpeed]:
    """Feed alone and training with it, by number of workers, as far as there is time."""
    loads = affordable(
        wanted,
        batch_size=bench.batch_size,
        feed_s=picture.picture_s,
        network_s=network.picture_s,
        seconds=seconds,
    )
    with ready_to_train(bench.loaded.model, bench.spec, device=bench.device) as ready:
        alone, fed = worker_speeds(
            ready,
            _train_picture(bench),
            # As good as without end: no picture comes twice in the same form.
            num_pictures=len(bench.stored) << 16,
            loads=loads,
            setting=bench.setting,
            seconds=seconds,
        )
    return [WorkerSpeed(number, alone[number], fed[number]) for number in loads.workers]


def predicted_per_s(bench: Bench, prediction: Speed, evaluated: Speed) -> float:
    """Pictures per second of prediction with the reading and resizing of its threads."""
    reading_s = evaluated.picture_s / min(MOST_THREADS, bench.setting.threads)
    if bench.device == "cpu":
        # The same threads do both, one after the other.
        return 1 / (reading_s + prediction.picture_s)
    return 1 / max(reading_s, prediction.picture_s)
