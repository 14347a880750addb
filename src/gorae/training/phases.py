"""What is different from epoch to epoch: learning rates, and which weights learn.

A training has its epochs, the last of which may be averaged, and after them perhaps some in
which the head and the last norms adapt to the test size (``schedules.Course``).
"""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gorae.models.blocks import backbone_blocks, last_norms
from gorae.models.network import ImageModel, set_trainable
from gorae.training.optim import HEAD_PREFIX
from gorae.training.schedules import course_share
from gorae.training.state import Progress
from gorae.training.trainer import Trainer


def lr_share(trainer: Trainer, progress: Progress, step: int) -> float:
    """The share of the peak learning rates at a step of the epoch at hand."""
    share = course_share(
        trainer.plan.course,
        step,
        steps_per_epoch=trainer.steps_per_epoch,
        scores=_signed_scores(trainer, progress),
    )
    return share * progress.lr_factor


def _signed_scores(trainer: Trainer, progress: Progress) -> list[float]:
    sign = 1 if trainer.data.scorer.greater_is_better else -1
    scores = [row["score"] for row in progress.history]
    return [sign * score for score in scores if score is not None]


def begin_epoch(trainer: Trainer, progress: Progress) -> nn.Module:
    """Make the weights of this epoch learn, and put the network into training.

    Returns:
        What computes outputs of pixels and, among several processes, joins their gradients.
    """
    model, plan = trainer.model, trainer.plan
    begins_fixres = progress.epoch == plan.course.epochs and progress.batch == 0
    if begins_fixres and trainer.average is not None:
        # What was evaluated is what adapts.
        model.load_state_dict(trainer.average.state_dict())
    changes = (plan.is_frozen, plan.unfreeze_every, plan.course.fixres_epochs)
    if any(changes) or plan.frozen_module:
        assert isinstance(model, ImageModel)
        set_trainable(model, _learning(trainer, model, progress.epoch))
    model.train()
    if trainer.group.size > 1:
        # Anew in every epoch: it must know which weights learn.
        return DistributedDataParallel(
            _WithIdleWeight(trainer.network), find_unused_parameters=True
        )
    return trainer.network


class _WithIdleWeight(nn.Module):
    """A network, and a weight that no output depends on.

    Any network may have some, a user's in some batches only, so they must be looked for in
    each; where there are none, torch would warn that it looked in vain.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        device = next(network.parameters()).device
        self.idle = nn.Parameter(torch.zeros((), device=device))

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs: Tensor = self.network(*inputs)
        return outputs


def _learning(trainer: Trainer, model: ImageModel, epoch: int) -> set[str] | None:
    """Names of the weights that learn in an epoch; None: all."""
    names, frozen = _thawed(trainer, model, epoch), trainer.plan.frozen_module
    if frozen is None:
        return names
    every = names if names is not None else {name for name, _ in model.named_parameters()}
    return {name for name in every if not name.startswith(f"{frozen}.")}


def _thawed(trainer: Trainer, model: ImageModel, epoch: int) -> set[str] | None:
    """As ``_learning``, but for what never learns."""
    plan = trainer.plan
    head = {name for name, _ in model.named_parameters() if name.startswith(HEAD_PREFIX)}
    if epoch >= plan.course.epochs:
        return head | set(last_norms(model))
    if plan.is_frozen:
        return head
    if plan.unfreeze_every is None:
        return None
    blocks = backbone_blocks(model)
    num_learning = int(epoch // plan.unfreeze_every)
    if num_learning >= len(blocks):
        return None
    upper = blocks[len(blocks) - num_learning :]
    return head.union(*upper)
