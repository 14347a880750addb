import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from gorae.augment.geometry import normalise
from gorae.data.dataset import EpochBatches
from gorae.data.sources import Task
from gorae.errors import ConfigError, DataError, ResourceError
from gorae.files import sha256_file
from gorae.training.checkpoint import load_checkpoint, weights_path
from gorae.training.evaluate import Arithmetic, predict_outputs
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.optim import OptimPlan, build_optimizer
from gorae.training.outputs import activate
from gorae.training.plan import Control, FitPlan, FoldData, Scorer
from gorae.training.schedules import Course, SchedulePlan, rate_share
from gorae.training.step import step_seed

Fit = Callable[..., FoldResult]
Fold = Callable[..., FoldData]
Net = Callable[..., nn.Module]

IN_PROCESS = Control(workers=0)


def plan_of(*, epochs: int, lr: float, **more: Any) -> FitPlan:
    """A training whose backbone learns as fast as its head."""
    return FitPlan(
        course=Course(SchedulePlan(), epochs=epochs),
        batch_size=4,
        optim=OptimPlan(lr=lr, backbone_lr=lr),
        **more,
    )


def log_loss(truth: NDArray[Any], values: NDArray[np.float32]) -> float:
    return float(-np.log(values[np.arange(len(truth)), truth].astype(float)).mean())


def with_log_loss(data: FoldData) -> FoldData:
    return replace(data, scorer=Scorer("log_loss", log_loss, greater_is_better=False))


def weights_hash(folder: Path, result: FoldResult) -> str:
    return sha256_file(weights_path(folder / "checkpoints", result.checkpoints[0].name))


def test_the_loop_is_a_plain_torch_loop(
    tmp_path: Path, fit: Fit, fold: Fold, tiny_net: Net
) -> None:
    """The same weights, to the bit, as twenty lines of torch without gorae's loop."""
    data, epochs, size = fold(), 2, 4
    result = fit(tmp_path, data=data, epochs=epochs, keep_checkpoints=epochs)
    model = tiny_net().to(memory_format=torch.channels_last)
    optimizer = build_optimizer(model, OptimPlan(lr=0.01, backbone_lr=0.01))
    batches = EpochBatches(len(data.train), batch_size=size, seed=0)
    loader = DataLoader(data.train, batch_sampler=batches)
    step, steps = 0, len(batches)
    for batches.epoch in range(epochs):
        model.train()
        for images, index in loader:
            for group in optimizer.param_groups:
                share = rate_share(
                    SchedulePlan(), step, steps_per_epoch=steps, total_steps=epochs * steps
                )
                group["lr"] = 0.01 * share
            torch.manual_seed(step_seed(0, step))
            pixels = normalise(images, data.spec, memory_format=torch.channels_last)
            labels = torch.from_numpy(data.train_truth)[index]
            loss = F.cross_entropy(model(pixels), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            step += 1
    last = next(c for c in result.checkpoints if c.epoch == epochs)
    trained = tiny_net()
    load_checkpoint(tmp_path / "checkpoints", last, trained)
    for name, value in model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]), name


def test_history_has_one_row_per_epoch(tmp_path: Path, fit: Fit) -> None:
    rows: list[Any] = []
    steps: list[tuple[int, int]] = []
    control = Control(workers=0, on_epoch=rows.append, on_step=lambda *at: steps.append(at))
    result = fit(tmp_path, control=control)
    history = pd.read_csv(tmp_path / "history.csv")
    pd.testing.assert_frame_equal(history, result.history)
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["step"].tolist() == [7, 14, 21]
    shares = [
        rate_share(SchedulePlan(), step - 1, steps_per_epoch=7, total_steps=21)
        for step in (7, 14, 21)
    ]
    np.testing.assert_allclose(history["lr"], 0.01 * np.array(shares))
    assert rows == history.to_dict("records")
    assert steps == [(step, 21) for step in range(1, 22)]
    assert (history["images_per_s"] > 0).all()


