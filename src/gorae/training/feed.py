"""Batches from worker processes, whatever happens to those processes."""

import ctypes
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gorae.errors import UserError

Batch = tuple[Tensor, Tensor]
"""uint8 images (B, 3, S, S) and their indices (B,)."""

# TRUST: without a limit, a worker that hangs makes training hang for ever.
WORKER_TIMEOUT_S = 120

_PR_SET_PDEATHSIG = 1


def open_feed(
    dataset: Dataset[tuple[Tensor, int]],
    keys: Iterable[list[Any]],
    *,
    workers: int,
    pin_memory: bool,
    on_note: Callable[[str], None],
) -> Callable[[], Iterator[Batch]]:
    """A function that reads the batches that ``keys`` names at the time of its call.

    A batch is a function of its keys, so worker processes that die or hang cost time and
    nothing else: from then on this process reads the batches itself, and says so.

    Args:
        dataset: Gives (uint8 image, index) for a key.
        keys: Iterated anew at each call; one list of keys per batch.
        workers: Processes that read ahead, at most the cores of this machine; 0 for none.
        pin_memory: Whether batches go to a GPU.
        on_note: Told when the worker processes are given up.
    """
    workers = min(workers, _available_cores())
    loader = _build_loader(dataset, keys, workers=workers, pin_memory=pin_memory)

    def read() -> Iterator[Batch]:
        nonlocal loader
        num_read = 0
        try:
            for batch in loader:
                yield batch
                num_read += 1
        # Torch has no class of its own for the death, the silence and the error of a worker.
        except (RuntimeError, UserError) as error:
            if loader.num_workers == 0 or "DataLoader" not in str(error):
                raise
            reason = str(error).strip().splitlines()[0]
            on_note(f"Worker processes were given up, training goes on without: {reason}")
            loader = _build_loader(dataset, keys, workers=0, pin_memory=pin_memory)
            yield from itertools.islice(loader, num_read, None)

    return read


def _build_loader(
    dataset: Dataset[tuple[Tensor, int]],
    keys: Iterable[list[Any]],
    *,
    workers: int,
    pin_memory: bool,
) -> DataLoader[tuple[Tensor, int]]:
    if workers == 0:
        return DataLoader(dataset, batch_sampler=keys, pin_memory=pin_memory)
    return DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        pin_memory=pin_memory,
        timeout=WORKER_TIMEOUT_S,
        persistent_workers=True,
        # Forked workers start in milliseconds, share the open store, and need no guarded
        # main module; they run one thread and never touch a GPU.
        multiprocessing_context="fork" if sys.platform == "linux" else None,
        worker_init_fn=_begin_worker,
    )


def _begin_worker(worker: int) -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    torch.set_num_threads(1)


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
