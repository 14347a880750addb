"""Features and probabilities of images, view by view, from the prepared store.

Pixels are made ready by threads of this process while the network works: reading, resizing
and cropping release Python's lock, and threads start in no time and die with the process,
where worker processes would first import torch for seconds.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gorae.augment import VIEWS, View, eval_transform, normalise
from gorae.data.dataset import Pixels
from gorae.data.pixels import PixelSpec
from gorae.data.sources import Task
from gorae.errors import DataError, list_problems
from gorae.models.fold import fold_batch_norms
from gorae.models.network import ImageModel
from gorae.training.losses import TargetScale, activate

Precision = Literal["fp32", "bf16"]
Progress = Callable[[int, int], None]

# bf16 must gain at least this much before its rounding is accepted.
WORTHWHILE_GAIN = 1.1

# Batches timed per number format, after one that warms up.
TIMED_BATCHES = 2
TIMED_BATCH_SIZE = 8


@dataclass(frozen=True)
class Pictures:
    """Which images are shown to a network, and how."""

    store: Pixels
    hashes: Sequence[str]
    """SHA-256 of each image's file, N; equal ones are computed once."""
    spec: PixelSpec


@dataclass(frozen=True)
class Execution:
    """How forward passes are run; nothing here changes what is computed but rounding."""

    batch_size: int = 32
    precision: Precision = "fp32"
    device: str = "cpu"
    channels_last: bool = True
    num_workers: int = 1
    """Threads that make pixels ready, at least 1."""


