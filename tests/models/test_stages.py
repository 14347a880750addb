"""Features of several stages: timm's own maps, pooled and joined."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from gorae.errors import ConfigError
from gorae.models import ImageModel, load_model
from gorae.models.blocks import backbone_blocks, last_norms
from gorae.models.fold import fold_batch_norms
from gorae.models.network import enable_gradient_checkpointing
from gorae.models.plan import CosinePlan, ModelPlan
from gorae.models.weights import write_weights

NAMES = ("test_resnet", "test_efficientnet", "test_convnext", "mobilenetv2_035")


def load(name: str, *, folder: Path = Path(), **plan: Any) -> ImageModel:
    plan = {"pixels": {"input_size": 64}, "num_outputs": 3, "pool_stages": 2, **plan}
    return load_model(ModelPlan(name, **plan), folder=folder).model


@pytest.mark.parametrize("pooling", ["default", "gem"])
@pytest.mark.parametrize("name", NAMES)
def test_features_are_timms_maps_each_pooled(name: str, pooling: str, tmp_path: Path) -> None:
    published: Any = timm.create_model(name, num_classes=9).eval()
    write_weights(tmp_path / "w.safetensors", published.state_dict())
    model = load(name, folder=tmp_path, weights="w.safetensors", pooling=pooling).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = published.forward_intermediates(images, intermediates_only=True)[-2:]
        found = model.features(images)
    pooled = [
        each.mean(dim=(2, 3))
        if pooling == "default"
        else each.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
        for each in maps
    ]
    torch.testing.assert_close(found, torch.cat(pooled, dim=1), rtol=1e-4, atol=1e-5)
    assert model.num_features == found.shape[1] == sum(each.shape[1] for each in maps)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_and_is_in_one_block(name: str) -> None:
    model = load(name, pooling="gem", head="cosine", cosine=CosinePlan(embedding=8))
    model(torch.rand(4, 3, 64, 64)).square().sum().backward()
    # What comes after the last stage is gone, so that nothing waits for gradients for ever.
    assert [key for key, each in model.named_parameters() if each.grad is None] == []
    named = [name for block in backbone_blocks(model) for name in block]
    own = [name for name, _ in model.named_parameters() if name.startswith("backbone.")]
    assert sorted(named) == sorted(own)
    assert {"backbone.pools.0.p", "backbone.pools.1.p"} <= set(backbone_blocks(model)[-1])
    assert all(isinstance(model.get_submodule(each), nn.Module) for each in last_norms(model))


def test_a_run_finds_the_same_network_again(tmp_path: Path) -> None:
    one, other = load("test_resnet", seed=1), load("test_resnet", seed=2)
    other.load_state_dict(one.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(one.eval()(images), other.eval()(images))


def test_norms_are_folded_and_activations_computed_again() -> None:
    model = load("test_resnet", pooling="gem")
    enable_gradient_checkpointing(model)
    images = torch.rand(3, 3, 64, 64)
    model(images).sum().backward()
    model.eval()
    folded = fold_batch_norms(model, input_size=64)
    assert folded is not model
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), model(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("torchvision/resnet18", 2, "does not tell its stages"),
        ("lenet5", 2, "does not tell its stages"),
        ("test_resnet", 6, "test_resnet has 5 stages"),
    ],
)
def test_stages_that_a_network_has_not_are_refused(name: str, count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(name, pool_stages=count)
