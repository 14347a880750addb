"""Every file is the old one or the new one, wherever the process that writes it ends.

A writer runs in a forked child whose n-th touch of the disk (open, sync, rename, remove) kills
it or fails, for n = 1, 2, ... until it finishes untouched. What C and Rust write between these
is met by a limit on the size of files and, where the system allows it, by ``strace``.
"""

import errno
import mmap
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gorae.errors import StorageError
from gorae.files import sha256_file, sweep_temporaries, write_json, write_text
from gorae.predictions import Predictions
from gorae.submission import SubmissionFormat, write_submission
from gorae.training.checkpoint import read_checkpoints, read_tensors, write_tensors
from gorae.training.fit import FoldResult
from gorae.workspace import append_line, read_lines, read_predictions, write_predictions

MEMORY = Path("/dev/shm")

FINISHED, REFUSED, OTHER_ERROR = 0, 74, 70

NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th touch."""

    at: int
    error: int | None = None
    """Number of the error that is raised; None: the process is killed."""


def in_child(work: Callable[[], object], fault: Fault, folder: Path) -> tuple[int, bool]:
    """Do ``work`` in a forked child with a fault; its exit code (negative: the signal that
    ended it), and whether it came to the fault."""
    shared = mmap.mmap(-1, 8)
    pid = os.fork()
    if pid == 0:
        code = OTHER_ERROR
        try:
            torch.set_num_threads(1)
            place_fault(fault, folder, shared)
            work()
            code = FINISHED
        except StorageError:
            code = REFUSED
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), struct.unpack("q", shared[:])[0] >= fault.at


def place_fault(fault: Fault, folder: Path, shared: mmap.mmap) -> None:
    """Count touches of files in ``folder`` from now on, and strike at the n-th."""
    root, sync, count, error = str(folder), os.fsync, 0, fault.error

    def touch() -> None:
        nonlocal count
        count += 1
        shared[:] = struct.pack("q", count)
        if count == fault.at:
            if error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise OSError(error, os.strerror(error))

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.remove", "open") and str(arguments[0]).startswith(root):
            is_read = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
            # An error of a full disk does not come where nothing is written.
            if error is None or (event != "os.remove" and not is_read):
                touch()

    def touching_sync(fd: Any) -> None:
        touch()
        sync(fd)

    sys.addaudithook(listen)
    os.fsync = touching_sync


def sweep(run: Callable[[Fault], bool], error: int | None = None) -> int:
    """``run`` with a fault at 1, 2, ... until it is not reached any more; the points."""
    for at in range(1, 1000):
        if not run(Fault(at, error)):
            return at - 1
    pytest.fail("no end of touches")


# What is written, one case per kind of file. Old and new differ in every byte that they can.

VALUES = np.random.default_rng(0).uniform(size=(2000, 20)).astype(np.float32)
FORM = SubmissionFormat(id_column="id", columns=("label",), kind="label")
IDS = [f"사진-{number}" for number in range(3000)]


def write_weights(folder: Path, version: int) -> None:
    tensors = {"a": torch.full((300, 256), float(version)), "b": torch.full((7,), 0.5)}
    write_tensors(folder, f"epoch-{version:04d}", tensors, record={"version": version})


def read_weights(folder: Path) -> int:
    """The newest; all that say they are there must be whole."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    found = [read_tensors(folder, name) for name in names]
    for tensors, record in found:
        assert bool((tensors["a"] == record["version"]).all())
    version: int = found[-1][1]["version"]
    return version


def write_oof(folder: Path, version: int) -> None:
    columns = tuple(f"class {number}" for number in range(20))
    ids = tuple(IDS[:2000])
    values = np.full_like(VALUES, 0.05) if version == 1 else VALUES
    write_predictions(folder / "oof.parquet", Predictions(ids, columns, values, "value"))


def read_oof(folder: Path) -> int:
    values = read_predictions(folder / "oof.parquet").values
    if np.array_equal(values, VALUES):
        return 2
    assert (values == np.float32(0.05)).all()
    return 1


def write_history(folder: Path, version: int) -> None:
    table = pd.DataFrame({"epoch": np.arange(4000 * version), "score": version})
    write_text(folder / "history.csv", table.to_csv(index=False))


def read_history(folder: Path) -> int:
    table = pd.read_csv(folder / "history.csv")
    version = int(table["score"].iloc[0])
    assert (table["score"] == version).all()
    assert table["epoch"].tolist() == list(range(4000 * version))
    return version


def write_record(folder: Path, version: int) -> None:
    write_json(folder / "fit.json", {str(number): version for number in range(5000)})


