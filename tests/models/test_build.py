"""Networks by name."""

from pathlib import Path

import pytest
import torch

from gorae.errors import ConfigError
from gorae.models import build_model
from gorae.models.plan import Parts

USER_FILE = """
from torch import nn

class Tiny(nn.Module):
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear(width, num_classes)

    def features(self, x):
        return self.body(x)

    def forward(self, x):
        return self.last(self.body(x))

class Maps(Tiny):
    def features(self, x):
        return self.body[0](x)

class Broken(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        raise KeyError("no luck")

not_a_class = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my net.py").write_text(USER_FILE, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "num_features", "num_parameters"),
    [
        # Parameters of the published 1000-class networks, less their classifiers.
        ("mobilenetv2_100", 1280, 3_504_872 - 1281 * 1000),
        ("mobilenetv3_small_050", 1024, 1_590_000 - 1025 * 1000),
        ("resnet10t", 512, 5_440_000 - 513 * 1000),
        ("vit_tiny_patch16_224", 192, 5_717_416 - 193 * 1000),
        ("convnext_atto", 320, 3_700_000 - 321 * 1000),
        ("torchvision/squeezenet1_1", 512, 1_235_496 - 513 * 1000),
        ("torchvision/shufflenet_v2_x0_5", 1024, 1_366_792 - 1025 * 1000),
        ("torchvision/mobilenet_v3_small", 1024, 2_542_856 - 1025 * 1000),
    ],
)
def test_networks_have_the_published_size(
    name: str, num_features: int, num_parameters: int
) -> None:
    model = build_model(name, num_outputs=3, kwargs={}, seed=0, folder=Path()).eval()
    assert model.num_features == num_features
    counted = sum(parameter.numel() for parameter in model.backbone.parameters())
    assert counted == pytest.approx(num_parameters, rel=0.01)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert model.features(images).shape == (1, num_features)
        assert model(images).shape == (1, 3)


def test_alexnet_is_built_from_torchvision() -> None:
    model = build_model("torchvision/alexnet", num_outputs=2, kwargs={}, seed=0, folder=Path())
    # 61,100,840 of the paper's network in one column, less 4,097 x 1000 of its classifier.
    counted = sum(parameter.numel() for parameter in model.backbone.parameters())
    assert counted == 61_100_840 - 4097 * 1000
    assert model.num_features == 4096


@pytest.mark.parametrize(
    "name", ["mobilenetv3_small_050", "lenet5", "torchvision/squeezenet1_1"]
)
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    state = torch.random.get_rng_state()
    one, same, other = (
        build_model(name, num_outputs=3, kwargs={}, seed=seed, folder=Path()).state_dict()
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_arguments_reach_the_network() -> None:
    same = build_model(
        "mobilenetv2_100", num_outputs=2, kwargs={"pad_type": "same"}, seed=0, folder=Path()
    )
    assert type(same.backbone.get_submodule("conv_stem")).__name__ == "Conv2dSame"


def test_a_users_class_is_called_with_the_classes_and_the_arguments(folder: Path) -> None:
    model = build_model(
        "my net.py:Tiny", num_outputs=5, kwargs={"width": 6}, seed=0, folder=folder
    )
    images = torch.rand(2, 3, 16, 16)
    assert model(images).shape == (2, 5)
    assert model.features(images).shape == (2, 6)


def test_feature_maps_of_a_users_class_are_averaged(folder: Path) -> None:
    model = build_model("my net.py:Maps", num_outputs=5, kwargs={}, seed=0, folder=folder)
    assert model.features(torch.rand(2, 3, 16, 16)).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("mobilenetv2_10", {}, "is no network of timm. Near it: mobilenetv2_1"),
        ("torchvision/alexnt", {}, "Near it: torchvision/alexnet"),
        ("zzzzqqqq", {}, "'zzzzqqqq' is no network of timm. Other forms"),
        (
            "resnet18.nothing",
            {},
            "no pretrained weights tagged 'nothing'. Known: resnet18",
        ),
        ("lenet5", {"color": 1}, "lenet5 cannot be built with model.kwargs"),
        ("mobilenetv2_100", {"colour": 1}, "cannot be built .*colour"),
        ("resnet10t", {"pretrained": True}, "must not hold pretrained"),
        ("resnet10t", {"checkpoint_path": "x.pth"}, "weights are set by model.weights"),
        ("gone.py:Net", {}, "there is no file .*gone.py"),
        ("my net.py:Nett", {}, "has no class Nett .* Its classes: Tiny, Maps, Broken"),
        ("my net.py:not_a_class", {}, "has no class not_a_class"),
        ("my net.py:Broken", {}, "KeyError: 'no luck'.*my net.py, line 23"),
        ("my net.py:Tiny", {"depth": 2}, r"TypeError: .*depth.*Tiny\(num_classes=3, depth=2\)"),
    ],
)
def test_what_cannot_be_built_is_said(
    name: str, kwargs: dict[str, object], message: str, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(name, num_outputs=3, kwargs=kwargs, seed=0, folder=folder)


def test_a_users_file_that_fails_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("x = 1\nimport no_such_module_at_all\n", "utf-8")
    with pytest.raises(ConfigError, match=r"ModuleNotFoundError: .*net.py, line 2"):
        build_model("net.py:Net", num_outputs=3, kwargs={}, seed=0, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "kwargs", "parts", "message"),
    [
        (
            "test_resnet",
            {"drop_path_rate": 0.1},
            Parts(drop_path=0.2),
            r"model\.drop_path = 0\.2 and model\.kwargs\.drop_path_rate = 0\.1 say the same",
        ),
        (
            "torchvision/efficientnet_b0",
            {"stochastic_depth_prob": 0.1},
            Parts(drop_path=0.2),
            "stochastic_depth_prob = 0.1 say the same",
        ),
        (
            "test_resnet",
            {"global_pool": "max"},
            Parts(pooling="gem"),
            "model.pooling = 'gem' and model.kwargs.global_pool = 'max'",
        ),
        (
            "my net.py:Tiny",
            {},
            Parts(head="coral"),
            'coral" has no place in my net.py:Tiny: .* Give it loss.kind = "cumulative"',
        ),
        ("my net.py:Tiny", {}, Parts(drop_path=0.1), "Give it stochastic depth of its own"),
        ("my net.py:Tiny", {}, Parts(pooling="gem"), "Give it pooling of its own"),
    ],
)
def test_parts_that_contradict_or_have_no_place_are_refused(
    name: str, kwargs: dict[str, object], parts: Parts, message: str, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(name, num_outputs=3, kwargs=kwargs, seed=0, folder=folder, parts=parts)


def test_stochastic_depth_of_the_arguments_stays() -> None:
    from torchvision.ops import StochasticDepth

    model = build_model(
        "torchvision/efficientnet_b0",
        num_outputs=2,
        kwargs={"stochastic_depth_prob": 0.1},
        seed=0,
        folder=Path(),
    )
    rates = [each.p for each in model.modules() if isinstance(each, StochasticDepth)]
    assert max(rates) == pytest.approx(0.1, rel=0.1)


def test_parts_change_no_initial_weight() -> None:
    one = build_model("test_resnet", num_outputs=2, kwargs={}, seed=1, folder=Path())
    parts = Parts(drop_rate=0.5, drop_copies=3, drop_path=0.1, pooling="gem")
    two = build_model(
        "test_resnet", num_outputs=2, kwargs={}, seed=1, folder=Path(), parts=parts
    )
    other = two.state_dict()
    assert set(other) - set(one.state_dict()) == {"backbone.global_pool.pool.p"}
    assert all(torch.equal(value, other[key]) for key, value in one.state_dict().items())
