"""Weight files and their use: keys, prefixes, formats, damage."""

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gorae.errors import ConfigError, DataError, StorageError
from gorae.models import build_model, read_any_weights, read_weights, write_weights
from gorae.models.network import ImageModel
from gorae.models.plan import find_weights_file
from gorae.models.weights import Weights, hash_state, use_weights


def _lenet(num_outputs: int = 4, seed: int = 0) -> ImageModel:
    return build_model("lenet5", num_outputs=num_outputs, kwargs={}, seed=seed, folder=Path())


def _weights(state: dict[str, Tensor], **metadata: str) -> Weights:
    return Weights(state, metadata, "some.pth", hash_state(state))


def _safetensors(header: object, data: bytes, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


MALFORMED = {
    "header of a terabyte": _safetensors({}, b"", length=1 << 40),
    "overlap": _safetensors({"a": _entry([2], 0, 8), "b": _entry([2], 4, 12)}, bytes(12)),
    "hole": _safetensors({"a": _entry([1], 0, 4), "b": _entry([1], 8, 12)}, bytes(12)),
    "overflowing shape": _safetensors({"a": _entry([1 << 62, 1 << 62], 0, 4)}, bytes(4)),
    "name twice": _safetensors(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "truncated": _safetensors({"a": _entry([4], 0, 16)}, bytes(10)),
    "trailing bytes": _safetensors({"a": _entry([1], 0, 4)}, bytes(40)),
    "empty": b"",
    "text": b"<html>not found</html>",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_safetensors_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(MALFORMED[kind])
    with pytest.raises(StorageError, match=r"Cannot read the weights in .*bad\.safetensors: "):
        read_weights(path)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=4),
    note=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_written_weights_are_read_back(
    tmp_path: Path, shapes: list[list[int]], note: str
) -> None:
    state = {f"층.{index}": torch.rand(shape) for index, shape in enumerate(shapes)}
    path = tmp_path / "가중치.safetensors"
    write_weights(path, state, {"note": note})
    read = read_weights(path)
    assert read.metadata["note"] == note
    assert read.state.keys() == state.keys()
    assert all(torch.equal(read.state[key], state[key]) for key in state)
    assert list(tmp_path.iterdir()) == [path]


def test_views_and_tied_tensors_are_written_as_what_they_show(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {"t": base.T, "same": base, "part": base[1:], "wide": torch.ones(1).expand(3)}
    write_weights(tmp_path / "w.safetensors", state)
    read = read_weights(tmp_path / "w.safetensors").state
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_a_missing_or_unknown_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*gone\.pth"):
        find_weights_file("gone.pth", folder=tmp_path)
    with pytest.raises(ConfigError, match="there is no file"):
        find_weights_file(".", folder=tmp_path)
    (tmp_path / "w.onnx").write_bytes(b"x")
    assert find_weights_file("w.onnx", folder=tmp_path) == tmp_path / "w.onnx"
    with pytest.raises(DataError, match=r"must end in \.safetensors, \.pth or \.pt"):
        read_any_weights(tmp_path / "w.onnx")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_weights_of_any_wrapper_and_format_arrive(
    tmp_path: Path, prefix: str, suffix: str, dtype: torch.dtype
) -> None:
    source = {
        key: value.to(dtype) for key, value in _lenet(seed=1).backbone.state_dict().items()
    }
    state = {prefix + key: value for key, value in source.items()}
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        write_weights(path, state)
    else:
        torch.save(state, path)
    model = _lenet(seed=2)
    assert use_weights(model, read_any_weights(path), name="lenet5") == []
    for key, value in model.backbone.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, source[key].float())


def test_our_own_checkpoint_gives_its_backbone_and_not_its_head() -> None:
    trained, model = _lenet(9, seed=1), _lenet(4, seed=2)
    head = model.head.state_dict()["weight"].clone()
    notes = use_weights(model, _weights(trained.state_dict()), name="lenet5")
    assert notes == ["The file's classifier of 9 classes is left out; the head is new."]
    assert torch.equal(model.head.state_dict()["weight"], head)
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, trained.backbone.state_dict()[key])


def test_a_kept_classifier_becomes_the_head() -> None:
    trained, model = _lenet(9, seed=1).eval(), _lenet(1, seed=2).eval()
    torch.nn.init.normal_(trained.head.weight)  # type: ignore[arg-type]  # a Linear here
    weights = _weights(trained.state_dict())
    assert use_weights(model, weights, name="lenet5", keep_classifier=True) == []
    images = torch.rand(2, 3, 32, 32)
    assert model.num_outputs == 9
    assert torch.equal(model(images), trained(images))


def test_a_classifier_that_cannot_be_kept_is_said() -> None:
    state = dict(_lenet().backbone.state_dict())
    with pytest.raises(ConfigError, match=r'"as_is" .* need the classifier .* It has none'):
        use_weights(_lenet(), _weights(state), name="lenet5", keep_classifier=True)
    state["head.weight"] = torch.zeros(9, 5)
    with pytest.raises(ConfigError, match=r"It has head\.weight \(9, 5\)\."):
        use_weights(_lenet(), _weights(state), name="lenet5", keep_classifier=True)


def test_every_missing_left_over_misshapen_or_infinite_key_is_named() -> None:
    state = dict(_lenet().backbone.state_dict())
    del state["conv1.weight"], state["fc2.bias"]
    state |= {f"more.{index}": torch.zeros(1) for index in range(25)}
    state["conv2.bias"] = torch.zeros(3)
    state["fc1.bias"] = torch.full((120,), torch.nan)
    model = _lenet()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(DataError) as caught:
        use_weights(model, _weights(state, architecture="lenet4"), name="lenet5")
    lines = str(caught.value).splitlines()
    shown = ", ".join(f"more.{index}" for index in range(20))
    assert lines == [
        "The weights of some.pth do not fit the network.",
        "  2 missing of 8: conv1.weight, fc2.bias",
        f"  25 left over: {shown} and 5 more",
        "  1 of another shape: conv2.bias (3,) instead of (16,)",
        "  1 not finite: fc1.bias",
        "The file says it is for lenet4.",
        "Set model.name and model.kwargs to what the weights were made with.",
    ]
    # Never partial: nothing was copied.
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_another_architecture_that_fits_is_noted() -> None:
    state = dict(_lenet(seed=1).backbone.state_dict())
    notes = use_weights(_lenet(), _weights(state, architecture="lenet4"), name="lenet5")
    assert notes == ["The weight file says it is for lenet4; it is used for lenet5."]


def test_files_older_than_the_counter_of_batch_norm_fit() -> None:
    def build(seed: int) -> ImageModel:
        return build_model("resnet10t", num_outputs=2, kwargs={}, seed=seed, folder=Path())

    state = {
        key: value
        for key, value in build(1).backbone.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert use_weights(build(2), _weights(state), name="resnet10t") == []


USER_FILE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, num_classes))
"""


def test_the_last_layer_of_a_users_module_is_taken_where_it_fits(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(USER_FILE)

    def build(num_outputs: int, seed: int) -> ImageModel:
        return build_model(
            "net.py:Net", num_outputs=num_outputs, kwargs={}, seed=seed, folder=tmp_path
        )

    source = dict(build(3, seed=1).backbone.state_dict())
    same, other = build(3, seed=2), build(4, seed=2)
    last = other.backbone.state_dict()["2.weight"].clone()
    assert use_weights(same, _weights(source), name="net.py:Net") == []
    assert torch.equal(same.backbone.state_dict()["2.weight"], source["2.weight"])
    notes = use_weights(other, _weights(source), name="net.py:Net")
    assert notes == ["The file's classifier of 3 classes is left out; the head is new."]
    assert torch.equal(other.backbone.state_dict()["1.weight"], source["1.weight"])
    assert torch.equal(other.backbone.state_dict()["2.weight"], last)
    del source["1.weight"]
    with pytest.raises(DataError, match=r"1 missing of 4: 1\.weight"):
        use_weights(build(3, seed=2), _weights(source), name="net.py:Net")


def test_the_hash_of_a_state_sees_names_types_shapes_and_bytes() -> None:
    state = {"a": torch.arange(4.0), "b": torch.zeros(())}
    same = {"b": torch.zeros(()), "a": torch.arange(4.0)}
    others = [
        {"c": state["a"], "b": state["b"]},
        {"a": state["a"].reshape(2, 2), "b": state["b"]},
        {"a": state["a"].double(), "b": state["b"]},
        {"a": state["a"] + 1, "b": state["b"]},
    ]
    assert hash_state(state) == hash_state(same)
    assert len({hash_state(each) for each in [state, *others]}) == 5
