"""What a step may do beside the plain one: each against what it should be equal to."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gorae.augment.mix import MixPlan
from gorae.data.dataset import Sampling
from gorae.errors import ResourceError
from gorae.training.checkpoint import load_checkpoint
from gorae.training.evaluate import Arithmetic
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.optim import OptimPlan
from gorae.training.plan import Control, FitPlan, FoldData
from gorae.training.schedules import Course, SchedulePlan

Fold = Callable[..., FoldData]
Weights = dict[str, Tensor]

IN_PROCESS = Control(workers=0)
SGD = OptimPlan("sgd", lr=0.05, backbone_lr=0.05, weight_decay=0.0)


class PlainNet(nn.Module):
    """No batch normalisation and no dropout: what a batch is cut into must not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.head = nn.Linear(24, 2)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.backbone(images).flatten(1))
        return outputs


def plain_net() -> PlainNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return PlainNet()


def plan_of(*, epochs: int = 2, batch_size: int = 8, **more: Any) -> FitPlan:
    given = {"optim": SGD, "keep_checkpoints": 9, **more}
    return FitPlan(
        course=Course(SchedulePlan("constant", warmup_epochs=0), epochs=epochs),
        batch_size=batch_size,
        **given,
    )


def weights_after(
    folder: Path, data: FoldData, plan: FitPlan, model: nn.Module | None = None
) -> tuple[Weights, FoldResult]:
    """The weights of the last epoch's checkpoint, and the result."""
    model = model or plain_net()
    result = fit_fold(model, data, plan=plan, folder=folder, control=IN_PROCESS)
    last = max(result.checkpoints, key=lambda checkpoint: checkpoint.epoch)
    load_checkpoint(folder / "checkpoints", last, model)
    return dict(model.state_dict()), result


def assert_equal_weights(found: Weights, expected: Weights, atol: float = 1e-6) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=atol)


def test_accumulated_batches_are_one_large_batch(tmp_path: Path, fold: Fold) -> None:
    # 26 images: the last step is smaller, and its images must not count more.
    large, one = weights_after(tmp_path / "a", fold(), plan_of(batch_size=8))
    small, four = weights_after(tmp_path / "b", fold(), plan_of(batch_size=2, accumulate=4))
    assert_equal_weights(small, large)
    assert one.history["step"].tolist() == four.history["step"].tolist() == [4, 8]
    np.testing.assert_allclose(one.history["train_loss"], four.history["train_loss"], atol=1e-6)


