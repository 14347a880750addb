"""Batches from worker processes, whatever happens to those processes.

A batch is a function of its keys. What a dead worker held is therefore read again, item by item
in a child process of its own: the item whose reader dies there twice is the one to blame.
"""

import ctypes
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.data._utils import signal_handling

from gorae.errors import ResourceError, UserError
from gorae.machine import num_cores
from gorae.training.quarantine import Quarantine, index_of

Item = tuple[Tensor, int]
Batch = tuple[Tensor, Tensor]
"""uint8 images (B, 3, S, S) and their indices (B,)."""

# TRUST: without a limit, a worker that hangs makes training hang for ever.
WORKER_TIMEOUT_S = 120.0

# TRUST T9: two silences of the one item must end 10 s after that of its worker.
ITEM_TIMEOUT_SHARE = 1 / 24

# TRUST 2.4: what kills workers again and again without a picture to blame is the machine.
MAX_LOST_WORKERS = 3

# Batches that torch has a worker hold; its default, named because the memory is ours to count.
_PREFETCH = 2

# Forked workers start in milliseconds, share the open store, and need no guarded main module;
# they run one thread and never touch a GPU.
_CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else None)

_PR_SET_PDEATHSIG = 1

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where torch puts the batches of workers


class _Remaining:
    """The batches of ``keys`` from ``start`` on, with stand-ins for what is left out."""

    def __init__(self, keys: Iterable[list[Any]], quarantine: Quarantine) -> None:
        self._keys = keys
        self._quarantine = quarantine
        self.start = 0

    def __iter__(self) -> Iterator[list[Any]]:
        for batch in itertools.islice(self._keys, self.start, None):
            yield self._quarantine.with_stand_ins(batch)


def open_feed(
    dataset: Dataset[Item],
    keys: Iterable[list[Any]],
    *,
    workers: int,
    pin_memory: bool,
    on_note: Callable[[str], None],
    quarantine: Quarantine | None = None,
    timeout_s: float = WORKER_TIMEOUT_S,
) -> Callable[[], Iterator[Batch]]:
    """A function that reads the batches that ``keys`` names at the time of its call.

    A worker that dies or is silent costs time; only an item that ends its reader, in a fresh
    process and twice, is left out from then on, whatever the number of workers. Without
    workers nothing stands between such an item and this process.

    Args:
        dataset: Gives (uint8 image, index) for a key.
        keys: Iterated anew at each call; one list of keys per batch. A key is the index, or a
            tuple that ends in it.
        workers: Processes that read ahead, at most the cores of this machine; 0 for none.
        pin_memory: Whether batches go to a GPU.
        on_note: Told of lost workers and of images that are left out.
        quarantine: Images to leave out, more of which may be found; absent: none may be.
        timeout_s: Seconds a batch may be waited for.

    Raises:
        DataError: While reading: more images end their reader than may be left out.
        ResourceError: While reading: the system starts no more processes.
    """
    quarantine = quarantine if quarantine is not None else Quarantine()
    remaining = _Remaining(keys, quarantine)
    build = partial(
        _build_loader,
        dataset,
        remaining,
        workers=min(workers, num_cores()),
        pin_memory=pin_memory,
        timeout_s=timeout_s,
    )
    loader, num_lost = build(), 0

    def read() -> Iterator[Batch]:
        nonlocal loader, num_lost
        num_read = 0
        while num_lost <= MAX_LOST_WORKERS:
            remaining.start, reason = num_read, None
            try:
                for batch in _watched(loader):
                    yield batch
                    num_read += 1
            except (RuntimeError, UserError, OSError, EOFError) as error:
                if loader.num_workers == 0 or not _is_of_worker(error):
                    raise
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if reason is None:
                return
            # Outside the except clause, whose traceback would keep the old loader alive: as
            # long as it lives, torch raises for its dead worker at the end of any child.
            num_suspects = _PREFETCH * loader.num_workers
            _kill_workers(loader)
            loader = build()
            num_known, remaining.start = len(quarantine.indices), num_read
            for keys_read in itertools.islice(remaining, num_suspects):
                yield read_apart(keys_read)
                num_read += 1
            if len(quarantine.indices) == num_known:
                num_lost += 1
                on_note(_lost_worker(reason, num_lost))
        remaining.start = num_read
        for keys_read in remaining:
            yield read_apart(keys_read)

    def read_apart(keys_read: list[Any]) -> Batch:
        def leave_out(key: Any, reason: str) -> None:
            on_note(quarantine.add(index_of(key), reason))

        items = _read_apart(dataset, keys_read, leave_out=leave_out, timeout_s=timeout_s)
        in_order = [items[key] for key in quarantine.with_stand_ins(keys_read)]
        images, index = default_collate(in_order)
        return (images.pin_memory(), index.pin_memory()) if pin_memory else (images, index)

    return read


