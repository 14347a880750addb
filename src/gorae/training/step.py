"""One step of the optimiser: losses, gradients of one or more batches, new weights."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from gorae.augment.mix import mix_batch
from gorae.data.dataset import MIX_STREAM, philox
from gorae.errors import ResourceError
from gorae.training.average import move_average, moving_share
from gorae.training.evaluate import forward, to_pixels
from gorae.training.feed import Batch
from gorae.training.optim import set_learning_rate
from gorae.training.phases import lr_share
from gorae.training.state import Progress
from gorae.training.trainer import NotFiniteError, Trainer

# TRUST R6.
MAX_SKIPPED_STEPS = 5

# TRUST T7: batches are computed in at most 2^3 parts.
MAX_HALVINGS = 3

# fp16: twice the scale after so many good steps (Micikevicius et al., 2018).
SCALE_GROWTH_STEPS = 1000
LEAST_LOSS_SCALE = 1.0


def train_step(
    trainer: Trainer, network: nn.Module, progress: Progress, batches: Sequence[Batch]
) -> Progress:
    """Take the batches of one step; the weights change unless their loss is not finite.

    Raises:
        NotFiniteError: That was so too often in a row, or a buffer is no longer finite.
        ResourceError: Memory ran out even for an eighth of a batch.
    """
    plan, group = trainer.plan, trainer.group
    step = trainer.step_of(progress)
    set_learning_rate(trainer.optimizer, lr_share(trainer, progress, step))
    # Each process has images of every batch; what follows is decided by those of all.
    images = group.sum(sum(_num_shown(trainer, batch) for batch in batches))
    progress, losses = _gradients_within_memory(
        trainer, network, progress, batches, images_in_step=images
    )
    loss_sum = group.sum(losses)
    progress = replace(progress, batch=progress.batch + len(batches))
    if not math.isfinite(loss_sum):
        return _skip_step(trainer, progress, batches)
    if not _unscale_and_clip(trainer, progress):
        if plan.arithmetic.precision != "fp16" or progress.loss_scale <= LEAST_LOSS_SCALE:
            return _skip_step(trainer, progress, batches)
        # The scale was too large for fp16, which is how its size is found.
        return replace(progress, loss_scale=progress.loss_scale / 2, good_steps=0)
    trainer.optimizer.step()
    if plan.ema_decay is not None and trainer.average is not None:
        share = moving_share(plan.ema_decay, progress.averaged)
        move_average(trainer.average, trainer.model, share)
        progress = replace(progress, averaged=progress.averaged + 1)
    good_steps = progress.good_steps + 1
    grows = good_steps == SCALE_GROWTH_STEPS
    return replace(
        progress,
        loss_sum=progress.loss_sum + loss_sum,
        images=progress.images + round(images),
        skipped=0,
        loss_scale=progress.loss_scale * (2 if grows else 1),
        good_steps=0 if grows else good_steps,
    )


def _gradients_within_memory(
    trainer: Trainer,
    network: nn.Module,
    progress: Progress,
    batches: Sequence[Batch],
    *,
    images_in_step: float,
) -> tuple[Progress, float]:
    """``_gradients``, with batches computed in more parts each time memory runs out."""
    while True:
        try:
            return progress, _gradients(
                trainer, network, progress, batches, images_in_step=images_in_step
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = str(error).splitlines()[0] if str(error) else "out of memory"
        # Outside the except clause, whose traceback keeps every activation alive.
        progress = halve_batches(trainer, progress, message)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On the CPU torch has no class of its own for it.
    text = str(error)
    return "DefaultCPUAllocator" in text or "could not create a memory" in text


def halve_batches(trainer: Trainer, progress: Progress, message: str) -> Progress:
    """Compute batches in twice as many parts from now on; the steps stay what they are.

    Raises:
        ResourceError: The parts cannot be smaller, or other processes would wait for ever.
    """
    plan = trainer.plan
    parts = 2 * progress.splits
    trainer.optimizer.zero_grad(set_to_none=True)
    if plan.arithmetic.device.startswith("cuda"):
        torch.cuda.empty_cache()
    smallest = plan.batch_size // parts
    if parts > 2**MAX_HALVINGS or smallest < 2 or trainer.group.size > 1:
        raise ResourceError(
            f"Memory ran out while training with batches of {plan.batch_size} images on "
            f"{plan.arithmetic.device}, in {progress.splits} part(s) each: {message}. Lower "
            "train.batch_size or pixels.input_size, set train.checkpoint_gradients, or close "
            "other programs; the same command then goes on."
        )
    note = (
        f"Memory ran out in epoch {progress.epoch + 1}: batches of {plan.batch_size} images "
        f"are computed in {parts} parts from there on, with their gradients added up."
    )
    return replace(progress, splits=parts, notes=(*progress.notes, note))


def _gradients(
    trainer: Trainer,
    network: nn.Module,
    progress: Progress,
    batches: Sequence[Batch],
    *,
    images_in_step: float,
) -> float:
    """Make the gradients of the mean loss over the step's images, those of all processes.

    Returns:
        The sum of the losses of this process's images.
    """
    step = trainer.step_of(progress)
    group = trainer.group
    _seed_network(step_seed(trainer.plan.seed, step, group.rank), trainer.truth.device)
    trainer.optimizer.zero_grad(set_to_none=True)
    rng = philox(trainer.plan.seed + MIX_STREAM, group.rank, step)
    # DistributedDataParallel averages over the processes; the mean wanted is over images.
    factor = group.size / images_in_step
    if trainer.plan.arithmetic.precision == "fp16":
        factor *= progress.loss_scale
    parts = [part for batch in batches for part in _parts(trainer, batch, progress.splits)]
    fetches = []
    for number, (images, index) in enumerate(parts):
        is_last = number + 1 == len(parts)
        with _unsynchronised(network, is_last):
            loss = _loss_sum(trainer, network, images, index, step=step, rng=rng)
            fetches.append(_start_fetch(loss.detach()))
            (loss * factor).backward()  # type: ignore[no-untyped-call]  # torch leaves it so
    return math.fsum(fetch() for fetch in fetches)


def _unsynchronised(network: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Gradients are exchanged between processes once per step, with its last part."""
    if isinstance(network, DistributedDataParallel) and not is_last:
        return network.no_sync()
    return nullcontext()


