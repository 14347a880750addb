import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset, SequentialSampler

from gorae.errors import StorageError
from gorae.training.feed import open_feed

KEYS = BatchSampler(SequentialSampler(range(10)), 3, drop_last=False)


class Numbers(Dataset[tuple[Tensor, int]]):
    """Item i is i; ``trouble`` happens at item 7, in worker processes only."""

    def __init__(self, trouble: str = "") -> None:
        self.trouble = trouble
        self.parent = os.getpid()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == 7 and os.getpid() != self.parent:
            if self.trouble == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "hangs":
                time.sleep(30)
        if index == 7 and self.trouble == "fails":
            raise StorageError("shard 3 is damaged")
        return torch.tensor(index), index


@pytest.mark.parametrize(
    ("trouble", "workers"),
    [("", 0), ("", 1), ("", 2), ("killed", 1), ("killed", 2), ("hangs", 1)],
)
def test_every_batch_comes_once_whatever_happens_to_workers(
    trouble: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gorae.training.feed.WORKER_TIMEOUT_S", 2)
    notes: list[str] = []
    read = open_feed(
        Numbers(trouble), KEYS, workers=workers, pin_memory=False, on_note=notes.append
    )
    for _ in range(2):
        batches = [index.tolist() for _, index in read()]
        assert batches == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert len(notes) == (1 if trouble and workers else 0)
    assert all("Worker processes were given up" in note for note in notes)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_data_keeps_its_own_words(workers: int) -> None:
    read = open_feed(
        Numbers("fails"), KEYS, workers=workers, pin_memory=False, on_note=lambda note: None
    )
    with pytest.raises(StorageError, match=r"^shard 3 is damaged$"):
        list(read())


def test_more_workers_than_cores_are_not_started(recwarn: pytest.WarningsRecorder) -> None:
    read = open_feed(Numbers(), KEYS, workers=64, pin_memory=False, on_note=lambda note: None)
    assert len(list(read())) == 4
    assert not recwarn.list


PARENT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from test_feed import KEYS, Numbers
from gorae.training.feed import open_feed
class Sleepy(Numbers):
    def __getitem__(self, index):
        print(os.getpid(), flush=True)
        time.sleep(30)
list(open_feed(Sleepy(), KEYS, workers=1, pin_memory=False, on_note=print)())
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_workers_end_with_their_parent() -> None:
    folder = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, folder], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert worker != parent.pid
        parent.kill()
        parent.wait()
        for _ in range(60):
            if not Path(f"/proc/{worker}").exists() or "Z" in _state(worker):
                return
            time.sleep(0.1)
    pytest.fail("the worker lives on 6 s after its parent")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
