"""A training small enough to be done many times: 26 drawn images, one convolution."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gorae.augment.geometry import eval_transform, train_transform
from gorae.data.dataset import ImageDataset, TrainDataset
from gorae.data.pixels import PixelSpec
from gorae.data.sources import Task
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.optim import OptimPlan
from gorae.training.plan import Control, FitPlan, FoldData, Scorer
from gorae.training.schedules import Course, SchedulePlan

SPEC = PixelSpec((0.5,) * 3, (0.25,) * 3, 16, "bilinear", 1.0)

PLAN = FitPlan(
    course=Course(SchedulePlan(warmup_epochs=0.5), epochs=3),
    batch_size=4,
    optim=OptimPlan(lr=0.01, backbone_lr=0.01),
    identity={"model": "tiny"},
)


class TinyNet(nn.Module):
    """Convolution, batch normalisation and dropout: all that a resume can get wrong."""

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(32, num_outputs)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.dropout(self.backbone(images).flatten(1)))
        return outputs


def build_tiny_net(num_outputs: int = 2) -> TinyNet:
    """The same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return TinyNet(num_outputs)


class MemoryStore(dict[str, NDArray[np.uint8]]):
    """Images in memory."""

    def read(self, sha256: str) -> NDArray[np.uint8]:
        return self[sha256]


def accuracy(truth: NDArray[Any], values: NDArray[np.float32]) -> float:
    return float((values.argmax(axis=1) == truth).mean())


def draw_fold(
    task: Task = "multiclass", *, num_train: int = 26, num_valid: int = 10
) -> FoldData:
    """Noise whose red channel is brighter in class 1, and whose blue one carries a number."""
    rng = np.random.default_rng(3)
    labels = np.arange(num_train + num_valid) % 2
    numbers = rng.uniform(0, 1, len(labels))
    store = MemoryStore()
    for index, (label, number) in enumerate(zip(labels, numbers, strict=True)):
        image = rng.integers(0, 120, (20, 24, 3))
        image[..., 0] += 120 * label
        image[..., 2] = 250 * number
        store[hashlib.sha256(str(index).encode()).hexdigest()] = image.astype(np.uint8)
    truths: dict[Task, NDArray[Any]] = {
        "multiclass": labels.astype(np.int64),
        "ordinal": labels.astype(np.int64),
        "multilabel": np.stack([labels == 1, numbers > 0.5], axis=1).astype(np.float32),
        "regression": (1000 + 50 * numbers).astype(np.float32),
    }
    truth, hashes = truths[task], list(store)
    random_view = partial(
        train_transform, spec=SPEC, scale=(0.5, 1), ratio=(0.8, 1.2), hflip=0.5
    )
    valid = ImageDataset(store, hashes[num_train:], partial(eval_transform, spec=SPEC))
    return FoldData(
        task=task,
        num_classes=1 if task == "regression" else 2,
        spec=SPEC,
        train=TrainDataset(store, hashes[:num_train], random_view, seed=0),
        train_truth=truth[:num_train],
        train_ids=[f"사진-{index}.jpg" for index in range(num_train)],
        scorer=Scorer("accuracy", accuracy, greater_is_better=True),
        valid=valid if num_valid else None,
        valid_truth=truth[num_train:] if num_valid else None,
    )


def change_plan(plan: FitPlan, **changes: Any) -> FitPlan:
    """``plan`` with fields of itself, its course or its optimiser changed."""

    def of(part: Any) -> dict[str, Any]:
        return {name: changes[name] for name in part.__dataclass_fields__ if name in changes}

    return replace(
        plan,
        course=replace(plan.course, **of(plan.course)),
        optim=replace(plan.optim, **of(plan.optim)),
        **of(plan),
    )


def fit_tiny(
    folder: Path, *, data: FoldData | None = None, control: Control | None = None, **plan: Any
) -> FoldResult:
    """Train the tiny net in ``folder``; ``plan`` changes fields of the plan and its parts."""
    return fit_fold(
        build_tiny_net(),
        data or draw_fold(),
        plan=change_plan(PLAN, **plan),
        folder=folder,
        control=control or Control(workers=0),
    )


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def fit() -> Callable[..., FoldResult]:
    return fit_tiny


@pytest.fixture
def fold() -> Callable[..., FoldData]:
    return draw_fold


@pytest.fixture
def tiny_net() -> Callable[..., TinyNet]:
    return build_tiny_net