def read_record(folder: Path) -> int:
    values = set(pd.read_json(folder / "fit.json", typ="series"))
    assert len(values) == 1
    return int(values.pop())


def write_answers(folder: Path, version: int) -> None:
    """The file, then its line in the ledger, as ``gorae submit`` does."""
    path = folder / f"submission-{version:04d}.csv"
    if not path.exists():
        table = pd.DataFrame({"id": IDS, "label": "ab"[version - 1]})
        write_submission(path, table, form=FORM, ids=IDS, classes=["a", "b"], task="multiclass")
    if not any(line["path"] == path.name for line in read_lines(folder / "ledger.jsonl")):
        append_line(folder / "ledger.jsonl", {"path": path.name, "sha256": sha256_file(path)})


def read_answers(folder: Path) -> int:
    lines = read_lines(folder / "ledger.jsonl")
    for line in lines:
        assert sha256_file(folder / line["path"]) == line["sha256"]
    for path in folder.glob("submission-*.csv"):
        assert len(pd.read_csv(path)) == len(IDS)
    return len(lines)


WRITERS: dict[str, tuple[Callable[[Path, int], None], Callable[[Path], int]]] = {
    "checkpoint": (write_weights, read_weights),
    "oof": (write_oof, read_oof),
    "history": (write_history, read_history),
    "record": (write_record, read_record),
    "submission": (write_answers, read_answers),
}


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such: thousands of syncs of a disk take minutes."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def fresh(in_memory: Path) -> Callable[[], Path]:
    """Empties its folder at each call."""

    def make() -> Path:
        folder = in_memory / "n"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    return make


def require_old_or_new(what: str, folder: Path, code: int, *, is_error: bool) -> None:
    """After a fault: a whole version, the new one where the writer said so; then a retry."""
    write, read = WRITERS[what]
    version = read(folder)
    assert version in (1, 2)
    assert version == 2 or code != FINISHED
    if is_error:
        assert code in (FINISHED, REFUSED), "an error of the disk is a message, not a bug"
    sweep_temporaries(folder)
    write(folder, 2)
    assert read(folder) == 2
    assert not list(folder.glob(".*"))


