"""What training makes small.

A loss sees rows of targets: one-hot or 0/1 labels, or standardised numbers, which mixing may
have blended. Class weights and label smoothing act here, after mixing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gorae.data.composed import Indices
from gorae.data.sources import Task
from gorae.training.composed import composed_loss, part_tables
from gorae.training.margins import power_margins, ranged_margins, with_margins
from gorae.training.outputs import LOSS_KINDS, Activation, OutputForm, resolve_loss

# As in bcaitech1/p1-img-Lala-chick.
F1_EPSILON = 1e-7


@dataclass(frozen=True)
class LossPlan:
    """Which loss, and its numbers; each says more where it is a setting, under ``[loss]``."""

    kind: str = "auto"
    """A name of ``LOSS_KINDS``, or ``auto``."""
    label_smoothing: float = 0.0
    """Share s moved away from the true class. Where classes are asked for one by one
    (multilabel), each is a question with K = 2 answers; where they are ordered and asked for
    cumulatively, the smoothed probabilities are summed."""
    smoothing_form: Literal["all", "others"] = "all"
    """``all``: s / K to each class; ``others``: s / (K - 1) to each but the true one."""
    focal_gamma: float = 2.0
    """Power of the probability that is missing."""
    asymmetric_gammas: tuple[float, float] = (0.0, 4.0)
    """The same for present and for absent labels."""
    asymmetric_clip: float = 0.05
    """Probability by which absent labels are let off."""
    smooth_l1_beta: float = 1.0
    """Where square turns to straight, in standard deviations."""
    soft_f1_weights: tuple[float, float] = (1.0, 1.0)
    """Of cross entropy, and of 1 - soft macro F1."""
    class_weight_power: float = 0.0
    """k of ``class_weights``; 0: none."""
    class_weight_cap: float | None = None
    """Largest class weight."""
    class_weight_as_max: tuple[int, ...] = ()
    """Classes that weigh as much as the heaviest of the others."""
    margin: float | None = None
    """Angular margin of every class, in radians, where outputs are cosines times ``scale``."""
    margin_range: tuple[float, float] | None = None
    """Least and most of ``ranged_margins``."""
    margin_power: tuple[float, float, float] | None = None
    """Factor, power and least of ``power_margins``."""
    scale: float | None = None
    """What cosines were multiplied by to be outputs."""
    part_weights: tuple[float, ...] | None = None
    """What the loss of each part of a composed label counts; None: 1 each, as the class."""


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss made ready for one train part."""

    plan: LossPlan
    """``kind`` is resolved."""
    form: OutputForm
    """How outputs become values."""
    num_classes: int
    """K: columns of the predictions."""
    class_weights: Tensor | None
    """What each class counts, (K,); None: all alike."""
    margins: Tensor | None = None
    """Angular margin of each class in radians, (K,); None: none."""
    part_tables: tuple[Tensor, ...] = ()
    """Which value of each part a class has, P times (K, S), where outputs are of parts."""

    def targets(self, truth: Tensor) -> Tensor:
        """Rows (B, K), or (B, 1) for numbers, of the truth as ``encode_truth`` made it."""
        if self.form.activation == "value":
            return truth[:, None].float()
        if self.form.activation == "sigmoid":
            return truth.float()
        rows = torch.zeros(len(truth), self.num_classes, device=truth.device)
        return rows.scatter_(1, truth[:, None], 1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One loss per image, (B,); of ``soft_f1``, a share in the loss of the whole batch.

        An image of a class with weight w counts as w images of it, and a blend of two images
        counts as the two in their shares. In ``soft_f1``, smoothing and class weights act on
        the cross entropy only.

        Args:
            outputs: (B, K); (B, K - 1) where they are cumulative; and as ``composed_loss``
                takes them where they are of parts.
            targets: As ``targets`` made them, perhaps blended; labels sum to 1 at most where
                one class is true.
        """
        outputs = outputs.to(torch.promote_types(outputs.dtype, targets.dtype))
        plan, activation = self.plan, self.form.activation
        if self.margins is not None:
            assert plan.scale is not None
            outputs = with_margins(outputs, targets, margins=self.margins, scale=plan.scale)
        if activation == "composed":
            return self._of_parts(outputs, targets)
        part_loss = PART_LOSSES[plan.kind, activation]
        if activation == "value":
            return part_loss(outputs, targets, plan).mean(dim=1)
        rows, weights = self._weigh(targets)
        # A label for itself is a question with two answers.
        num_answers = 2 if activation == "sigmoid" else self.num_classes
        rows = _smooth(rows, plan, num_answers)
        losses = (weights * part_loss(outputs, rows, plan)).mean(dim=1)
        if plan.kind != "soft_f1":
            return losses
        proba = outputs.sigmoid() if activation == "sigmoid" else outputs.softmax(dim=1)
        return plan.soft_f1_weights[0] * losses + plan.soft_f1_weights[1] * (
            1 - soft_macro_f1(proba, targets)
        )

    def _of_parts(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The losses of the class and of each part, added up, (B,)."""
        part_loss = PART_LOSSES[self.plan.kind, "softmax"]

        def of_one(logits: Tensor, rows: Tensor) -> Tensor:
            return part_loss(logits, _smooth(rows, self.plan, rows.shape[1]), self.plan)[:, 0]

        rows, weights = self._weigh(targets)
        return weights.flatten() * composed_loss(
            outputs,
            rows,
            tables=self.part_tables,
            loss=of_one,
            part_weights=self.plan.part_weights,
        )

    def _weigh(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The rows seen when images, or present labels, are there w times, and how often."""
        if self.class_weights is None:
            return targets, targets.new_ones(1)
        # Else a GPU would be waited for.
        weights = self.class_weights.to(targets, non_blocking=True)
        # What a row lacks to 1 is of no class and counts once.
        extra = targets * (weights - 1)
        if self.form.activation != "sigmoid":
            extra = extra.sum(dim=1, keepdim=True)
        return targets * weights / (1 + extra), 1 + extra


def build_objective(
    plan: LossPlan,
    truth: NDArray[np.generic],
    *,
    task: Task,
    num_classes: int,
    parts: Indices | None = None,
    coarse: tuple[int, ...] = (),
) -> Objective:
    """The loss of a plan for a train part.

    Args:
        plan: The loss.
        truth: Of the train part: class indices (N,), 0/1 labels (N, K) or numbers (N,).
        task: What the truth is.
        num_classes: K: columns of the predictions, 1 for numbers.
        parts: Index of each part in each class, (K, P), where outputs are of parts.
        coarse: The predicted class of each of K finer ones, where finer ones are learned.

    Raises:
        ConfigError: The loss does not fit the task.
    """
    kind = resolve_loss(plan.kind, task)
    activation = LOSS_KINDS[kind].activations[task]
    form = OutputForm(activation, coarse=coarse)
    weights = None
    if task == "regression":
        numbers = truth.astype(np.float64)
        # A constant has no spread to divide by.
        form = OutputForm(activation, float(numbers.mean()), float(numbers.std()) or 1.0)
        return Objective(replace(plan, kind=kind), form, num_classes, None)
    if task == "multilabel":
        counts = truth.astype(np.float64).sum(axis=0)
    else:
        counts = np.bincount(truth.astype(np.int64), minlength=num_classes)
    if plan.class_weight_power > 0:
        found = class_weights(
            counts,
            power=plan.class_weight_power,
            cap=plan.class_weight_cap,
            as_max=plan.class_weight_as_max,
        )
        weights = torch.from_numpy(found).float()
    tables: tuple[Tensor, ...] = ()
    if parts is not None:
        form = OutputForm("composed", parts=tuple(map(tuple, parts.tolist())))
        tables = part_tables(parts)
    margins = class_margins(plan, counts) if "margin" in LOSS_KINDS[kind].uses else None
    return Objective(replace(plan, kind=kind), form, num_classes, weights, margins, tables)


def class_margins(plan: LossPlan, counts: NDArray[np.number]) -> Tensor | None:
    """Angular margin of each class in radians, (K,); None where the plan has none.

    Args:
        plan: With one form of margin at most.
        counts: Images of each class, (K,).
    """
    if plan.margin is not None:
        return torch.full((len(counts),), plan.margin)
    if plan.margin_range is not None:
        least, most = plan.margin_range
        return torch.from_numpy(ranged_margins(counts, least=least, most=most)).float()
    if plan.margin_power is not None:
        factor, power, least = plan.margin_power
        margins = power_margins(counts, factor=factor, power=power, least=least)
        return torch.from_numpy(margins).float()
    return None


def encode_truth(truth: NDArray[np.generic], *, form: OutputForm) -> Tensor:
    """The truth in little memory: class indices, 0/1 rows, or standardised numbers."""
    if form.activation == "value":
        # Or a price of 100,000 would take a head, whose weights move by the learning rate
        # per step, for ever to reach.
        standard = (truth.astype(np.float64) - form.shift) / form.scale
        return torch.from_numpy(standard.astype(np.float32))
    if form.activation == "sigmoid":
        return torch.from_numpy(truth.copy())
    return torch.from_numpy(truth.astype(np.int64))


def class_weights(
    counts: NDArray[np.number],
    *,
    power: float,
    cap: float | None = None,
    as_max: Sequence[int] = (),
) -> NDArray[np.float64]:
    """What an image of each class counts, ``(N / (K n))^power`` up to ``cap``, (K,).

    Args:
        counts: n of each class, (K,): images, or of several labels the images that have it.
            N is their sum and K the number of classes that are there, so that at power 1
            images weigh 1 on average. A class without images weighs 1: nothing is of it.
        power: 0: all alike; 1: all classes matter alike, however rare.
        cap: Largest weight.
        as_max: Classes that get the largest weight of the others, which are weighed as if
            they alone were there.
    """
    weights = np.ones(len(counts))
    found = counts > 0
    found[list(as_max)] = False
    weights[found] = (counts[found].sum() / (found.sum() * counts[found])) ** power
    if found.any():
        weights[list(as_max)] = weights[found].max()
    return weights if cap is None else np.minimum(weights, cap)


def _smooth(rows: Tensor, plan: LossPlan, num_answers: int) -> Tensor:
    share = plan.label_smoothing
    if plan.smoothing_form == "others":
        # So much to all answers leaves 1 - s to the true one.
        share = share * num_answers / (num_answers - 1)
    return rows * (1 - share) + share / num_answers


# Outputs and rows to losses whose mean over the second axis is an image's: (B, 1), or one for
# each question that the network is asked.
PartLoss = Callable[[Tensor, Tensor, LossPlan], Tensor]


def cross_entropy(outputs: Tensor, rows: Tensor, plan: LossPlan) -> Tensor:
    """Negative log probability of the class, (B, 1)."""
    return F.cross_entropy(outputs, rows, reduction="none")[:, None]


def focal(outputs: Tensor, rows: Tensor, plan: LossPlan) -> Tensor:
    """Cross entropy times the missing probability to the power of gamma, (B, 1)."""
    log_proba = outputs.log_softmax(dim=1)
    focus = _power(1 - log_proba.exp(), plan.focal_gamma)
    return -(rows * focus * log_proba).sum(dim=1, keepdim=True)


def binary_cross_entropy(outputs: Tensor, rows: Tensor, plan: LossPlan) -> Tensor:
    """Negative log probability of each label's presence or absence, (B, K)."""
    return F.binary_cross_entropy_with_logits(outputs, rows, reduction="none")


def binary_focal(outputs: Tensor, rows: Tensor, plan: LossPlan) -> Tensor:
    """The focal loss of each label's presence or absence, (B, K)."""
    gamma = plan.focal_gamma
    return _focused(outputs, rows, gammas=(gamma, gamma), clip=0.0)


def asymmetric(outputs: Tensor, rows: Tensor, plan: LossPlan) -> Tensor:
    """Another focus on present than on absent labels, which are let off a little, (B, K)."""
    return _focused(outputs, rows, gammas=plan.asymmetric_gammas, clip=plan.asymmetric_clip)


def cumulative(outputs: Tensor, rows: Tensor, plan: LossPlan) -> Tensor:
    """Binary cross entropy of being above each class but the last, (B, K - 1)."""
    above = 1 - rows.cumsum(dim=1)[:, :-1]
    return F.binary_cross_entropy_with_logits(outputs, above, reduction="none")


def squared_error(outputs: Tensor, rows: Tensor, plan: LossPlan) -> Tensor:
    """Squared distance to the number, (B, 1)."""
    return (outputs - rows).square()


def smooth_l1(outputs: Tensor, rows: Tensor, plan: LossPlan) -> Tensor:
    """Distance to the number, less beta / 2; within beta its square / (2 beta), (B, 1)."""
    return F.smooth_l1_loss(outputs, rows, reduction="none", beta=plan.smooth_l1_beta)


def soft_macro_f1(proba: Tensor, rows: Tensor) -> Tensor:
    """Macro F1 of a batch, a scalar, with probabilities (B, K) in the place of decisions.

    A class that no image of the batch has scores 0, as in the source.
    """
    hits = (proba * rows).sum(dim=0)
    # The sum of proba is hits and false alarms, that of rows is hits and misses.
    return (2 * hits / (proba.sum(dim=0) + rows.sum(dim=0) + F1_EPSILON)).mean()


def _focused(
    outputs: Tensor, rows: Tensor, *, gammas: tuple[float, float], clip: float
) -> Tensor:
    proba = outputs.sigmoid()
    present = -F.logsigmoid(outputs) * _power(1 - proba, gammas[0])
    # log(1 - p + clip), which is finite also where p is 1 and clip is 0.
    let_off = torch.logaddexp(F.logsigmoid(-outputs), outputs.new_full((), clip).log())
    absent = -let_off.clamp(max=0) * _power(proba - clip, gammas[1])
    return rows * present + (1 - rows) * absent


def _power(base: Tensor, gamma: float) -> Tensor:
    # The slope of a root is infinite at 0, and NaN where a factor of 0 follows.
    return base.clamp(min=torch.finfo(base.dtype).tiny) ** gamma


PART_LOSSES: dict[tuple[str, Activation], PartLoss] = {
    ("cross_entropy", "softmax"): cross_entropy,
    ("focal", "softmax"): focal,
    ("focal", "sigmoid"): binary_focal,
    ("bce", "normalised_sigmoid"): binary_cross_entropy,
    ("bce", "sigmoid"): binary_cross_entropy,
    ("asymmetric", "normalised_sigmoid"): asymmetric,
    ("asymmetric", "sigmoid"): asymmetric,
    ("soft_f1", "softmax"): cross_entropy,
    ("soft_f1", "sigmoid"): binary_cross_entropy,
    ("mse", "value"): squared_error,
    ("smooth_l1", "value"): smooth_l1,
    ("coral", "cumulative"): cumulative,
    ("cumulative", "cumulative"): cumulative,
}
