"""A training that is stopped anywhere ends in the weights of one that never was."""

import importlib.util
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gorae.errors import ConfigError, StorageError
from gorae.files import sha256_file
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.optim import OptimPlan
from gorae.training.plan import Control, FitPlan, FoldData, Interrupted
from gorae.training.schedules import Course, SchedulePlan

EPOCHS = 40
"""Of the trainings that are killed: a second or two of work."""


def plan_of(*, epochs: int, lr: float, **more: Any) -> FitPlan:
    """A training whose backbone learns as fast as its head."""
    return FitPlan(
        course=Course(SchedulePlan(), epochs=epochs),
        batch_size=4,
        optim=OptimPlan(lr=lr, backbone_lr=lr),
        **more,
    )


Fit = Callable[..., FoldResult]
Fold = Callable[..., FoldData]


def files_of(folder: Path) -> dict[str, str]:
    """Name and hash of every checkpoint file: weights, scores, all."""
    return {path.name: sha256_file(path) for path in (folder / "checkpoints").iterdir()}


def stop_at(step: int, workers: int = 0) -> Control:
    """Stop after so many steps of this process, in training or in the evaluation behind it."""
    taken: list[int] = []
    return Control(
        workers=workers,
        should_stop=lambda: len(taken) >= step,
        on_step=lambda done, _: taken.append(done),
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed")
    load_tiny().fit_tiny(folder, keep_checkpoints=3)
    return files_of(folder)


@pytest.mark.parametrize("steps", [(0,), (3,), (7,), (8,), (20,), (1, 1, 1), (5, 5, 9), (7, 7)])
def test_stopped_at_any_step_and_resumed(
    steps: tuple[int, ...], tmp_path: Path, fit: Fit, undisturbed: dict[str, str]
) -> None:
    for step in steps:
        with pytest.raises(Interrupted):
            fit(tmp_path, keep_checkpoints=3, control=stop_at(step))
    result = fit(tmp_path, keep_checkpoints=3)
    assert files_of(tmp_path) == undisturbed
    assert result.history["epoch"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_with_other_workers(
    workers: int, tmp_path: Path, fit: Fit, undisturbed: dict[str, str]
) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, keep_checkpoints=3, control=stop_at(9, workers=2 - workers))
    fit(tmp_path, keep_checkpoints=3, control=Control(workers=workers))
    assert files_of(tmp_path) == undisturbed


def load_tiny() -> Any:
    """The builders of this folder's conftest, in a process that pytest did not start."""
    path = Path(__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("tiny_fold", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fit_in_process(folder: Path, started: Any) -> None:
    torch.set_num_threads(1)
    control = Control(workers=0, on_step=lambda *_: started.set())
    load_tiny().fit_tiny(folder, keep_checkpoints=3, epochs=EPOCHS, control=control)


def kill_until_finished(folder: Path, rng: np.random.Generator, *, max_kills: int) -> int:
    """Run the training in processes killed at random moments; the number of kills."""
    # Forked: a fresh interpreter would take seconds to import torch, each time.
    context = multiprocessing.get_context("fork")
    for kill in range(max_kills + 1):
        started = context.Event()
        process = context.Process(target=fit_in_process, args=(folder, started))
        process.start()
        started.wait(60)
        if kill < max_kills:
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
        process.join(120)
        if process.exitcode == 0:
            return kill
    pytest.fail(f"exit code {process.exitcode} without a kill")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    load_tiny().fit_tiny(tmp_path / "whole", keep_checkpoints=3, epochs=EPOCHS)
    kills = kill_until_finished(tmp_path / "killed", np.random.default_rng(), max_kills=3)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert kills >= 1


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_killed_at_random_moments_many_times(tmp_path: Path) -> None:
    load_tiny().fit_tiny(tmp_path / "whole", keep_checkpoints=3, epochs=EPOCHS)
    kills = 0
    for seed in range(20):
        folder = tmp_path / f"killed-{seed}"
        kills += kill_until_finished(folder, np.random.default_rng(seed), max_kills=10)
        assert files_of(folder) == files_of(tmp_path / "whole")
    assert kills >= 50


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-50] ^= 4
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [damage_empty, damage_truncated, damage_bit])
@pytest.mark.parametrize("ending", ["safetensors", "json"])
@pytest.mark.parametrize(("stop", "before"), [(17, "state-0002"), (14, "state-0001")])
def test_a_damaged_state_gives_way_to_the_one_before(
    damage: Callable[[Path], None],
    ending: str,
    stop: int,
    before: str,
    tmp_path: Path,
    fit: Fit,
    undisturbed: dict[str, str],
) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, keep_checkpoints=3, control=stop_at(stop))
    damage(sorted((tmp_path / "state").glob(f"*.{ending}"))[-1])
    result = fit(tmp_path, keep_checkpoints=3)
    assert files_of(tmp_path) == undisturbed
    assert any(f"Went on from {before}-00000000 instead" in note for note in result.notes)