@NEEDS_FORK
@pytest.mark.parametrize(
    ("error", "temporary"),
    [(None, "own"), (None, "other"), (errno.ENOSPC, "own"), (errno.EIO, "own")],
)
@pytest.mark.parametrize("what", WRITERS)
def test_t2_t3_old_or_new_at_every_touch_of_the_disk(
    what: str,
    error: int | None,
    temporary: str,
    fresh: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if temporary == "other":
        if tmp_path.stat().st_dev == fresh().stat().st_dev:
            pytest.skip("no second file system")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setenv("TMPDIR", str(tmp_path))

    def run(fault: Fault) -> bool:
        folder = fresh()
        write, _ = WRITERS[what]
        write(folder, 1)
        code, is_reached = in_child(lambda: write(folder, 2), fault, folder)
        assert is_reached == (code != FINISHED)
        require_old_or_new(what, folder, code, is_error=error is not None)
        return is_reached

    points = sweep(run, error)
    print(f"{what}: {points} points")
    assert points >= 3
    assert not list(tmp_path.iterdir())


@NEEDS_FORK
@pytest.mark.parametrize("ends", ["killed", "refused"])
@pytest.mark.parametrize("what", WRITERS)
def test_t2_old_or_new_wherever_within_a_file_the_writing_ends(
    what: str, ends: str, fresh: Callable[[], Path]
) -> None:
    """A limit on the size of files ends the write of that byte, whoever writes it."""
    write, _ = WRITERS[what]
    whole = fresh()
    write(whole, 2)
    largest = max(path.stat().st_size for path in whole.iterdir())
    for limit in np.linspace(0, largest - 1, 8).astype(int).tolist():
        folder = fresh()
        write(folder, 1)

        def limited(folder: Path = folder, limit: int = limit) -> None:
            if ends == "killed":  # Python ignores the signal, and so gets an error
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            write(folder, 2)

        code, _ = in_child(limited, Fault(10**6), folder)
        assert code == (-signal.SIGXFSZ if ends == "killed" else REFUSED)
        require_old_or_new(what, folder, code, is_error=ends == "refused")


def traced(work: Callable[[], object], injection: str) -> tuple[int, bool]:
    """Do ``work`` in a child whose system calls ``strace`` spoils; as ``in_child``."""
    go, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = OTHER_ERROR
        try:
            os.read(go, 1)
            work()
            code = FINISHED
        except StorageError:
            code = REFUSED
        finally:
            os._exit(code)
    call = injection.partition(":")[0]
    command = [
        "strace",
        "-f",
        "-p",
        str(pid),
        "-e",
        f"trace={call}",
        "-e",
        f"inject={injection}",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        first = tracer.stderr.readline()
        os.write(ready, b"x")
        said = tracer.stderr.read()
    _, status = os.waitpid(pid, 0)
    for descriptor in (go, ready):
        os.close(descriptor)
    if "attached" not in first:
        pytest.skip(f"strace may not look into processes here: {first.strip()}")
    code = os.waitstatus_to_exitcode(status)
    return code, "INJECTED" in said or code == -signal.SIGKILL


INJECTIONS = [
    *(f"{call}:signal=KILL" for call in ("write", "fsync", "rename", "openat", "close")),
    *(f"{c}:error={e}" for c in ("write", "fsync", "rename") for e in ("ENOSPC", "EIO")),
]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize("what", WRITERS)
def test_t2_old_or_new_at_every_system_call(
    what: str, injection: str, fresh: Callable[[], Path]
) -> None:
    write, _ = WRITERS[what]
    for at in range(1, 200):
        folder = fresh()
        write(folder, 1)
        code, is_reached = traced(partial(write, folder, 2), f"{injection}:when={at}")
        require_old_or_new(what, folder, code, is_error="error" in injection)
        if not is_reached:
            assert code == FINISHED
            print(f"{what}, {injection}: {at - 1} points")
            return
    pytest.fail("no end of calls")


Fit = Callable[..., FoldResult]


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in (folder / "checkpoints").iterdir()}


def good_checkpoints(folder: Path) -> list[int]:
    """Epochs of the checkpoints on disk, of which each must be whole."""
    checkpoints, notes = read_checkpoints(folder / "checkpoints")
    assert notes == ()
    for checkpoint in checkpoints:
        read_tensors(folder / "checkpoints", checkpoint.name)
    return [checkpoint.epoch for checkpoint in checkpoints]


@NEEDS_FORK
@pytest.mark.parametrize("error", [None, errno.ENOSPC])
def test_t1_t4_a_training_ended_at_any_touch_goes_on_to_the_same_weights(
    error: int | None, in_memory: Path, fit: Fit
) -> None:
    """Checkpoints, states, history and record; k checkpoints or k + 1, never fewer."""
    settings: dict[str, Any] = {"epochs": 2, "keep_checkpoints": 1, "lr": 0.02}
    fit(in_memory / "whole", **settings)
    whole = files_of(in_memory / "whole")

    def run(fault: Fault) -> bool:
        folder = in_memory / f"at-{fault.at}"
        code, is_reached = in_child(lambda: fit(folder, **settings), fault, folder)
        if fault.error is not None:
            assert code in (FINISHED, REFUSED)
        epochs_done = 0
        if (folder / "history.csv").exists():
            epochs_done = len(pd.read_csv(folder / "history.csv"))
        if folder.exists():
            good = good_checkpoints(folder)
            assert min(1, epochs_done) <= len(good) <= 2
        fit(folder, **settings)
        assert files_of(folder) == whole
        shutil.rmtree(folder)
        return is_reached

    points = sweep(run, error)
    print(f"training: {points} points")
    assert points > 50


FULL_DISK = """
import sys, torch
from pathlib import Path
import gorae.files
from gorae.errors import StorageError
from gorae.training.checkpoint import read_tensors, write_tensors
folder = Path(sys.argv[1])
def attempt(name, count):
    try:
        write_tensors(folder, name, {"a": torch.ones(count)}, record={})
    except StorageError as error:
        print(error.exit_code, error)
attempt("early", 1_000_000)
gorae.files.FREE_SPACE_MARGIN_BYTES = -10**12  # as if the disk filled up after the look
attempt("old", 500_000)
attempt("new", 1_000_000)
print(bool((read_tensors(folder, "old")[0]["a"] == 1).all()))
print(sorted(path.name for path in folder.iterdir()))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_t5_a_full_disk_is_a_message_and_loses_nothing(tmp_path: Path) -> None:
    """A real one of 5 MB."""
    mount = f'mount -t tmpfs -o size=5m none {tmp_path} && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare may not mount here")
    done = subprocess.run(
        [*command, sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    early, late, is_whole, files = done.stdout.splitlines()
    assert early.startswith("74 Too little disk for a checkpoint: it needs 8 MB and 500 MB")
    assert f"5 MB are free at {tmp_path}" in early
    assert late.startswith(f"74 The disk is full: {tmp_path / 'new.safetensors'}")
    assert is_whole == "True"
    assert files == "['old.json', 'old.safetensors']"
