"""Blocks from input to output, and the norms of the last."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gorae.models import build_model
from gorae.models.blocks import backbone_blocks, last_norms
from gorae.models.network import ImageModel

NAMES = [
    *("test_resnet", "test_vit", "test_vit3", "test_efficientnet", "test_efficientnet_gn"),
    *("test_convnext", "test_nfnet", "test_maxvit", "test_coatnet", "test_byobnet"),
    *("test_mambaout", "caformer_s18", "mobilenetv2_035", "mobilenetv3_small_050"),
    *("vgg11_bn", "densenet121", "twins_svt_small", "cait_s24_224"),
    *("torchvision/resnet18", "torchvision/squeezenet1_1", "torchvision/vit_b_16"),
    *("torchvision/googlenet", "torchvision/vgg11_bn", "torchvision/mobilenet_v2"),
    *("torchvision/swin_t", "lenet5"),
]


def _build(name: str) -> ImageModel:
    # Without memory: only names and shapes are looked at.
    with torch.device("meta"):
        return build_model(name, num_outputs=3, kwargs={}, seed=0, folder=Path())


def _whole(module: nn.Module) -> ImageModel:
    return ImageModel(module, num_features=0, num_outputs=2, is_whole=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_backbone_parameter_is_in_exactly_one_block(name: str) -> None:
    model = _build(name)
    named = [name for block in backbone_blocks(model) for name in block]
    expected = [f"backbone.{name}" for name, _ in model.backbone.named_parameters()]
    assert sorted(named) == sorted(expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_stem_is_first_and_no_block_is_norms_alone(name: str) -> None:
    model = _build(name)
    parameters = dict(model.named_parameters())
    blocks = backbone_blocks(model)
    assert len(blocks) >= 4
    assert all(any(parameters[name].ndim > 1 for name in block) for block in blocks)
    stem = next(
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    )
    assert stem in blocks[0]


@pytest.mark.parametrize(
    "name",
    ["test_resnet", "test_vit", "test_efficientnet", "torchvision/mobilenet_v2", "lenet5"],
)
def test_blocks_are_in_the_order_of_the_computation(name: str) -> None:
    model = build_model(name, num_outputs=3, kwargs={}, seed=0, folder=Path()).eval()
    owners = {
        parameter.rpartition(".")[0]: index
        for index, block in enumerate(backbone_blocks(model))
        for parameter in block
    }
    called: list[int] = []

    def listen(layer: str) -> None:
        module = model.get_submodule(layer)
        module.register_forward_hook(lambda *_: called.append(owners[layer]))

    for layer in owners:
        # The network itself, which owns tokens, ends after all its layers.
        if layer != "backbone":
            listen(layer)
    model(torch.zeros(1, 3, 160, 160))
    assert called == sorted(called)
    assert called[-1] == len(backbone_blocks(model)) - 1


def test_containers_and_wrappings_are_opened_by_hand() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.body = nn.Sequential(
                nn.BatchNorm2d(3),
                nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
                nn.Conv2d(8, 8, 3),
            )
            self.fc = nn.Linear(8, 2)

    assert backbone_blocks(_whole(Net())) == [
        [
            *("backbone.scale", "backbone.body.0.weight", "backbone.body.0.bias"),
            *("backbone.body.1.0.weight", "backbone.body.1.0.bias"),
            *("backbone.body.1.1.weight", "backbone.body.1.1.bias"),
        ],
        ["backbone.body.2.weight", "backbone.body.2.bias"],
        ["backbone.fc.weight", "backbone.fc.bias"],
    ]


def test_a_shared_parameter_is_in_one_block() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    names = [
        name
        for block in backbone_blocks(_whole(nn.Sequential(first, second)))
        for name in block
    ]
    assert names == ["backbone.0.weight", "backbone.0.bias", "backbone.1.bias"]


def test_a_network_without_parameters_has_no_block() -> None:
    model = _whole(nn.Flatten())
    assert backbone_blocks(model) == []
    assert last_norms(model) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["backbone.layer4.1.bn1", "backbone.layer4.1.bn2"]),
        ("torchvision/resnet18", ["backbone.layer4.1.bn1", "backbone.layer4.1.bn2"]),
        ("torchvision/mobilenet_v2", ["backbone.features.18.1"]),
        (
            "test_vit",
            ["backbone.blocks.5.norm1", "backbone.blocks.5.norm2", "backbone.norm"],
        ),
        ("test_convnext", ["backbone.stages.3.blocks.1.norm", "backbone.head.norm"]),
        (
            "test_efficientnet_gn",
            [*(f"backbone.blocks.4.0.bn{i}" for i in (1, 2, 3)), "backbone.bn2"],
        ),
        # Its last blocks are linear layers; the norm before the pooling is that of features.26.
        ("torchvision/vgg11_bn", ["backbone.features.26"]),
        ("test_nfnet", []),
        ("lenet5", []),
    ],
)
def test_the_last_norms_are_those_of_the_last_block_that_has_any(
    name: str, expected: list[str]
) -> None:
    assert last_norms(_build(name)) == expected


def test_a_norm_without_parameters_belongs_to_the_layer_before_it() -> None:
    layers = [
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
        *(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False)),
    ]
    assert last_norms(_whole(nn.Sequential(*layers))) == ["backbone.3"]
