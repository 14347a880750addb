from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from gorae.training.optim import (
    build_adamw,
    cosine_share,
    learning_rate_share,
    parameter_groups,
    set_learning_rate,
)


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


@pytest.mark.parametrize("name", ["vit", "conv", "tied"])
def test_each_parameter_is_in_exactly_one_group(name: str) -> None:
    model = some_models()[name]
    groups = parameter_groups(model, lr=1e-2, backbone_lr=1e-3, weight_decay=0.05)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    for group in groups:
        for parameter_name, parameter in zip(group["names"], group["params"], strict=True):
            is_head = parameter_name.startswith("head.")
            assert group["peak_lr"] == (1e-2 if is_head else 1e-3)
            if parameter.ndim <= 1:
                assert group["weight_decay"] == 0


def test_position_embeddings_are_not_decayed() -> None:
    model = some_models()["vit"]
    groups = parameter_groups(model, lr=1e-2, backbone_lr=1e-3, weight_decay=0.05)
    exempt = {name for group in groups if not group["weight_decay"] for name in group["names"]}
    assert {"backbone.pos_embed", "backbone.cls_token"} <= exempt
    assert "backbone.blocks.0.mlp.fc1.weight" not in exempt


def test_frozen_parameters_are_left_out() -> None:
    model = some_models()["conv"]
    model.get_submodule("backbone").requires_grad_(False)
    groups = parameter_groups(model, lr=1e-2, backbone_lr=1e-3, weight_decay=0.05)
    assert {name for group in groups for name in group["names"]} == {"head.weight", "head.bias"}


def test_steps_are_torchs_adamw(tiny_net: Callable[..., nn.Module]) -> None:
    ours, theirs = tiny_net(), tiny_net()
    decayed = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim <= 1]
    reference = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=1e-3,
        foreach=False,
    )
    optimizer = build_adamw(ours, lr=1e-3, backbone_lr=1e-3, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad.clone()
        optimizer.step()
        reference.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-7, rtol=1e-5)


def test_cosine_worked_by_hand() -> None:
    assert cosine_share(532, 50) == pytest.approx(0.2871, abs=5e-5)
    assert cosine_share(0, 50) == 1
    assert cosine_share(25, 50) == pytest.approx(0.5)
    assert cosine_share(50, 50) == pytest.approx(0)


@pytest.mark.parametrize(("warmup_steps", "total_steps"), [(0, 1), (0, 40), (10, 40), (39, 40)])
def test_learning_rate_is_its_formula(warmup_steps: int, total_steps: int) -> None:
    shares = np.array(
        [
            learning_rate_share(step, warmup_steps=warmup_steps, total_steps=total_steps)
            for step in range(total_steps)
        ]
    )
    steps = np.arange(total_steps)
    decay = 0.5 + 0.5 * np.cos(np.pi * (steps - warmup_steps) / (total_steps - warmup_steps))
    expected = np.where(steps < warmup_steps, (steps + 1) / max(1, warmup_steps), decay)
    np.testing.assert_allclose(shares, expected, atol=1e-12)
    assert shares.max() == 1
    assert shares.min() > 0


def test_groups_keep_their_own_peak(tiny_net: Callable[..., nn.Module]) -> None:
    optimizer = build_adamw(tiny_net(), lr=0.2, backbone_lr=0.1, weight_decay=0)
    set_learning_rate(optimizer, 0.5)
    rates: dict[str, Any] = {
        name: group["lr"] for group in optimizer.param_groups for name in group["names"]
    }
    assert rates["head.bias"] == 0.1
    assert rates["backbone.0.weight"] == 0.05