def extract_features(
    model: ImageModel,
    pictures: Pictures,
    *,
    view: View = "identity",
    execution: Execution | None = None,
    on_progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The backbone's pooled features of each image.

    Args:
        model: The network; it is left in evaluation, on the device and in the layout used.
        pictures: Images and their form.
        view: The transform they are seen through.
        execution: How the passes are run.
        on_progress: Called with images done and images in all.

    Returns:
        (N, D), in the order of the hashes.

    Raises:
        DataError: Features are not finite; the images are named.
        ConfigError: A user's module has no method ``features``.
    """

    def forward(network: ImageModel, images: Tensor) -> Tensor:
        return network.features(images)

    return _run(forward, model, pictures, (view,), execution, on_progress)[view]


def predict_probabilities(
    model: ImageModel,
    pictures: Pictures,
    *,
    task: Task,
    views: Sequence[View] = ("identity",),
    target: TargetScale | None = None,
    execution: Execution | None = None,
    on_progress: Progress | None = None,
) -> dict[View, NDArray[np.float32]]:
    """What the model says of each image, for each view.

    Each image is read once for all views. Outputs become values as in training
    (``training.losses.activate``).

    Args:
        model: The network; it is left in evaluation, on the device and in the layout used.
        pictures: Images and their form.
        task: What the outputs mean.
        views: Transforms the images are seen through.
        target: Unit of a regression's numbers, as the checkpoint says it.
        execution: How the passes are run.
        on_progress: Called with images done and images in all.

    Returns:
        (N, K) by view, in the order of the hashes.

    Raises:
        DataError: Outputs are not finite; the images are named.
    """

    def forward(network: ImageModel, images: Tensor) -> Tensor:
        outputs: Tensor = network(images)
        return outputs

    outputs = _run(forward, model, pictures, views, execution, on_progress)
    return {
        view: activate(torch.from_numpy(rows), task=task, target=target)
        for view, rows in outputs.items()
    }


def _run(
    forward: Callable[[ImageModel, Tensor], Tensor],
    model: ImageModel,
    pictures: Pictures,
    views: Sequence[View],
    execution: Execution | None,
    on_progress: Progress | None,
) -> dict[View, NDArray[np.float32]]:
    execution = execution or Execution()
    unique = list(dict.fromkeys(pictures.hashes))
    parts: dict[View, list[Tensor]] = {view: [] for view in views}
    device = torch.device(execution.device)
    layout = torch.channels_last if execution.channels_last else torch.contiguous_format
    network = _prepare(model, pictures.spec, device, layout)
    done = 0
    with torch.inference_mode(), _autocast(device, execution.precision):
        for batches in _prefetch(pictures, unique, views, execution):
            for view, batch in batches.items():
                images = normalise(
                    batch.to(device, non_blocking=True), pictures.spec, memory_format=layout
                )
                parts[view].append(forward(network, images).float().cpu())
            done += len(next(iter(batches.values())))
            if on_progress is not None:
                on_progress(done, len(unique))
    position = {sha256: row for row, sha256 in enumerate(unique)}
    rows = np.array([position[sha256] for sha256 in pictures.hashes], dtype=np.int64)
    return {view: _joined(parts[view], unique, execution)[rows] for view in views}


def _prepare(
    model: ImageModel, spec: PixelSpec, device: torch.device, layout: torch.memory_format
) -> ImageModel:
    """The network that computes what ``model`` does, in evaluation, as fast as we can."""
    model.to(device=device)
    model.to(memory_format=layout)
    return fold_batch_norms(model, input_size=spec.input_size)


def _autocast(device: torch.device, precision: Precision) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def _joined(
    parts: list[Tensor], hashes: Sequence[str], execution: Execution
) -> NDArray[np.float32]:
    if not parts:
        return np.zeros((0, 0), dtype=np.float32)
    values: NDArray[np.float32] = torch.cat(parts).numpy()
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise DataError(
            f"The network gives no finite numbers for {len(bad)} of {len(hashes)} images "
            f"(SHA-256 of the files):\n{list_problems([hashes[row] for row in bad.tolist()])}\n"
            + (
                'Set train.precision = "fp32".'
                if execution.precision == "bf16"
                else "The weights are damaged, or the training that made them diverged."
            )
        )
    return values


def _prefetch(
    pictures: Pictures, hashes: Sequence[str], views: Sequence[View], execution: Execution
) -> Iterator[dict[View, Tensor]]:
    """Batches of uint8 pixels (B, 3, S, S) by view, made ready ahead of their use."""
    size = execution.batch_size
    starts = iter(range(0, len(hashes), size))
    num_threads = torch.get_num_threads()
    num_workers = max(1, execution.num_workers)
    pool = ThreadPoolExecutor(
        num_workers, "pixels", initializer=torch.set_num_threads, initargs=(1,)
    )
    waiting: deque[Future[dict[View, Tensor]]] = deque()
    try:
        while True:
            while len(waiting) <= num_workers and (start := next(starts, None)) is not None:
                chosen = hashes[start : start + size]
                waiting.append(pool.submit(_make_batch, pictures, chosen, views))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        # The initialiser limits its own thread, but also what later threads start with.
        torch.set_num_threads(num_threads)


def _make_batch(
    pictures: Pictures, hashes: Sequence[str], views: Sequence[View]
) -> dict[View, Tensor]:
    squares = torch.stack([_read_square(pictures, sha256) for sha256 in hashes])
    # Every view starts from the same square, so the resize is paid once.
    return {view: VIEWS[view](squares).contiguous() for view in views}


def _read_square(pictures: Pictures, sha256: str) -> Tensor:
    # A copy, because the store's pages cannot be written and torch wants to be able to.
    pixels = torch.from_numpy(pictures.store.read(sha256).copy()).permute(2, 0, 1)
    return eval_transform(pixels, pictures.spec)


@dataclass(frozen=True)
class PrecisionTiming:
    """The number format that won, and what was measured."""

    precision: Precision
    images_per_s: Mapping[Precision, float]


def measure_precision(
    model: ImageModel,
    spec: PixelSpec,
    *,
    batch_size: int,
    device: str = "cpu",
    channels_last: bool = True,
) -> PrecisionTiming:
    """Time a few batches in float32 and in bfloat16 and choose the faster format.

    bfloat16 is chosen only where it gains more than a tenth: on processors without
    arithmetic of its own it is slower, on small networks it may be.

    Args:
        model: The network; it is left in evaluation.
        spec: Size of its input.
        batch_size: Images per forward pass, at most; fewer are timed.
        device: Where to measure.
        channels_last: The memory layout to measure in.

    Returns:
        The format and the images per second of each, both to be recorded with the run.
    """
    size = min(batch_size, TIMED_BATCH_SIZE)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    where = torch.device(device)
    images = torch.zeros(size, 3, spec.input_size, spec.input_size, device=where)
    images = images.to(memory_format=layout)
    network = _prepare(model, spec, where, layout)
    best: dict[Precision, float] = {}
    # The formats take turns, so that a disturbance from outside meets both.
    for turn in range(1 + TIMED_BATCHES):
        for precision in PRECISIONS:
            elapsed_s = _time_forward(network, images, precision)
            if turn:
                best[precision] = min(best.get(precision, elapsed_s), elapsed_s)
    speeds = {precision: size / elapsed_s for precision, elapsed_s in best.items()}
    is_worth_it = speeds["bf16"] > WORTHWHILE_GAIN * speeds["fp32"]
    return PrecisionTiming("bf16" if is_worth_it else "fp32", speeds)


PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def _time_forward(network: ImageModel, images: Tensor, precision: Precision) -> float:
    """Seconds of one forward pass."""
    started = time.perf_counter()
    with torch.inference_mode(), _autocast(images.device, precision):
        network(images)
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - started
