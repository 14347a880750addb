"""Step ``model``: a network described without its weights."""

import json
from pathlib import Path

import pytest

from gorae.errors import ConfigError
from gorae.pipeline.model import describe_model


@pytest.mark.parametrize(
    ("name", "size", "source"),
    [
        ("test_resnet", 160, "timm"),
        ("torchvision/squeezenet1_1", 224, "default"),
        ("lenet5", 32, "default"),
    ],
)
def test_a_network_is_described_at_its_own_size(
    name: str, size: int, source: str, tmp_path: Path
) -> None:
    found = describe_model(tmp_path, name=name)
    assert found.spec.input_size == size
    assert found.spec.sources["input_size"] == source
    assert found.architecture.multiply_adds > 0


def test_another_size_reaches_the_network(tmp_path: Path) -> None:
    name = "vit_tiny_patch16_224"
    own, small = (
        describe_model(tmp_path, name=name),
        describe_model(tmp_path, name=name, size=64),
    )
    assert small.spec.sources["input_size"] == "recipe"
    shapes = [
        next(each.shape for each in found.architecture.layers if each.name == "blocks.0")
        for found in (own, small)
    ]
    assert shapes == [(1 + 14 * 14, 192), (1 + 4 * 4, 192)]
    assert small.architecture.multiply_adds < own.architecture.multiply_adds / 8


def test_arguments_reach_the_network(tmp_path: Path) -> None:
    found = describe_model(tmp_path, name="lenet5", kwargs={"in_chans": 1})
    assert found.architecture.layers[0].num_parameters == 6 * 25 + 6


def test_programs_get_everything_as_plain_values(tmp_path: Path) -> None:
    found = describe_model(tmp_path, name="test_resnet")
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["name"] == "test_resnet"
    assert plain["pixels"]["input_size"] == 160
    assert plain["pixels"]["sources"]["mean"] == "timm"
    assert plain["num_features"] == found.architecture.num_features
    assert len(plain["layers"]) == len(found.architecture.layers)
    assert set(plain["layers"][0]) == {"name", "kind", "shape", "num_parameters"}
    assert plain["weights"][0]["name"] == "test_resnet.r160_in1k"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "Near it: resnet50"),
        ("torchvision/alexnt", "Near it: torchvision/alexnet"),
        ("gone.py:Net", "there is no file .*gone.py"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        describe_model(tmp_path, name=name)