def choose_workers(
    wanted: int, *, batch_bytes: int, free_bytes: int | None = None
) -> tuple[int, str | None]:
    """How many workers the shared memory has room for, and a note where it is fewer.

    A worker that finds no room is killed by the system (bus error) in the midst of a batch.

    Args:
        wanted: Number of workers asked for.
        batch_bytes: Size of the images of one batch.
        free_bytes: Free shared memory; absent: that of this machine.
    """
    if free_bytes is None:
        free_bytes = _free_shared_memory()
    if free_bytes is None or batch_bytes == 0:
        return wanted, None
    # Half of it stays free: for the other feed of the training, and for other programs. One
    # batch is in use while the workers hold theirs.
    room = (free_bytes // (2 * batch_bytes) - 1) // _PREFETCH
    workers = max(0, min(wanted, room))
    if workers == wanted:
        return wanted, None
    return workers, (
        f"{workers} instead of {wanted} worker processes: {_SHARED_MEMORY} has "
        f"{free_bytes / 1e6:,.0f} MB free and a batch takes {batch_bytes / 1e6:,.1f} MB. "
        "In a container, give it more with --shm-size."
    )


def _free_shared_memory() -> int | None:
    """Free bytes where torch puts the batches of workers; None where that is no file system."""
    try:
        found = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _lost_worker(reason: str, num_lost: int) -> str:
    text = f"A worker process was lost, and no picture is to blame ({reason})"
    if num_lost <= MAX_LOST_WORKERS:
        return f"{text}: a fresh one goes on."
    return f"{text}, for the {num_lost}th time: pictures are read one by one from here on."


def _is_of_worker(error: Exception) -> bool:
    # Torch has no class of its own for the death, the silence and the error of a worker; a
    # batch whose worker died on the way is a broken connection.
    return isinstance(error, OSError | EOFError) or "DataLoader" in str(error)


def _watched(loader: DataLoader[Item]) -> Iterator[Batch]:
    """The batches of ``loader``; the death of a worker is raised while waiting, not later.

    torch raises for a dead worker from a signal handler, wherever the process is: in the midst
    of a training step, which cannot be undone. Here it does so inside ``next`` only.
    """
    if loader.num_workers == 0 or current_thread() is not main_thread():
        yield from loader
        return
    # Also here: torch waits for a word of each worker that is there from the epoch before.
    batches = _while_watching(loader, partial(iter, loader))
    while (batch := _while_watching(loader, partial(next, batches, None))) is not None:
        yield batch


def _while_watching(loader: DataLoader[Item], call: Callable[[], Any]) -> Any:
    """What ``call`` gives, unless a worker dies before it does.

    Raises:
        ChildProcessError: A worker died while nobody watched.
        RuntimeError: A worker dies, in torch's words.
    """
    for worker in _workers(loader):
        if not worker.is_alive():
            raise ChildProcessError(f"worker {_how_it_ended(worker.exitcode)}")
    signal.signal(signal.SIGCHLD, _raise_for_dead_worker)
    try:
        return call()
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _raise_for_dead_worker(number: int, frame: FrameType | None) -> None:
    # torch has no public name for what its own handler does.
    signal_handling._error_if_any_worker_fails()  # type: ignore[attr-defined]


def _build_loader(
    dataset: Dataset[Item],
    keys: Iterable[list[Any]],
    *,
    workers: int,
    pin_memory: bool,
    timeout_s: float,
) -> DataLoader[Item]:
    if workers == 0:
        return DataLoader(dataset, batch_sampler=keys, pin_memory=pin_memory)
    return DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        pin_memory=pin_memory,
        timeout=timeout_s,
        prefetch_factor=_PREFETCH,
        persistent_workers=True,
        multiprocessing_context=_CONTEXT,
        worker_init_fn=partial(_begin_worker, parent=os.getpid()),
    )


