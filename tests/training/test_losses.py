from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.utils import compute_class_weight
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from gorae.config.training import LossSettings
from gorae.data.sources import Task
from gorae.errors import ConfigError
from gorae.training.losses import (
    PART_LOSSES,
    LossPlan,
    Objective,
    build_objective,
    class_weights,
    encode_truth,
    soft_macro_f1,
)
from gorae.training.margins import with_margins
from gorae.training.outputs import LOSS_KINDS, activate, num_outputs, resolve_loss

CASES = [(kind, task) for kind, loss in LOSS_KINDS.items() for task in loss.tasks]
OF_IMAGES = [case for case in CASES if case[0] != "soft_f1"]
WITH_LABELS = [case for case in OF_IMAGES if case[1] != "regression"]

# Another value of each field, that every kind which uses it must feel.
CHANGES: dict[str, Any] = {
    "label_smoothing": 0.3,
    "smoothing_form": "others",
    "focal_gamma": 3.0,
    "asymmetric_gammas": (1.0, 2.0),
    "asymmetric_clip": 0.2,
    "smooth_l1_beta": 0.1,
    "soft_f1_weights": (0.3, 0.7),
    "class_weight_power": 1.0,
    "class_weight_cap": 0.9,
    "class_weight_as_max": (0,),
    "margin": 0.4,
    "margin_range": (0.1, 0.6),
    "margin_power": (0.9, -0.3, 0.05),
}

# Of outputs that are cosines, or of parts: what they change is shown below.
OF_OUTPUTS = {"scale", "part_weights"}

# Everything on, so that all of it is in what is tested.
BUSY = LossPlan(
    label_smoothing=0.1, smoothing_form="others", class_weight_power=0.5, class_weight_cap=1.4
)


