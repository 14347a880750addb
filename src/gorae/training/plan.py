"""What one training is given: its data, its numbers, and who watches it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gorae.augment.mix import MixPlan
from gorae.data.composed import Indices
from gorae.data.dataset import PLAIN, ImageDataset, Sampling, TrainDataset
from gorae.data.pixels import PixelSpec
from gorae.data.sources import Task
from gorae.files import sha256_bytes
from gorae.training.evaluate import Arithmetic
from gorae.training.group import SOLO, Group
from gorae.training.losses import LossPlan
from gorae.training.optim import OptimPlan
from gorae.training.schedules import Course


@dataclass(frozen=True)
class Scorer:
    """The competition's metric on the images of a validation part."""

    name: str
    """Name of the metric."""
    function: Callable[[NDArray[np.generic], NDArray[np.float32]], float]
    """Score of the truth (N, ...) and the predicted values (N, K)."""
    greater_is_better: bool
    """Whether a higher score is better."""


BatchHook = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""Normalised pixels (B, 3, S, S), rows of targets (B, T) and the step, to new ones."""


@dataclass(frozen=True)
class FoldData:
    """The two parts of a fold, and what is learned from them."""

    task: Task
    num_classes: int
    """Columns of the predictions: classes, or 1 of a regression."""
    spec: PixelSpec
    """Size in evaluation, and normalisation of the images both datasets give."""
    train: TrainDataset
    train_truth: NDArray[np.generic]
    """Encoded targets of the train part, in the dataset's order."""
    train_ids: Sequence[str]
    """Image ids of the train part, for messages."""
    scorer: Scorer
    valid: ImageDataset | None = None
    """Absent when a model is trained on everything: its last weights are then kept."""
    valid_truth: NDArray[np.generic] | None = None
    train_weights: NDArray[np.float64] | None = None
    """How much each train image counts in the loss, by their ratios; absent: all alike."""
    sampling: Sampling = PLAIN
    """Which images an epoch shows."""
    largest_side: int | None = None
    """Side of the largest training picture; None: as in evaluation."""
    train_metadata: NDArray[np.float32] | None = None
    """What is known of each train image beside its pixels, (N, M), NaN where nothing is; only
    for a network that has a place for it."""
    valid_metadata: NDArray[np.float32] | None = None
    """The same of the validation part."""
    coarse: tuple[int, ...] = ()
    """Where finer classes are learned than are predicted: the predicted class of each; their
    ``task`` is multiclass, ``num_classes`` counts them and ``train_truth`` names them."""
    valid_targets: NDArray[np.generic] | None = None
    """Their index of each validation image, for the loss; ``valid_truth`` is what is scored."""
    soft_targets: NDArray[np.float32] | None = None
    """Probabilities of the classes for the last M images of the train part, (M, K), which are
    learned in place of ``train_truth``; class weights, margins and sampling go by that."""
    parts: Indices | None = None
    """Index of each part of a composed label in each class, (K, P), where the network's
    outputs are of parts."""
    hook: BatchHook | None = None
    """The user's own change of each batch; what it is must stand in the plan's identity."""


@dataclass(frozen=True)
class FitPlan:
    """The numbers of one training. Two trainings of one plan and data end in equal weights.

    Fields that are settings mean what docs/config.md says of them.
    """

    course: Course
    """Epochs, and the learning rate in them."""
    batch_size: int
    optim: OptimPlan
    loss: LossPlan = field(default_factory=LossPlan)
    mix: MixPlan | None = None
    """Blending of pictures and labels; None: none."""
    accumulate: int = 1
    clip_norm: float | None = None
    ema_decay: float | None = None
    """Decay per step of the moving average of the weights; None: no average."""
    is_frozen: bool = False
    """Whether the head alone learns."""
    frozen_module: str | None = None
    """A module that rests however much of the network learns, such as ``backbone.encoder``."""
    unfreeze_every: float | None = None
    patience: int | None = None
    """Epochs without a better score after which training stops; None: never."""
    keep_checkpoints: int = 1
    """Best checkpoints kept."""
    seed: int = 0
    """Seed of order, mixing and dropout."""
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What else made this training (model, weights, split, augmentation, classes): written
    beside the weights, and a resume must agree with it. JSON values."""


def never() -> bool:
    """Go on, whatever happens."""
    return False


def _ignore_step(done: int, total: int) -> None:
    pass


def _ignore_epoch(row: Mapping[str, Any]) -> None:
    pass


@dataclass(frozen=True)
class Control:
    """Who does and watches a training; ``deadline`` and the size of ``group`` change it."""

    workers: int = 1
    """Processes that prepare batches."""
    pin_memory: bool | None = None
    """Batches in page-locked memory; None: where they go to a GPU."""
    group: Group = SOLO
    """The processes that train together; each calls with the same arguments but this."""
    deadline: float | None = None
    """``time.monotonic()`` at which the epoch at hand is cut, evaluated, and the last."""
    should_stop: Callable[[], bool] = never
    """Asked before each step; True: the state is written and ``Interrupted`` raised."""
    on_step: Callable[[int, int], None] = _ignore_step
    """Told the steps done and the steps in all."""
    on_epoch: Callable[[Mapping[str, Any]], None] = _ignore_epoch
    """Told each row of the history."""


class Interrupted(Exception):  # noqa: N818 - the user's wish, not an error
    """Training was asked to stop; the same call goes on from the state it wrote."""


Stopped = Literal["finished", "patience", "deadline"]


def training_key(data: FoldData, plan: FitPlan, group: Group = SOLO) -> dict[str, Any]:
    """All that decides the weights a training ends in, as JSON gives it back."""
    spec = asdict(data.spec)
    del spec["sources"]
    arithmetic = asdict(plan.arithmetic)
    # Which of several equal GPUs it is changes nothing, and each process has its own.
    arithmetic["device"] = plan.arithmetic.device.partition(":")[0]
    key = {
        **asdict(plan),
        "arithmetic": arithmetic,
        # Each has chance of its own, and sums are rounded otherwise.
        "processes": group.size,
        "task": data.task,
        "metric": data.scorer.name,
        "pixels": spec,
        "train_images": data.train.fingerprint(),
        "train_labels": sha256_bytes(data.train_truth.tobytes()),
        "train_weights": _hash(data.train_weights),
        "parts": None if data.parts is None else data.parts.tolist(),
        "sampling": {
            **asdict(data.sampling),
            "weights": _hash(data.sampling.weights),
            "partners": _hash(data.sampling.partners),
        },
        "valid_images": data.valid.fingerprint() if data.valid else None,
        "valid_labels": _hash(data.valid_truth),
    }
    # Absent where there is none, as in trainings before there were.
    if data.train_metadata is not None:
        key["train_metadata"] = _hash(data.train_metadata)
        key["valid_metadata"] = _hash(data.valid_metadata)
    if data.coarse:
        key["coarse"] = list(data.coarse)
    if data.soft_targets is not None:
        key["soft_targets"] = _hash(data.soft_targets)
    as_json: dict[str, Any] = json.loads(json.dumps(key))
    return as_json


def _hash(array: NDArray[Any] | None) -> str | None:
    return None if array is None else sha256_bytes(array.tobytes())
