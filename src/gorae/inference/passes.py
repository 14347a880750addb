"""Batches of pictures through a network, by threads of this process.

Reading, resizing and the network itself release Python's lock, and threads start in no time,
where worker processes would first import torch for seconds. On a CPU each thread takes whole
batches, from the store to the outputs, on its own share of the cores: threads that share one
batch wait for the slowest after every layer (docs/log.md). On a GPU they make pixels ready
and one thread feeds the device.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gorae.inference.execution import MOST_THREADS
from gorae.inference.network import Forward
from gorae.inference.pictures import Distinct, read_metadata, read_squares, view_batch

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Threads:
    """Threads that share the cores."""

    pool: ThreadPoolExecutor
    number: int

    def run(self, work: Callable[[], Made]) -> Made:
        """The result of ``work``, done by one of them."""
        return self.pool.submit(work).result()

    def map(self, work: Callable[[Given], Made], given: Sequence[Given]) -> Iterator[Made]:
        """``work`` of each in order; few are begun before they are asked for."""
        upcoming = iter(given)
        waiting: deque[Future[Made]] = deque()
        try:
            while True:
                # One more than there are threads, so that none waits while a result is taken.
                while len(waiting) <= self.number:
                    try:
                        waiting.append(self.pool.submit(work, next(upcoming)))
                    except StopIteration:
                        break
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def open_threads(num_batches: int) -> Iterator[Threads]:
    """A few threads, each with its share of the cores; not more than there are batches."""
    cores = torch.get_num_threads()
    number = max(1, min(MOST_THREADS, cores, num_batches))
    pool = ThreadPoolExecutor(
        number,
        "inference",
        initializer=torch.set_num_threads,
        initargs=(max(1, cores // number),),
    )
    try:
        yield Threads(pool, number)
    finally:
        pool.shutdown(cancel_futures=True)
        # The initialiser limits its own thread, but also what later threads start with.
        torch.set_num_threads(cores)


class Batches:
    """Some of the different pictures in batches, whose pixels may be kept for another pass."""

    def __init__(
        self, distinct: Distinct, chosen: NDArray[np.int64], *, batch_size: int, keep: bool
    ) -> None:
        """Take pictures by their number in ``Pictures``; nothing is read yet."""
        self._distinct = distinct
        starts = range(0, len(chosen), batch_size)
        self.images = [chosen[start : start + batch_size] for start in starts]
        self._kept: dict[int, Tensor] | None = {} if keep else None

    def squares(self, number: int) -> Tensor:
        """The pixels of a batch, see ``read_squares``; several threads may ask for several."""
        if self._kept is None:
            return read_squares(self._distinct, self.images[number])
        if number not in self._kept:
            self._kept[number] = read_squares(self._distinct, self.images[number])
        return self._kept[number]

    def forget(self) -> None:
        """Free the pixels that were kept."""
        if self._kept is not None:
            self._kept.clear()


def run_batches(
    forward: Forward,
    distinct: Distinct,
    batches: Batches,
    *,
    threads: Threads,
    is_cpu: bool,
    on_batch: Callable[[int], None],
) -> dict[str, Tensor]:
    """Outputs (n, O) of each view, in the order of the batches.

    Args:
        forward: The network.
        distinct: Pictures and views.
        batches: Which of them.
        threads: Who works.
        is_cpu: Whether the network computes on the threads' cores.
        on_batch: Told the number of pictures of each batch that is done.
    """

    def outputs(number: int, squares: Tensor) -> list[Tensor]:
        known = read_metadata(distinct, batches.images[number])
        return [forward(view_batch(distinct, squares, view), known) for view in distinct.views]

    numbers = range(len(batches.images))
    if is_cpu:
        made = threads.map(lambda number: outputs(number, batches.squares(number)), numbers)
    else:
        made = map(outputs, numbers, threads.map(batches.squares, numbers))
    parts: list[list[Tensor]] = []
    for found, images in zip(made, batches.images, strict=True):
        parts.append(found)
        on_batch(len(images))
    return {
        view: torch.cat([found[column] for found in parts])
        for column, view in enumerate(distinct.views)
    }
