"""Angular margins: their cosines, slopes and sizes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from gorae.training.margins import power_margins, ranged_margins, with_margins

SCALE = 30.0


def moved(cosines: Tensor, margin: float) -> Tensor:
    """What becomes of cosines to the true class."""
    targets = torch.ones(len(cosines), 1)
    logits = with_margins(
        SCALE * cosines[:, None], targets, margins=torch.tensor([margin]), scale=SCALE
    )
    return logits[:, 0] / SCALE


def test_without_a_margin_logits_stay_and_the_loss_is_cross_entropy() -> None:
    torch.manual_seed(0)
    outputs = SCALE * torch.rand(6, 4).mul(2).sub(1)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    rows = F.one_hot(labels, 4).float()
    logits = with_margins(outputs, rows, margins=torch.zeros(4), scale=SCALE)
    torch.testing.assert_close(logits, outputs, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        F.cross_entropy(logits, rows), F.cross_entropy(outputs, labels), atol=1e-5, rtol=0
    )


def test_an_example_by_hand() -> None:
    # 60 and 120 degrees; a margin of 30 degrees for the first class, of 0.5 for the second.
    outputs = 10 * torch.tensor([[0.5, -0.5], [0.5, -0.5]])
    margins = torch.tensor([math.pi / 6, 0.5])
    logits = with_margins(outputs, torch.eye(2), margins=margins, scale=10.0)
    expected = torch.tensor([[0.0, -5.0], [5.0, 10 * math.cos(2 * math.pi / 3 + 0.5)]])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    loss = F.cross_entropy(logits, torch.eye(2), reduction="none")
    assert loss[0].item() == pytest.approx(math.log(1 + math.exp(-5)), abs=1e-6)


@given(margin=st.floats(0, 1.5), angle=st.floats(0.01, math.pi - 0.01))
def test_it_is_the_cosine_of_a_larger_angle_up_to_a_straight_one(
    margin: float, angle: float
) -> None:
    found = moved(torch.tensor([math.cos(angle)]), margin).item()
    if angle + margin < math.pi:
        assert found == pytest.approx(math.cos(angle + margin), abs=2e-5)
    else:
        assert found == pytest.approx(math.cos(angle) + math.cos(margin) - 1, abs=2e-5)


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.3, 0.5, 1.0, 2.0])
def test_it_never_rises_with_the_angle_and_never_jumps(margin: float) -> None:
    angles = torch.linspace(0, math.pi, 4001, dtype=torch.float64)
    found = moved(angles.cos(), margin)
    steps = found.diff()
    assert bool((steps <= 1e-6).all())
    assert float(steps.min()) > -2e-3
    assert bool((found <= angles.cos() + 1e-6).all())


@pytest.mark.parametrize("cosine", [1.0, -1.0, 1.0000002, -1.0000002, 0.0])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_gradients_are_finite_everywhere(cosine: float, margin: float) -> None:
    cosines = torch.tensor([cosine], requires_grad=True)
    found = moved(cosines, margin)
    torch.autograd.backward(found.sum())
    assert bool(found.isfinite().all())
    assert cosines.grad is not None
    assert bool(cosines.grad.isfinite().all())


def test_embeddings_on_their_centre_get_finite_gradients() -> None:
    features = torch.tensor([[1.0, 0.0], [-3.0, 0.0]], requires_grad=True)
    centres = torch.tensor([[2.0, 0.0], [0.0, 1.0]], requires_grad=True)
    outputs = SCALE * F.normalize(features) @ F.normalize(centres).T
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    logits = with_margins(outputs, rows, margins=torch.tensor([0.5, 0.5]), scale=SCALE)
    torch.autograd.backward(F.cross_entropy(logits, rows))
    for each in (features, centres):
        assert each.grad is not None
        assert bool(each.grad.isfinite().all())


def test_only_the_true_class_is_made_harder_and_blends_get_their_share() -> None:
    outputs = SCALE * torch.tensor([[0.3, 0.2, -0.4]])
    margins = torch.tensor([0.5, 0.4, 0.3])
    whole = [
        with_margins(outputs, torch.eye(3)[[k]], margins=margins, scale=SCALE) for k in range(3)
    ]
    for k in range(3):
        is_changed = (whole[k] - outputs).abs() > 1e-4
        assert is_changed.tolist() == [[place == k for place in range(3)]]
    blend = torch.tensor([[0.7, 0.3, 0.0]])
    found = with_margins(outputs, blend, margins=margins, scale=SCALE)
    expected = outputs + 0.7 * (whole[0] - outputs) + 0.3 * (whole[1] - outputs)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_half_precision_outputs_are_computed_in_float32() -> None:
    outputs = SCALE * torch.tensor([[0.3, 0.2]])
    rows, margins = torch.tensor([[1.0, 0.0]]), torch.tensor([0.5, 0.5])
    with torch.autocast("cpu", torch.bfloat16):
        logits = with_margins(outputs.bfloat16(), rows, margins=margins, scale=SCALE)
    assert logits.dtype == torch.float32
    exact = with_margins(outputs.bfloat16().float(), rows, margins=margins, scale=SCALE)
    torch.testing.assert_close(logits, exact, atol=0, rtol=0)


def test_margins_of_happywhale_by_hand() -> None:
    margins = power_margins(np.array([1, 400, 0]), factor=0.27126, power=-0.364399)
    assert margins[0] == pytest.approx(0.32126)
    assert margins[1] == pytest.approx(0.27126 * 400**-0.364399 + 0.05)
    assert margins[2] == margins[0]


def test_margins_of_landmarks_by_hand() -> None:
    counts = np.array([16, 1, 81])
    tmp = np.array([1 / 2, 1, 1 / 3])
    expected = 0.05 + 0.45 * (tmp - 1 / 3) / (2 / 3)
    np.testing.assert_allclose(ranged_margins(counts), expected)
    assert ranged_margins(np.array([7, 7])).tolist() == [0.5, 0.5]


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30))
def test_rarer_classes_have_margins_at_least_as_large(counts: list[int]) -> None:
    order = np.argsort(counts)
    for margins in (
        power_margins(np.array(counts), factor=0.3, power=-0.4),
        ranged_margins(np.array(counts)),
    ):
        assert bool((np.diff(margins[order]) <= 1e-12).all())
        assert 0.05 <= margins.min() <= margins.max() < math.pi
