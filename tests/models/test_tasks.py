"""Vanilla and multi-task heads, and logits as features."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gorae.models import ImageModel, ModelPlan, build_model, load_model
from gorae.models.tasks import multi_head, use_logits, vanilla_head


@pytest.mark.parametrize("num_features", [1536, 2048, 1000])
@pytest.mark.parametrize("num_outputs", [18, 3, 2, 1, 61])
def test_the_vanilla_head_by_hand(num_features: int, num_outputs: int) -> None:
    head = vanilla_head(num_features, num_outputs)
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


def test_the_vanilla_head_fits_any_backbone_and_learns_wholly() -> None:
    model = build_model("lenet5", num_outputs=2, kwargs={}, seed=0, folder=Path())
    model.head = vanilla_head(model.num_features, 18)
    model(torch.rand(8, 3, 32, 32)).square().sum().backward()
    for name, parameter in model.head.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_linear_heads_side_by_side_are_one_layer() -> None:
    torch.manual_seed(0)
    head = multi_head(20, sizes=(3, 2, 3), num_classes=18)
    assert isinstance(head, nn.Linear)
    assert sum(each.numel() for each in head.parameters()) == 21 * (18 + 3 + 2 + 3)
    features = torch.randn(4, 20)
    alone = [nn.Linear(20, size) for size in (18, 3, 2, 3)]
    weights = zip(
        *(torch.split(each, [18, 3, 2, 3]) for each in (head.weight, head.bias)), strict=True
    )
    for layer, (weight, bias) in zip(alone, weights, strict=True):
        layer.load_state_dict({"weight": weight, "bias": bias})
    expected = torch.cat([layer(features) for layer in alone], dim=1)
    torch.testing.assert_close(head(features), expected)
    assert multi_head(20, sizes=(3, 2, 3), num_classes=0)(features).shape == (4, 8)


def test_logits_of_the_old_classifier_become_the_features() -> None:
    model = build_model("lenet5", num_outputs=1000, kwargs={}, seed=0, folder=Path()).eval()
    images = torch.rand(4, 3, 32, 32)
    logits = model(images)
    use_logits(model, vanilla_head(1000, 18), num_outputs=18)
    model.eval()
    torch.testing.assert_close(model.features(images), logits)
    assert (model.num_features, model.num_outputs) == (1000, 18)
    assert model(images).shape == (4, 18)
    # The old classifier belongs to the backbone: it learns at the backbone's rate or rests.
    names = {name for name, _ in model.named_parameters() if "classifier" in name}
    assert names == {"backbone.classifier.weight", "backbone.classifier.bias"}
    model.freeze()
    learning = {name for name, each in model.named_parameters() if each.requires_grad}
    assert learning == {f"head.{name}" for name, _ in model.head.named_parameters()}


@pytest.mark.shared
def test_logits_of_real_weights_become_the_features(shared: Path) -> None:
    path = shared / "weights" / "mobilenetv2_100.safetensors"
    model: ImageModel = load_model(
        ModelPlan("mobilenetv2_100", str(path), num_outputs=None), folder=shared
    ).model.eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        logits = model(images)
        use_logits(model, vanilla_head(1000, 18), num_outputs=18)
        assert logits.shape == (2, 1000)
        torch.testing.assert_close(model.eval().features(images), logits)
