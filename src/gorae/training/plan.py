"""What one training is given: its data, its numbers, and who watches it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gorae.data.dataset import ImageDataset, TrainDataset
from gorae.data.pixels import PixelSpec
from gorae.data.sources import Task
from gorae.files import sha256_bytes
from gorae.training.evaluate import Arithmetic


@dataclass(frozen=True)
class Scorer:
    """The competition's metric on the images of a validation part."""

    name: str
    """Name of the metric."""
    function: Callable[[NDArray[np.generic], NDArray[np.float32]], float]
    """Score of the truth (N, ...) and the predicted values (N, K)."""
    greater_is_better: bool
    """Whether a higher score is better."""


@dataclass(frozen=True)
class FoldData:
    """The two parts of a fold, and what is learned from them."""

    task: Task
    spec: PixelSpec
    """Normalisation of the images both datasets give."""
    train: TrainDataset
    train_truth: NDArray[np.generic]
    """Encoded targets of the train part, in the dataset's order."""
    train_ids: Sequence[str]
    """Image ids of the train part, for messages."""
    scorer: Scorer
    valid: ImageDataset | None = None
    """Absent when a model is trained on everything: its last weights are then kept."""
    valid_truth: NDArray[np.generic] | None = None


@dataclass(frozen=True)
class FitPlan:
    """The numbers of one training. Two trainings of one plan and data end in equal weights."""

    epochs: int
    batch_size: int
    lr: float
    """Peak learning rate of the head."""
    backbone_lr: float
    """Peak learning rate of the backbone."""
    weight_decay: float = 0.01
    warmup_epochs: float = 0.5
    patience: int | None = None
    """Epochs without a better score after which training stops; None: never."""
    keep_checkpoints: int = 1
    """Best checkpoints kept."""
    seed: int = 0
    """Seed of order and dropout."""
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What else made this training (model, weights, split, augmentation, classes): written
    beside the weights, and a resume must agree with it. JSON values."""


def _never() -> bool:
    return False


def _ignore_step(done: int, total: int) -> None:
    pass


def _ignore_epoch(row: Mapping[str, Any]) -> None:
    pass


@dataclass(frozen=True)
class Control:
    """Who watches a training; nothing here but ``deadline`` changes its result."""

    workers: int = 1
    """Processes that prepare batches."""
    deadline: float | None = None
    """``time.monotonic()`` at which the epoch at hand is cut, evaluated, and the last."""
    should_stop: Callable[[], bool] = _never
    """Asked before each step; True: the state is written and ``Interrupted`` raised."""
    on_step: Callable[[int, int], None] = _ignore_step
    """Told the steps done and the steps in all."""
    on_epoch: Callable[[Mapping[str, Any]], None] = _ignore_epoch
    """Told each row of the history."""


class Interrupted(Exception):  # noqa: N818 - the user's wish, not an error
    """Training was asked to stop; the same call goes on from the state it wrote."""


Stopped = Literal["finished", "patience", "deadline"]


def training_key(data: FoldData, plan: FitPlan) -> dict[str, Any]:
    """All that decides the weights a training ends in, as JSON gives it back."""
    spec = asdict(data.spec)
    del spec["sources"]
    key = {
        **asdict(plan),
        "task": data.task,
        "metric": data.scorer.name,
        "pixels": spec,
        "train_images": data.train.fingerprint(),
        "train_labels": sha256_bytes(data.train_truth.tobytes()),
        "valid_images": data.valid.fingerprint() if data.valid else None,
        "valid_labels": (
            sha256_bytes(data.valid_truth.tobytes()) if data.valid_truth is not None else None
        ),
    }
    as_json: dict[str, Any] = json.loads(json.dumps(key))
    return as_json
