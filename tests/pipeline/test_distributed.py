"""One command in two processes of torchrun: the files of one process, whatever happens."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from torch._C._distributed_c10d import TCPStore

from gorae.cli import main
from gorae.config import resolve_recipe
from gorae.errors import ConfigError
from gorae.files import sha256_file
from gorae.pipeline.launch import NeedsProcesses, launch_command, require_processes
from gorae.pipeline.run import run
from gorae.pipeline.together import own_device

from .conftest import write_competition

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

SETTINGS = (
    "model.name=test_convnext",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "predict.views=['identity', 'hflip']",
    "predict.compile=false",
    "train.epochs=8",
    "train.batch_size=8",
    "train.lr=0.005",
    "train.precision=fp32",
    "train.channels_last=true",
    "train.compile=false",
    "train.threads=1",
    "train.workers=0",
)


def arguments(folder: Path, *settings: str) -> list[str]:
    changes = [part for change in (*SETTINGS, *settings) for part in ("--set", change)]
    return ["run", str(folder), "--preset", "standard", "--json", *changes]


def launch(folder: Path) -> "subprocess.Popen[str]":
    """``gorae run`` by a real torchrun; warnings are errors, as in all tests."""
    return subprocess.Popen(
        launch_command(arguments(folder), number=2),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"},
    )


@dataclass(frozen=True)
class Ended:
    """How a command in two processes ended."""

    codes: list[int | None]
    out: str
    err: str


def run_in_two(folder: Path, *settings: str) -> Ended:
    """``gorae run`` in two processes, each started as torchrun starts it.

    Forked: torchrun itself, and two fresh interpreters, would take seconds to import torch.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    given = arguments(folder, *settings)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=be_one_of_two, args=(rank, store.port, given, folder.parent))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        process.kill()
    screens = [(folder.parent / name).read_text("utf-8") for name in ("out", "err")]
    return Ended([process.exitcode for process in processes], *screens)


def be_one_of_two(rank: int, port: int, given: list[str], screens: Path) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {name: str(value) for name, value in place.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    for descriptor, name in ((1, "out"), (2, "err")):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(screens / name, flags, 0o644), descriptor)
    with os.fdopen(1, "w", closefd=False) as out, os.fdopen(2, "w", closefd=False) as err:
        sys.stdout, sys.stderr = out, err
        code = main(given)
    os._exit(code)


def run_folder(folder: Path) -> Path:
    [only] = (folder / ".gorae" / "runs").iterdir()
    return only


def members(folder: Path) -> list[Path]:
    return sorted(run_folder(folder).glob("fold-*"))


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def hashes_of(folder: Path) -> dict[str, str]:
    """Every file of weights, scores and predictions."""
    kept = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".parquet")]
    return {str(path.relative_to(folder)): sha256_file(path) for path in kept}


def drawn(folder: Path) -> Path:
    """The drawn competition: 20 subjects."""
    return write_competition(folder, num_subjects=20, num_test=7)


