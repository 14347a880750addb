"""gorae.training.lr_finder: the sweep, what it leaves behind, and what it suggests."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gorae.training.fit import FoldResult
from gorae.training.lr_finder import (
    SweepPlan,
    smooth_losses,
    suggest_rate,
    sweep_fold,
    sweep_rates,
)
from gorae.training.optim import OptimizerName, OptimPlan, build_optimizer
from gorae.training.plan import Control, FitPlan, FoldData
from gorae.training.schedules import Course, SchedulePlan
from gorae.training.state import optimizer_tensors

RATES = np.geomspace(1e-6, 10, 100)


def curve(*, falls_at: float, rises_at: float, noise: float = 0.0) -> NDArray[np.float64]:
    """Losses that fall around one rate and rise from another on."""
    decades = np.log10(RATES)
    fall = 1 / (1 + np.exp(-4 * (decades - math.log10(falls_at))))
    rise = np.exp(6 * (decades - math.log10(rises_at)))
    rng = np.random.default_rng(0)
    losses: NDArray[np.float64] = 2 - 1.2 * fall + rise + noise * rng.normal(size=len(RATES))
    return losses


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_lower_of_both_guesses_is_suggested(noise: float) -> None:
    early = curve(falls_at=1e-4, rises_at=1, noise=noise)
    found = suggest_rate(RATES, early, has_diverged=True)
    assert found.steepest == pytest.approx(1e-4, rel=0.8)
    assert found.rate == float(f"{found.steepest:.2g}")
    assert "fell fastest" in found.reason
    late = curve(falls_at=0.05, rises_at=1, noise=noise)
    found = suggest_rate(RATES, late, has_diverged=True)
    assert found.minimum is not None
    assert 0.1 < found.minimum < 0.6
    assert found.rate == float(f"{found.minimum / 10:.2g}")
    assert "A tenth of" in found.reason


@pytest.mark.parametrize("seed", range(10))
def test_losses_that_never_fall_suggest_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = suggest_rate(RATES, 2 + 0.1 * rng.normal(size=100), has_diverged=False)
    assert found.rate is None
    assert "did not fall" in found.reason


def test_too_short_a_sweep_suggests_nothing() -> None:
    assert suggest_rate(RATES[:1], np.ones(1), has_diverged=True).rate is None


def test_a_loss_that_still_falls_is_said_so() -> None:
    found = suggest_rate(RATES, curve(falls_at=1, rises_at=1e9), has_diverged=False)
    assert found.rate is not None
    assert found.rate <= 1
    assert "not diverged at the highest rate" in found.reason


def test_smoothing_does_not_move_a_step() -> None:
    losses = np.where(RATES < 1e-3, 2.0, 1.0)
    smoothed = smooth_losses(RATES, losses)
    crossing = RATES[np.flatnonzero(smoothed < 1.5)[0]]
    assert crossing == pytest.approx(1e-3, rel=0.2)
    np.testing.assert_allclose(smooth_losses(RATES, np.full(100, 3.0)), 3.0)


def bowl() -> tuple[nn.Linear, torch.optim.Optimizer, Callable[[int], float]]:
    """Least squares by plain steps, which diverge from a rate of 2 / 4 = 0.5 on."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 3.0)
    optimizer = build_optimizer(model, OptimPlan("sgd", lr=0.1, backbone_lr=0.1))

    def take_step(step: int) -> float:
        optimizer.zero_grad()
        loss: Tensor = 2 * (model.weight - 1).square().sum()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach().item()

    return model, optimizer, take_step


def test_the_sweep_stops_where_steps_diverge() -> None:
    model, optimizer, take_step = bowl()
    told = []
    found = sweep_rates(
        model, optimizer, take_step, lr=0.1, on_step=lambda *step: told.append(step)
    )
    assert found.stopped == "diverged"
    assert 0.5 < found.rates[-1] < 10
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == len(told)
    np.testing.assert_allclose(found.rates, RATES[: len(found.rates)])
    assert found.losses[0] == pytest.approx(8)
    assert found.suggestion.rate is not None
    assert 1e-3 < found.suggestion.rate < 0.5


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_ends_the_sweep(bad: float) -> None:
    model, optimizer, _ = bowl()
    found = sweep_rates(model, optimizer, lambda i: 1.0 if i < 5 else bad, lr=0.1)
    assert found.stopped == "diverged"
    assert found.losses.tolist() == [1.0] * 5