def draw_truth(task: Task, num_images: int = 40, seed: int = 0) -> NDArray[Any]:
    """Four classes of unequal sizes, all of them there, or numbers."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        return rng.normal(1000, 50, num_images).astype(np.float32)
    if task == "multilabel":
        return (rng.uniform(size=(num_images, 4)) < [0.8, 0.5, 0.3, 0.2]).astype(np.float32)
    labels = rng.choice(4, num_images, p=[0.5, 0.25, 0.15, 0.1])
    labels[:4] = range(4)
    return labels.astype(np.int64)


def build(
    plan: LossPlan, task: Task, truth: NDArray[Any] | None = None
) -> tuple[Objective, Tensor, Tensor]:
    """The loss, outputs drawn for it, and its targets."""
    truth = draw_truth(task) if truth is None else truth
    columns = 1 if task == "regression" else 4
    objective = build_objective(plan, truth, task=task, num_classes=columns)
    targets = objective.targets(encode_truth(truth, form=objective.form))
    width = num_outputs(objective.plan.kind, num_columns=columns)
    generator = torch.Generator().manual_seed(1)
    outputs = 2 * torch.randn(len(truth), width, generator=generator)
    return objective, outputs, targets


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (LossPlan(), 0.433572),
        (LossPlan("focal", focal_gamma=2), 0.185696),
        (LossPlan("focal", focal_gamma=5), 0.060801),
        (LossPlan(label_smoothing=0.2, smoothing_form="others"), 0.893572),
        (LossPlan(label_smoothing=0.2, smoothing_form="all"), 0.740239),
    ],
)
def test_worked_by_hand(plan: LossPlan, expected: float) -> None:
    outputs = torch.tensor([[4.0, 0, 0], [0, 3, 0], [0.2, 0, 0]])
    truth = np.arange(3)
    objective = build_objective(plan, truth, task="multiclass", num_classes=3)
    losses = objective.loss(outputs, objective.targets(torch.from_numpy(truth)))
    assert float(losses.mean()) == pytest.approx(expected, abs=1e-6)
    if plan == LossPlan():
        by_image = torch.tensor([0.035976, 0.094923, 1.169817])
        torch.testing.assert_close(losses, by_image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_torchs(smoothing: float) -> None:
    objective, outputs, targets = build(LossPlan(label_smoothing=smoothing), "multiclass")
    labels = targets.argmax(dim=1)
    reference = F.cross_entropy(outputs, labels, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(objective.loss(outputs, targets), reference)


def test_weighted_cross_entropy_is_torchs() -> None:
    objective, outputs, targets = build(LossPlan(class_weight_power=1), "multiclass")
    weights = objective.class_weights
    labels = targets.argmax(dim=1)
    reference = F.cross_entropy(outputs, labels, weight=weights, reduction="none")
    torch.testing.assert_close(objective.loss(outputs, targets), reference)
    blended = 0.3 * targets + 0.7 * targets.roll(1, dims=0)
    reference = F.cross_entropy(outputs, blended, weight=weights, reduction="none")
    torch.testing.assert_close(objective.loss(outputs, blended), reference)


@pytest.mark.parametrize("smoothing", [0.1, 0.2, 0.5])
def test_smoothing_to_the_others_is_more_smoothing_to_all(smoothing: float) -> None:
    others = LossPlan(label_smoothing=smoothing, smoothing_form="others")
    to_all = LossPlan(label_smoothing=smoothing * 4 / 3)
    objective, outputs, targets = build(others, "multiclass")
    equal = build(to_all, "multiclass")[0]
    torch.testing.assert_close(
        objective.loss(outputs, targets), equal.loss(outputs, targets), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("num_classes", "smoothing", "true", "other"),
    [(18, 0.2, 0.8, 0.0117647), (5, 0.1, 0.9, 0.025)],
)
def test_smoothed_labels_are_what_the_loss_pulls_to(
    num_classes: int, smoothing: float, true: float, other: float
) -> None:
    plan = LossPlan(label_smoothing=smoothing, smoothing_form="others")
    objective = build_objective(plan, np.zeros(1), task="multiclass", num_classes=num_classes)
    outputs = torch.zeros(1, num_classes, requires_grad=True)
    objective.loss(outputs, objective.targets(torch.tensor([0]))).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert outputs.grad is not None
    # The slope of cross entropy is what is said less what should be said.
    pulled_to = 1 / num_classes - outputs.grad[0]
    expected = [true] + [other] * (num_classes - 1)
    assert pulled_to.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_smoothed_label_of_several_is_a_question_with_two_answers() -> None:
    truth = np.array([[1, 0]], dtype=np.float32)
    for form, yes in (("all", 0.9), ("others", 0.8)):
        plan = LossPlan(label_smoothing=0.2, smoothing_form=form)  # type: ignore[arg-type]  # a loop
        objective = build_objective(plan, truth, task="multilabel", num_classes=2)
        outputs = torch.tensor([[1.5, -0.5]])
        smoothed = torch.tensor([[yes, 1 - yes]])
        reference = F.binary_cross_entropy_with_logits(outputs, smoothed)
        loss = objective.loss(outputs, torch.from_numpy(truth))
        torch.testing.assert_close(loss, reference[None])


def test_smoothed_ordered_classes_are_summed() -> None:
    plan = LossPlan("cumulative", label_smoothing=0.3)
    objective = build_objective(plan, np.arange(3), task="ordinal", num_classes=3)
    outputs = torch.tensor([[0.7, -0.4]])
    # (.1, .8, .1): .9 above the first, .1 above the second.
    reference = F.binary_cross_entropy_with_logits(outputs, torch.tensor([[0.9, 0.1]]))
    loss = objective.loss(outputs, objective.targets(torch.tensor([1])))
    torch.testing.assert_close(loss, reference[None])


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_focal_without_focus_is_cross_entropy(task: Task) -> None:
    objective, outputs, targets = build(replace(BUSY, kind="focal", focal_gamma=0), task)
    plain = build(replace(BUSY, kind="auto"), task)[0]
    torch.testing.assert_close(
        objective.loss(outputs, targets), plain.loss(outputs, targets), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_of_several_labels_is_torchvisions(gamma: float) -> None:
    objective, outputs, targets = build(LossPlan("focal", focal_gamma=gamma), "multilabel")
    reference = sigmoid_focal_loss(outputs, targets, alpha=-1, gamma=gamma).mean(dim=1)
    torch.testing.assert_close(objective.loss(outputs, targets), reference)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_bce_is_torchs(task: Task) -> None:
    objective, outputs, targets = build(LossPlan("bce"), task)
    cells = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    torch.testing.assert_close(objective.loss(outputs, targets), cells.mean(dim=1))


def test_weights_of_several_labels_are_torchs_weights_of_present_ones() -> None:
    objective, outputs, targets = build(LossPlan("bce", class_weight_power=1), "multilabel")
    weights = objective.class_weights
    assert weights is not None
    cells = F.binary_cross_entropy_with_logits(
        outputs, targets, pos_weight=weights, reduction="none"
    )
    torch.testing.assert_close(objective.loss(outputs, targets), cells.mean(dim=1))
    # Present labels weigh 1 on average, and each class's as much as another's in sum.
    sums = (targets * weights).sum(dim=0)
    torch.testing.assert_close(sums, targets.sum().expand(4) / 4)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("gammas", [(0.0, 4.0), (1.0, 2.0), (0.5, 0.5), (0.0, 0.0)])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_asymmetric_is_the_papers_formula(
    clip: float, gammas: tuple[float, float], task: Task
) -> None:
    plan = LossPlan("asymmetric", asymmetric_gammas=gammas, asymmetric_clip=clip)
    objective, outputs, targets = build(plan, task)
    p = outputs.double().sigmoid()
    shifted = (p - clip).clamp(min=0)
    present = -((1 - p) ** gammas[0]) * p.log()
    absent = -(shifted ** gammas[1]) * (1 - shifted).log()
    reference = (targets * present + (1 - targets) * absent).mean(dim=1).float()
    torch.testing.assert_close(
        objective.loss(outputs, targets), reference, atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("seed", range(3))
def test_soft_f1_of_certain_predictions_is_macro_f1(seed: int) -> None:
    truth, predicted = draw_truth("multiclass", seed=seed), draw_truth("ordinal", seed=seed + 9)
    proba, rows = (torch.eye(4)[torch.from_numpy(labels)] for labels in (predicted, truth))
    reference = f1_score(truth, predicted, average="macro")
    assert float(soft_macro_f1(proba, rows)) == pytest.approx(reference, abs=1e-6)
    # A class that is neither there nor predicted scores 0.
    assert float(soft_macro_f1(*(F.pad(x, (0, 1)) for x in (proba, rows)))) == pytest.approx(
        reference * 4 / 5, abs=1e-6
    )


@pytest.mark.parametrize("task", ["multiclass", "ordinal", "multilabel"])
def test_soft_f1_adds_cross_entropy_and_missing_f1(task: Task) -> None:
    plan = replace(BUSY, kind="soft_f1", soft_f1_weights=(0.3, 0.7))
    objective, outputs, targets = build(plan, task)
    plain = build(replace(BUSY, kind="auto"), task)[0]
    proba = torch.from_numpy(activate(outputs.numpy(), objective.form))
    reference = 0.3 * plain.loss(outputs, targets)
    reference += 0.7 * (1 - soft_macro_f1(proba, targets))
    torch.testing.assert_close(objective.loss(outputs, targets), reference)


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_losses_of_numbers_are_torchs(beta: float) -> None:
    objective, outputs, targets = build(LossPlan("mse"), "regression")
    torch.testing.assert_close(
        objective.loss(outputs, targets).mean(), F.mse_loss(outputs, targets)
    )
    objective = build(LossPlan("smooth_l1", smooth_l1_beta=beta), "regression")[0]
    torch.testing.assert_close(
        objective.loss(outputs, targets).mean(),
        F.smooth_l1_loss(outputs, targets, beta=beta),
    )


@pytest.mark.parametrize("kind", ["coral", "cumulative"])
def test_order_is_learned_by_questions(kind: str) -> None:
    objective, outputs, targets = build(LossPlan(kind), "ordinal")
    labels = targets.argmax(dim=1)
    above = (labels[:, None] > torch.arange(3)).float()
    cells = F.binary_cross_entropy_with_logits(outputs, above, reduction="none")
    torch.testing.assert_close(objective.loss(outputs, targets), cells.mean(dim=1))


@pytest.mark.parametrize("kind", ["coral", "cumulative"])
def test_an_ordered_class_farther_away_costs_more(kind: str) -> None:
    objective = build(LossPlan(kind), "ordinal")[0]
    # Sure of class 0.
    outputs = torch.tensor([[-3.0, -4, -5]]).expand(4, 3)
    losses = objective.loss(outputs, objective.targets(torch.arange(4)))
    assert (losses.diff() > 0).all()


@pytest.mark.parametrize(("kind", "task"), WITH_LABELS)
def test_a_blend_costs_what_its_images_cost_in_their_shares(kind: str, task: Task) -> None:
    objective, outputs, targets = build(replace(BUSY, kind=kind), task)
    partners = targets.roll(1, dims=0)
    blended = objective.loss(outputs, 0.3 * targets + 0.7 * partners)
    apart = 0.3 * objective.loss(outputs, targets) + 0.7 * objective.loss(outputs, partners)
    torch.testing.assert_close(blended, apart, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("kind", "task"), WITH_LABELS)
def test_an_image_of_weight_w_counts_as_w_images(kind: str, task: Task) -> None:
    plan = replace(BUSY, kind=kind, class_weight_cap=None)
    objective, outputs, targets = build(plan, task)
    alike = build(replace(plan, class_weight_power=0), task)[0]
    assert objective.class_weights is not None
    if task == "multilabel":
        # One label alone in its row, so that the cell is the loss but for the others'.
        targets = F.one_hot(torch.arange(len(targets)) % 4, 4).float()
        extra = alike.loss(outputs, targets) - _loss_of_absent(alike, outputs, targets)
        weights = (targets * objective.class_weights).sum(dim=1)
        expected = weights * extra + _loss_of_absent(alike, outputs, targets)
    else:
        weights = objective.class_weights[targets.argmax(dim=1)]
        expected = weights * alike.loss(outputs, targets)
    torch.testing.assert_close(objective.loss(outputs, targets), expected, atol=1e-6, rtol=1e-5)


def _loss_of_absent(objective: Objective, outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of the absent labels in the losses of rows with one present label."""
    present = targets.argmax(dim=1, keepdim=True)
    alone = replace(objective, num_classes=1, class_weights=None)
    cell = alone.loss(outputs.gather(1, present), targets.gather(1, present))
    return objective.loss(outputs, targets) - cell / targets.shape[1]


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "bce", "asymmetric"])
def test_a_row_of_no_class_counts_once(kind: str) -> None:
    objective, outputs, targets = build(LossPlan(kind, class_weight_power=1), "multiclass")
    alike = build(LossPlan(kind), "multiclass")[0]
    nothing = torch.zeros_like(targets)
    torch.testing.assert_close(objective.loss(outputs, nothing), alike.loss(outputs, nothing))


