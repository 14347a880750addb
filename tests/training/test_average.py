import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gorae.training.average import (
    default_decay,
    even_share,
    measuring_norms,
    move_average,
    moving_share,
    start_average,
)
from gorae.training.checkpoint import load_checkpoint, read_tensors
from gorae.training.fit import FoldResult
from gorae.training.plan import Control, FoldData, Interrupted

Fit = Callable[..., FoldResult]
Fold = Callable[..., FoldData]
Net = Callable[..., nn.Module]


def perturbed(model: nn.Module, seed: int) -> nn.Module:
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for value in other.state_dict().values():
        noise = torch.randn(value.shape, generator=generator).abs()
        value.copy_(noise if value.is_floating_point() else value + seed)
    return other


def test_an_even_average_is_the_mean_of_its_members(tiny_net: Net) -> None:
    members = [perturbed(tiny_net(), seed) for seed in range(4)]
    average = start_average(members[0])
    for count, member in enumerate(members):
        move_average(average, member, even_share(count))
    states = [member.state_dict() for member in members]
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            mean = torch.stack([state[name] for state in states]).mean(dim=0)
            torch.testing.assert_close(value, mean)
        else:
            assert torch.equal(value, states[-1][name])


def test_a_moving_average_is_that_of_its_formula(tiny_net: Net) -> None:
    first, second = perturbed(tiny_net(), 1), perturbed(tiny_net(), 2)
    average = start_average(first)
    move_average(average, second, 1 - 0.9)
    for mine, old, new in zip(
        average.parameters(), first.parameters(), second.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, 0.9 * old + 0.1 * new)
        assert not mine.requires_grad


def test_a_young_average_forgets_fast_and_an_old_one_keeps_its_decay() -> None:
    shares = [moving_share(0.99, count) for count in range(2000)]
    assert shares[0] == pytest.approx(0.9)
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(0.01)


@pytest.mark.parametrize(("steps", "decay"), [(5, 0.5), (100, 0.9), (10_000, 0.999)])
def test_the_default_decay_suits_the_length(steps: int, decay: float) -> None:
    assert default_decay(steps) == pytest.approx(decay)


def test_norms_are_measured_on_what_is_shown(tiny_net: Net) -> None:
    model = perturbed(tiny_net(), 3)
    norm = model.get_submodule("backbone.1")
    images = torch.randn(12, 3, 16, 16)
    with measuring_norms(model) as has_norms:
        assert has_norms
        for start in range(0, 12, 4):
            model(images[start : start + 4])
    maps = model.get_submodule("backbone.0")(images)
    torch.testing.assert_close(
        norm.running_mean, maps.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5
    )
    assert norm.momentum == 0.1
    assert not norm.training


def last_weights(folder: Path, result: FoldResult, model: nn.Module) -> dict[str, torch.Tensor]:
    last = max(result.checkpoints, key=lambda checkpoint: checkpoint.epoch)
    load_checkpoint(folder / "checkpoints", last, model)
    return dict(model.state_dict())


AVERAGES: list[dict[str, Any]] = [{"ema_decay": 0.9}, {"swa_epochs": 2}]


@pytest.mark.parametrize("average", AVERAGES)
def test_what_is_evaluated_and_kept_is_the_average(
    average: dict[str, Any], tmp_path: Path, fit: Fit, tiny_net: Net
) -> None:
    plain = fit(tmp_path / "a", keep_checkpoints=9)
    averaged = fit(tmp_path / "b", keep_checkpoints=9, **average)
    one = last_weights(tmp_path / "a", plain, tiny_net())
    other = last_weights(tmp_path / "b", averaged, tiny_net())
    assert not torch.equal(one["head.weight"], other["head.weight"])


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("step", [3, 7, 10, 16])
def test_an_average_resumes_exactly(
    step: int, average: dict[str, Any], tmp_path: Path, fit: Fit, tiny_net: Net
) -> None:
    whole = fit(tmp_path / "a", keep_checkpoints=9, **average)
    asked = iter(range(10**9))
    control = Control(workers=0, should_stop=lambda: next(asked) >= step)
    with pytest.raises(Interrupted):
        fit(tmp_path / "b", keep_checkpoints=9, control=control, **average)
    resumed = fit(tmp_path / "b", keep_checkpoints=9, **average)
    columns = ["epoch", "step", "lr", "train_loss", "valid_loss", "score"]
    assert whole.history[columns].equals(resumed.history[columns])
    one = last_weights(tmp_path / "a", whole, tiny_net())
    other = last_weights(tmp_path / "b", resumed, tiny_net())
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_swa_is_the_mean_of_the_weights_at_the_end_of_its_epochs(
    tmp_path: Path, fit: Fit, tiny_net: Net
) -> None:
    result = fit(tmp_path / "whole", swa_epochs=2, keep_checkpoints=9)
    ends = []

    def keep_end(row: Mapping[str, Any]) -> None:
        if row["epoch"] > 1:
            name = f"state-{row['epoch']:04d}-00000000"
            ends.append(read_tensors(tmp_path / "watched" / "state", name)[0])

    fit(
        tmp_path / "watched",
        swa_epochs=2,
        keep_checkpoints=9,
        control=Control(workers=0, on_epoch=keep_end),
    )
    found = last_weights(tmp_path / "whole", result, tiny_net())
    mean = torch.stack([end["model.head.weight"] for end in ends]).mean(dim=0)
    assert len(ends) == 2
    torch.testing.assert_close(found["head.weight"], mean)


def test_averages_go_with_other_settings(tmp_path: Path, fit: Fit, fold: Fold) -> None:
    result = fit(tmp_path, data=replace(fold(), valid=None, valid_truth=None), swa_epochs=1)
    assert [checkpoint.epoch for checkpoint in result.checkpoints] == [3]
