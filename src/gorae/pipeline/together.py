"""One training by several processes, where torchrun started several.

The first does the command and calls the others when there is something to train; they open
the run that it made and do the same (``gorae.pipeline.assist``).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from gorae.errors import ConfigError
from gorae.pipeline.job import Job
from gorae.pipeline.launch import is_launched, place_here
from gorae.training.group import Group, call_others, joined, open_store


@contextmanager
def together(job: Job) -> Iterator[Job]:
    """The job as each of the processes does it; alone, or with nothing to train, as it is."""
    if not is_launched() or job.recipe.model.use != "finetune":
        yield job
        return
    job = on_own_device(job)
    store = open_store()
    call = {
        "folder": str(job.context.workspace.folder),
        "run": job.run.run_id,
        "recipe": job.recipe.model_dump(mode="json", exclude_unset=True),
        "left_s": None if job.deadline is None else job.deadline - time.monotonic(),
        "uses_gpu": job.arithmetic.device != "cpu",
    }
    number = call_others(store, call)
    with joined(store, number, uses_gpu=call["uses_gpu"] is True) as group:
        yield replace(job, group=group)


def assisted(job: Job, group: Group) -> Job:
    """The job as a process does it that was called."""
    return replace(on_own_device(job), group=group)


def on_own_device(job: Job) -> Job:
    """The job on this process's device and share of the cores.

    Raises:
        ConfigError: There are not as many devices as processes on this machine.
    """
    rank, size = place_here()
    torch.set_num_threads(max(1, torch.get_num_threads() // size))
    if job.arithmetic.device == "cpu":
        return job
    device = own_device(job.recipe.train.devices, rank=rank, size=size)
    torch.cuda.set_device(device)
    arithmetic = replace(job.arithmetic, device=device)
    return replace(job, execution=replace(job.execution, arithmetic=arithmetic))


def own_device(wanted: str, *, rank: int, size: int, num_gpus: int | None = None) -> str:
    """The GPU of one of several processes on this machine.

    Args:
        wanted: ``train.devices``.
        rank: Which process, from 0.
        size: Processes on this machine.
        num_gpus: GPUs of this machine; absent: asked of torch.

    Raises:
        ConfigError: There are not as many as processes.
    """
    num_gpus = torch.cuda.device_count() if num_gpus is None else num_gpus
    if wanted == "auto":
        numbers = list(range(num_gpus))[:size]
    else:
        numbers = [int(number) for number in (wanted.partition(":")[2] or "0").split(",")]
    if len(numbers) != size or max(numbers) >= num_gpus:
        raise ConfigError(
            f"{size} processes train on this machine and train.devices = {wanted!r} names "
            f"{len(numbers)} of its {num_gpus} GPU(s): each process takes one. Start "
            "torchrun with --nproc-per-node as many as there are devices."
        )
    return f"cuda:{numbers[rank]}"