@pytest.mark.parametrize(("kind", "task"), OF_IMAGES)
def test_the_loss_of_an_image_does_not_depend_on_its_batch(kind: str, task: Task) -> None:
    objective, outputs, targets = build(replace(BUSY, kind=kind), task)
    at_once = objective.loss(outputs, targets)
    assert at_once.shape == (40,)
    for size in (1, 7):
        starts = range(0, 40, size)
        parts = [objective.loss(outputs[i : i + size], targets[i : i + size]) for i in starts]
        torch.testing.assert_close(torch.cat(parts), at_once)


@pytest.mark.parametrize(("kind", "task"), CASES)
@pytest.mark.parametrize("field", CHANGES)
def test_fields_change_the_losses_that_use_them_and_no_others(
    field: str, kind: str, task: Task
) -> None:
    # What the field needs to have an effect at all.
    plan = replace(BUSY, kind=kind, smoothing_form="all", class_weight_cap=None, scale=8)
    objective, outputs, targets = build(plan, task)
    changed = build(replace(plan, **{field: CHANGES[field]}), task)[0]
    before, after = (each.loss(outputs, targets).mean() for each in (objective, changed))
    is_changed = abs(float(before - after)) > 1e-4
    assert is_changed == (field in LOSS_KINDS[kind].uses)


