"""Folding changes the speed and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gorae.models import build_model
from gorae.models.fold import fold_batch_norms
from gorae.models.network import ImageModel, cut_model
from gorae.models.plan import Parts


def _fitted(name: str, **parts: Any) -> ImageModel:
    """A network whose norms have statistics and factors of their own."""
    model = build_model(
        name, num_outputs=3, kwargs={}, seed=0, folder=Path(), parts=Parts(**parts)
    )
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


def _count_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    ("name", "num_left"),
    [
        ("mobilenetv3_small_050", 0),
        ("resnet10t", 0),
        ("torchvision/shufflenet_v2_x0_5", 0),
        # Pre-activation: 58 first norms, 3 of transitions and the last follow no convolution.
        ("torchvision/densenet121", 58 + 3 + 1),
    ],
)
def test_a_folded_network_computes_the_same(name: str, num_left: int) -> None:
    model = _fitted(name)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold_batch_norms(model, input_size=32)
    assert folded is not model
    assert _count_norms(folded) == num_left
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(
            folded.features(images), model.features(images), rtol=1e-3, atol=1e-4
        )
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


class _Branching(nn.Module):
    """Its convolution is also used without the norm, which no hook can see."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(images)
        both: Tensor = self.norm(maps) + maps
        return both.mean(dim=(2, 3))


class _Repeated(nn.Module):
    """One convolution under two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first = nn.BatchNorm2d(3)
        self.second = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.second(self.conv(self.first(self.conv(images))))
        return maps.mean(dim=(2, 3))


@pytest.mark.parametrize("backbone", [_Branching(), _Repeated(), nn.Flatten()])
def test_what_cannot_be_folded_comes_back_as_it_is(backbone: nn.Module) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 3.0)
    num_features = {"_Branching": 4, "_Repeated": 3, "Flatten": 3 * 8 * 8}
    model = ImageModel(
        backbone, num_features=num_features[type(backbone).__name__], num_outputs=2
    )
    assert fold_batch_norms(model, input_size=8) is model


def test_a_users_whole_module_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    model = ImageModel(network, num_features=0, num_outputs=144, is_whole=True)
    assert fold_batch_norms(model, input_size=8) is model


@pytest.mark.parametrize(
    ("layer", "is_folded"),
    [
        *(("layer2", True), ("layer1.1", True), ("layer2.0.act2", True)),
        # The norm itself stays, those before it are folded.
        ("layer2.0.bn1", True),
        # Folding would change what this convolution gives, so it does not happen to it.
        ("layer2.0.conv1", True),
        ("conv1.0", False),
    ],
)
def test_features_at_a_layer_stay_the_same_when_folded(layer: str, is_folded: bool) -> None:
    model = _fitted("resnet10t") if layer != "layer1.1" else _fitted("resnet18")
    cut_model(model, layer, input_size=64, seed=0)
    folded = fold_batch_norms(model, input_size=64)
    assert (folded is not model) == is_folded
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(
            folded.features(images), model.features(images), rtol=1e-3, atol=1e-4
        )


def test_a_generalised_mean_is_left_in_a_folded_network() -> None:
    model = _fitted("resnet10t", pooling="gem")
    folded = fold_batch_norms(model, input_size=64)
    assert _count_norms(folded) == 0
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), model(images), rtol=1e-3, atol=1e-4)
