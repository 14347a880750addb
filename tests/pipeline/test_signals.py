"""T11: a stop in training finishes the step, keeps it, and the same command goes on from it."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import typer

from gorae.cli import main
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.events import Event
from gorae.pipeline.run import RunResult, run
from gorae.workspace import Workspace

Make = Callable[..., Path]

# Forked workers and a forked run: nothing here needs another interpreter, which takes seconds.
FORK: Any = multiprocessing.get_context("fork")

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

OVERRIDES = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
    "train.workers=1",
    "train.epochs=4",
    "train.batch_size=8",
    "train.lr=2e-3",
)


def command(folder: Path) -> list[str]:
    changes = [part for change in OVERRIDES for part in ("--set", change)]
    return ["run", str(folder), "--preset", "standard", *changes]


def run_by_command(folder: Path) -> None:
    torch.set_num_threads(1)
    os._exit(main(command(folder)))


def signalled_run(folder: Path, number: int, at_step: int, times: int) -> None:
    """``gorae run`` that gets a signal in the midst of a step, so that its place is known."""
    torch.set_num_threads(1)

    def on_event(event: Event) -> None:
        if event.stage == "train" and event.kind == "progress" and event.done == at_step:
            for _ in range(times):
                os.kill(os.getpid(), number)

    def step(screen: Screen) -> RunResult:
        return run(
            folder,
            preset="standard",
            overrides=OVERRIDES,
            on_event=on_event,
            stopping=screen.stopping,
        )

    try:
        perform(step, folder=folder, as_json=True, is_debug=False, draw=lambda *_: None)
    except typer.Exit as leave:
        os._exit(leave.exit_code)
    os._exit(0)


def started(target: Callable[..., None], *arguments: object) -> Any:
    process = FORK.Process(target=target, args=arguments)
    process.start()
    return process


def outcome(target: Callable[..., None], *arguments: object) -> int:
    """The exit code of a run in a process of its own."""
    process = started(target, *arguments)
    process.join(120)
    code: int = process.exitcode
    return code


def kept(folder: Path) -> dict[str, bytes]:
    """What a run is for: weights, out-of-fold predictions, submission."""
    target = Workspace(folder).run(None)
    paths = [*target.path.glob("fold-*/checkpoints/*"), target.oof]
    paths += Workspace(folder).submissions.glob("submission-*.csv")
    return {path.name + path.parent.parent.name: path.read_bytes() for path in paths}


def newest_states(folder: Path) -> list[str]:
    paths = (folder / ".gorae" / "runs").glob("*/fold-*/state/*.json")
    return sorted(path.stem for path in paths)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, bytes]:
    return {}


def expected(undisturbed: dict[str, bytes], make: Make) -> dict[str, bytes]:
    """The files of a run that nobody stops, made once."""
    if not undisturbed:
        folder = make(name="그대로")
        assert outcome(run_by_command, folder) == 0
        undisturbed |= kept(folder)
    return undisturbed


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_t11_the_step_at_hand_is_finished_and_kept(
    number: int,
    code: int,
    make_competition: Make,
    undisturbed: dict[str, bytes],
) -> None:
    folder = make_competition()
    # 20 pictures in batches of 8: steps 4 to 6 are the second epoch.
    assert outcome(signalled_run, folder, number, 5, 1) == code
    assert newest_states(folder)[-1] == "state-0001-00000002"
    assert outcome(run_by_command, folder) == 0
    assert kept(folder) == expected(undisturbed, make_competition)


def test_t11_a_stop_in_the_last_step_of_an_epoch_is_obeyed_before_its_evaluation(
    make_competition: Make, undisturbed: dict[str, bytes]
) -> None:
    folder = make_competition()
    assert outcome(signalled_run, folder, signal.SIGTERM, 6, 1) == 143
    assert newest_states(folder)[-1] == "state-0001-00000003"
    assert outcome(run_by_command, folder) == 0
    assert kept(folder) == expected(undisturbed, make_competition)


def test_t11_who_insists_is_obeyed_at_once(
    make_competition: Make, undisturbed: dict[str, bytes]
) -> None:
    folder = make_competition()
    assert outcome(signalled_run, folder, signal.SIGINT, 5, 2) == 130
    assert newest_states(folder)[-1] == "state-0001-00000000"
    assert outcome(run_by_command, folder) == 0
    assert kept(folder) == expected(undisturbed, make_competition)


def test_t11_no_process_stays_behind_and_the_step_is_not_waited_for_long(
    make_competition: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    """From outside, to the whole process group, as a terminal and a scheduler do it."""
    folder = make_competition()
    process = started(run_in_group, folder)
    while not list((folder / ".gorae").glob("runs/*/fold-0/history.csv")):
        assert process.is_alive()
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    started_s = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 143
    assert time.monotonic() - started_s < 6
    assert family, "a worker was at work"
    _, alive = psutil.wait_procs(family, timeout=6)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    shown = capfd.readouterr().err
    assert "Stopped: Ended by a signal" in shown
    assert "Traceback" not in shown


def run_in_group(folder: Path) -> None:
    os.setpgid(0, 0)
    run_by_command(folder)
