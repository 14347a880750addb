"""Heads by name: linear, CORAL, vanilla, those of several tasks."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gorae.models import build_model
from gorae.models.attention import THANetHead
from gorae.models.head import HEADS, CoralHead, build_head, linear_head, vanilla_head
from gorae.models.margin import CosineHead
from gorae.models.plan import HEADS_WITH_DROPOUT, CosinePlan, HeadKind, Outputs, Parts

SIZES = (3, 2, 3)


@given(num_outputs=st.integers(1, 12), seed=st.integers(0, 99))
def test_thresholds_of_coral_keep_their_order_for_every_image(
    num_outputs: int, seed: int
) -> None:
    torch.manual_seed(seed)
    head = CoralHead(8, num_outputs)
    nn.init.normal_(head.weight)
    outputs = head(torch.randn(16, 8))
    assert outputs.shape == (16, num_outputs)
    assert bool((outputs.diff(dim=1) < 0).all())
    # One direction for all: the thresholds are as far apart for each image.
    torch.testing.assert_close(outputs.diff(dim=1), head.bias.diff().expand(16, -1))


def test_a_new_coral_head_holds_all_ranks_equally_probable() -> None:
    head = CoralHead(5, 3)
    above = torch.sigmoid(head(torch.zeros(1, 5)))
    torch.testing.assert_close(above, torch.tensor([[0.75, 0.5, 0.25]]))


def test_a_coral_head_has_one_direction_and_its_names() -> None:
    model = build_model(
        "lenet5", num_outputs=4, kwargs={}, seed=0, folder=Path(), parts=Parts(head="coral")
    )
    assert {name: tuple(each.shape) for name, each in model.head.named_parameters()} == {
        "weight": (1, 84),
        "bias": (4,),
    }
    assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 4)


@pytest.mark.parametrize("num_features", [1536, 2048, 1000])
@pytest.mark.parametrize("num_outputs", [18, 3, 2, 1, 61])
def test_the_vanilla_head_by_hand(num_features: int, num_outputs: int) -> None:
    head = vanilla_head(num_features, num_outputs, drop_rate=0.5)
    assert isinstance(head, nn.Sequential)
    num_parameters = sum(each.numel() for each in head.parameters())
    assert num_parameters == 2 * num_features + (num_features + 1) * num_outputs
    features = torch.randn(6, num_features) * 4 + 1
    norm, linear = head[0], head[3]
    assert isinstance(norm, nn.BatchNorm1d)
    assert isinstance(linear, nn.Linear)
    head.eval()
    norm.running_mean = torch.ones(num_features)
    expected = linear(torch.relu((features - 1) / (1 + norm.eps) ** 0.5))
    torch.testing.assert_close(head(features), expected)
    # Half of what the classifier sees is dropped in training, twice as much of the rest.
    seen = head.train()[:2](features)
    assert 0.4 < float((seen == 0).float().mean()) < 0.6


def test_linear_heads_side_by_side_are_one_layer() -> None:
    torch.manual_seed(0)
    head = build_head(Parts(outputs="both", part_sizes=SIZES), num_features=20, num_outputs=26)
    assert isinstance(head, nn.Linear)
    features = torch.randn(4, 20)
    alone = [linear_head(20, size) for size in (18, *SIZES)]
    weights = zip(
        *(torch.split(each, [18, 3, 2, 3]) for each in (head.weight, head.bias)), strict=True
    )
    for layer, (weight, bias) in zip(alone, weights, strict=True):
        layer.load_state_dict({"weight": weight, "bias": bias})
    expected = torch.cat([layer(features) for layer in alone], dim=1)
    torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize(("outputs", "width"), [("classes", 18), ("parts", 8), ("both", 26)])
@pytest.mark.parametrize("kind", HEADS)
def test_every_head_gives_its_outputs_and_learns_wholly(
    kind: HeadKind, outputs: Outputs, width: int
) -> None:
    parts = Parts(head=kind, outputs=outputs, part_sizes=SIZES, drop_rate=0.3)
    model = build_model(
        "lenet5", num_outputs=width, kwargs={}, seed=0, folder=Path(), parts=parts
    )
    outputs_of = model(torch.rand(16, 3, 32, 32))
    assert outputs_of.shape == (16, width)
    outputs_of.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_a_plan_reaches_its_head() -> None:
    parts = Parts(
        head="cosine", cosine=CosinePlan(neck="bn_linear_bn", embedding=8, centres=3, scale=9.0)
    )
    cosine = build_head(parts, num_features=20, num_outputs=5)
    assert isinstance(cosine, CosineHead)
    assert (cosine.centres.shape, cosine.scale) == ((5, 3, 8), 9.0)
    parts = Parts(head="thanet", outputs="parts", part_sizes=SIZES)
    thanet = build_head(parts, num_features=20, num_outputs=8)
    assert isinstance(thanet, THANetHead)
    assert thanet.fuse is None


@pytest.mark.parametrize("kind", HEADS)
def test_features_are_dropped_once(kind: HeadKind) -> None:
    parts = Parts(head=kind, part_sizes=SIZES, drop_rate=0.3)
    model = build_model("lenet5", num_outputs=18, kwargs={}, seed=0, folder=Path(), parts=parts)
    rates = [each.p for each in model.modules() if isinstance(each, nn.Dropout) and each.p]
    assert rates == [0.3]
    assert (model.dropout.p == 0) == (kind in HEADS_WITH_DROPOUT)


def test_heads_have_the_names_of_the_plan() -> None:
    assert set(HEADS) == set(get_args(HeadKind))