def test_the_tables_of_losses_and_fields_agree() -> None:
    pairs = {(kind, a) for kind, loss in LOSS_KINDS.items() for a in loss.activations.values()}
    assert pairs == PART_LOSSES.keys()
    plan_fields = {field.name: field.default for field in fields(LossPlan)}
    assert CHANGES.keys() | OF_OUTPUTS | {"kind"} == plan_fields.keys()
    used = frozenset[str]().union(*(loss.uses for loss in LOSS_KINDS.values()))
    assert used == CHANGES.keys() | {"part_weights"}
    settings = dict(LossSettings())
    assert not settings.pop("part_weights")
    del settings["weight_column"], plan_fields["part_weights"], plan_fields["scale"]
    assert settings == plan_fields


@pytest.mark.parametrize(("kind", "task"), CASES)
def test_gradients_are_right(kind: str, task: Task) -> None:
    objective, outputs, targets = build(replace(BUSY, kind=kind), task)
    outputs, targets = outputs[:6].double().requires_grad_(), targets[:6].double()
    blended = 0.3 * targets + 0.7 * targets.roll(1, dims=0)
    for rows in (targets, blended):
        assert torch.autograd.gradcheck(
            lambda x, rows=rows: objective.loss(x, rows), (outputs,)
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    "power", [{}, {"focal_gamma": 0.5, "asymmetric_gammas": (0.5, 0.5), "asymmetric_clip": 0}]
)
@pytest.mark.parametrize(("kind", "task"), CASES)
def test_extreme_outputs_have_finite_losses_and_gradients(
    kind: str, task: Task, power: dict[str, Any], dtype: torch.dtype
) -> None:
    objective, outputs, targets = build(replace(BUSY, kind=kind, **power), task)
    for extreme in (outputs.sign() * 1e4, outputs * 0 + 1e4, outputs * 0 - 1e4, outputs * 0):
        for rows in (targets, 0.3 * targets + 0.7 * targets.roll(1, dims=0)):
            logits = extreme.to(dtype).requires_grad_()
            losses = objective.loss(logits, rows)
            assert losses.dtype == torch.float32
            losses.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            assert losses.isfinite().all()
            assert losses.min() >= 0
            assert logits.grad is not None
            assert logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("kind", "task"), CASES)
