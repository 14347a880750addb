"""T1: a run that is killed at any moment, and given again, ends in the same bytes."""

import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gorae.cli import main
from gorae.workspace import Workspace

Make = Callable[..., Path]

# A fresh interpreter would import torch for seconds, each time.
FORK: Any = multiprocessing.get_context("fork")

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

SETTINGS = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
    "train.epochs=4",
    "train.batch_size=8",
    "train.lr=2e-3",
)


def run_command(folder: Path) -> None:
    """``gorae run``, word for word."""
    torch.set_num_threads(1)
    changes = [part for change in SETTINGS for part in ("--set", change)]
    raise SystemExit(main(["run", str(folder), "--preset", "standard", "--json", *changes]))


def start(folder: Path) -> Any:
    process = FORK.Process(target=run_command, args=(folder,))
    process.start()
    return process


def finish(folder: Path) -> None:
    process = start(folder)
    process.join(180)
    assert process.exitcode == 0


def kept(folder: Path) -> dict[str, bytes]:
    """Weights, out-of-fold and test predictions, and the last submission, by name."""
    workspace = Workspace(folder)
    target = workspace.run(None)
    weights = target.path.glob("fold-*/checkpoints/*.safetensors")
    found = {f"{path.parent.parent.name}/{path.name}": path.read_bytes() for path in weights}
    last = sorted(workspace.submissions.glob("submission-*.csv"))[-1]
    return found | {
        "oof": target.oof.read_bytes(),
        "test": target.test.read_bytes(),
        "submission": last.read_bytes(),
    }


def in_training(folder: Path) -> bool:
    """Whether a fold is at work."""
    return any((folder / ".gorae").glob("runs/*/fold-*/state"))


def watch(folder: Path) -> float:
    """Do the whole command; the seconds in which folds were at work."""
    process, training_s, before_s = start(folder), 0.0, time.monotonic()
    while process.is_alive():
        now_s = time.monotonic()
        training_s += (now_s - before_s) * in_training(folder)
        before_s = now_s
        time.sleep(0.005)
    process.join()
    assert process.exitcode == 0
    return training_s


def kill_at_random(folder: Path, rng: np.random.Generator, *, longest_s: float) -> bool:
    """Kill the command at a random moment of its training or after; whether it was in it."""
    process = start(folder)
    while process.is_alive() and not in_training(folder):
        time.sleep(0.005)
    process.join(rng.uniform(0, longest_s))
    was_in_training = process.is_alive() and in_training(folder)
    process.kill()
    process.join()
    return was_in_training


def require_same_after_kills(make: Make, *, rounds: int) -> None:
    whole = make(name="그대로")
    untouched = whole.parent / "untouched"
    shutil.copytree(whole, untouched)
    training_s = watch(whole)
    expected, in_training_at_kill = kept(whole), 0
    assert len(expected) == 5
    for seed in range(rounds):
        folder, rng = whole.parent / f"killed-{seed}", np.random.default_rng(seed)
        shutil.copytree(untouched, folder)
        for _ in range(2):
            in_training_at_kill += kill_at_random(folder, rng, longest_s=0.7 * training_s)
        finish(folder)
        assert kept(folder) == expected, f"seed {seed}"
        shutil.rmtree(folder)
    assert in_training_at_kill >= 1


def test_t1_a_killed_run_ends_in_the_same_bytes(make_competition: Make) -> None:
    require_same_after_kills(make_competition, rounds=3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_t1_a_killed_run_ends_in_the_same_bytes_fifty_times(make_competition: Make) -> None:
    require_same_after_kills(make_competition, rounds=50)
