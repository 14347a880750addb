"""Features and probabilities of images, view by view, from the prepared store.

The work is done by threads of this process: reading, resizing and the network itself release
Python's lock, and threads start in no time, where worker processes would first import torch
for seconds. On a CPU each thread takes whole batches, from the store to the outputs, on its
own share of the cores: threads that share one batch wait for the slowest after every layer
(docs/log.md). On a GPU they make pixels ready and one thread feeds the device.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gorae.augment import VIEWS, View, eval_transform
from gorae.data.dataset import Pixels
from gorae.data.pixels import PixelSpec
from gorae.data.sources import Task
from gorae.errors import DataError, list_problems
from gorae.models.fold import fold_batch_norms
from gorae.models.network import ImageModel
from gorae.training.evaluate import Arithmetic, compute_outputs, place
from gorae.training.losses import TargetScale, activate

Progress = Callable[[int, int], None]

# Each holds the activations of one batch: more threads than this cost memory for little speed.
MOST_THREADS = 4


DEFAULT_ARITHMETIC = Arithmetic()


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
    arithmetic: Arithmetic = DEFAULT_ARITHMETIC


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
    arithmetic = execution.arithmetic
    network = _prepare(model, pictures.spec, arithmetic)

    def pixels(hashes: Sequence[str]) -> dict[View, Tensor]:
        squares = torch.stack([_read_square(pictures, sha256) for sha256 in hashes])
        # Every view starts from the same square, so the resize is paid once.
        return {view: VIEWS[view](squares).contiguous() for view in views}

    def outputs(batches: dict[View, Tensor]) -> dict[View, Tensor]:
        with torch.inference_mode():
            return {
                view: compute_outputs(
                    partial(forward, network), batch, spec=pictures.spec, arithmetic=arithmetic
                ).cpu()
                for view, batch in batches.items()
            }

    starts = range(0, len(unique), execution.batch_size)
    chunks = [unique[start : start + execution.batch_size] for start in starts]
    is_cpu = arithmetic.device == "cpu"
    parts: dict[View, list[Tensor]] = {view: [] for view in views}
    done = 0
    for found in _in_threads(lambda c: outputs(pixels(c)) if is_cpu else pixels(c), chunks):
        for view, each in (found if is_cpu else outputs(found)).items():
            parts[view].append(each)
        done += len(chunks[len(parts[views[0]]) - 1])
        if on_progress is not None:
            on_progress(done, len(unique))
    position = {sha256: row for row, sha256 in enumerate(unique)}
    rows = np.array([position[sha256] for sha256 in pictures.hashes], dtype=np.int64)
    return {view: _joined(parts[view], unique, arithmetic)[rows] for view in views}


def _in_threads(
    work: Callable[[list[str]], dict[View, Tensor]], chunks: Sequence[list[str]]
) -> Iterator[dict[View, Tensor]]:
    """``work`` of each chunk in order, done by a few threads that share the cores."""
    cores = torch.get_num_threads()
    num_threads = max(1, min(MOST_THREADS, cores, len(chunks)))
    pool = ThreadPoolExecutor(
        num_threads,
        "inference",
        initializer=torch.set_num_threads,
        initargs=(max(1, cores // num_threads),),
    )
    upcoming = iter(chunks)
    waiting: deque[Future[dict[View, Tensor]]] = deque()
    try:
        while True:
            # One more than there are threads, so that none waits while a result is taken.
            while len(waiting) <= num_threads and (chunk := next(upcoming, None)) is not None:
                waiting.append(pool.submit(work, chunk))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        # The initialiser limits its own thread, but also what later threads start with.
        torch.set_num_threads(cores)


def _prepare(model: ImageModel, spec: PixelSpec, arithmetic: Arithmetic) -> ImageModel:
    """The network that computes what ``model`` does, in evaluation, as fast as we can."""
    place(model, arithmetic)
    return fold_batch_norms(model, input_size=spec.input_size)


def _joined(
    parts: list[Tensor], hashes: Sequence[str], arithmetic: Arithmetic
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
                if arithmetic.precision == "bf16"
                else "The weights are damaged, or the training that made them diverged."
            )
        )
    return values


def _read_square(pictures: Pictures, sha256: str) -> Tensor:
    # A copy, because the store's pages cannot be written and torch wants to be able to.
    pixels = torch.from_numpy(pictures.store.read(sha256).copy()).permute(2, 0, 1)
    return eval_transform(pixels, pictures.spec)
