"""gorae.training.optim: groups, and every optimiser against torch's own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from gorae.errors import ConfigError
from gorae.models.blocks import backbone_blocks
from gorae.models.network import ImageModel, LeNet5
from gorae.training.optim import (
    OptimizerName,
    OptimPlan,
    build_optimizer,
    parameter_groups,
    rate_warnings,
    set_learning_rate,
)
from gorae.training.state import optimizer_tensors, restore_optimizer

NAMES: tuple[OptimizerName, ...] = get_args(OptimizerName)
PLAN = OptimPlan(lr=1e-2, backbone_lr=1e-3, weight_decay=0.05)


class WithHead(nn.Module):
    def __init__(self, backbone: nn.Module, num_features: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(num_features, 3)


def some_models() -> dict[str, nn.Module]:
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2, img_size=32)
    net = timm.create_model("mobilenetv3_small_050", num_classes=0)
    tied = WithHead(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), 4)
    first, second = tied.backbone.children()
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    second.weight = first.weight
    return {"vit": WithHead(vit, 192), "conv": WithHead(net, 1024), "tied": tied}


def rates_of(groups: list[dict[str, Any]]) -> dict[str, float]:
    return {name: group["peak_lr"] for group in groups for name in group["names"]}


@pytest.mark.parametrize("name", ["vit", "conv", "tied"])
def test_each_parameter_is_in_exactly_one_group(name: str) -> None:
    model = some_models()[name]
    groups = parameter_groups(model, PLAN)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    for group in groups:
        for parameter_name, parameter in zip(group["names"], group["params"], strict=True):
            is_head = parameter_name.startswith("head.")
            assert group["peak_lr"] == group["lr"] == (1e-2 if is_head else 1e-3)
            if parameter.ndim <= 1:
                assert group["weight_decay"] == 0


def test_position_embeddings_are_not_decayed() -> None:
    groups = parameter_groups(some_models()["vit"], PLAN)
    exempt = {name for group in groups if not group["weight_decay"] for name in group["names"]}
    assert {"backbone.pos_embed", "backbone.cls_token"} <= exempt
    assert "backbone.blocks.0.mlp.fc1.weight" not in exempt


def test_frozen_parameters_are_left_out() -> None:
    model = some_models()["conv"]
    model.get_submodule("backbone").requires_grad_(False)
    groups = parameter_groups(model, PLAN)
    assert set(rates_of(groups)) == {"head.weight", "head.bias"}


def test_a_network_with_nothing_to_train_is_refused() -> None:
    model = some_models()["tied"].requires_grad_(False)
    with pytest.raises(ConfigError, match="Nothing of this network can be trained"):
        build_optimizer(model, PLAN)


def test_each_block_learns_slower_than_the_one_above() -> None:
    model = ImageModel(LeNet5(), num_features=84, num_outputs=3)
    blocks = [[f"backbone.{layer}.weight", f"backbone.{layer}.bias"] for layer in LAYERS]
    groups = parameter_groups(model, replace(PLAN, layer_decay=0.5), blocks=blocks)
    rates = rates_of(groups)
    for depth, layer in enumerate(reversed(LAYERS)):
        assert rates[f"backbone.{layer}.weight"] == 1e-3 * 0.5**depth
        assert rates[f"backbone.{layer}.bias"] == 1e-3 * 0.5**depth
    assert rates["head.weight"] == rates["head.bias"] == 1e-2
    assert len(groups) == 2 * (len(LAYERS) + 1)
    assert sorted(rates) == sorted(name for name, _ in model.named_parameters())


LAYERS = ("conv1", "conv2", "fc1", "fc2")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_layer_decay_reaches_every_block_of_a_network(name: str) -> None:
    arguments: dict[str, Any] = {"depth": 3, "img_size": 32} if "vit" in name else {}
    backbone: Any = timm.create_model(name, num_classes=0, **arguments)
    model = ImageModel(backbone, num_features=backbone.head_hidden_size, num_outputs=3)
    optimizer = build_optimizer(model, replace(PLAN, layer_decay=0.7))
    rates = rates_of(optimizer.param_groups)
    assert sorted(rates) == sorted(parameter for parameter, _ in model.named_parameters())
    blocks = backbone_blocks(model)
    assert len(blocks) > 2
    per_block = [{rates[parameter] for parameter in block} for block in blocks]
    assert all(len(found) == 1 for found in per_block)
    found = [block.pop() for block in per_block]
    np.testing.assert_allclose(found, 1e-3 * 0.7 ** np.arange(len(blocks))[::-1])


REFERENCES: dict[OptimizerName, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-3, foreach=False),
    "adam": lambda groups: torch.optim.Adam(groups, lr=1e-3, foreach=False),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=1e-3, foreach=False),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=1e-3, momentum=0.8, foreach=False),
}


def give_gradients(model: nn.Module, generator: torch.Generator) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_steps_are_torchs(name: OptimizerName, tiny_net: Callable[..., nn.Module]) -> None:
    ours, theirs = tiny_net(), tiny_net()
    decayed = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim <= 1]
    reference = REFERENCES[name](
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    )
    plan = OptimPlan(name, lr=1e-3, backbone_lr=1e-3, weight_decay=0.1, momentum=0.8)
    optimizer = build_optimizer(ours, plan)
    for seed in range(5):
        give_gradients(ours, torch.Generator().manual_seed(seed))
        give_gradients(theirs, torch.Generator().manual_seed(seed))
        optimizer.step()
        reference.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-7, rtol=1e-5)


def moved(name: OptimizerName, *, weight: float, grad: float, weight_decay: float) -> float:
    """A lone weight of a (1, 1) layer after one step at a rate of 0.1."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    (parameter,) = model.parameters()
    parameter.data.fill_(weight)
    parameter.grad = torch.full((1, 1), float(grad))
    plan = OptimPlan(name, lr=0.1, backbone_lr=0.1, weight_decay=weight_decay)
    build_optimizer(model, plan).step()
    return parameter.item()


