"""ImageModel and LeNet-5: shapes, head, freezing."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gorae.errors import ConfigError
from gorae.models import build_model
from gorae.models.network import HEAD_INIT_STD, LUMA, ImageModel, LeNet5


def _small(drop_rate: float = 0.0) -> ImageModel:
    return build_model(
        "mobilenetv3_small_050",
        num_outputs=7,
        kwargs={},
        drop_rate=drop_rate,
        seed=0,
        folder=Path(),
    )


def test_lenet_has_the_parameters_counted_by_hand() -> None:
    backbone = LeNet5(in_chans=1)
    counts = {
        name: sum(p.numel() for p in m.parameters()) for name, m in backbone.named_children()
    }
    assert counts == {
        "conv1": 6 * (5 * 5 * 1) + 6,  # 156
        "conv2": 16 * (5 * 5 * 6) + 16,  # 2,416
        "fc1": 120 * (16 * 5 * 5) + 120,  # 48,120
        "fc2": 84 * 120 + 84,  # 10,164
    }
    model = build_model("lenet5", num_outputs=10, kwargs={"in_chans": 1}, seed=0, folder=Path())
    # The 61,706 of LeCun et al.'s network with full connections and ten classes.
    assert sum(p.numel() for p in model.parameters()) == 61_706


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("size", [16, 28, 32, 48])
def test_lenet_takes_the_size_it_is_given(in_chans: int, size: int) -> None:
    model = build_model(
        "lenet5", num_outputs=5, kwargs={"in_chans": in_chans}, seed=0, folder=Path()
    ).eval()
    images = torch.rand(2, 3, size, size)
    assert model.features(images).shape == (2, 84)
    assert model(images).shape == (2, 5)


def test_one_channel_is_the_luma_of_rgb() -> None:
    model = build_model("lenet5", num_outputs=2, kwargs={"in_chans": 1}, seed=0, folder=Path())
    model.eval()
    rgb = torch.rand(2, 3, 32, 32)
    grey = sum(weight * rgb[:, channel] for channel, weight in enumerate(LUMA))
    assert isinstance(grey, torch.Tensor)
    torch.testing.assert_close(model(rgb), model(grey.unsqueeze(1)))


def test_features_are_the_pooled_backbone_and_the_head_is_applied_to_them() -> None:
    model = _small().eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        features = model.features(images)
        assert torch.equal(features, model.backbone(images))
        assert torch.equal(model(images), model.head(features))
    assert features.shape == (2, model.num_features)


def test_the_new_head_is_small_and_without_bias() -> None:
    head = _small().head
    assert isinstance(head, nn.Linear)
    assert head.weight.std().item() == pytest.approx(HEAD_INIT_STD, rel=0.05)
    assert not head.bias.any()


def test_every_parameter_is_of_the_backbone_or_of_the_head() -> None:
    model = _small()
    backbone, head = set(model.backbone_parameters()), set(model.head_parameters())
    assert not backbone & head
    assert backbone | head == set(model.parameters())


def test_a_frozen_backbone_stays_as_it_is_while_the_head_trains() -> None:
    model = _small(drop_rate=0.5)
    model.freeze()
    model.train()
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    images = torch.rand(4, 3, 32, 32)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model(images).sum().backward()
    optimiser.step()
    assert model.training
    assert model.dropout.training
    assert not any(module.training for module in model.backbone.modules())
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert isinstance(model.head, nn.Linear)
    assert model.head.bias.abs().max() > 0


def test_evaluation_has_no_chance_even_with_dropout() -> None:
    model = _small(drop_rate=0.5).eval()
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(images), model(images))


def test_a_whole_module_without_features_is_told_to_have_them() -> None:
    model = ImageModel(nn.Flatten(), num_features=0, num_outputs=12, is_whole=True)
    images = torch.rand(2, 3, 2, 2)
    assert model(images).shape == (2, 12)
    with pytest.raises(ConfigError, match=r"Flatten has no method features\(x\)"):
        model.features(images)