def _num_shown(trainer: Trainer, batch: Batch) -> int:
    """Images of a batch that are learned from: all, or those that are no mixing partners."""
    size = len(batch[1])
    return size if trainer.data.sampling.partners is None else size // 2


def _parts(trainer: Trainer, batch: Batch, splits: int) -> Iterator[Batch]:
    """A batch in pieces that memory can hold, each image with its partner."""
    images, index = batch
    if splits == 1:
        yield batch
    elif trainer.data.sampling.partners is None:
        yield from zip(images.chunk(splits), index.chunk(splits), strict=True)
    else:
        half = len(index) // 2
        rows = torch.arange(half).chunk(splits)
        for part in rows:
            both = torch.cat([part, part + len(index) - half])
            yield images[both], index[both]


def _loss_sum(
    trainer: Trainer,
    network: nn.Module,
    images: Tensor,
    index: Tensor,
    *,
    step: int,
    rng: np.random.Generator,
) -> Tensor:
    """Sum of the losses of the images; float32, on the device."""
    plan, data, device = trainer.plan, trainer.data, trainer.truth.device
    index = index.to(device, non_blocking=True)
    pixels = to_pixels(images, data.spec, plan.arithmetic)
    targets = trainer.targets_of(index)
    partners = None
    if data.sampling.partners is not None:
        half = len(index) // 2
        partners = pixels[-half:], targets[-half:]
        pixels, targets, index = pixels[:half], targets[:half], index[:half]
    if plan.mix is not None:
        pixels, targets = mix_batch(pixels, targets, plan=plan.mix, rng=rng, partners=partners)
    if data.hook is not None:
        pixels, targets = data.hook(pixels, targets, step)
    outputs = forward(network, pixels, plan.arithmetic, trainer.metadata_of(index))
    losses = trainer.objective.loss(outputs, targets)
    if trainer.weights is not None:
        losses = losses * trainer.weights[index]
    return losses.sum()


def _unscale_and_clip(trainer: Trainer, progress: Progress) -> bool:
    """Make gradients ready for the optimiser; whether they are finite, where that is looked at.

    Finite losses have finite gradients but for overflow in fp16 and for roots at zero; weights
    are looked at again at the end of every epoch.
    """
    plan = trainer.plan
    is_scaled = plan.arithmetic.precision == "fp16"
    if not is_scaled and plan.clip_norm is None:
        return True
    learning = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    learning = [parameter for parameter in learning if parameter.grad is not None]
    grads = [parameter.grad for parameter in learning]
    if is_scaled:
        torch._foreach_div_(grads, progress.loss_scale)
    norm = get_total_norm(grads)
    # Gradients are equal in all processes, so this is as well.
    if not math.isfinite(float(norm)):
        return False
    if plan.clip_norm is not None:
        clip_grads_with_norm_(learning, plan.clip_norm, norm)
    return True


def _skip_step(trainer: Trainer, progress: Progress, batches: Sequence[Batch]) -> Progress:
    progress = replace(
        progress, skipped=progress.skipped + 1, skipped_in_all=progress.skipped_in_all + 1
    )
    buffers_are_good = all(bool(buffer.isfinite().all()) for buffer in trainer.model.buffers())
    is_over = progress.skipped > MAX_SKIPPED_STEPS or not buffers_are_good
    if trainer.group.any(is_over):
        raise NotFiniteError(
            f"epoch {progress.epoch + 1}, batch {progress.batch}",
            _shown_ids(trainer, progress, batches),
        )
    return progress


def _shown_ids(trainer: Trainer, progress: Progress, batches: Sequence[Batch]) -> list[str]:
    """Images of the last step: this process's with their partners, and the others'."""
    own = [i for _, index in batches for i in index.tolist()]
    last = trainer.keys.indices()[progress.batch - len(batches) : progress.batch]
    both = dict.fromkeys([*own, *(i for index in last for i in index.tolist())])
    return [trainer.data.train_ids[i] for i in both]


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """The seed of the network's chance in one step."""
    # Hashed: torch's CPU generator looks at the low 32 bits of a seed only.
    entropy = [seed, step, rank] if rank else [seed, step]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def _seed_network(seed: int, device: torch.device) -> None:
    """Make dropout a function of (seed, step), whatever ran before."""
    # torch.manual_seed would format the call stack for a GPU that is not used: 0.5 ms a step.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _start_fetch(scalar: Tensor) -> Callable[[], float]:
    """Begin to bring a scalar to the host; the call waits for it, not for what comes after.

    On a GPU a plain ``item()`` would wait for the whole backward pass, and the next step
    would find an idle device.
    """
    if scalar.device.type != "cuda":
        return scalar.item
    on_host = torch.empty((), dtype=scalar.dtype, pin_memory=True)
    on_host.copy_(scalar, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    event.record()

    def fetch() -> float:
        event.synchronize()
        return on_host.item()

    return fetch