def test_weight_decay_means_what_is_said_of_it() -> None:
    # By hand, weight 2, gradient 1, rate 0.1, decay 0.5. Decoupled: 2 (1 - 0.05) - 0.1. In
    # the gradient: 1 + 0.5 * 2 = 2, which Adam divides by its own size.
    expected: dict[OptimizerName, float] = {
        "adamw": 1.8,
        "adamp": 1.8,
        "adam": 1.9,
        "sgd": 1.8,
        "momentum": 1.8,
    }
    for name, value in expected.items():
        assert moved(name, weight=2, grad=1, weight_decay=0.5) == pytest.approx(value), name
    # A gradient of nothing: L2 under Adam still takes a whole step, the others a small one.
    assert moved("adam", weight=2, grad=0, weight_decay=0.001) == pytest.approx(1.9, abs=1e-4)
    assert moved("adamw", weight=2, grad=0, weight_decay=0.001) == pytest.approx(1.9998)
    assert moved("sgd", weight=2, grad=0, weight_decay=0.001) == pytest.approx(1.9998)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_state_goes_on_bit_by_bit(
    name: OptimizerName, tiny_net: Callable[..., nn.Module]
) -> None:
    plan = OptimPlan(name, lr=1e-2, backbone_lr=1e-3, weight_decay=0.1)

    def go_on(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            give_gradients(model, torch.Generator().manual_seed(seed))
            optimizer.step()

    whole = tiny_net()
    optimizer = build_optimizer(whole, plan)
    go_on(whole, optimizer, range(3))
    saved: dict[str, Tensor] = {
        key: value.clone() for key, value in optimizer_tensors(optimizer).items()
    }
    resumed = tiny_net()
    resumed.load_state_dict(whole.state_dict())
    other = build_optimizer(resumed, plan)
    restore_optimizer(other, saved)
    go_on(whole, optimizer, range(3, 6))
    go_on(resumed, other, range(3, 6))
    for p, q in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)


def test_groups_keep_their_own_peak(tiny_net: Callable[..., nn.Module]) -> None:
    optimizer = build_optimizer(tiny_net(), OptimPlan(lr=0.2, backbone_lr=0.1))
    set_learning_rate(optimizer, 0.5)
    rates: dict[str, Any] = {
        name: group["lr"] for group in optimizer.param_groups for name in group["names"]
    }
    assert rates["head.bias"] == 0.1
    assert rates["backbone.0.weight"] == 0.05


@pytest.mark.parametrize("name", ["adam", "adamw", "adamp"])
def test_a_rate_that_replaces_all_weights_is_warned_of(name: OptimizerName) -> None:
    (text,) = rate_warnings(OptimPlan(name, lr=0.5, backbone_lr=1e-3))
    assert text.startswith(f"train.lr = 0.5 is very high for {name}")
    assert len(rate_warnings(OptimPlan(name, lr=0.5, backbone_lr=0.05))) == 2
    assert rate_warnings(OptimPlan(name, lr=0.01, backbone_lr=0.01)) == ()


def test_plain_steps_may_be_long() -> None:
    assert rate_warnings(OptimPlan("sgd", lr=0.5, backbone_lr=0.5)) == ()