def test_train_loss_is_the_mean_over_images(tmp_path: Path, fold: Fold) -> None:
    """With a rate of nearly nothing and no dropout, all batches see the same weights."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, images: Tensor) -> Tensor:
            outputs: Tensor = self.head(images.new_zeros(len(images), 1))
            return outputs

    data = fold(num_train=11)
    model = Constant()
    bias = model.head.bias.detach().clone()
    plan = plan_of(epochs=1, lr=1e-30)
    result = fit_fold(model, data, plan=plan, folder=tmp_path, control=IN_PROCESS)
    labels = torch.from_numpy(data.train_truth)
    expected = F.cross_entropy(bias.expand(11, 2), labels)
    assert result.history["train_loss"][0] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("task", ["multiclass", "ordinal", "multilabel", "regression"])
def test_every_task_is_learned(task: Task, tmp_path: Path, fold: Fold, tiny_net: Net) -> None:
    def closeness(truth: NDArray[Any], values: NDArray[np.float32]) -> float:
        if task == "regression":
            return float(np.corrcoef(truth, values[:, 0])[0, 1])
        wanted = np.eye(2)[truth] if truth.ndim == 1 else truth
        return float(((values > 0.5) == wanted).mean())

    data = replace(fold(task), scorer=Scorer("closeness", closeness, greater_is_better=True))
    plan = plan_of(epochs=12, lr=0.03)
    model = tiny_net(1 if task == "regression" else 2)
    result = fit_fold(model, data, plan=plan, folder=tmp_path, control=IN_PROCESS)
    score = result.checkpoints[0].score
    assert score is not None
    assert score > 0.85
    if task == "regression":
        # Values are in the unit of the truth, about 1025, not standardised.
        assert result.checkpoints[0].form.shift == pytest.approx(1025, abs=10)


def test_a_tiny_set_is_learned_by_heart(tmp_path: Path, fit: Fit, fold: Fold) -> None:
    data = fold(num_train=8)
    data = replace(data, train_truth=np.array([0, 0, 1, 1, 0, 1, 1, 0]))
    result = fit(tmp_path, data=data, epochs=60, lr=0.05, backbone_lr=0.05, weight_decay=0.0)
    assert result.history["train_loss"].iloc[-5:].mean() < 0.25
    assert result.history["train_loss"].iloc[0] > 0.5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_reloaded_checkpoint_reproduces_its_score(
    precision: Any, tmp_path: Path, fit: Fit, fold: Fold, tiny_net: Net
) -> None:
    data, arithmetic = with_log_loss(fold()), Arithmetic(precision=precision)
    result = fit(tmp_path, data=data, arithmetic=arithmetic, keep_checkpoints=3)
    assert data.valid is not None
    assert data.valid_truth is not None
    assert len({checkpoint.score for checkpoint in result.checkpoints}) == 3
    for checkpoint in result.checkpoints:
        model = tiny_net()
        load_checkpoint(tmp_path / "checkpoints", checkpoint, model)
        outputs, _ = predict_outputs(
            model.to(memory_format=torch.channels_last),
            DataLoader(data.valid, batch_size=4),
            spec=data.spec,
            arithmetic=arithmetic,
        )
        values = activate(outputs.numpy(), checkpoint.form)
        assert log_loss(data.valid_truth, values) == pytest.approx(checkpoint.score, abs=1e-7)


def test_two_runs_are_equal_and_another_seed_is_not(tmp_path: Path, fit: Fit) -> None:
    torch.manual_seed(1)
    first = weights_hash(tmp_path / "a", fit(tmp_path / "a"))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert weights_hash(tmp_path / "b", fit(tmp_path / "b")) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_hash(tmp_path / "c", fit(tmp_path / "c", seed=1)) != first


def scores_given(data: FoldData, scores: list[float]) -> FoldData:
    """The metric says ``scores``, one per epoch."""
    remaining = iter(scores)
    return replace(
        data, scorer=Scorer("given", lambda *_: next(remaining), greater_is_better=True)
    )


def test_the_best_are_kept_and_of_equals_the_earlier(
    tmp_path: Path, fit: Fit, fold: Fold
) -> None:
    data = scores_given(fold(), [0.5, 0.9, 0.7, 0.9, 0.6])
    result = fit(tmp_path, data=data, epochs=5, keep_checkpoints=3)
    assert [c.epoch for c in result.checkpoints] == [2, 4, 3]
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {
        f"epoch-000{e}.{end}" for e in (2, 3, 4) for end in ("json", "safetensors")
    }
    assert not (tmp_path / "state").exists()


def test_a_lower_loss_is_better_where_the_metric_says_so(
    tmp_path: Path, fit: Fit, fold: Fold
) -> None:
    result = fit(tmp_path, data=with_log_loss(fold()), keep_checkpoints=2)
    scores = [checkpoint.score for checkpoint in result.checkpoints]
    assert scores == sorted(result.history["score"])[:2]


def test_patience_ends_training(tmp_path: Path, fit: Fit, fold: Fold) -> None:
    data = scores_given(fold(), [0.5, 0.8, 0.8, 0.7, 0.9, 0.9])
    result = fit(tmp_path, data=data, epochs=6, patience=2)
    assert result.stopped == "patience"
    assert result.history["epoch"].tolist() == [1, 2, 3, 4]
    assert result.checkpoints[0].epoch == 2


def test_a_deadline_cuts_the_epoch_and_leaves_a_checkpoint(tmp_path: Path, fit: Fit) -> None:
    result = fit(tmp_path, control=Control(workers=0, deadline=0.0))
    assert result.stopped == "deadline"
    assert result.history["step"].tolist() == [1]
    assert weights_path(tmp_path / "checkpoints", result.checkpoints[0].name).exists()


def test_without_a_validation_part_the_last_weights_are_kept(
    tmp_path: Path, fit: Fit, fold: Fold
) -> None:
    result = fit(tmp_path, data=fold(num_valid=0), patience=1)
    assert [c.epoch for c in result.checkpoints] == [3]
    assert result.checkpoints[0].score is None
    assert result.history["score"].isna().all()
    assert result.stopped == "finished"


def test_a_last_batch_of_one_joins_its_neighbour(tmp_path: Path, fit: Fit, fold: Fold) -> None:
    result = fit(tmp_path, data=fold(num_train=9))
    assert result.history["step"].tolist() == [2, 4, 6]
    assert any(
        "The last batch of an epoch has 5 images, not 4" in note for note in result.notes
    )


def test_one_image_cannot_train(tmp_path: Path, fit: Fit, fold: Fold) -> None:
    with pytest.raises(DataError, match=r"has 1 image\(s\); training needs 2"):
        fit(tmp_path, data=fold(num_train=1))


def test_batches_of_one_are_refused_with_batch_norm(tmp_path: Path, fit: Fit) -> None:
    with pytest.raises(ConfigError, match=r"Set train\.batch_size to 2 or more"):
        fit(tmp_path, batch_size=1)


def test_an_undefined_metric_is_named(tmp_path: Path, fit: Fit, fold: Fold) -> None:
    data = scores_given(fold(), [math.nan])
    with pytest.raises(DataError, match="given is undefined on the 10 images"):
        fit(tmp_path, data=data)


def test_a_finished_training_is_not_repeated(tmp_path: Path, fit: Fit) -> None:
    first = fit(tmp_path)
    steps: list[tuple[int, int]] = []
    again = fit(tmp_path, control=Control(workers=0, on_step=lambda *at: steps.append(at)))
    assert steps == []
    assert again.checkpoints == first.checkpoints
    pd.testing.assert_frame_equal(again.history, first.history)
    with pytest.raises(ConfigError, match="batch_size was 4, now 5"):
        fit(tmp_path, batch_size=5)


class Explosive(nn.Module):
    """Its outputs overflow in the steps named, counted over its life."""

    def __init__(self, net: nn.Module, bad_steps: set[int]) -> None:
        super().__init__()
        self.backbone = net
        self.bad_steps = bad_steps
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.backbone(images)
        self.calls += self.training
        return outputs * (math.inf if self.training and self.calls in self.bad_steps else 1)


def fit_explosive(
    net: nn.Module, bad_steps: set[int], folder: Path, data: FoldData
) -> FoldResult:
    plan = plan_of(epochs=2, lr=0.01)
    model = Explosive(net, bad_steps)
    return fit_fold(model, data, plan=plan, folder=folder, control=IN_PROCESS)


def test_five_bad_steps_in_a_row_are_skipped(tmp_path: Path, fold: Fold, tiny_net: Net) -> None:
    result = fit_explosive(tiny_net(), {2, 3, 4, 5, 6}, tmp_path, fold())
    assert "5 steps were skipped: their loss was not finite." in result.notes
    assert np.isfinite(result.history["train_loss"]).all()
    assert result.history["step"].tolist() == [7, 14]


def test_the_sixth_sets_back_with_half_the_rate(
    tmp_path: Path, fold: Fold, tiny_net: Net
) -> None:
    result = fit_explosive(tiny_net(), set(range(8, 14)), tmp_path, fold())
    assert any(
        "went back to the end of epoch 1 with 1/2 of the learning" in n for n in result.notes
    )
    share = rate_share(SchedulePlan(), 13, steps_per_epoch=7, total_steps=14)
    assert result.history["lr"][1] == pytest.approx(0.01 * share / 2)


@pytest.mark.parametrize("lr", [1e6, 1e30])
def test_a_hopeless_rate_ends_in_a_message_and_no_bad_checkpoint(
    lr: float, tmp_path: Path, fit: Fit, fold: Fold
) -> None:
    data = with_log_loss(fold("multiclass"))
    with pytest.raises(DataError, match=r"no longer finite .* Lower train.lr, now 1e\+"):
        fit(tmp_path, data=data, lr=lr, backbone_lr=lr, epochs=30)
    record = json.loads((tmp_path / "not_finite.json").read_text("utf-8"))
    assert "epoch" in record["where"]
    for path in (tmp_path / "checkpoints").glob("*.json"):
        assert math.isfinite(json.loads(path.read_text())["valid_loss"])


def test_the_pictures_of_a_bad_batch_are_named(
    tmp_path: Path, fold: Fold, tiny_net: Net
) -> None:
    with pytest.raises(DataError, match=r"Pictures of that batch: 사진-\d+.jpg, 사진") as info:
        fit_explosive(tiny_net(), set(range(8, 1000)), tmp_path, fold())
    record = json.loads((tmp_path / "not_finite.json").read_text("utf-8"))
    assert len(record["images"]) == 4
    assert all(name in str(info.value) for name in record["images"])
    assert "even at 1/4 of the learning rate" in str(info.value)


def test_running_out_of_memory_is_a_message(tmp_path: Path, fold: Fold) -> None:
    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, images: Tensor) -> Tensor:
            return images.new_empty(2**50)

    plan = plan_of(epochs=1, lr=0.01)
    with pytest.raises(ResourceError, match="Memory ran out while training with batches of 4"):
        fit_fold(Hungry(), fold(), plan=plan, folder=tmp_path, control=IN_PROCESS)


def test_an_epoch_must_not_end_on_a_bad_step(tmp_path: Path, fold: Fold, tiny_net: Net) -> None:
    """Weights that failed in their last step must not be what training goes back to."""
    result = fit_explosive(tiny_net(), {7}, tmp_path, fold())
    assert any(
        "(last step of epoch 1): went back to the end of epoch 0" in n for n in result.notes
    )