def test_rates_of_groups_keep_their_ratio(tiny_net: Callable[..., nn.Module]) -> None:
    model = tiny_net()
    optimizer = build_optimizer(model, OptimPlan(lr=0.2, backbone_lr=0.05))
    seen = []

    def take_step(step: int) -> float:
        seen.append(sorted({group["lr"] for group in optimizer.param_groups}))
        return 1.0

    plan = SweepPlan(lowest=0.01, highest=1, num_steps=3)
    found = sweep_rates(model, optimizer, take_step, lr=0.2, plan=plan)
    np.testing.assert_allclose(seen, [[0.0025, 0.01], [0.025, 0.1], [0.25, 1.0]])
    np.testing.assert_allclose(found.rates, [0.01, 0.1, 1])
    assert {group["peak_lr"] for group in optimizer.param_groups} == {0.2, 0.05}


def test_a_sweep_that_fails_leaves_nothing_behind() -> None:
    model, optimizer, take_step = bowl()
    model.eval()

    def fail_late(step: int) -> float:
        model.train()
        if step == 3:
            raise KeyboardInterrupt
        return take_step(step)

    with pytest.raises(KeyboardInterrupt):
        sweep_rates(model, optimizer, fail_late, lr=0.1)
    assert model.weight.item() == 3
    assert not model.training
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


@pytest.mark.parametrize("name", ["adamw", "momentum", "adamp"])
def test_a_training_goes_on_as_if_there_had_been_no_sweep(
    name: OptimizerName, tiny_net: Callable[..., nn.Module]
) -> None:
    plan = OptimPlan(name, lr=0.01, backbone_lr=0.001)
    model = tiny_net()
    optimizer = build_optimizer(model, plan)

    def take_step(step: int) -> float:
        optimizer.zero_grad()
        images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(step))
        loss = nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 0, 1]))
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach().item()

    take_step(0)
    before = {
        **{key: value.clone() for key, value in model.state_dict().items()},
        **{key: value.clone() for key, value in optimizer_tensors(optimizer).items()},
    }
    sweep_rates(model, optimizer, take_step, lr=0.01, plan=SweepPlan(num_steps=20))
    after = {**model.state_dict(), **optimizer_tensors(optimizer)}
    assert sorted(after) == sorted(before)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    assert all(parameter.grad is None for parameter in model.parameters())


def plan_of(**changes: Any) -> FitPlan:
    course = Course(SchedulePlan("cosine", warmup_epochs=1), epochs=3, swa_epochs=1)
    optim = OptimPlan(lr=0.01, backbone_lr=0.01)
    return FitPlan(course=course, batch_size=4, optim=optim, **changes)


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "clip_norm": 1.0}])
def test_a_fold_is_swept_and_the_network_left_as_it_was(
    changes: dict[str, Any],
    tiny_net: Callable[..., nn.Module],
    fold: Callable[..., FoldData],
) -> None:
    model = tiny_net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    chance = torch.get_rng_state()
    found = sweep_fold(model, fold(), plan=plan_of(**changes), control=Control(workers=0))
    assert len(found.losses) > 50
    assert found.losses[0] == pytest.approx(math.log(2), abs=0.3)
    assert found.suggestion.rate is not None
    assert 1e-4 < found.suggestion.rate < 1
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert torch.equal(torch.get_rng_state(), chance)
    again = sweep_fold(model, fold(), plan=plan_of(**changes), control=Control(workers=0))
    np.testing.assert_array_equal(found.losses, again.losses)


def test_the_suggested_rate_trains_better_than_one_far_below_it(
    tmp_path: Path,
    fit: Callable[..., FoldResult],
    tiny_net: Callable[..., nn.Module],
    fold: Callable[..., FoldData],
) -> None:
    found = sweep_fold(tiny_net(), fold(), plan=plan_of(), control=Control(workers=0))
    rate = found.suggestion.rate
    assert rate is not None

    def last_loss(lr: float) -> float:
        folder = tmp_path / f"{lr:g}"
        result = fit(folder, lr=lr, backbone_lr=lr, epochs=4)
        return float(result.history["train_loss"].iloc[-1])

    assert last_loss(rate) < last_loss(rate / 100)