def _begin_worker(worker: int, *, parent: int) -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be said
            os._exit(1)
    torch.set_num_threads(1)


def _kill_workers(loader: DataLoader[Item]) -> None:
    """End the workers at once: torch would first wait for one that hangs."""
    for worker in _workers(loader):
        worker.kill()


def _workers(loader: DataLoader[Item]) -> Sequence[Any]:
    """Its processes, those that are there from one epoch to the next."""
    found: Sequence[Any] = getattr(loader._iterator, "_workers", ())
    return found


def _read_apart(
    dataset: Dataset[Item],
    keys: list[Any],
    *,
    leave_out: Callable[[Any, str], None],
    timeout_s: float,
) -> dict[Any, Item]:
    """The items of ``keys``, read in child processes, without those that end two of them."""
    items: dict[Any, Item] = {}
    remaining, num_ended = list(dict.fromkeys(keys)), 0
    while remaining:
        found, reason = _read_in_child(dataset, remaining, timeout_s=timeout_s)
        items |= dict(zip(remaining, found, strict=False))
        del remaining[: len(found)]
        if reason is None:
            break
        num_ended = 1 if found else num_ended + 1
        if num_ended == 2:
            leave_out(remaining.pop(0), reason)
            num_ended = 0
    return items


def _read_in_child(
    dataset: Dataset[Item], keys: Sequence[Any], *, timeout_s: float
) -> tuple[list[Item], str | None]:
    """The items read until the child ended, and what it did at the next one; None: all read.

    Raises:
        Exception: The dataset raised it.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    arguments = (dataset, keys, sender, os.getpid())
    child = _CONTEXT.Process(target=_send_items, args=arguments, daemon=True)
    try:
        child.start()
    except OSError as error:
        raise ResourceError(
            f"No process can be started to read pictures: {error.strerror or error}. Close "
            "other programs; the same command then goes on."
        ) from error
    sender.close()  # the child's is then the only one, and its death the end of the stream
    items: list[Item] = []
    try:
        # A child that is not forked takes long to begin.
        if not receiver.poll(timeout_s):
            return [], f"did not begin within {timeout_s:g} s"
        while len(items) < len(keys):
            if not receiver.poll(timeout_s * ITEM_TIMEOUT_SHARE):
                return items, f"was silent for {timeout_s * ITEM_TIMEOUT_SHARE:g} s"
            try:
                answer = receiver.recv()
            except (EOFError, OSError):
                child.join()
                return items, _how_it_ended(child.exitcode)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                image, index = answer
                items.append((torch.from_numpy(image), index))
    finally:
        child.kill()
        child.join()
        receiver.close()
    return items, None


def _send_items(
    dataset: Dataset[Item], keys: Sequence[Any], sender: Connection, parent: int
) -> None:
    _begin_worker(0, parent=parent)
    sender.send(None)
    try:
        for key in keys:
            image, index = dataset[key]
            # As NumPy's, or torch would send it through the shared memory that may be full.
            sender.send((image.numpy(), index))
    except Exception as error:  # noqa: BLE001 - raised in the parent, in its own words
        sender.send(error)


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"ended with exit code {exit_code}"
    return f"was killed by {signal.Signals(-exit_code).name}"
