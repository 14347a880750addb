"""Heads of scaled cosines."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gorae.models.margin import NECKS, CosineHead
from gorae.models.plan import CosinePlan


def build(
    num_features: int = 6, num_outputs: int = 4, *, drop_rate: float = 0.0, **plan: Any
) -> CosineHead:
    torch.manual_seed(0)
    plan = {"neck": "none"} | plan
    return CosineHead(num_features, num_outputs, plan=CosinePlan(**plan), drop_rate=drop_rate)


def test_outputs_are_scaled_cosines_in_training_and_evaluation() -> None:
    head = build(scale=20.0)
    features = torch.randn(5, 6)
    centres = head.centres[:, 0]
    expected = 20 * F.cosine_similarity(features[:, None], centres[None], dim=2)
    torch.testing.assert_close(head.train()(features), expected)
    torch.testing.assert_close(head.eval()(features), expected)


def test_the_nearest_of_several_centres_counts() -> None:
    head = build(num_features=2, num_outputs=2, centres=2, scale=1.0)
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[[1.0, 0], [0, 3]], [[-1.0, 0], [-1, -1]]]))
    found = head(torch.tensor([[0.0, 2.0], [-5.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("neck", NECKS)
def test_embeddings_have_length_one_and_every_parameter_learns(neck: str) -> None:
    head = build(neck=neck, embedding=8, centres=2, drop_rate=0.2)
    features = torch.randn(32, 6)
    embeddings = head.embed(features)
    assert embeddings.shape == (32, 6 if neck == "none" else 8)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(32))
    loss: Tensor = F.cross_entropy(head(features), torch.arange(32) % 4)
    torch.autograd.backward(loss)
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        # More than rounding leaves of a gradient that is nothing.
        assert float(parameter.grad.abs().max()) > 1e-5, name


@pytest.mark.parametrize(
    ("neck", "count"),
    [
        ("none", 0),
        ("linear_bn_prelu", 6 * 8 + 2 * 8 + 1),
        ("bn_linear_bn", 2 * 6 + 6 * 8 + 2 * 8),
    ],
)
def test_the_number_of_parameters_by_hand(neck: str, count: int) -> None:
    head = build(neck=neck, embedding=8, centres=3)
    size = 6 if neck == "none" else 8
    assert sum(each.numel() for each in head.parameters()) == count + 4 * 3 * size


@pytest.mark.parametrize("neck", NECKS)
def test_half_precision_only_rounds_the_neck(neck: str) -> None:
    head = build(neck=neck, embedding=8).eval()
    features = torch.randn(5, 6)
    exact = head(features)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = head(features)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0 if neck == "none" else 0.5, rtol=0)


def test_features_of_nothing_have_no_direction_and_finite_gradients() -> None:
    head = build()
    features = torch.zeros(2, 6, requires_grad=True)
    outputs = head(features)
    assert not bool(outputs.any())
    outputs.sum().backward()
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())
