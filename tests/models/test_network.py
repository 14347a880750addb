"""ImageModel and LeNet-5: shapes, head, freezing."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.errors import ConfigError
from gorae.models import build_model
from gorae.models.blocks import backbone_blocks, last_norms
from gorae.models.head import HEAD_INIT_STD
from gorae.models.network import (
    LUMA,
    ImageModel,
    LeNet5,
    cut_model,
    enable_gradient_checkpointing,
    set_trainable,
)
from gorae.models.plan import Parts


def _build(name: str, **parts: Any) -> ImageModel:
    return build_model(
        name, num_outputs=7, kwargs={}, seed=0, folder=Path(), parts=Parts(**parts)
    )


def _small(drop_rate: float = 0.0) -> ImageModel:
    return _build("mobilenetv3_small_050", drop_rate=drop_rate)


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


@pytest.mark.parametrize("copies", [1, 5])
def test_dropout_copies_share_one_head_and_are_averaged(copies: int) -> None:
    model = _build("lenet5", drop_rate=0.5, drop_copies=copies).train()
    nn.init.normal_(model.head.get_parameter("weight"))
    images = torch.rand(3, 3, 32, 32)
    features = model.features(images)
    torch.manual_seed(3)
    drawn = [model.head(F.dropout(features, 0.5)) for _ in range(copies)]
    torch.manual_seed(3)
    got = model(images)
    torch.testing.assert_close(got, torch.stack(drawn).mean(dim=0))
    assert len(list(model.head.parameters())) == 2
    assert torch.equal(model.eval()(images), model.head(features))


class _Norms(nn.Module):
    """Norms with and without parameters, dropout, and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.high = nn.Sequential(
            nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Dropout(0.5)
        )

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.high(self.low(images))
        return maps.mean(dim=(2, 3))


def _norms() -> ImageModel:
    return ImageModel(_Norms(), num_features=4, num_outputs=2, parts=Parts(drop_rate=0.5))


def _training(model: nn.Module) -> set[str]:
    """Layers in training."""
    return {
        name
        for name, module in model.named_modules()
        if module.training and not any(True for _ in module.children())
    }


@pytest.mark.parametrize(
    ("names", "learning", "training"),
    [
        (["head"], {"head.weight", "head.bias"}, {"dropout", "head"}),
        (
            ["head", "backbone.low.1"],
            {"head.weight", "head.bias", "backbone.low.1.weight", "backbone.low.1.bias"},
            {"dropout", "head", "backbone.low.1", "backbone.low.2"},
        ),
        (
            # All parameters of a part: its norm without any goes on measuring.
            ["backbone.high.0.weight", "backbone.high.0.bias"],
            {"backbone.high.0.weight", "backbone.high.0.bias"},
            {*(f"backbone.high.{i}" for i in range(3)), "dropout"},
        ),
        (
            # FixRes names the norm alone.
            ["head", "backbone.high.1"],
            {"head.weight", "head.bias"},
            {"dropout", "head", "backbone.high.1", "backbone.high.2"},
        ),
    ],
)
def test_only_what_is_named_learns_and_the_rest_stays_in_evaluation(
    names: list[str], learning: set[str], training: set[str]
) -> None:
    model = _norms()
    set_trainable(model, names)
    for _ in range(2):
        # Through any later calls.
        model.eval()
        assert not _training(model)
        model.train()
        assert _training(model) == training
    assert {name for name, each in model.named_parameters() if each.requires_grad} == learning
    set_trainable(model, None)
    model.train()
    assert all(each.requires_grad for each in model.parameters())
    assert all(module.training for module in model.modules())


def test_what_rests_is_remembered_by_a_copy() -> None:
    model = _norms()
    set_trainable(model, ["head"])
    assert _training(copy.deepcopy(model).train()) == {"dropout", "head"}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_the_last_norms_learn_and_measure_alone(name: str) -> None:
    model = _build(name)
    norms = last_norms(model)
    set_trainable(model, ["head", *norms])
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(torch.rand(4, 3, 160, 160)).square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.add_(1.0)
    after = model.state_dict()
    changed = {
        key.rpartition(".")[0] for key in after if not torch.equal(after[key], before[key])
    }
    assert changed == {"head", *norms}


@pytest.mark.parametrize("is_frozen_below", [False, True])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_checkpointed_gradients_are_the_same(name: str, is_frozen_below: bool) -> None:
    def gradients(is_checkpointed: bool) -> dict[str, Tensor]:
        model = _build(name, drop_rate=0.5, drop_path=0.2).train()
        if is_frozen_below:
            set_trainable(model, ["head", *backbone_blocks(model)[-1]])
        if is_checkpointed:
            enable_gradient_checkpointing(model)
        torch.manual_seed(1)
        model(torch.linspace(0, 1, 4 * 3 * 160 * 160).reshape(4, 3, 160, 160)).sum().backward()
        return {
            name: each.grad for name, each in model.named_parameters() if each.grad is not None
        }

    plain, again = gradients(False), gradients(True)
    assert plain.keys() == again.keys()
    assert len(plain) > 2
    for key, value in plain.items():
        torch.testing.assert_close(again[key], value)


@pytest.mark.parametrize(
    ("name", "kind"), [("lenet5", "LeNet5"), ("torchvision/resnet18", "ResNet")]
)
def test_networks_that_cannot_checkpoint_are_named(name: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"checkpoint_gradients: {kind} cannot"):
        enable_gradient_checkpointing(_build(name))


@pytest.mark.parametrize(
    ("name", "layer", "num_features"),
    [
        ("test_resnet", "layer2", 48),
        ("test_vit", "blocks.3", 64),
        ("torchvision/resnet18", "layer1.1.conv2", 64),
        ("torchvision/googlenet", "inception4a", 512),
        ("lenet5", "fc1", 120),
    ],
)
def test_features_at_a_layer_are_what_it_gives_averaged(
    name: str, layer: str, num_features: int
) -> None:
    model, whole = _build(name), _build(name).eval()
    seen: list[Tensor] = []
    whole.backbone.get_submodule(layer).register_forward_hook(lambda *a: seen.append(a[2]))
    cut_model(model, layer, input_size=160, seed=0)
    assert model.training
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        whole(images)
        features = model.eval().features(images)
    assert features.shape == (2, num_features) == (2, model.num_features)
    axes = {4: (2, 3), 3: (1,), 2: ()}[seen[0].ndim]
    torch.testing.assert_close(features, seen[0].mean(dim=axes) if axes else seen[0])
    assert model(images).shape == (2, 7)


def test_a_cut_model_can_be_copied_and_compiled() -> None:
    model = _build("test_resnet").eval()
    cut_model(model, "layer2", input_size=64, seed=0)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.features(images)
        assert torch.equal(copy.deepcopy(model).features(images), expected)
        assert torch.equal(pickle.loads(pickle.dumps(model)).features(images), expected)
        traced = torch.compile(model.features, backend="eager", fullgraph=True, dynamic=False)
        torch.testing.assert_close(traced(images), expected)


def test_a_cut_makes_a_backbone_of_a_whole_module() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 7))
    model = ImageModel(network, num_features=0, num_outputs=7, is_whole=True)
    cut_model(model, "1", input_size=8, seed=0)
    assert model.features(torch.rand(2, 3, 8, 8)).shape == (2, 6)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 7)


def test_a_layer_that_is_never_reached_is_said() -> None:
    model = _build("test_vit")
    model.backbone.add_module("spare", nn.Identity())
    with pytest.raises(ConfigError, match=r"model\.layer = 'spare' is never reached"):
        cut_model(model, "spare", input_size=160, seed=0)
