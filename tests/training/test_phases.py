"""Which weights learn in which epoch, and how fast."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gorae.augment.geometry import eval_transform
from gorae.data.dataset import TrainDataset
from gorae.models.blocks import backbone_blocks, last_norms
from gorae.models.build import build_model
from gorae.models.network import ImageModel
from gorae.training.checkpoint import read_tensors
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.optim import OptimPlan
from gorae.training.plan import Control, FitPlan, FoldData, Interrupted
from gorae.training.schedules import Course, SchedulePlan, course_share

Fold = Callable[..., FoldData]

MOMENTUM = OptimPlan("momentum", lr=0.05, backbone_lr=0.05)


def network() -> ImageModel:
    return build_model("test_resnet", num_outputs=2, kwargs={}, seed=0, folder=Path())


def plan_of(course: Course, **more: Any) -> FitPlan:
    return FitPlan(
        course=course, batch_size=8, optim=MOMENTUM, **{"keep_checkpoints": 9, **more}
    )


def states_after(
    folder: Path, data: FoldData, plan: FitPlan, control: Control | None = None
) -> tuple[list[dict[str, Tensor]], FoldResult]:
    """The weights before training and at the end of each epoch."""
    ends = [dict(network().state_dict())]

    def keep(row: Mapping[str, Any]) -> None:
        tensors, _ = read_tensors(folder / "state", f"state-{row['epoch']:04d}-00000000")
        ends.append(
            {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
        )

    watching = replace(control or Control(workers=0), on_epoch=keep)
    result = fit_fold(network(), data, plan=plan, folder=folder, control=watching)
    return ends, result


def learned(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def head_names() -> set[str]:
    return {name for name in network().state_dict() if name.startswith("head.")}


def test_a_frozen_backbone_stays_to_the_bit(tmp_path: Path, fold: Fold) -> None:
    plan = plan_of(Course(SchedulePlan(), epochs=2), is_frozen=True)
    ends, _ = states_after(tmp_path, fold(), plan)
    # Not even the statistics of its batch normalisations move.
    assert learned(ends[0], ends[-1]) == head_names()


def test_blocks_thaw_from_the_top_one_after_the_other(tmp_path: Path, fold: Fold) -> None:
    plan = plan_of(Course(SchedulePlan("constant", 0), epochs=3), unfreeze_every=1)
    ends, _ = states_after(tmp_path, fold(), plan)
    blocks = [set(names) for names in backbone_blocks(network())]
    parameters = {name for name, _ in network().named_parameters()}
    for epoch in range(3):
        allowed = head_names().union(*blocks[len(blocks) - epoch :])
        assert learned(ends[epoch], ends[epoch + 1]) & parameters == allowed


def test_fixres_adapts_the_head_and_the_last_norms_only(tmp_path: Path, fold: Fold) -> None:
    plan = plan_of(Course(SchedulePlan(), epochs=1, fixres_epochs=2))
    ends, result = states_after(tmp_path, fold(), plan)
    assert result.history["epoch"].tolist() == [1, 2, 3]
    changed = learned(ends[1], ends[3])
    norms = set(last_norms(network()))
    assert head_names() <= changed
    assert {name.rpartition(".")[0] for name in changed} - {"head"} == norms


def test_fixres_begins_with_what_was_evaluated(tmp_path: Path, fold: Fold) -> None:
    """The moving average, not the weights it was made of, adapts to the test size."""
    course = Course(SchedulePlan(), epochs=2, fixres_epochs=1)
    plan = plan_of(course, ema_decay=0.5)
    folder = tmp_path / "a"
    first = backbone_blocks(network())[0][0]
    averages = []

    def keep(row: Mapping[str, Any]) -> None:
        if row["epoch"] == 2:
            tensors, _ = read_tensors(folder / "state", "state-0002-00000000")
            averages.append(tensors[f"average.{first}"])

    control = Control(workers=0, on_epoch=keep)
    model = network()
    fit_fold(model, fold(), plan=plan, folder=folder, control=control)
    assert torch.equal(model.state_dict()[first], averages[0])


@pytest.mark.parametrize("step", [2, 4, 6, 9])
def test_phases_resume_exactly(step: int, tmp_path: Path, fold: Fold) -> None:
    course = Course(SchedulePlan(), epochs=2, fixres_epochs=1)
    plan = plan_of(course, ema_decay=0.5, unfreeze_every=1)
    asked = iter(range(10**9))
    stopping = Control(workers=0, should_stop=lambda: next(asked) >= step)
    with pytest.raises(Interrupted):
        states_after(tmp_path / "b", fold(), plan, stopping)
    resumed, _ = states_after(tmp_path / "b", fold(), plan)
    whole, _ = states_after(tmp_path / "a", fold(), plan)
    assert not learned(whole[-1], resumed[-1])


@pytest.mark.parametrize("kind", ["constant", "step", "cosine", "plateau", "one_cycle"])
def test_the_rates_of_the_history_are_those_of_the_course(
    kind: Any, tmp_path: Path, fold: Fold
) -> None:
    course = Course(
        SchedulePlan(kind, decay_epochs=1, plateau_patience=1),
        epochs=4,
        swa_epochs=1,
        swa_lr_share=0.3,
        fixres_epochs=1,
    )
    _, result = states_after(tmp_path, fold(), plan_of(course))
    scores = result.history["score"].tolist()
    per_epoch = 4  # 26 images in batches of 8
    expected = [
        0.05 * course_share(course, step - 1, steps_per_epoch=per_epoch, scores=scores)
        for step in result.history["step"]
    ]
    np.testing.assert_allclose(result.history["lr"], expected)
    assert result.history["step"].tolist() == [4, 8, 12, 16, 20]


def test_sizes_may_grow_while_training(tmp_path: Path, fold: Fold) -> None:
    data = fold()
    dataset = data.train
    shown: list[tuple[int, int]] = []

    def hook(pixels: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        shown.append((step // 4, pixels.shape[-1]))
        return pixels, targets

    def change(size: int) -> Any:
        spec = replace(data.spec, input_size=size)
        return partial(as_evaluated, spec=spec)

    growing = TrainDataset(
        dataset._store,
        [sha256.decode() for sha256 in dataset._hashes],
        change(16),
        seed=0,
        later=[(1, change(24))],
    )
    plan = plan_of(Course(SchedulePlan(), epochs=2))
    states_after(tmp_path, replace(data, train=growing, hook=hook), plan)
    assert set(shown) == {(0, 16), (1, 24)}


def as_evaluated(image: Tensor, *, spec: Any, rng: np.random.Generator) -> Tensor:
    return eval_transform(image, spec)
