"""gorae.training.schedules against torch's schedulers and by hand."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from gorae.training.schedules import (
    FIXRES_PEAK,
    Course,
    ScheduleKind,
    SchedulePlan,
    cosine_share,
    course_notes,
    course_share,
    rate_share,
    used_fields,
)

KINDS: tuple[ScheduleKind, ...] = get_args(ScheduleKind)
PER_EPOCH = 7


def shares(plan: SchedulePlan, total_steps: int, scores: Sequence[float] = ()) -> list[float]:
    return [
        rate_share(
            plan, step, steps_per_epoch=PER_EPOCH, total_steps=total_steps, scores=scores
        )
        for step in range(total_steps)
    ]


def torch_shares(
    build: Callable[[torch.optim.Optimizer], Any], total_steps: int
) -> list[float]:
    """The rates of one of torch's schedulers, stepped after every step, with a peak of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, found = build(optimizer), []
    for _ in range(total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


STEPS = 20 * PER_EPOCH
TORCHS: dict[str, tuple[SchedulePlan, Callable[[Any], Any]]] = {
    "constant": (
        SchedulePlan("constant", warmup_epochs=0),
        lambda o: lr_scheduler.ConstantLR(o, factor=1.0),
    ),
    "step": (
        SchedulePlan("step", warmup_epochs=0, decay_epochs=3, decay_factor=0.5),
        lambda o: lr_scheduler.StepLR(o, 3 * PER_EPOCH, gamma=0.5),
    ),
    "multi_step": (
        SchedulePlan("multi_step", warmup_epochs=0, milestones=(4, 9, 9.5), decay_factor=0.2),
        lambda o: lr_scheduler.MultiStepLR(o, [28, 63, round(9.5 * PER_EPOCH)], gamma=0.2),
    ),
    "cosine": (
        SchedulePlan("cosine", warmup_epochs=0, min_lr_share=0.05),
        lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.05),
    ),
    "cosine_restarts": (
        SchedulePlan(
            "cosine_restarts",
            warmup_epochs=0,
            restart_epochs=2,
            restart_factor=2,
            min_lr_share=0.1,
        ),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(
            o, 2 * PER_EPOCH, T_mult=2, eta_min=0.1
        ),
    ),
    "one_cycle": (
        SchedulePlan("one_cycle"),
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=STEPS + 1),
    ),
}


@pytest.mark.parametrize("kind", sorted(TORCHS))
def test_shares_are_those_of_torchs_scheduler(kind: str) -> None:
    plan, build = TORCHS[kind]
    # torch's OneCycleLR refuses to be stepped after its last step, so it has one more.
    ours = shares(plan, STEPS + (kind == "one_cycle"))[:STEPS]
    np.testing.assert_allclose(ours, torch_shares(build, STEPS), atol=1e-12)


@pytest.mark.parametrize("warmup_epochs", [1, 2.5])
@pytest.mark.parametrize("kind", ["cosine", "cosine_restarts"])
def test_curves_begin_where_the_warm_up_ends(kind: ScheduleKind, warmup_epochs: float) -> None:
    plan = SchedulePlan(kind, warmup_epochs=warmup_epochs, restart_epochs=3)
    warmup = round(warmup_epochs * PER_EPOCH)
    torchs = {
        "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS - warmup),
        "cosine_restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3 * PER_EPOCH),
    }
    ours = shares(plan, STEPS)
    np.testing.assert_allclose(ours[:warmup], np.arange(1, warmup + 1) / warmup)
    expected = torch_shares(torchs[kind], STEPS - warmup)
    np.testing.assert_allclose(ours[warmup:], expected, atol=1e-12)


