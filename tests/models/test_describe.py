"""A network in numbers, against published ones."""

from pathlib import Path

import pytest

from gorae.errors import ConfigError
from gorae.models.build import build_model
from gorae.models.describe import Architecture, describe_architecture

USER_FILE = """
from torch import nn

class Tiny(nn.Module):
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.last(self.body(x))

class Featured(Tiny):
    def features(self, x):
        return self.body(x)
"""


def _describe(name: str, size: int, folder: Path | None = None) -> Architecture:
    return describe_architecture(name, kwargs={}, input_size=size, folder=folder or Path())


@pytest.mark.parametrize(
    ("name", "size", "num_parameters", "giga"),
    [
        # Of the published networks, less their classifiers of 1000 classes.
        ("resnet50", 224, 25_557_032 - 2049 * 1000, 4.09),
        ("mobilenetv2_100", 224, 3_504_872 - 1281 * 1000, 0.300),
        ("vit_base_patch16_224", 224, 86_567_656 - 769 * 1000, 17.6),
        ("torchvision/mobilenet_v3_small", 224, 2_542_856 - 1025 * 1000, 0.056),
        ("torchvision/vit_b_32", 224, 88_224_232 - 769 * 1000, 4.41),
        ("cait_s24_224", 224, 46_920_000 - 385 * 1000, 9.35),
    ],
)
def test_parameters_and_multiply_adds_are_those_published(
    name: str, size: int, num_parameters: int, giga: float
) -> None:
    found = _describe(name, size)
    assert found.num_parameters == pytest.approx(num_parameters, rel=1e-3)
    assert found.multiply_adds == pytest.approx(giga * 1e9, rel=0.03)


def test_lenet_by_hand() -> None:
    found = _describe("lenet5", 32)
    assert [(each.name, each.kind, each.shape) for each in found.layers] == [
        ("conv1", "Conv2d", (6, 28, 28)),
        ("conv2", "Conv2d", (16, 10, 10)),
        ("fc1", "Linear", (120,)),
        ("fc2", "Linear", (84,)),
    ]
    assert [each.num_parameters for each in found.layers] == [456, 2_416, 48_120, 10_164]
    assert found.num_parameters == 61_156
    assert found.num_features == 84
    # Each output of a convolution takes 25 products per input channel.
    assert found.multiply_adds == 6 * 28**2 * 75 + 16 * 10**2 * 150 + 400 * 120 + 120 * 84


@pytest.mark.parametrize("name", ["test_resnet", "torchvision/squeezenet1_1", "lenet5"])
def test_the_layers_are_all_that_model_layer_can_name(name: str) -> None:
    found = _describe(name, 64)
    backbone = build_model(name, num_outputs=2, kwargs={}, seed=0, folder=Path()).backbone
    assert [each.name for each in found.layers] == [
        each for each, _ in backbone.named_modules() if each
    ]
    outer = sum(each.num_parameters for each in found.layers if "." not in each.name)
    assert outer == found.num_parameters


def test_a_class_of_ones_own_has_features_where_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(USER_FILE, "utf-8")
    plain = _describe("net.py:Tiny", 8, tmp_path)
    assert plain.num_features is None
    assert plain.num_parameters == 4 * 27 + 4 + 2 * 4 + 2
    assert plain.layers[0].shape == (4,)
    assert _describe("net.py:Featured", 8, tmp_path).num_features == 4


def test_a_size_that_does_not_fit_is_said() -> None:
    with pytest.raises(ConfigError, match=r"lenet5 does not take a picture of 8 x 8 pixels"):
        _describe("lenet5", 8)
