"""How fast a network trains or predicts in a setting, from a few batches of noise.

What is timed is what training and prediction do: a pass forward and back, or one pass forward
in each of a few threads. The optimiser's step is not in it: it adds the same little to every
setting.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from gorae.data.pixels import PixelSpec
from gorae.training.calibrate import Measure, Setting
from gorae.training.evaluate import Arithmetic, compute_outputs, place
from gorae.training.feed import open_feed

Ready = Callable[[Setting], Callable[[Tensor], None]]
"""Makes a network ready for a setting; what comes back works through uint8 images (B, 3, S, S)
and ends when the device has."""

Forward = Callable[[Tensor], Tensor]
"""uint8 images (B, 3, S, S) to outputs (B, O)."""

Made = TypeVar("Made")


class Run(Protocol):
    """Calls a function, maybe in another thread, and gives its result."""

    def __call__(self, work: Callable[[], Made], /) -> Made:
        """What ``work`` returns."""


# A shorter timing says more about the clock than about the network.
LEAST_TIMED_S = 0.02

# A network that takes longer than this for its first images is timed on no more of them.
SLOW_FIRST_S = 0.75

TIMED_FEED_BATCHES = 3
TIMED_PICTURES = 8


@contextmanager
def ready_to_train(model: nn.Module, spec: PixelSpec, *, device: str) -> Iterator[Ready]:
    """Forward and backward passes of ``model``, whose weights and statistics stay as they are.

    Args:
        model: Any network; it is left on the device and in evaluation.
        spec: Normalisation of its input.
        device: A torch device.
    """
    compiled: list[Callable[[Tensor], Tensor]] = []
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def ready(setting: Setting) -> Callable[[Tensor], None]:
        arithmetic = as_arithmetic(setting, device)
        torch.set_num_threads(setting.threads)
        place(model, arithmetic).train()
        if setting.compile and not compiled:
            compiled.append(torch.compile(model))
        network = compiled[0] if setting.compile else model

        def train(images: Tensor) -> None:
            outputs = compute_outputs(network, images, spec=spec, arithmetic=arithmetic)
            torch.autograd.backward(outputs.square().mean())
            _synchronise(device)

        return train

    with _leaving_no_trace(device):
        try:
            yield ready
        finally:
            # Batch norms measured the noise.
            model.load_state_dict(state)
            model.zero_grad(set_to_none=True)
            model.eval()


@contextmanager
def ready_to_predict(
    build: Callable[[Setting, Run], Forward], *, device: str, num_threads: int, threads: int
) -> Iterator[Ready]:
    """Forward passes, as several threads of inference make them at once.

    Args:
        build: Makes the pass of a setting; what must be computed for that in one of the
            threads goes through the function it is given.
        device: A torch device.
        num_threads: Threads that each take a part of the images.
        threads: Threads of the arithmetic, which they share.
    """
    passes: dict[Setting, Forward] = {}

    def run(work: Callable[[], Made]) -> Made:
        return pool.submit(work).result()

    def ready(setting: Setting) -> Callable[[Tensor], None]:
        if setting not in passes:
            passes[setting] = build(setting, run)

        def predict(images: Tensor) -> None:
            for _ in pool.map(passes[setting], images.chunk(num_threads)):
                _synchronise(device)

        return predict

    each = max(1, threads // num_threads)
    with (
        _leaving_no_trace(device),
        ThreadPoolExecutor(
            num_threads, "timing", initializer=torch.set_num_threads, initargs=(each,)
        ) as pool,
    ):
        yield ready


@contextmanager
def _leaving_no_trace(device: str) -> Iterator[None]:
    """Keep the sources of chance and the number of threads of this process."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def as_arithmetic(setting: Setting, device: str) -> Arithmetic:
    """What of a setting the network needs."""
    return Arithmetic(device, setting.precision, setting.channels_last, setting.compile)


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def time_network(
    ready: Ready, spec: PixelSpec, *, batch_size: int, least: int | None = None
) -> Measure:
    """Times batches of drawn images.

    Args:
        ready: See ``ready_to_train`` and ``ready_to_predict``; must be open when timing.
        spec: Size of the images.
        batch_size: Images at a time.
        least: Images at a time where the network turns out to be slow.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, 3, spec.input_size, spec.input_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    is_first = least is not None

    def measure(setting: Setting) -> float:
        nonlocal images, is_first
        work = ready(setting)
        if is_first:
            started = time.perf_counter()
            work(images[:least])
            if time.perf_counter() - started > SLOW_FIRST_S:
                images = images[:least]
            is_first = False
        started, done = time.perf_counter(), 0
        while True:
            work(images)
            done += len(images)
            elapsed_s = time.perf_counter() - started
            if elapsed_s >= LEAST_TIMED_S:
                return elapsed_s / done

    return measure


def images_per_second(
    ready: Ready, spec: PixelSpec, *, setting: Setting, batch_size: int
) -> float:
    """Speed of one setting: the better of two timings after one that warms up."""
    measure = time_network(ready, spec, batch_size=batch_size)
    measure(setting)
    return 1 / min(measure(setting), measure(setting))


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures made by a function: (uint8 (3, S, S), index)."""

    def __init__(self, prepare: Callable[[int], Tensor]) -> None:
        self._prepare = prepare

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._prepare(index), index


def time_feed(
    ready: Ready, prepare: Callable[[int], Tensor], *, num_pictures: int, batch_size: int
) -> Measure:
    """Times the network together with the preparation of its pictures.

    Batches that worker processes made before the clock started are taken first.

    Args:
        ready: See ``ready_to_train``; must be open when timing.
        prepare: Gives a training picture, uint8 (3, S, S), by a number below ``num_pictures``.
        num_pictures: Pictures at hand.
        batch_size: Images at a time.
    """
    feeds: dict[int, Callable[[], Iterator[tuple[Tensor, Tensor]]]] = {}

    def measure(setting: Setting) -> float:
        # A loader reads two batches ahead per process, and each process holds one.
        ahead = 3 * setting.workers
        if setting.workers not in feeds:
            numbers = range(batch_size * (ahead + TIMED_FEED_BATCHES))
            keys = [
                [number % num_pictures for number in numbers[start : start + batch_size]]
                for start in range(0, len(numbers), batch_size)
            ]
            feeds[setting.workers] = open_feed(
                Pictures(prepare),
                keys,
                workers=setting.workers,
                pin_memory=False,
                on_note=_refuse_dead_workers,
            )
        work = ready(setting)
        started = time.perf_counter()
        for number, (images, _) in enumerate(feeds[setting.workers]()):
            work(images)
            if number + 1 == ahead:
                started = time.perf_counter()
        return (time.perf_counter() - started) / (TIMED_FEED_BATCHES * batch_size)

    return measure


def _refuse_dead_workers(note: str) -> None:
    """A setting whose workers die cannot be used."""
    raise RuntimeError(note)


def picture_seconds(prepare: Callable[[int], Tensor], *, num_pictures: int) -> float:
    """Seconds in which one core prepares a picture; the median of a few."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for number in range(TIMED_PICTURES):
            started = time.perf_counter()
            prepare(number % num_pictures)
            times.append(time.perf_counter() - started)
        return statistics.median(times)
    finally:
        torch.set_num_threads(threads)
