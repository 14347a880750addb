"""Architecture, weights and pixels that belong together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gorae.errors import ConfigError, DataError
from gorae.models import ModelPlan, build_model, load_model, write_weights
from gorae.models.blocks import backbone_blocks
from gorae.models.head import CoralHead
from gorae.models.load import fit_input_size, merge_kwargs
from gorae.models.parts import GeneralisedMean, has_drop_path
from gorae.models.resolve import library_pixels, resolve_pixels


def test_arguments_absent_from_the_recipe_come_from_the_file() -> None:
    said = {"model_kwargs": '{"pad_type": "same", "act_layer": "relu"}'}
    kwargs, notes = merge_kwargs({"act_layer": "silu", "bn_eps": 0.1}, said)
    assert kwargs == {"pad_type": "same", "act_layer": "silu", "bn_eps": 0.1}
    assert notes == [
        "model.kwargs.pad_type = 'same' was taken from the weight file.",
        "model.kwargs.act_layer = 'silu' contradicts the weight file, which was made with "
        "'relu'; expect worse predictions.",
    ]
    assert merge_kwargs({"a": 1}, {}) == ({"a": 1}, [])
    with pytest.raises(DataError, match=r"model_kwargs = .* must be an object"):
        merge_kwargs({}, {"model_kwargs": "[1]"})


def _write(folder: Path, metadata: dict[str, Any]) -> None:
    source = build_model("lenet5", num_outputs=6, kwargs={"in_chans": 1}, seed=3, folder=folder)
    text = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    write_weights(folder / "w.safetensors", source.state_dict(), text)


def test_a_weight_file_brings_arguments_pixels_and_its_hash(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {"architecture": "lenet5", "model_kwargs": {"in_chans": 1}, "input_size": 28},
    )
    loaded = load_model(ModelPlan("lenet5", "w.safetensors", num_outputs=2), folder=tmp_path)
    assert loaded.kwargs == {"in_chans": 1}
    assert loaded.spec.input_size == 28
    assert loaded.spec.sources["input_size"] == "weights"
    assert loaded.model.num_outputs == 2
    assert loaded.notes == (
        "model.kwargs.in_chans = 1 was taken from the weight file.",
        "The file's classifier of 6 classes is left out; the head is new.",
    )
    from gorae.files import sha256_file

    assert loaded.weights_sha256 == sha256_file(tmp_path / "w.safetensors")


def test_metadata_cannot_ask_for_other_weights(tmp_path: Path) -> None:
    _write(tmp_path, {"model_kwargs": {"checkpoint_path": "/etc/passwd"}})
    with pytest.raises(ConfigError, match="must not hold checkpoint_path"):
        load_model(ModelPlan("lenet5", "w.safetensors", num_outputs=2), folder=tmp_path)


def test_as_is_keeps_the_classes_of_the_weights(tmp_path: Path) -> None:
    _write(tmp_path, {"model_kwargs": {"in_chans": 1}})
    loaded = load_model(ModelPlan("lenet5", "w.safetensors"), folder=tmp_path)
    assert loaded.model.num_outputs == 6
    with pytest.raises(ConfigError, match='"as_is" predicts the classes'):
        load_model(ModelPlan("lenet5", "none"), folder=tmp_path)


def test_random_weights_have_no_hash_and_follow_the_seed(tmp_path: Path) -> None:
    one, same = (
        load_model(ModelPlan("lenet5", num_outputs=2, seed=5), folder=tmp_path)
        for _ in range(2)
    )
    assert one.weights_sha256 is None
    assert one.weights_origin == "random weights"
    state = same.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in one.model.state_dict().items())


def test_a_network_of_one_size_is_built_for_the_size_it_gets(tmp_path: Path) -> None:
    plan = ModelPlan("vit_tiny_patch16_224", num_outputs=2, pixels={"input_size": 64})
    loaded = load_model(plan, folder=tmp_path)
    assert loaded.kwargs == {"img_size": 64}
    with torch.inference_mode():
        assert loaded.model.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64}),
        ("torchvision/vit_b_32", {"image_size": 64}),
        ("torchvision/alexnet", {}),
        ("resnet10t", {}),
        ("lenet5", {}),
    ],
)
def test_only_networks_of_one_size_are_told_it(name: str, expected: dict[str, int]) -> None:
    spec, _ = resolve_pixels({"input_size": 64}, {}, library_pixels(name))
    assert fit_input_size(name, {}, spec) == expected


def test_a_plan_brings_its_parts(tmp_path: Path) -> None:
    plan = ModelPlan(
        "test_resnet",
        num_outputs=4,
        pixels={"input_size": 64},
        head="coral",
        drop_rate=0.3,
        drop_copies=5,
        drop_path=0.2,
        pooling="gem",
    )
    model = load_model(plan, folder=tmp_path).model
    assert isinstance(model.head, CoralHead)
    assert model.drop_copies == 5
    assert model.dropout.p == 0.3
    assert has_drop_path(model.backbone)
    assert any(isinstance(each, GeneralisedMean) for each in model.modules())


def test_published_weights_have_no_power_and_ours_keep_it(tmp_path: Path) -> None:
    published = build_model("test_resnet", num_outputs=9, kwargs={}, seed=3, folder=tmp_path)
    write_weights(tmp_path / "a.safetensors", published.backbone.state_dict())
    plan = ModelPlan("test_resnet", "a.safetensors", num_outputs=2, pooling="gem")
    model = load_model(plan, folder=tmp_path).model
    name = "global_pool.pool.p"
    assert model.backbone.get_parameter(name).item() == 3
    torch.nn.init.constant_(model.backbone.get_parameter(name), 4.5)
    write_weights(tmp_path / "b.safetensors", model.state_dict())
    again = load_model(replace(plan, weights="b.safetensors"), folder=tmp_path).model
    assert again.backbone.get_parameter(name).item() == 4.5


def test_a_layer_is_taken_after_the_weights_and_the_same_each_time(tmp_path: Path) -> None:
    plan = ModelPlan("test_vit", num_outputs=3, layer="blocks.2", seed=4)
    one, same = (load_model(plan, folder=tmp_path).model for _ in range(2))
    assert one.num_features == 64
    assert one.layer == "blocks.2"
    state = same.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in one.state_dict().items())
    source = build_model("test_vit", num_outputs=3, kwargs={}, seed=9, folder=tmp_path)
    write_weights(tmp_path / "w.safetensors", source.backbone.state_dict())
    loaded = load_model(replace(plan, weights="w.safetensors"), folder=tmp_path).model
    for key, value in source.backbone.state_dict().items():
        assert torch.equal(value, loaded.backbone.state_dict()[key])
    with pytest.raises(ConfigError, match=r"no layer of this network\. Near it: blocks"):
        load_model(replace(plan, layer="block.2"), folder=tmp_path)


def test_a_layer_of_a_users_class_needs_no_method_features(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(nn.Conv2d(3, 5, 3), nn.Flatten(),\n"
        "            nn.Linear(180, num_classes))\n",
        "utf-8",
    )
    plan = ModelPlan("net.py:Net", num_outputs=3, pixels={"input_size": 8}, layer="0")
    model = load_model(plan, folder=tmp_path).model
    assert model.features(torch.rand(2, 3, 8, 8)).shape == (2, 5)


@pytest.mark.shared
@pytest.mark.parametrize("file_name", ["mobilenetv2_100", "mobilenetv1_100.fp16"])
def test_real_weights_load_completely(shared: Path, file_name: str) -> None:
    path = shared / "weights" / f"{file_name}.safetensors"
    name = file_name.partition(".")[0]
    loaded = load_model(ModelPlan(name, str(path), num_outputs=2), folder=shared)
    assert loaded.kwargs == {"pad_type": "same"}
    assert loaded.spec.mean == loaded.spec.std == (0.5, 0.5, 0.5)
    assert set(loaded.spec.sources.values()) == {"weights"}
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    with pytest.raises(DataError, match=rf"(?s)missing of .*The file says it is for {name}\."):
        load_model(ModelPlan("mobilenetv3_small_050", str(path), num_outputs=2), folder=shared)


LOGITS: dict[str, Any] = {"features": "logits", "head": "vanilla", "drop_rate": 0.5}


def write_classified(folder: Path) -> Path:
    """Weights of a published network with its classifier of nine classes."""
    model = build_model("test_resnet", num_outputs=9, kwargs={}, seed=3, folder=folder)
    state = {**model.backbone.state_dict()}
    state |= {f"head.fc.{name}": value for name, value in model.head.state_dict().items()}
    write_weights(folder / "nine.safetensors", state)
    return folder / "nine.safetensors"


def test_logits_of_the_weights_classifier_become_the_features(tmp_path: Path) -> None:
    path = write_classified(tmp_path)
    images = torch.rand(4, 3, 64, 64)
    kept = load_model(ModelPlan("test_resnet", str(path), num_outputs=None), folder=tmp_path)
    logits = kept.model.eval()(images)
    plan = ModelPlan("test_resnet", str(path), num_outputs=18, **LOGITS)
    model = load_model(plan, folder=tmp_path).model
    torch.testing.assert_close(model.eval().features(images), logits)
    assert (model.num_features, model.num_outputs) == (9, 18)
    assert model(images).shape == (4, 18)
    # The old classifier belongs to the backbone: it learns at the backbone's rate or rests,
    # and is its topmost block.
    assert backbone_blocks(model)[-1] == [
        "backbone.classifier.weight",
        "backbone.classifier.bias",
    ]
    assert len(backbone_blocks(model)) == len(backbone_blocks(kept.model)) + 1
    named = [name for block in backbone_blocks(model) for name in block]
    assert set(named) == {f"backbone.{name}" for name, _ in model.backbone.named_parameters()}
    model.freeze()
    learning = {name for name, each in model.named_parameters() if each.requires_grad}
    assert learning == {f"head.{name}" for name, _ in model.head.named_parameters()}


def test_without_weights_the_number_of_logits_is_enough(tmp_path: Path) -> None:
    plan = ModelPlan("test_resnet", num_outputs=4, num_logits=9, **LOGITS)
    model = load_model(plan, folder=tmp_path).model
    other = load_model(
        ModelPlan("test_resnet", str(write_classified(tmp_path)), num_outputs=4, **LOGITS),
        folder=tmp_path,
    ).model
    model.load_state_dict(other.state_dict())
    with pytest.raises(ConfigError, match=r'model\.features = "logits" are those of the class'):
        load_model(ModelPlan("test_resnet", num_outputs=4, **LOGITS), folder=tmp_path)


@pytest.mark.shared
def test_logits_of_real_weights_become_the_features(shared: Path) -> None:
    path = shared / "weights" / "mobilenetv2_100.safetensors"
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        kept = load_model(ModelPlan("mobilenetv2_100", str(path), None), folder=shared).model
        plan = ModelPlan("mobilenetv2_100", str(path), 18, **LOGITS)
        model = load_model(plan, folder=shared).model.eval()
        assert model.num_features == 1000
        torch.testing.assert_close(model.features(images), kept.eval()(images))