def test_losses_of_short_numbers_are_computed_in_float32(
    kind: str, task: Task, dtype: torch.dtype
) -> None:
    objective, outputs, targets = build(replace(BUSY, kind=kind), task)
    short = outputs.to(dtype)
    exact = objective.loss(short.float(), targets)
    assert torch.equal(objective.loss(short, targets), exact)


@pytest.mark.parametrize(("kind", "task"), CASES)
def test_each_loss_learns_a_small_problem(kind: str, task: Task) -> None:
    truth = draw_truth(task, 80)
    objective, outputs, targets = build(LossPlan(kind), task, truth)
    # Noise on what is to be learned.
    generator = torch.Generator().manual_seed(5)
    features = targets + 0.1 * torch.randn(targets.shape, generator=generator)
    network = torch.nn.Linear(targets.shape[1], outputs.shape[1])
    torch.nn.init.zeros_(network.weight)
    torch.nn.init.zeros_(network.bias)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    losses = []
    for _ in range(100):
        loss = objective.loss(network(features), targets).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    values = activate(network(features).detach().numpy(), objective.form)
    assert values.shape == targets.shape
    if task == "regression":
        np.testing.assert_allclose(values[:, 0], truth, atol=25)
    elif task == "multilabel":
        # ``asymmetric`` rather says yes too often.
        assert ((values > 0.5) == truth).mean() > 0.95
    else:
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)
        assert (values.argmax(axis=1) == truth).mean() > 0.95


def test_balanced_weights_worked_by_hand() -> None:
    counts = [2745, 2050, 415, 3660, 4085, 545]
    counts += [549, 410, 83, 732, 817, 109] * 2
    weights = class_weights(np.array(counts), power=1)
    expected = {0: 0.3825, 4: 0.2570, 5: 1.9266, 8: 12.6506, 11: 9.6330}
    assert {c: round(float(weights[c]), 4) for c in expected} == expected
    assert (weights * counts).sum() == pytest.approx(18_900)
    np.testing.assert_allclose(class_weights(np.array(counts), power=0.5), weights**0.5)
    capped = class_weights(np.array(counts), power=1, cap=5)
    np.testing.assert_allclose(capped, np.minimum(weights, 5))
    assert class_weights(np.array(counts), power=0).tolist() == [1] * 18