@given(
    scores=st.lists(st.integers(0, 5), min_size=1, max_size=25),
    patience=st.integers(1, 4),
    floor=st.sampled_from([0.0, 0.05]),
)
@settings(max_examples=60, deadline=None)
def test_plateau_is_torchs(scores: list[int], patience: int, floor: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    # torch counts the epochs it lets pass, we those after which it decays.
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.5, patience=patience - 1, threshold=0, min_lr=floor, eps=0
    )
    expected = []
    for score in scores:
        expected += [optimizer.param_groups[0]["lr"]] * PER_EPOCH
        scheduler.step(score)
    plan = SchedulePlan(
        "plateau",
        warmup_epochs=0,
        plateau_patience=patience,
        decay_factor=0.5,
        min_lr_share=floor,
    )
    ours = shares(plan, len(scores) * PER_EPOCH, scores)
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_plateau_does_not_look_ahead() -> None:
    plan = SchedulePlan("plateau", warmup_epochs=0, plateau_patience=1)
    known = [shares(plan, 4 * PER_EPOCH, [3, 2, 1, 0][:epoch]) for epoch in range(5)]
    for step in range(4 * PER_EPOCH):
        assert known[step // PER_EPOCH][step] == known[4][step]
    assert known[0] == [1.0] * (4 * PER_EPOCH)


def test_a_cosine_stepped_by_batch_is_the_source_texts_triangle() -> None:
    period_50 = [cosine_share(step / 50) for step in range(533)]
    assert period_50[532] == pytest.approx(0.2871, abs=5e-5)
    assert period_50[50] == period_50[150] == pytest.approx(0)
    assert period_50[100] == period_50[200] == pytest.approx(1)
    torchs = torch_shares(lambda o: lr_scheduler.CosineAnnealingLR(o, 50), 533)
    np.testing.assert_allclose(period_50, torchs, atol=1e-9)


def test_cosine_is_its_formula_over_all_steps() -> None:
    """532 batches and 30 epochs: down once, in all steps, not in fifty."""
    plan, total = SchedulePlan("cosine", warmup_epochs=0), 30 * 532
    ours = np.array(
        [rate_share(plan, s, steps_per_epoch=532, total_steps=total) for s in range(total)]
    )
    np.testing.assert_allclose(ours, 0.5 + 0.5 * np.cos(np.pi * np.arange(total) / total))
    assert (np.diff(ours) < 0).all()
    assert ours[532] == pytest.approx(0.9973, abs=5e-5)
    assert ours[-1] < 1e-7


plans = st.builds(
    SchedulePlan,
    kind=st.sampled_from(KINDS),
    warmup_epochs=st.floats(0, 5),
    decay_epochs=st.floats(0.01, 5),
    milestones=st.lists(st.floats(0, 10), max_size=3).map(tuple),
    decay_factor=st.floats(0.01, 0.99),
    plateau_patience=st.integers(1, 3),
    restart_epochs=st.floats(0.1, 5),
    restart_factor=st.floats(1, 3),
    min_lr_share=st.floats(0, 0.9),
)


@given(plan=plans, total_steps=st.integers(1, 60), scores=st.lists(st.floats(0, 1), max_size=9))
@settings(max_examples=300, deadline=None)
def test_no_share_is_above_the_peak_or_below_the_floor(
    plan: SchedulePlan, total_steps: int, scores: list[float]
) -> None:
    found = shares(plan, total_steps, scores)
    assert min(found) > 0
    assert max(found) <= 1
    warmup = min(round(plan.warmup_epochs * PER_EPOCH), total_steps - 1)
    after = found if plan.kind == "one_cycle" else found[max(warmup - 1, 0) :]
    assert min(after) >= plan.min_lr_share * (1 - 1e-12)


@pytest.mark.parametrize("kind", ["constant", "cosine", "cosine_restarts"])
def test_the_peak_is_reached(kind: ScheduleKind) -> None:
    assert max(shares(SchedulePlan(kind, warmup_epochs=2), STEPS)) == 1


def test_a_training_of_one_step_learns() -> None:
    for kind in KINDS:
        plan = SchedulePlan(kind, warmup_epochs=3, milestones=(1,))
        assert rate_share(plan, 0, steps_per_epoch=1, total_steps=1) == 1


def test_a_milestone_within_the_warm_up_lowers_it() -> None:
    plan = SchedulePlan("multi_step", warmup_epochs=4, milestones=(2,), decay_factor=0.1)
    found = shares(plan, 6 * PER_EPOCH)
    assert found[2 * PER_EPOCH - 1] == pytest.approx(0.5)
    assert found[2 * PER_EPOCH] == pytest.approx(0.1 * 15 / 28)
    assert found[-1] == pytest.approx(0.1)


def test_restarts_come_back_to_the_peak() -> None:
    plan = SchedulePlan(
        "cosine_restarts", warmup_epochs=1, restart_epochs=2, restart_factor=1.5
    )
    found = shares(plan, STEPS)
    # Cycles of 2, 3 and 4.5 epochs after a warm-up of one.
    peaks = [step for step in range(1, STEPS) if found[step] > found[step - 1] + 0.5]
    assert [step / PER_EPOCH for step in peaks] == pytest.approx([3, 6, 10.5, 17.25], abs=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_the_used_fields_change_the_shares(kind: ScheduleKind) -> None:
    scores = [0.5, 0.4, 0.3, 0.2, 0.6, 0.1, 0.1, 0.1] * 3
    plan: dict[str, Any] = {"kind": kind, "milestones": (3.0,), "restart_epochs": 6.0}
    others: dict[str, Any] = {
        "warmup_epochs": 2.0,
        "decay_epochs": 4.0,
        "milestones": (5.0,),
        "decay_factor": 0.3,
        "plateau_patience": 1,
        "restart_epochs": 4.0,
        "restart_factor": 2.0,
        "min_lr_share": 0.2,
    }
    assert set(others) == {field.name for field in fields(SchedulePlan)} - {"kind"}
    before = shares(SchedulePlan(**plan), STEPS, scores)
    changing = {
        name
        for name, value in others.items()
        if shares(SchedulePlan(**{**plan, name: value}), STEPS, scores) != before
    }
    assert changing == used_fields(kind)


def test_a_course_averages_and_adapts_after_its_schedule() -> None:
    plan = SchedulePlan("cosine", warmup_epochs=1)
    course = Course(plan, epochs=10, swa_epochs=3, swa_lr_share=0.2, fixres_epochs=2)
    found = [
        course_share(course, step, steps_per_epoch=PER_EPOCH)
        for step in range(course.all_epochs * PER_EPOCH)
    ]
    first, second, third = np.split(np.array(found), [7 * PER_EPOCH, 10 * PER_EPOCH])
    np.testing.assert_array_equal(first, shares(plan, 7 * PER_EPOCH))
    assert set(second) == {0.2}
    assert third[0] == FIXRES_PEAK
    assert third[PER_EPOCH] == pytest.approx(FIXRES_PEAK / 2)
    assert 0 < third[-1] < 0.01


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (SchedulePlan("cosine", warmup_epochs=6), "only rises"),
        (SchedulePlan("step", decay_epochs=6), "never decays"),
        (SchedulePlan("multi_step", milestones=(2, 6, 8)), "of 6 epochs: 6, 8"),
        (SchedulePlan("multi_step"), "milestones are empty"),
        (SchedulePlan("cosine_restarts", warmup_epochs=0), "6 epochs into cycle 1.*35 % of"),
        (
            SchedulePlan("cosine_restarts", warmup_epochs=1, restart_epochs=2),
            "1 epochs into cycle 3.*50 % of",
        ),
    ],
)
def test_settings_that_a_training_never_meets_are_said(plan: SchedulePlan, words: str) -> None:
    (note,) = course_notes(Course(plan, epochs=6))
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(note)


@pytest.mark.parametrize(
    "plan",
    [
        *(SchedulePlan(kind, milestones=(3,)) for kind in KINDS if kind != "cosine_restarts"),
        SchedulePlan("cosine_restarts", warmup_epochs=0, restart_epochs=2, restart_factor=2),
        SchedulePlan("cosine_restarts", warmup_epochs=0.5, restart_epochs=5.5),
    ],
)
def test_settings_that_it_meets_are_not(plan: SchedulePlan) -> None:
    assert course_notes(Course(plan, epochs=6)) == ()


def test_torch_is_not_loaded() -> None:
    program = "import sys, gorae.training.schedules; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
