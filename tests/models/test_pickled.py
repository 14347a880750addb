"""State dicts in torch's formats: what is taken, and what must never run or unpack."""

import contextlib
import os
import pickle
import resource
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gorae.errors import DataError
from gorae.models.pickled import read_torch_file

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


class Evil:
    """Writes a sentinel when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch '{self.sentinel}'",)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: OrderedDict(state),
        lambda state: {key: nn.Parameter(value) for key, value in state.items()},
        lambda state: {**state, "a.weight": state["a.weight"].T.contiguous().T},
        lambda state: {key: value.half().float() for key, value in state.items()},
    ],
)
def test_state_dicts_are_read(
    tmp_path: Path, wrap: Callable[[dict[str, torch.Tensor]], Any], is_zip: bool
) -> None:
    path = tmp_path / "가중치.pth"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=is_zip)
    read = read_torch_file(path)
    assert read.keys() == STATE.keys()
    for key, value in STATE.items():
        assert torch.equal(read[key], value)
        assert not read[key].requires_grad


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("kind", ["zip", "legacy", "plain", "beside"])
def test_no_code_of_a_hostile_file_runs(
    tmp_path: Path, kind: str, forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, sentinel = tmp_path / "evil.pt", tmp_path / "sentinel"
    if kind == "plain":
        path.write_bytes(pickle.dumps(Evil(sentinel)))
    else:
        value = {**STATE, "x": Evil(sentinel)} if kind == "beside" else Evil(sentinel)
        torch.save(value, path, _use_new_zipfile_serialization=kind != "legacy")
    with pytest.raises(DataError, match=r"Refused to load .*evil\.pt: it"):
        read_torch_file(path)
    assert not sentinel.exists()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_stride_of_zero_does_not_become_sixteen_gigabytes(
    tmp_path: Path, is_zip: bool
) -> None:
    path = tmp_path / "bomb.pt"
    torch.save(
        {"w": torch.zeros(1).expand(4_000_000_000)},
        path,
        _use_new_zipfile_serialization=is_zip,
    )
    assert path.stat().st_size < 2000
    before = _peak_bytes()
    with pytest.raises(DataError, match="w claims 16,000,000,000 bytes and has 4"):
        read_torch_file(path)
    assert _peak_bytes() - before < 200e6


def test_a_compressed_archive_does_not_unpack(tmp_path: Path) -> None:
    plain, bomb = tmp_path / "plain.pt", tmp_path / "bomb.pt"
    torch.save({"w": torch.zeros(20_000_000)}, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    plain.unlink()
    assert bomb.stat().st_size < 200_000
    before = _peak_bytes()
    with pytest.raises(DataError, match=r"unpacks to 80,.*which torch.save never does"):
        read_torch_file(bomb)
    assert _peak_bytes() - before < 200e6


def test_a_pickle_that_allocates_is_refused_by_the_name_it_asks_for(tmp_path: Path) -> None:
    class Hungry:
        def __reduce__(self) -> tuple[type, tuple[int]]:
            return bytearray, (1 << 34,)

    path = tmp_path / "hungry.pt"
    torch.save({**STATE, "x": Hungry()}, path)
    with pytest.raises(DataError, match=r"its pickle asks for __builtin__\.bytearray"):
        read_torch_file(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({**STATE, "epoch": 3}, "1 of its entries are no tensors, first 'epoch'"),
        ([1, 2], "it holds a list, not tensors by name"),
        ({}, "it holds a dict, not tensors by name"),
        (nn.Linear(2, 2), r"its pickle asks for torch\.nn\.modules\.linear\.Linear"),
        ({"s": torch.eye(3).to_sparse()}, "its pickle asks for"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    path = tmp_path / "other.pt"
    torch.save(value, path)
    with pytest.raises(DataError, match=message):
        read_torch_file(path)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_cut_files_are_refused(tmp_path: Path, share: float, is_zip: bool) -> None:
    path = tmp_path / "cut.pt"
    torch.save({"w": torch.rand(1000)}, path, _use_new_zipfile_serialization=is_zip)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match="damaged or no"):
        read_torch_file(path)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("is_zip", [True, False])
def test_damaged_bytes_are_refused_or_leave_tensors(
    tmp_path: Path, seed: int, is_zip: bool
) -> None:
    path = tmp_path / "flipped.pt"
    torch.save(STATE, path, _use_new_zipfile_serialization=is_zip)
    data = bytearray(path.read_bytes())
    generator = torch.Generator().manual_seed(seed)
    for position in torch.randint(len(data), (20,), generator=generator).tolist():
        data[position] ^= 1 << (position % 8)
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        assert all(isinstance(each, torch.Tensor) for each in read_torch_file(path).values())
