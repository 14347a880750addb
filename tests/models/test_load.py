"""Architecture, weights and pixels that belong together."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gorae.errors import ConfigError, DataError
from gorae.models import ModelPlan, build_model, load_model, write_weights
from gorae.models.load import fit_input_size, merge_kwargs
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
