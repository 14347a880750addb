import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from gorae.errors import StorageError
from gorae.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_first_good,
    read_checkpoints,
    sidecar_path,
    weights_path,
    write_checkpoint,
    write_tensors,
)
from gorae.training.outputs import OutputForm

Net = Callable[..., nn.Module]


def checkpoint_of_epoch(epoch: int) -> Checkpoint:
    return Checkpoint(
        name=f"epoch-{epoch:04d}",
        epoch=epoch,
        step=epoch * 7,
        score=0.5 + epoch / 10,
        metric="accuracy",
        valid_loss=0.25,
        form=OutputForm("value", 1.5, 2.5),
        identity={"model": "tiny", "classes": ["고양이", "개"]},
    )


def write_three(folder: Path, tiny_net: Net) -> list[nn.Module]:
    models = []
    for epoch in (1, 2, 3):
        model = tiny_net()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(epoch)
        write_checkpoint(folder, model, checkpoint_of_epoch(epoch))
        models.append(model)
    return models


def assert_same_weights(model: nn.Module, other: nn.Module) -> None:
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_written_then_read_is_the_same(tmp_path: Path, tiny_net: Net) -> None:
    models = write_three(tmp_path, tiny_net)
    checkpoints, notes = read_checkpoints(tmp_path)
    assert checkpoints == [checkpoint_of_epoch(epoch) for epoch in (1, 2, 3)]
    assert notes == ()
    for checkpoint, written in zip(checkpoints, models, strict=True):
        model = tiny_net()
        load_checkpoint(tmp_path, checkpoint, model)
        assert_same_weights(model, written)


def test_equal_weights_give_equal_bytes_in_any_memory_layout(
    tmp_path: Path, tiny_net: Net
) -> None:
    write_checkpoint(tmp_path / "a", tiny_net(), checkpoint_of_epoch(1))
    other = tiny_net().to(memory_format=torch.channels_last)
    write_checkpoint(tmp_path / "b", other, checkpoint_of_epoch(1))
    for path in (weights_path, sidecar_path):
        first, second = path(tmp_path / "a", "epoch-0001"), path(tmp_path / "b", "epoch-0001")
        assert first.read_bytes() == second.read_bytes()


def test_tied_weights_can_be_written(tmp_path: Path) -> None:
    weight = torch.ones(2, 2)
    write_tensors(tmp_path, "tied", {"a": weight, "b": weight}, record={})
    with safe_open(weights_path(tmp_path, "tied"), "pt") as file:
        assert sorted(file.keys()) == ["a", "b"]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [empty, truncate, flip_bit, remove])
def test_damaged_weights_give_way_to_the_checkpoint_before(
    damage: Callable[[Path], None], tmp_path: Path, tiny_net: Net
) -> None:
    models = write_three(tmp_path, tiny_net)
    damage(weights_path(tmp_path, "epoch-0003"))
    checkpoints, _ = read_checkpoints(tmp_path)
    model = tiny_net()
    used, notes = load_first_good(tmp_path, checkpoints[::-1], model)
    assert used.epoch == 2
    assert_same_weights(model, models[1])
    assert len(notes) == 1
    assert "epoch-0003" in notes[0]
    assert "Used epoch-0002 instead" in notes[0]


@pytest.mark.parametrize("damage", [empty, truncate, flip_bit, remove])
def test_damaged_sidecars_give_way_too(
    damage: Callable[[Path], None], tmp_path: Path, tiny_net: Net
) -> None:
    write_three(tmp_path, tiny_net)
    damage(sidecar_path(tmp_path, "epoch-0003"))
    checkpoints, notes = read_checkpoints(tmp_path)
    assert [checkpoint.epoch for checkpoint in checkpoints] == [1, 2]
    assert len(notes) == (0 if damage is remove else 1)


def test_every_damaged_checkpoint_is_listed(tmp_path: Path, tiny_net: Net) -> None:
    write_three(tmp_path, tiny_net)
    checkpoints, _ = read_checkpoints(tmp_path)
    for checkpoint in checkpoints:
        flip_bit(weights_path(tmp_path, checkpoint.name))
    with pytest.raises(StorageError, match=r"No checkpoint in .* can be used") as info:
        load_first_good(tmp_path, checkpoints, tiny_net())
    assert str(info.value).count("is damaged: its SHA-256") == 3


def test_weights_of_another_network_are_refused_whole(tmp_path: Path, tiny_net: Net) -> None:
    write_three(tmp_path, tiny_net)
    checkpoint = read_checkpoints(tmp_path)[0][0]
    model = tiny_net(5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        StorageError, match=r"head.weight is \(2, 32\), the network has \(5, 32\)"
    ):
        load_checkpoint(tmp_path, checkpoint, model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(StorageError, match=r"0\.weight is missing"):
        load_checkpoint(tmp_path, checkpoint, nn.Sequential(nn.Linear(2, 2)))


def test_a_newer_schema_is_refused(tmp_path: Path, tiny_net: Net) -> None:
    write_three(tmp_path, tiny_net)
    path = sidecar_path(tmp_path, "epoch-0003")
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    checkpoints, notes = read_checkpoints(tmp_path)
    assert len(checkpoints) == 2
    assert "written by another version of gorae (schema 99, this one reads 2)" in notes[0]


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from gorae.errors import StorageError
from gorae.training.checkpoint import write_tensors
folder = Path(sys.argv[1])
write_tensors(folder, "old", {"a": torch.ones(100)}, record={})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_tensors(folder, "new", {"a": torch.ones(1_000_000)}, record={})
except StorageError as error:
    print(error)
"""


def test_a_write_the_system_refuses_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert f"Cannot write {weights_path(tmp_path, 'new')}" in done.stdout
    assert os.strerror(errno.EFBIG) in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"old.safetensors", "old.json"}


def test_a_full_disk_is_named_before_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gorae.files.FREE_SPACE_MARGIN_BYTES", 10**18)
    with pytest.raises(StorageError, match="Too little disk for a checkpoint"):
        write_tensors(tmp_path, "a", {"a": torch.ones(3)}, record={})
    assert not list(tmp_path.iterdir())
