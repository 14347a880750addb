"""Exit codes and messages of every way a command can end early."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer

from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.stops import Terminated, explain
from gorae.errors import ConfigError, DataError, ResourceError, StorageError, UserError

NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "/full/file")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("no such run"), 64, "no such run"),
        (ConfigError("wrong setting"), 64, "wrong setting"),
        (DataError("row 17"), 65, "row 17"),
        (ResourceError("too big"), 71, "too big"),
        (MemoryError(), 71, "Not enough memory. Use a smaller batch"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: x"),
            71,
            "Not enough memory",
        ),
        (StorageError("damaged"), 74, "damaged"),
        (NO_SPACE, 74, "The disk is full: /full/file could not be written"),
        (KeyboardInterrupt(), 130, "the same command goes on from there"),
        (Terminated(), 143, "Ended by a signal"),
        (BrokenPipeError(), 74, "The reader of the output went away"),
    ],
)
def test_each_failure_has_its_code_and_message(
    error: BaseException, code: int, words: str
) -> None:
    failure = explain(error, folder=None, is_debug=False)
    assert failure.exit_code == code
    assert words in failure.message
    assert failure.to_json()["error"]["exit_code"] == code


def test_a_gpu_out_of_memory_is_known_by_its_name() -> None:
    error = type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")
    assert explain(error, folder=None, is_debug=False).exit_code == 71


def test_a_bug_keeps_its_traceback_in_the_competition(tmp_path: Path) -> None:
    (tmp_path / ".gorae").mkdir()
    try:
        raise KeyError("surprise \udcff")
    except KeyError as error:
        failure = explain(error, folder=tmp_path, is_debug=False)
    assert failure.exit_code == 70
    assert "This is a bug of gorae, not yours: KeyError: 'surprise" in failure.message
    (details,) = (tmp_path / ".gorae").glob("crash-*.txt")
    assert str(details) in failure.message
    assert "Traceback" not in failure.message
    assert "test_stops.py" in details.read_text("utf-8")


def test_a_bug_outside_a_competition_goes_to_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failure = explain(ValueError("odd"), folder=tmp_path / "none", is_debug=False)
    (details,) = tmp_path.glob("crash-*.txt")
    assert str(details) in failure.message


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("odd \x1b[2J")
    except ValueError as error:
        failure = explain(error, folder=None, is_debug=True)
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "\x1b" not in shown
    assert failure.exit_code == 70


# A step that takes its time to save, as training does, with a child that would go on.
SLOW = """
import subprocess, sys, time
from pathlib import Path
import typer
from gorae.cli.perform import perform
from gorae.events import Event

def step(screen):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        print("ready", child.pid, flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        time.sleep(float(sys.argv[1]))
        print("saved", flush=True)
        child.kill()
        raise

try:
    perform(step, folder=Path(), as_json="--json" in sys.argv, is_debug=False, draw=print)
except typer.Exit as leave:
    sys.exit(leave.exit_code)
"""


def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if "--json" not in arguments else subprocess.PIPE,
        text=True,
    )
    stream = process.stdout if "--json" not in arguments else process.stderr
    assert stream is not None
    word, child = stream.readline().split()
    assert word == "ready"
    return process, int(child)


def is_alive(pid: int) -> bool:
    # Where nobody reaps it, a killed child stays as a zombie.
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_t11_a_step_saves_before_it_is_stopped(number: signal.Signals, code: int) -> None:
    process, _ = start("0.1")
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == code
    assert "saved" in output
    assert "Stopped: Ended" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_t11_the_second_signal_ends_it_and_its_children_at_once(
    number: signal.Signals, code: int
) -> None:
    process, child = start("20")
    process.send_signal(number)
    time.sleep(0.3)
    started_s = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - started_s < 5
    assert process.returncode == code
    assert "saved" not in output
    while is_alive(child) and time.monotonic() - started_s < 6:
        time.sleep(0.05)
    assert not is_alive(child)


def test_t11_a_signal_to_the_whole_group_is_no_failure_of_a_worker() -> None:
    code = """
import os, signal, subprocess, sys, time
from pathlib import Path
import typer
from gorae.cli.perform import perform

def raise_like_torch(number, frame):
    raise RuntimeError("DataLoader worker is killed by signal: Terminated.")

def step(screen):
    signal.signal(signal.SIGCHLD, raise_like_torch)
    child = subprocess.Popen(["sleep", "60"])
    try:
        os.killpg(0, signal.SIGTERM)
        time.sleep(30)
    except KeyboardInterrupt:
        child.wait()
        time.sleep(0.2)
        print("saved")
        raise

try:
    perform(step, folder=Path(), as_json=False, is_debug=False, draw=print)
except typer.Exit as leave:
    sys.exit(leave.exit_code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True,
        timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 143
    assert done.stdout == "saved\n"
    assert done.stderr.startswith("Stopped: Ended by a signal.")
    assert "DataLoader" not in done.stderr


def test_a_stop_is_json_for_programs() -> None:
    process, _ = start("0.1", "--json")
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=20)
    assert json.loads(output)["error"]["exit_code"] == 143
    assert "saved" in errors


def test_what_breaks_while_stopping_is_a_stop(capsys: pytest.CaptureFixture[str]) -> None:
    def step(_: Screen) -> Answer:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            raise RuntimeError("a worker is gone") from None
        return Answer()

    with pytest.raises(typer.Exit) as leave:
        perform(step, folder=Path(), as_json=False, is_debug=False, draw=lambda *_: None)
    assert leave.value.exit_code == 143
    assert "Ended by a signal" in capsys.readouterr().err


class Answer:
    """A result as a step would give it."""

    def to_json(self) -> dict[str, Any]:
        return {}