def test_without_any_whole_state_it_says_so(tmp_path: Path, fit: Fit) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, control=stop_at(9))
    for path in (tmp_path / "state").glob("*.safetensors"):
        damage_bit(path)
    with pytest.raises(StorageError, match=r"No training state in .* can be used") as info:
        fit(tmp_path)
    assert "Delete that folder to train this fold from its beginning" in str(info.value)


def test_resuming_something_else_is_refused_with_the_differences(
    tmp_path: Path, fit: Fit, fold: Fold
) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, control=stop_at(2))
    with pytest.raises(
        ConfigError, match="holds another training than the one asked for"
    ) as info:
        fit(tmp_path, lr=0.02, batch_size=8, identity={"model": "other"})
    assert "lr was 0.01, now 0.02" in str(info.value)
    assert "batch_size was 4, now 8" in str(info.value)
    assert "identity.model was 'tiny', now 'other'" in str(info.value)
    data = fold()
    changed = replace(data, train_truth=1 - data.train_truth)
    with pytest.raises(ConfigError, match="train_labels was"):
        fit(tmp_path, data=changed)


class Brittle(nn.Module):
    """Overflows for good once the weights of its head have grown beyond a limit."""

    def __init__(self, net: nn.Module, limit: float) -> None:
        super().__init__()
        self.backbone = net
        self.limit = limit
        self.norms: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        norm = float(self.backbone.get_parameter("head.weight").detach().norm())
        self.norms.append(norm)
        outputs: Tensor = self.backbone(images)
        return outputs * (math.inf if self.training and norm > self.limit else 1)


def fit_brittle(net: nn.Module, limit: float, folder: Path, control: Control) -> list[str]:
    plan = plan_of(epochs=4, lr=0.1, keep_checkpoints=4)
    data = load_tiny().draw_fold()
    brittle = Brittle(net, limit)
    result = fit_fold(brittle, data, plan=plan, folder=folder, control=control)
    return [*result.notes, *(str(norm) for norm in brittle.norms)]


@pytest.mark.parametrize("stop", [9, 16, 18])
def test_setting_back_does_not_depend_on_interruptions(
    stop: int, tmp_path: Path, tiny_net: Callable[[], nn.Module]
) -> None:
    """A state written in mid-epoch must not be what a failed training goes back to."""
    in_process = Control(workers=0)
    norms = [float(n) for n in fit_brittle(tiny_net(), math.inf, tmp_path / "free", in_process)]
    calls_per_epoch = 10  # 7 steps, 3 batches of validation
    after_two = norms[2 * calls_per_epoch - 1]
    # Reached in the third epoch, and not at half the rate.
    limit = after_two + 0.6 * (max(norms) - after_two)
    whole = fit_brittle(tiny_net(), limit, tmp_path / "whole", in_process)
    assert "went back to the end of epoch 2" in whole[0]
    with pytest.raises(Interrupted):
        fit_brittle(tiny_net(), limit, tmp_path / "stopped", stop_at(stop))
    stopped = fit_brittle(tiny_net(), limit, tmp_path / "stopped", in_process)
    assert stopped[0] == whole[0]
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")