class Greedy(PlainNet):
    """Memory for a few images at once only."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't "
                "allocate memory"
            )
        return super().forward(images)


@pytest.mark.parametrize(("most", "parts"), [(4, 2), (2, 4)])
def test_out_of_memory_halves_batches_and_changes_nothing_else(
    most: int, parts: int, tmp_path: Path, fold: Fold
) -> None:
    expected, _ = weights_after(tmp_path / "a", fold(), plan_of())
    greedy = Greedy(most)
    greedy.load_state_dict(plain_net().state_dict())
    found, result = weights_after(tmp_path / "b", fold(), plan_of(), greedy)
    assert_equal_weights(found, expected)
    assert f"batches of 8 images are computed in {parts} parts" in result.notes[-1]
    again = fit_fold(greedy, fold(), plan=plan_of(), folder=tmp_path / "b", control=IN_PROCESS)
    assert again.notes == result.notes


def test_memory_for_less_than_two_images_ends_in_a_message(tmp_path: Path, fold: Fold) -> None:
    with pytest.raises(ResourceError, match=r"in 4 part\(s\) each.*Lower train.batch_size"):
        weights_after(tmp_path, fold(), plan_of(), Greedy(1))


def test_another_error_is_not_taken_for_memory(tmp_path: Path, fold: Fold) -> None:
    class Broken(PlainNet):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        weights_after(tmp_path, fold(), plan_of(), Broken())


def test_a_long_gradient_is_shortened(tmp_path: Path, fold: Fold) -> None:
    data = fold(num_train=8)
    before = plain_net().state_dict()
    plan = plan_of(epochs=1, clip_norm=1e-3)
    after, _ = weights_after(tmp_path, data, plan)
    moved = torch.stack([(after[name] - before[name]).square().sum() for name in before]).sum()
    assert float(moved.sqrt()) == pytest.approx(SGD.lr * 1e-3, rel=1e-3)


def test_a_clip_no_gradient_reaches_changes_nothing(tmp_path: Path, fold: Fold) -> None:
    plain, _ = weights_after(tmp_path / "a", fold(), plan_of())
    clipped, _ = weights_after(tmp_path / "b", fold(), plan_of(clip_norm=1e6))
    assert_equal_weights(clipped, plain, atol=0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_learns_nearly_the_same(
    precision: Any, tmp_path: Path, fold: Fold
) -> None:
    plain, _ = weights_after(tmp_path / "a", fold(), plan_of())
    plan = plan_of(arithmetic=Arithmetic(precision=precision))
    low, result = weights_after(tmp_path / "b", fold(), plan)
    assert all(value.dtype == torch.float32 for value in low.values())
    assert_equal_weights(low, plain, atol=0.02)
    assert not result.notes


def test_fp16_finds_a_scale_that_does_not_overflow(tmp_path: Path, fold: Fold) -> None:
    class Steep(PlainNet):
        """Gradients that overflow fp16 at the first scale, but not at a smaller one."""

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * 64.0

    plan = plan_of(
        optim=replace(SGD, lr=1e-4, backbone_lr=1e-4), arithmetic=Arithmetic(precision="fp16")
    )
    found, result = weights_after(tmp_path, fold(), plan, Steep())
    progress = json.loads((tmp_path / "fit.json").read_text("utf-8"))["progress"]
    assert 1 < progress["loss_scale"] < 2**16
    # Steps that only looked for the scale are no failures.
    assert progress["skipped_in_all"] == 0
    assert not [note for note in result.notes if "not finite" in note]
    assert all(bool(value.isfinite().all()) for value in found.values())


def test_weights_of_images_count(tmp_path: Path, fold: Fold) -> None:
    """An image of weight 0 is as good as absent; only the ratios of weights matter."""
    data = fold(num_train=8)
    keep = np.array([1, 1, 1, 1, 0, 0, 0, 0.0])
    weighted = replace(data, train_weights=3 * keep)
    found, _ = weights_after(tmp_path / "a", weighted, plan_of(epochs=1))
    flipped = replace(
        weighted, train_truth=np.where(keep, data.train_truth, 1 - data.train_truth)
    )
    other, _ = weights_after(tmp_path / "b", flipped, plan_of(epochs=1))
    assert_equal_weights(found, other, atol=0)
    alike, _ = weights_after(
        tmp_path / "c", replace(data, train_weights=np.full(8, 5.0)), plan_of(epochs=1)
    )
    plain, _ = weights_after(tmp_path / "d", data, plan_of(epochs=1))
    assert_equal_weights(alike, plain)


def test_mixing_needs_no_partner_from_elsewhere_and_repeats(tmp_path: Path, fold: Fold) -> None:
    plan = plan_of(mix=MixPlan(1.0, 0.0, 0.0, 1.0))
    mixed, _ = weights_after(tmp_path / "a", fold(), plan)
    again, _ = weights_after(tmp_path / "b", fold(), plan)
    plain, _ = weights_after(tmp_path / "c", fold(), plan_of())
    assert_equal_weights(again, mixed, atol=0)
    assert any(not torch.equal(mixed[name], plain[name]) for name in plain)


def test_half_of_every_picture_can_come_from_a_pool(tmp_path: Path, fold: Fold) -> None:
    data = fold()
    seen: list[Tensor] = []

    def watch(pixels: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        seen.append(targets)
        return pixels, targets

    pool = np.flatnonzero(data.train_truth == 1)
    mixed = replace(data, sampling=Sampling(partners=pool), hook=watch)
    plan = plan_of(epochs=1, mix=MixPlan(0.0, 0.0, 1.0, 1.0))
    _, result = weights_after(tmp_path, mixed, plan)
    rows = torch.cat(seen)
    assert len(rows) == 26
    # Half of every label is the rare class; the other half is the picture's own.
    assert rows[:, 1].min() == 0.5
    assert float(rows[:, 0].sum()) == 0.5 * (data.train_truth == 0).sum()
    assert np.isfinite(result.history["train_loss"]).all()


def test_a_hook_changes_the_batch(tmp_path: Path, fold: Fold) -> None:
    steps: list[int] = []

    def swap(pixels: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        steps.append(step)
        return pixels, targets.flip(1)

    data = fold()
    hooked, _ = weights_after(tmp_path / "a", replace(data, hook=swap), plan_of())
    swapped = replace(data, train_truth=1 - data.train_truth)
    expected, _ = weights_after(tmp_path / "b", swapped, plan_of())
    assert_equal_weights(hooked, expected, atol=0)
    assert steps == list(range(8))
