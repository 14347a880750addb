"""Images per second of gorae's training loop beside a bare loop of torch.

Both train the same network (random weights) on the same drawn pictures in the same batches
from the same kind of loader, in one process, an epoch of one after an epoch of the other; the
first pair warms up and is not counted. Run: ``python benchmarks/loop.py`` (``--help`` for
sizes and networks).
"""

import argparse
import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.augment.geometry import normalise, train_transform
from gorae.data.dataset import EpochBatches, TrainDataset
from gorae.data.pixels import PixelSpec
from gorae.training.evaluate import Arithmetic, place
from gorae.training.feed import open_feed
from gorae.training.fit import fit_fold
from gorae.training.optim import OptimPlan
from gorae.training.plan import Control, FitPlan, FoldData, Scorer
from gorae.training.schedules import Course, SchedulePlan


class Network(nn.Module):
    """A timm backbone under a linear head."""

    def __init__(self, name: str) -> None:
        super().__init__()
        backbone: Any = timm.create_model(name, num_classes=0)
        self.backbone = backbone
        self.head = nn.Linear(backbone.head_hidden_size, 2)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.backbone(images))
        return outputs


class DrawnStore(dict[str, NDArray[np.uint8]]):
    """Pictures of noise in memory."""

    def read(self, sha256: str) -> NDArray[np.uint8]:
        return self[sha256]


def draw_data(num_images: int, spec: PixelSpec) -> FoldData:
    rng = np.random.default_rng(0)
    short_side = round(1.15 * spec.input_size)
    store = DrawnStore(
        {
            hashlib.sha256(str(index).encode()).hexdigest(): rng.integers(
                0, 256, (short_side, short_side * 4 // 3, 3), dtype=np.uint8
            )
            for index in range(num_images)
        }
    )
    transform = partial(
        train_transform, spec=spec, scale=(0.35, 1.0), ratio=(0.75, 4 / 3), hflip=0.5
    )
    return FoldData(
        task="multiclass",
        num_classes=2,
        spec=spec,
        train=TrainDataset(store, list(store), transform, seed=0),
        train_truth=np.arange(num_images) % 2,
        train_ids=list(store),
        scorer=Scorer("none", lambda truth, values: 0.0, greater_is_better=True),
    )


def bare_epochs(
    model: nn.Module, data: FoldData, plan: FitPlan, workers: int
) -> Iterator[float]:
    """Images per second of one epoch after another."""
    place(model, plan.arithmetic).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.optim.lr, fused=True)
    keys = EpochBatches(len(data.train), batch_size=plan.batch_size, seed=0)
    read = open_feed(data.train, keys, workers=workers, pin_memory=False, on_note=print)
    labels = torch.from_numpy(data.train_truth)
    is_bf16 = plan.arithmetic.precision == "bf16"
    for keys.epoch in itertools.count():
        started = time.monotonic()
        for images, index in read():
            pixels = normalise(images, data.spec, memory_format=plan.arithmetic.memory_format)
            with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
                outputs = model(pixels)
            loss = F.cross_entropy(outputs.float(), labels[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
        yield len(data.train) / (time.monotonic() - started)


def time_pairs(
    name: str, data: FoldData, plan: FitPlan, workers: int
) -> list[tuple[float, float]]:
    """Images per second of gorae and of the bare loop, for each epoch but the first."""
    bare = bare_epochs(Network(name), data, plan, workers)
    speeds: list[float] = []
    control = Control(workers=workers, on_epoch=lambda row: speeds.append(next(bare)))
    with tempfile.TemporaryDirectory() as folder:
        result = fit_fold(Network(name), data, plan=plan, folder=Path(folder), control=control)
    return list(zip(result.history["images_per_s"], speeds, strict=True))[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenetv2_100")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    spec = PixelSpec((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), options.size, "bicubic", 1.0)
    data = draw_data(options.images, spec)
    plan = FitPlan(
        course=Course(SchedulePlan(), epochs=1 + options.turns),
        batch_size=options.batch_size,
        optim=OptimPlan(lr=1e-3, backbone_lr=1e-3),
        arithmetic=Arithmetic(precision=options.precision),
    )
    print(
        f"{options.model}, {options.size} px, batches of {options.batch_size}, "
        f"{options.precision}, {options.threads} threads, {options.turns} turns"
    )
    for workers in options.workers:
        speeds = time_pairs(options.model, data, plan, workers)
        ratios = sorted(gorae / plain for gorae, plain in speeds)
        # The best turn is the one least disturbed by whatever else the machine does.
        ours, bare = (max(column) for column in zip(*speeds, strict=True))
        print(
            f"{workers} workers: gorae {ours:.1f}, bare {bare:.1f} images/s (best turns), "
            f"ratio {ours / bare:.3f}; turn by turn {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
