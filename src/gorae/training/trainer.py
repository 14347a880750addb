"""One training at work: what was given, and what was made of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gorae.data.dataset import EpochBatches
from gorae.training.feed import Batch
from gorae.training.group import Group
from gorae.training.losses import Objective
from gorae.training.plan import Control, FitPlan, FoldData
from gorae.training.quarantine import Quarantine
from gorae.training.state import Progress, write_state


@dataclass(frozen=True)
class Trainer:
    """Everything the loop works with; only the network and the optimiser change."""

    model: nn.Module
    network: nn.Module
    """What computes: the model, compiled where the plan says so."""
    average: nn.Module | None
    """Average of the weights, where one is kept: it is evaluated in place of the model."""
    optimizer: torch.optim.Optimizer
    objective: Objective
    data: FoldData
    plan: FitPlan
    control: Control
    folder: Path
    key: Mapping[str, Any]
    """What the training is made of."""
    truth: Tensor
    """Targets of the train part, on the device."""
    metadata: Tensor | None
    """What is known of each train image beside its pixels, (N, M), on the device."""
    soft: Tensor | None
    """Probabilities that the last M train images have for targets, (M, K), on the device."""
    weights: Tensor | None
    """How much each train image counts, with mean 1, on the device."""
    keys: EpochBatches
    """What ``read_train`` reads."""
    quarantine: Quarantine
    """Train images that are left out."""
    read_train: Callable[[], Iterator[Batch]]
    read_valid: Callable[[], Iterator[Batch]] | None

    def metadata_of(self, index: Tensor) -> Tensor | None:
        """What is known of some train images, (B, M); None where there is no metadata."""
        if self.metadata is None:
            return None
        return self.metadata[index.to(self.metadata.device, non_blocking=True)]

    def targets_of(self, index: Tensor) -> Tensor:
        """Rows of targets of some train images, whose places are on the device."""
        rows = self.objective.targets(self.truth[index])
        if self.soft is None:
            return rows
        place = index - (len(self.truth) - len(self.soft))
        return torch.where((place >= 0)[:, None], self.soft[place.clamp(min=0)], rows)

    @property
    def group(self) -> Group:
        """The processes that train together."""
        return self.control.group

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def states(self) -> Path:
        """Folder of the states."""
        return self.folder / "state"

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in an epoch."""
        return -(-self.keys.num_batches // self.plan.accumulate)

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.plan.course.all_epochs * self.steps_per_epoch

    def step_of(self, progress: Progress) -> int:
        """Steps done."""
        done = -(-progress.batch // self.plan.accumulate)
        return progress.epoch * self.steps_per_epoch + done


class NotFiniteError(Exception):
    """Numbers are no longer finite: training can only go on from an earlier state."""

    def __init__(self, where: str, image_ids: Sequence[str] = ()) -> None:
        super().__init__(where)
        self.where = where
        self.image_ids = list(image_ids)


def save_state(trainer: Trainer, progress: Progress) -> None:
    """Write where the training stands."""
    progress = replace(progress, left_out=tuple(sorted(trainer.quarantine.indices)))
    if trainer.group.is_first:
        write_state(
            trainer.states,
            trainer.model,
            trainer.optimizer,
            average=trainer.average,
            progress=progress,
            key=trainer.key,
        )
    trainer.group.wait()
