"""The learning rate of every step, as a share of its peak. Without torch.

A share is a function of the step and of the scores so far, and of nothing else: a training
that goes on from a state on disk, and a plot, need no schedule object with a memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

ScheduleKind = Literal[
    "constant", "step", "multi_step", "plateau", "cosine", "cosine_restarts", "one_cycle"
]

# Of the one-cycle policy: the share of the steps that rise, and where the rate begins and ends.
# As in torch's OneCycleLR, after Smith and Topin, 2018.
RISE_SHARE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START * 1e-4

# FixRes adapts to another size what is trained already.
FIXRES_PEAK = 0.1


@dataclass(frozen=True)
class SchedulePlan:
    """How the learning rate goes down. Lengths are epochs, and may be fractions of one."""

    kind: ScheduleKind = "cosine"
    warmup_epochs: float = 0.5
    """Length of a linear rise at the beginning, cut to end before the last step. ``one_cycle``
    has none: it rises by itself over its first 30 %."""
    decay_epochs: float = 2.0
    """Epochs between the decays of ``step``, counted from the beginning of the training."""
    milestones: tuple[float, ...] = ()
    """Epochs of the training after which ``multi_step`` decays."""
    decay_factor: float = 0.1
    """What one decay of ``step``, ``multi_step`` and ``plateau`` multiplies by."""
    plateau_patience: int = 2
    """Epochs in a row without a new best score after which ``plateau`` decays."""
    restart_epochs: float = 10.0
    """Length of the first cycle of ``cosine_restarts``, which begins after the warm-up."""
    restart_factor: float = 1.0
    """How much longer each of its cycles is than the one before."""
    min_lr_share: float = 0.0
    """Where the curves end and the decays stop; only the warm-up begins below it."""


@dataclass(frozen=True)
class Course:
    """All parts of a training that have a learning rate: schedule, averaging, FixRes."""

    schedule: SchedulePlan
    epochs: int
    """Epochs of the training, those that are averaged among them."""
    swa_epochs: int = 0
    """The last of ``epochs``, in which weights are averaged and the rate is held."""
    swa_lr_share: float = 0.1
    fixres_epochs: int = 0
    """Epochs after ``epochs`` that adapt to the test size: a cosine from ``FIXRES_PEAK``."""

    @property
    def all_epochs(self) -> int:
        """Epochs from the first step to the last."""
        return self.epochs + self.fixres_epochs


_FIELDS: dict[ScheduleKind, tuple[str, ...]] = {
    "constant": ("warmup_epochs",),
    "step": ("warmup_epochs", "decay_epochs", "decay_factor", "min_lr_share"),
    "multi_step": ("warmup_epochs", "milestones", "decay_factor", "min_lr_share"),
    "plateau": ("warmup_epochs", "plateau_patience", "decay_factor", "min_lr_share"),
    "cosine": ("warmup_epochs", "min_lr_share"),
    "cosine_restarts": ("warmup_epochs", "restart_epochs", "restart_factor", "min_lr_share"),
    "one_cycle": ("min_lr_share",),
}
assert tuple(_FIELDS) == get_args(ScheduleKind)


def used_fields(kind: ScheduleKind) -> frozenset[str]:
    """The fields of ``SchedulePlan`` that a kind of schedule looks at."""
    return frozenset(_FIELDS[kind])


def course_share(
    course: Course, step: int, *, steps_per_epoch: int, scores: Sequence[float] = ()
) -> float:
    """The share of the peak learning rate at a step (from 0) of a whole training.

    Args:
        course: Its parts.
        step: Step of the optimiser.
        steps_per_epoch: Steps of the optimiser in an epoch.
        scores: As in ``rate_share``.
    """
    epoch = step // steps_per_epoch
    if epoch >= course.epochs:
        done = step - course.epochs * steps_per_epoch
        return FIXRES_PEAK * cosine_share(done / (course.fixres_epochs * steps_per_epoch))
    own_epochs = course.epochs - course.swa_epochs
    if epoch >= own_epochs:
        return course.swa_lr_share
    return rate_share(
        course.schedule,
        step,
        steps_per_epoch=steps_per_epoch,
        total_steps=own_epochs * steps_per_epoch,
        scores=scores,
    )


def rate_share(
    plan: SchedulePlan,
    step: int,
    *,
    steps_per_epoch: int,
    total_steps: int,
    scores: Sequence[float] = (),
) -> float:
    """The share of the peak learning rate at a step (from 0): warm-up, then the schedule.

    The warm-up is linear: step ``i`` of ``W`` has the share ``(i + 1) / W``. The cosines begin
    where it ends and take the steps that are left; ``step``, ``multi_step`` and ``plateau``
    count epochs from the beginning of the training, and a decay within the warm-up lowers it.

    Args:
        plan: The schedule.
        step: Step of the optimiser.
        steps_per_epoch: Steps of the optimiser in an epoch.
        total_steps: Steps the schedule is spread over.
        scores: The score after each finished epoch, higher is better, for ``plateau``. Those
            of epochs that end after ``step`` are not looked at. Without any it never decays.

    Source: Goyal et al., 2017 (warm-up); Loshchilov and Hutter, 2017 (cosine, restarts); Smith
    and Topin, 2018 (one cycle). Equal to torch's schedulers stepped once per step.
    """
    if plan.kind == "one_cycle":
        return _one_cycle(step, total_steps, floor=plan.min_lr_share)
    warmup = min(round(plan.warmup_epochs * steps_per_epoch), total_steps - 1)
    rise = min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0
    if plan.kind == "constant":
        return rise
    if plan.kind in ("step", "multi_step", "plateau"):
        decays = _num_decays(plan, step, steps_per_epoch=steps_per_epoch, scores=scores)
        return rise * max(plan.min_lr_share, plan.decay_factor**decays)
    if step < warmup:
        return rise
    if plan.kind == "cosine_restarts":
        first = max(1, round(plan.restart_epochs * steps_per_epoch))
        share = _restarted_share(step - warmup, first, factor=plan.restart_factor)
    else:
        share = cosine_share((step - warmup) / (total_steps - warmup))
    return plan.min_lr_share + (1 - plan.min_lr_share) * share


def cosine_share(done: float) -> float:
    """Half a cosine: 1 where nothing is ``done``, 0 where all (1) is.

    Beyond 1 it rises again, as does torch's ``CosineAnnealingLR``.
    """
    return 0.5 * (1 + math.cos(math.pi * done))


def _restarted_share(step: float, length: float, *, factor: float) -> float:
    """A cosine that begins anew at 1 after each cycle; the first has ``length`` steps."""
    while step >= length:
        step -= length
        length *= factor
    return cosine_share(step / length)


def _one_cycle(step: int, total_steps: int, *, floor: float) -> float:
    """Up and down in two cosines; of one step, the peak."""
    start, end = max(floor, ONE_CYCLE_START), max(floor, ONE_CYCLE_END)
    peak, last = max(0.0, RISE_SHARE * total_steps - 1), total_steps - 1
    if step < peak:
        return 1 + (start - 1) * cosine_share(step / peak)
    return end + (1 - end) * cosine_share((step - peak) / (last - peak) if last else 0)


def _num_decays(
    plan: SchedulePlan, step: int, *, steps_per_epoch: int, scores: Sequence[float]
) -> int:
    """How often the rate was multiplied by the factor before ``step``."""
    if plan.kind == "step":
        return step // max(1, round(plan.decay_epochs * steps_per_epoch))
    if plan.kind == "multi_step":
        return sum(step >= round(epoch * steps_per_epoch) for epoch in plan.milestones)
    return _num_plateaus(scores[: step // steps_per_epoch], patience=plan.plateau_patience)


def _num_plateaus(scores: Sequence[float], *, patience: int) -> int:
    """How often ``patience`` epochs in a row brought no new best score.

    torch's ``ReduceLROnPlateau`` calls patience what it lets pass: one less, with a threshold
    of 0.
    """
    best, waited, plateaus = -math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def course_notes(course: Course) -> tuple[str, ...]:
    """What a user may not have meant: settings within reach that this training never meets."""
    plan, own = course.schedule, course.epochs - course.swa_epochs
    notes = []
    if plan.kind != "one_cycle" and plan.warmup_epochs >= own:
        notes.append(
            f"train.warmup_epochs = {plan.warmup_epochs:g} is as long as the training of {own} "
            "epochs: the learning rate only rises."
        )
    if plan.kind == "step" and plan.decay_epochs >= own:
        notes.append(
            f"train.decay_epochs = {plan.decay_epochs:g}, but there are {own} epochs: the "
            "learning rate never decays."
        )
    if plan.kind == "multi_step":
        late = [f"{epoch:g}" for epoch in plan.milestones if epoch >= own]
        if late or not plan.milestones:
            which = (
                f"at or after the end of {own} epochs: {', '.join(late)}" if late else "empty"
            )
            notes.append(f"train.milestones are {which}; nothing decays there.")
    if plan.kind == "cosine_restarts":
        notes += _restart_notes(plan, own)
    return tuple(notes)


def _restart_notes(plan: SchedulePlan, epochs: int) -> list[str]:
    left, length, cycles = epochs - plan.warmup_epochs, plan.restart_epochs, 1
    while left > length:
        left, length, cycles = left - length, length * plan.restart_factor, cycles + 1
    if math.isclose(left, length):
        return []
    share = plan.min_lr_share + (1 - plan.min_lr_share) * cosine_share(left / length)
    return [
        f"Training ends {left:g} epochs into cycle {cycles} of train.schedule = "
        f'"cosine_restarts", which is {length:g} epochs long: the learning rate is then still '
        f"{100 * share:.0f} % of its peak. Fit train.epochs to the cycles, or the cycles to it."
    ]