def test_a_class_of_collected_images_weighs_as_the_rarest_of_the_others() -> None:
    # The last as if there were no others: N = 100 and K = 2 of the first two.
    weights = class_weights(np.array([80, 20, 1000]), power=1, as_max=[2])
    np.testing.assert_allclose(weights, [100 / 160, 100 / 40, 100 / 40])
    capped = class_weights(np.array([80, 20, 1000]), power=1, cap=2, as_max=[2])
    np.testing.assert_allclose(capped, [100 / 160, 2, 2])
    assert class_weights(np.array([0, 5]), power=1, as_max=[1]).tolist() == [1, 1]


def test_weights_are_scikit_learns_and_1_for_classes_without_images() -> None:
    labels = draw_truth("multiclass")
    reference = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    counts = np.bincount(labels, minlength=6)
    np.testing.assert_allclose(class_weights(counts, power=1), [*reference, 1, 1])
    assert class_weights(np.zeros(3), power=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize(("kind", "task"), WITH_LABELS)
def test_a_class_that_is_absent_from_the_train_part_does_no_harm(kind: str, task: Task) -> None:
    truth = draw_truth(task)
    if task == "multilabel":
        truth[:, 2] = 0
    else:
        truth[truth == 2] = 0
    objective, outputs, targets = build(replace(BUSY, kind=kind), task, truth)
    assert objective.class_weights is not None
    assert objective.class_weights[2] == 1
    assert objective.loss(outputs, targets).isfinite().all()


@pytest.mark.parametrize(("kind", "task"), CASES)
def test_targets_are_rows_of_the_truth(kind: str, task: Task) -> None:
    truth = draw_truth(task)
    targets = build(LossPlan(kind), task, truth)[2]
    assert targets.dtype == torch.float32
    assert targets.shape == (40, 1 if task == "regression" else 4)
    if task == "multilabel":
        np.testing.assert_array_equal(targets, truth)
    elif task != "regression":
        np.testing.assert_array_equal(targets, np.eye(4)[truth])


def test_numbers_are_standardised_and_come_back() -> None:
    truth = np.array([100_010, 100_020, 100_060], dtype=np.float32)
    objective = build_objective(LossPlan(), truth, task="regression", num_classes=1)
    standard = objective.targets(encode_truth(truth, form=objective.form))
    assert float(standard.mean()) == pytest.approx(0, abs=1e-6)
    assert float(standard.std(correction=0)) == pytest.approx(1, abs=1e-6)
    back = activate(standard.numpy(), objective.form)
    np.testing.assert_allclose(back[:, 0], truth, rtol=1e-7)


def test_a_constant_number_has_spread_1() -> None:
    truth = np.full(3, 7, dtype=np.float32)
    form = build_objective(LossPlan(), truth, task="regression", num_classes=1).form
    assert (form.shift, form.scale) == (7, 1)


@pytest.mark.parametrize("task", ["multiclass", "ordinal", "multilabel", "regression"])
def test_auto_is_resolved_and_unfit_losses_are_refused(task: Task) -> None:
    assert build(LossPlan(), task)[0].plan.kind == resolve_loss("auto", task)
    unfit = "mse" if task != "regression" else "focal"
    with pytest.raises(ConfigError, match=f"'{unfit}' cannot be used"):
        build(LossPlan(unfit), task)


MASK = np.array([(k // 6, k // 3 % 2, k % 3) for k in range(18)])


@pytest.mark.parametrize("width", [8, 26])
@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_the_loss_of_parts_is_the_sum_of_their_own_losses(kind: str, width: int) -> None:
    labels = np.arange(18).repeat(2)
    part_weights = (0.5, 2.0, 1.0)
    plan = replace(BUSY, kind=kind, class_weight_power=0, part_weights=part_weights)
    objective = build_objective(plan, labels, task="multiclass", num_classes=18, parts=MASK)
    outputs = 2 * torch.randn(36, width, generator=torch.Generator().manual_seed(0))
    truth = encode_truth(labels, form=objective.form)
    found = objective.loss(outputs, objective.targets(truth))
    alone = replace(plan, part_weights=None)
    expected = torch.zeros(36)
    if width == 26:
        flat = build_objective(alone, labels, task="multiclass", num_classes=18)
        expected += flat.loss(outputs[:, :18], flat.targets(truth))
    columns = torch.split(outputs[:, width - 8 :], [3, 2, 3], dim=1)
    for logits, of_class, weight in zip(columns, MASK.T, part_weights, strict=True):
        values = of_class[labels]
        part = build_objective(
            alone, values, task="multiclass", num_classes=1 + values.max().item()
        )
        rows = part.targets(torch.from_numpy(values))
        expected += weight * part.loss(logits, rows)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("width", [8, 26])
def test_an_image_counts_alike_in_the_class_and_in_its_parts(width: int) -> None:
    labels = np.minimum(np.arange(60) % 23, 17)
    plan = LossPlan(class_weight_power=1)
    objective = build_objective(plan, labels, task="multiclass", num_classes=18, parts=MASK)
    plain = build_objective(LossPlan(), labels, task="multiclass", num_classes=18, parts=MASK)
    outputs = torch.randn(60, width, generator=torch.Generator().manual_seed(0))
    targets = plain.targets(encode_truth(labels, form=plain.form))
    assert objective.class_weights is not None
    torch.testing.assert_close(
        objective.loss(outputs, targets),
        objective.class_weights[labels] * plain.loss(outputs, targets),
    )


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_gradients_of_the_losses_of_parts_are_right_for_blends_too(kind: str) -> None:
    labels = np.arange(18)
    objective = build_objective(
        replace(BUSY, kind=kind), labels, task="multiclass", num_classes=18, parts=MASK
    )
    rows = objective.targets(torch.from_numpy(labels))[:4].double()
    outputs = torch.randn(4, 26, dtype=torch.float64, requires_grad=True)
    for targets in (rows, 0.3 * rows + 0.7 * rows.roll(1, dims=0)):
        assert torch.autograd.gradcheck(
            lambda x, targets=targets: objective.loss(x, targets), (outputs,)
        )


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        ({"margin": 0.4}, [0.4, 0.4, 0.4]),
        ({"margin_range": (0.1, 0.5)}, [0.1, 0.3, 0.5]),
        ({"margin_power": (0.4, -0.5, 0.05)}, [0.15, 0.25, 0.45]),
        ({}, None),
    ],
)
def test_margins_come_of_the_counts_of_the_train_part(
    margin: dict[str, Any], expected: list[float] | None
) -> None:
    # n^(-1/4) of 16, 4 and 1 pictures is 1/2, 0.7071 and 1; n^(-1/2) is 1/4, 1/2 and 1.
    labels = np.repeat([0, 1, 2], [16, 4, 1])
    objective = build_objective(
        LossPlan(scale=20, **margin), labels, task="multiclass", num_classes=3
    )
    if expected is None:
        assert objective.margins is None
        return
    assert objective.margins is not None
    if "margin_range" in margin:
        expected[1] = 0.1 + 0.4 * (2**-0.5 - 0.5) / 0.5
    torch.testing.assert_close(objective.margins, torch.tensor(expected))


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "soft_f1"])
def test_a_margin_is_put_on_before_the_loss(kind: str) -> None:
    labels = np.arange(4)
    plan = LossPlan(kind, margin=0.3, scale=12)
    objective = build_objective(plan, labels, task="multiclass", num_classes=4)
    plain = build_objective(LossPlan(kind), labels, task="multiclass", num_classes=4)
    outputs = 12 * (2 * torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) - 1)
    rows = objective.targets(torch.from_numpy(labels))
    moved = with_margins(outputs, rows, margins=torch.full((4,), 0.3), scale=12)
    torch.testing.assert_close(objective.loss(outputs, rows), plain.loss(moved, rows))
    assert bool((objective.loss(outputs, rows) > plain.loss(outputs, rows)).all())
