"""Batches from worker processes, whatever happens to those processes."""

import ctypes
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

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
        num_read, reason = 0, None
        try:
            for batch in _watched(loader):
                yield batch
                num_read += 1
        # Torch has no class of its own for the death, the silence and the error of a worker; a
        # batch whose worker died on the way is a broken connection.
        except (RuntimeError, UserError, OSError, EOFError) as error:
            is_of_worker = isinstance(error, OSError | EOFError) or "DataLoader" in str(error)
            if loader.num_workers == 0 or not is_of_worker:
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if reason is not None:
            # Outside the except clause, whose traceback would keep the old loader alive: as
            # long as it lives, torch raises for its dead worker at the end of any child.
            loader = _build_loader(dataset, keys, workers=0, pin_memory=pin_memory)
            on_note(f"Worker processes were given up, training goes on without: {reason}")
            yield from itertools.islice(loader, num_read, None)

    return read


def _watched(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[Batch]:
    """The batches of ``loader``; the death of a worker is raised while waiting, not later.

    torch raises for a dead worker from a signal handler, wherever the process is: in the midst
    of a training step, which cannot be undone. Here it does so inside ``next`` only.
    """
    batches = iter(loader)
    if loader.num_workers == 0 or current_thread() is not main_thread():
        yield from batches
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while True:
        signal.signal(signal.SIGCHLD, _raise_for_dead_worker)
        try:
            # It may have died while nobody watched.
            _raise_for_dead_worker(signal.SIGCHLD, None)
            batch = next(batches, None)
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if batch is None:
            return
        yield batch


def _raise_for_dead_worker(number: int, frame: FrameType | None) -> None:
    # torch has no public name for what its own handler does.
    signal_handling._error_if_any_worker_fails()  # type: ignore[attr-defined]


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