@pytest.fixture(scope="module")
def in_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The competition after an undisturbed ``gorae run`` in two processes."""
    folder = drawn(tmp_path_factory.mktemp("two") / "도형")
    ended = run_in_two(folder)
    assert ended.codes == [0, 0], ended.err
    assert json.loads(ended.out)["run_id"] == run_folder(folder).name
    # Only one speaks.
    assert ended.err.count("split: making folds") == 1
    return folder


def test_two_processes_leave_the_files_of_one(in_two: Path, tmp_path: Path) -> None:
    alone = drawn(tmp_path / "도형")
    run(alone, preset="standard", overrides=SETTINGS)
    assert files_of(in_two) == files_of(alone)
    tables = [path for path in files_of(alone) if "runs" in path and path.endswith("parquet")]
    # Of each fold two parts in two views, and the votes on the two tables.
    assert len(tables) == 2 * 2 * 2 + 2
    for path in tables:
        ours, theirs = pd.read_parquet(in_two / path), pd.read_parquet(alone / path)
        assert ours["id"].tolist() == theirs["id"].tolist()
        assert ours["id"].is_unique
        expected_rows = {"oof": 40, "test": 7, "valid": 20}
        assert len(ours) == expected_rows[Path(path).stem.partition("-")[0]]
        found, expected = (table.drop(columns="id").to_numpy() for table in (ours, theirs))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for pair in zip(members(in_two), members(alone), strict=True):
        tables_ = [pd.read_csv(member / "history.csv") for member in pair]
        columns = ["epoch", "lr", "train_loss", "valid_loss", "score"]
        found, expected = (table[columns].to_numpy(float) for table in tables_)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.ptp(tables_[0]["valid_loss"]) > 0.01, "nothing was learned that could differ"


def processes_of(torchrun: int) -> dict[int, psutil.Process]:
    """The processes that torchrun started, by rank."""
    found = psutil.Process(torchrun).children()
    return {int(process.environ()["RANK"]): process for process in found}


@pytest.mark.parametrize(
    ("rank", "how"),
    [
        (1, signal.SIGKILL),
        pytest.param(0, signal.SIGKILL, marks=pytest.mark.long),
        pytest.param(None, signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_what_is_ended_in_mid_training_goes_on(
    rank: int | None, how: signal.Signals, in_two: Path, tmp_path: Path
) -> None:
    """A process that is killed, or torchrun that is asked to stop, ends all of them."""
    folder = drawn(tmp_path / "도형")
    torchrun = launch(folder)
    try:
        while not any((folder / ".gorae").glob("runs/*/fold-1/state/state-0002-*.json")):
            assert torchrun.poll() is None, torchrun.communicate()
            time.sleep(0.01)
        started = processes_of(torchrun.pid)
        began = time.monotonic()
        (psutil.Process(torchrun.pid) if rank is None else started[rank]).send_signal(how)
        out, err = torchrun.communicate(timeout=60)
    finally:
        torchrun.kill()
    assert torchrun.returncode != 0
    assert time.monotonic() - began < 15
    assert not any(process.is_running() for process in started.values())
    assert "bug of gorae" not in err
    assert "find_unused" not in err
    if rank != 0:
        assert "same command goes on" in err
        assert json.loads(out)["error"]
    assert [path.name for path in members(folder) if (path / "member.json").exists()] == [
        "fold-0"
    ]
    ended = run_in_two(folder)
    assert ended.codes == [0, 0], ended.err
    assert hashes_of(run_folder(folder)) == hashes_of(run_folder(in_two))


def test_another_number_of_processes_is_refused_in_mid_training(
    in_two: Path, tmp_path: Path
) -> None:
    folder = drawn(tmp_path / "도형")
    shutil.copytree(in_two / ".gorae", folder / ".gorae")
    shutil.copy(in_two / "competition.toml", folder)
    last = members(folder)[-1]
    (last / "member.json").unlink()
    with pytest.raises(ConfigError, match="processes was 2, now 1"):
        run(folder, preset="standard", overrides=SETTINGS)


def test_a_message_is_said_once(tmp_path: Path) -> None:
    """Both processes find the same mistake: a batch of one image cannot be shared."""
    ended = run_in_two(drawn(tmp_path / "도형"), "train.batch_size=1")
    assert 64 in ended.codes
    assert ended.err.count("each of 2 processes needs") == 1
    assert json.loads(ended.out)["error"]


# --- which devices -------------------------------------------------------------------------


def test_several_devices_need_a_process_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(*changes: str) -> Any:
        return resolve_recipe(preset="standard", overrides=changes)

    require_processes(recipe("train.devices=cpu"))
    require_processes(recipe())
    with pytest.raises(ConfigError, match="names no devices"):
        require_processes(recipe("train.devices=cuda:0,97"))
    # Under torchrun there are processes already.
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    require_processes(recipe("train.devices=cuda:0,97"))


def test_the_command_for_several_devices_is_said_and_made() -> None:
    needs = NeedsProcesses("cuda:0,2", 2)
    assert "torchrun --standalone --nproc-per-node 2 -m gorae" in str(needs)
    command = launch_command(["train", "--set", "a b=1"], number=needs.number)
    assert command[0] == sys.executable
    assert command[-5:] == ["-m", "gorae", "train", "--set", "a b=1"]
    assert "--nproc-per-node=2" in command


def test_each_process_takes_its_own_gpu() -> None:
    assert [own_device("auto", rank=r, size=2, num_gpus=4) for r in (0, 1)] == [
        "cuda:0",
        "cuda:1",
    ]
    assert [own_device("cuda:0,3", rank=r, size=2, num_gpus=4) for r in (0, 1)] == [
        "cuda:0",
        "cuda:3",
    ]
    for wanted, size in (("auto", 5), ("cuda:0,1", 3), ("cuda:1", 2), ("cuda", 2)):
        with pytest.raises(ConfigError, match=f"{size} processes train on this machine"):
            own_device(wanted, rank=0, size=size, num_gpus=4)
