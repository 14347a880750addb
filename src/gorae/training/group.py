"""The processes that train one fold together; usually there is one.

``torchrun`` starts them and says in the environment who is who. The first (rank 0) does all
work of a command that one process does, writes and speaks; the others wait for its calls::

    store = open_store()                       store = open_store()
    number = call_others(store, {...})         message = hear_call(store, 1)
    with joined(store, 1, uses_gpu=...) as g:  with joined(store, 1, uses_gpu=...) as g:
        fit_fold(...)                              fit_fold(...)
    call_others(store, None)                   hear_call(store, 2) is None

Within ``joined`` each takes its share of every batch, and gradients are averaged over all
(torch's DistributedDataParallel).
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from gorae.errors import ResourceError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

# A process that waits this long for another one within a training gives up, and so ends.
PATIENCE_S = 600

# The store is there before the processes are.
STORE_PATIENCE_S = 60

# How often a process that waits for a call looks for one: it must hear signals meanwhile.
POLL_S = 0.05

# What gloo says when a process at the other end is no longer there.
_LOSSES = ("Connection closed", "Connection reset", "Broken pipe", "gloo", "NCCL")


@dataclass(frozen=True)
class Group:
    """One process among those that train together."""

    rank: int = 0
    """Which of them this is, from 0."""
    size: int = 1
    """How many they are."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` holds in any of the processes; all must ask."""
        return bool(self.sum(float(flag)))

    def sum(self, value: float) -> float:
        """The sum of ``value`` over the processes; all must ask."""
        if self.size == 1:
            return value
        # On the CPU, so that a GPU need not come to the end of its work first.
        tensor = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor.item())

    def rows(self, values: Tensor, index: Tensor, *, total: int) -> Tensor:
        """Rows of all processes, each at its index, on the CPU.

        Args:
            values: (n, K) of this process, on the CPU.
            index: Where each row belongs, (n,), from 0 to ``total - 1``.
            total: Rows of all processes together.

        Returns:
            (``total``, K); every row must come from exactly one process.
        """
        count = torch.bincount(index, minlength=total)
        # A process without rows does not know their width.
        width = torch.tensor([values.shape[1] if len(values) else 0])
        if self.size > 1:
            dist.all_reduce(count)
            dist.all_reduce(width, op=dist.ReduceOp.MAX)
        assert torch.equal(count, torch.ones_like(count)), "lost or doubled rows"
        found = torch.zeros(total, int(width), dtype=torch.float32)
        if len(values):
            found[index] = values
        if self.size > 1:
            # Each row is 0 everywhere else: the sum is the row, to the bit.
            dist.all_reduce(found)
        return found

    def texts(self, texts: Sequence[str]) -> list[str]:
        """The texts of all processes, by rank."""
        if self.size == 1:
            return list(texts)
        data = torch.frombuffer(bytearray(json.dumps(list(texts)), "utf-8"), dtype=torch.uint8)
        sizes = torch.zeros(self.size, dtype=torch.int64)
        sizes[self.rank] = len(data)
        dist.all_reduce(sizes)
        # Numbers, as not every way of exchange takes bytes.
        parts = torch.zeros(self.size, int(sizes.max()), dtype=torch.int32)
        parts[self.rank, : len(data)] = data
        dist.all_reduce(parts)
        found: list[str] = []
        for row, length in zip(parts, sizes.tolist(), strict=True):
            found += json.loads(bytes(row[:length].tolist()))
        return found

    def share(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        if self.size > 1:
            for value in model.state_dict().values():
                dist.broadcast(value, src=0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.sum(0)


SOLO = Group()


def open_store() -> "Store":
    """What all processes that one ``torchrun`` started read and write.

    The first must hold it as long as others look into it, where no torchrun does.
    """
    patience = timedelta(seconds=STORE_PATIENCE_S)
    store: Store
    store, _, _ = next(dist.rendezvous("env://", timeout=patience))  # type: ignore[attr-defined]
    return store


def call_others(store: "Store", message: Mapping[str, Any] | None) -> int:
    """Tell the processes that wait what is to be done; None: nothing any more.

    Returns:
        The number of the call, from 1.
    """
    number = int(store.add("calls", 1))
    store.set(f"call-{number}", json.dumps(message))
    return number


def hear_call(store: "Store", number: int) -> Any:
    """The message of a call; waits for it as long as it takes."""
    while not store.check([f"call-{number}"]):
        time.sleep(POLL_S)
    return json.loads(store.get(f"call-{number}"))


def is_first_to_fail(store: "Store") -> bool:
    """Whether none of the processes has asked this before: one failure is told once."""
    try:
        return int(store.add("failures", 1)) == 1
    except RuntimeError:
        # Nobody is there any more who could have told it.
        return True


@contextmanager
def joined(store: "Store", number: int, *, uses_gpu: bool) -> Iterator[Group]:
    """Join the processes that torchrun started, for the work of a call.

    Args:
        store: Theirs.
        number: Of the call.
        uses_gpu: Whether each process computes on its own GPU (NCCL) or on the CPU (gloo).

    Raises:
        ResourceError: Another process ended.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if uses_gpu else "gloo",
        store=dist.PrefixStore(f"group-{number}", store),  # type: ignore[attr-defined]
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=PATIENCE_S),
    )
    try:
        yield Group(rank, size)
    except RuntimeError as error:
        if size > 1 and _is_loss(error):
            raise ResourceError(
                "Another process of this training has ended. The same command goes on from "
                "where it was; if it ends again, look at the messages of that process, and at "
                "the memory of the machine."
            ) from error
        raise
    # After an error this would wait for processes that no longer come.
    dist.destroy_process_group()


def _is_loss(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(text in str(error) for text in _LOSSES)
