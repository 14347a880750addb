"""Weights of the hub on a machine that cannot reach it."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from torchvision import models

from gorae.errors import ConfigError, UserError
from gorae.models import ModelPlan, load_model
from gorae.models.hub import PretrainedLine, fetch_weights, list_pretrained

NAME = "mobilenetv3_small_050"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and a hub that refuses every call."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """A server that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    held.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


def test_offline_without_a_cache_names_the_expected_file(cache: Path) -> None:
    timm.is_model(NAME)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        fetch_weights(NAME, kwargs={})
    assert time.monotonic() - started < 5
    message = str(caught.value)
    assert f"The pretrained weights of {NAME} are not in the cache" in message
    folder = f"{cache}/hub/models--timm--{NAME}.lamb_in1k/snapshots/*/model.safetensors"
    assert f"Expected: {folder}." in message
    assert 'model.weights = "none"' in message


def test_a_hub_that_never_answers_does_not_hang(
    cache: Path, silent_hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", silent_hub)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"\((no answer within 3 s|timed out)\)"):
        fetch_weights(NAME, kwargs={})
    assert time.monotonic() - started < 5


def test_the_offline_switch_is_honoured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        fetch_weights(NAME, kwargs={})


def test_cached_weights_are_used_without_asking(cache: Path) -> None:
    source = timm.create_model(NAME)
    snapshot = cache / "hub" / f"models--timm--{NAME}.lamb_in1k" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    references = snapshot.parents[1] / "refs"
    references.mkdir()
    (references / "main").write_text("0123")
    from safetensors.torch import save_file

    save_file(source.state_dict(), snapshot / "model.safetensors")
    loaded = load_model(ModelPlan(NAME, "hub", num_outputs=3), folder=cache)
    assert loaded.notes == (
        "The file's classifier of 1000 classes is left out; the head is new.",
    )
    assert loaded.weights_origin == f"timm's weights timm/{NAME}.lamb_in1k"
    assert set(loaded.spec.sources.values()) == {"timm"}
    for key, value in loaded.model.backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key
    whole = load_model(ModelPlan(NAME, "hub"), folder=cache).model.eval()
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(whole(images), source.eval()(images))


def test_offline_torchvision_names_its_file(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file_name = models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    with pytest.raises(UserError, match=f"Expected: {cache}/torch/checkpoints/{file_name}"):
        load_model(ModelPlan("torchvision/squeezenet1_1", "hub", num_outputs=2), folder=cache)


@pytest.mark.parametrize("name", ["lenet5", "mobilenetv4_conv_small_035"])
def test_networks_without_published_weights_say_so(cache: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"no pretrained weights for {name}"):
        fetch_weights(name, kwargs={})


def test_pretrained_weights_are_listed_with_what_is_here(cache: Path) -> None:
    lines = list_pretrained("resnet50.a2_in1k")
    assert lines == list_pretrained("resnet50")
    assert lines[0] == PretrainedLine("resnet50.a1_in1k", True, 224, False)
    assert [line.is_default for line in lines] == [True] + [False] * (len(lines) - 1)
    assert {line.name for line in lines} == set(timm.list_models("resnet50.*", pretrained=True))
    assert {line.input_size for line in lines if line.name == "resnet50.a3_in1k"} == {160}
    assert list_pretrained("lenet5") == list_pretrained("net.py:Net") == ()


def test_weights_in_a_cache_are_known_to_be_here(cache: Path) -> None:
    file_name = models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    expected = PretrainedLine("torchvision/resnet18", True, 224, False)
    assert list_pretrained("torchvision/resnet18") == (expected,)
    folder = cache / "torch" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / file_name).write_bytes(b"x")
    assert list_pretrained("torchvision/resnet18")[0].is_cached
