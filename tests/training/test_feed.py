import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset, SequentialSampler

from gorae.errors import DataError, StorageError
from gorae.training.feed import choose_workers, open_feed
from gorae.training.quarantine import Quarantine

KEYS = BatchSampler(SequentialSampler(range(10)), 3, drop_last=False)
BATCHES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
WITHOUT_7 = [[0, 1, 2], [3, 4, 5], [6, 8, 8], [9]]

NAMES = [f"사진-{index}.jpg" for index in range(100)]
"""Of the ten images read, and of ninety that let one be left out."""

TIMEOUT_S = 24.0


def end_by(number: signal.Signals) -> None:
    faulthandler.disable()  # pytest's own would print where each child died
    os.kill(os.getpid(), number)


def sleep_for_ever() -> None:
    time.sleep(300)


class Numbers(Dataset[tuple[Tensor, int]]):
    """Item i is i; in other processes than this one ``trouble`` happens at item 7.

    ``times`` is a folder that counts: the trouble is over once it holds that many files.
    """

    def __init__(
        self, trouble: Callable[[], None] | None = None, *, at: int = 7, times: Any = None
    ) -> None:
        self.trouble = trouble
        self.at = at
        self.times = times
        self.parent = os.getpid()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == self.at and os.getpid() != self.parent and self.trouble is not None:
            if self.times is None:
                self.trouble()
            else:
                folder, limit = self.times
                if len(list(folder.iterdir())) < limit:
                    (folder / str(time.monotonic_ns())).touch()
                    self.trouble()
        return torch.tensor(index), index


def read_twice(
    dataset: Dataset[tuple[Tensor, int]],
    workers: int,
    *,
    quarantine: Quarantine | None = None,
    timeout_s: float = TIMEOUT_S,
) -> tuple[list[list[int]], list[list[int]], list[str]]:
    """The batches of two epochs, as indices, and the notes."""
    notes: list[str] = []
    read = open_feed(
        dataset,
        KEYS,
        workers=workers,
        pin_memory=False,
        on_note=notes.append,
        quarantine=quarantine or Quarantine(NAMES),
        timeout_s=timeout_s,
    )
    epochs: list[list[list[int]]] = []
    for _ in range(2):
        epochs.append([])
        for images, index in read():
            assert torch.equal(images, index)
            epochs[-1].append(index.tolist())
    return epochs[0], epochs[1], notes


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_batch_comes_once_in_every_epoch(workers: int) -> None:
    assert read_twice(Numbers(), workers) == (BATCHES, BATCHES, [])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS])
@pytest.mark.parametrize("workers", [1, 2])
def test_t8_an_image_that_kills_its_reader_twice_is_left_out_and_named(
    number: signal.Signals, workers: int
) -> None:
    quarantine = Quarantine(NAMES)
    dataset = Numbers(lambda: end_by(number))
    first, second, notes = read_twice(dataset, workers, quarantine=quarantine)
    assert first == second == WITHOUT_7
    assert quarantine.indices == {7}
    assert notes == [
        f"사진-7.jpg is left out of training: its reader twice was killed by {number.name}."
    ]


@pytest.mark.parametrize("deaths", [1, 2])
def test_t8_a_reader_that_dies_less_often_is_only_replaced(tmp_path: Path, deaths: int) -> None:
    """Once in the worker, once in the child that reads again: not yet twice in such a child."""
    dataset = Numbers(lambda: end_by(signal.SIGKILL), times=(tmp_path, deaths))
    first, second, notes = read_twice(dataset, 1)
    assert first == second == BATCHES
    assert len(notes) == 1
    assert "no picture is to blame" in notes[0]
    assert "a fresh one goes on" in notes[0]


def test_t9_an_image_that_never_comes_is_found_in_time() -> None:
    timeout_s, started_s = 6.0, time.monotonic()
    first, second, notes = read_twice(Numbers(sleep_for_ever), 1, timeout_s=timeout_s)
    # TRUST: 130 s where the limit is 120 s, and some for the processes of this test.
    assert time.monotonic() - started_s < timeout_s * 130 / 120 + 2
    assert first == second == WITHOUT_7
    assert notes == [
        "사진-7.jpg is left out of training: its reader twice was silent for 0.25 s."
    ]


def test_t8_more_than_one_in_a_hundred_is_an_error_that_names_all() -> None:
    dataset = Numbers(lambda: end_by(signal.SIGSEGV))
    with pytest.raises(DataError, match=r"more than 1% of 99 are needed") as info:
        read_twice(dataset, 1, quarantine=Quarantine(NAMES[:99]))
    assert "사진-7.jpg" in str(info.value)
    assert "was killed by SIGSEGV" in str(info.value)
    with pytest.raises(DataError, match="2 pictures end the process") as info:
        read_twice(dataset, 1, quarantine=Quarantine(NAMES, indices={3}))
    assert all(name in str(info.value) for name in ("사진-3.jpg", "사진-7.jpg"))


def test_t8_nothing_is_left_out_where_every_image_is_needed() -> None:
    dataset = Numbers(lambda: end_by(signal.SIGSEGV))
    read = open_feed(dataset, KEYS, workers=1, pin_memory=False, on_note=print)
    with pytest.raises(DataError, match="picture number 7"):
        list(read())


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_t8_what_was_left_out_before_is_not_read_again(workers: int) -> None:
    """As on resume: the same batches as where it was found, whatever the workers."""
    dataset = Numbers(lambda: pytest.fail("read"))
    quarantine = Quarantine(NAMES, indices={7})
    assert read_twice(dataset, workers, quarantine=quarantine) == (WITHOUT_7, WITHOUT_7, [])


def test_a_batch_of_which_nothing_is_left_is_named() -> None:
    with pytest.raises(DataError, match=r"Nothing is left of a batch.*사진-9\.jpg"):
        read_twice(Numbers(), 0, quarantine=Quarantine(NAMES, indices={9}))


@given(
    keys=st.lists(st.integers(0, 20), min_size=1, max_size=12, unique=True),
    bad=st.lists(st.integers(0, 20), unique=True),
)
def test_stand_ins_do_not_depend_on_the_order_of_discovery(
    keys: list[int], bad: list[int]
) -> None:
    if not set(keys) - set(bad):
        return
    quarantine = Quarantine(NAMES)
    step_by_step = keys
    for index in bad:
        quarantine.indices.add(index)
        step_by_step = quarantine.with_stand_ins(step_by_step)
    at_once = quarantine.with_stand_ins(keys)
    assert step_by_step == at_once
    assert len(at_once) == len(keys)
    assert not set(at_once) & set(bad)
    assert all(new == old for new, old in zip(at_once, keys, strict=True) if old not in bad)


def test_workers_that_die_without_a_picture_to_blame_are_given_up() -> None:
    """As where the shared memory is too small for a batch: every worker dies of it."""

    class Cursed(Numbers):
        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            if torch.utils.data.get_worker_info() is not None:
                end_by(signal.SIGBUS)
            return torch.tensor(index), index

    first, second, notes = read_twice(Cursed(), 1)
    assert first == second == BATCHES
    assert len(notes) == 4
    assert "for the 4th time: pictures are read one by one" in notes[-1]


def test_a_worker_that_died_between_two_epochs_is_not_waited_for() -> None:
    """As when one signal ends the workers of both feeds of a training."""
    notes: list[str] = []
    feeds = [
        open_feed(Numbers(), KEYS, workers=1, pin_memory=False, on_note=notes.append)
        for _ in range(2)
    ]
    started_s = time.monotonic()
    for _ in range(2):
        for read in feeds:
            assert [index.tolist() for _, index in read()] == BATCHES
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
    assert time.monotonic() - started_s < 20
    assert len(notes) == 2


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [StorageError, OSError, RuntimeError])
def test_an_error_of_the_data_keeps_its_own_words(workers: int, error: type[Exception]) -> None:
    class Failing(Numbers):
        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            if index == 7:
                raise error("shard 3 is damaged")
            return torch.tensor(index), index

    with pytest.raises(error, match=r"^shard 3 is damaged$"):
        read_twice(Failing(), workers)


def test_more_workers_than_cores_are_not_started(recwarn: pytest.WarningsRecorder) -> None:
    assert read_twice(Numbers(), 64)[0] == BATCHES
    assert not recwarn.list


@pytest.mark.parametrize(
    ("free_bytes", "workers"),
    [(64_000_000, 1), (32_000_000, 0), (0, 0), (10**9, 4), (160_000_000, 3), (None, 4)],
)
def test_t10_workers_fit_into_the_shared_memory(
    free_bytes: int | None, workers: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Batches of 10 MB: 2 per worker and one in use, in half of what is free."""
    monkeypatch.setattr("gorae.training.feed._SHARED_MEMORY", tmp_path / "none")
    chosen, note = choose_workers(4, batch_bytes=10_000_000, free_bytes=free_bytes)
    assert chosen == workers
    assert (note is None) == (workers == 4)
    if note is not None:
        assert f"{workers} instead of 4 worker processes" in note
        assert "--shm-size" in note


@given(
    wanted=st.integers(0, 64),
    batch_bytes=st.integers(1, 10**9),
    free_bytes=st.integers(0, 10**11),
)
def test_t10_the_workers_chosen_fit_and_one_more_would_not(
    wanted: int, batch_bytes: int, free_bytes: int
) -> None:
    def needed(workers: int) -> int:
        return 2 * (2 * workers + 1) * batch_bytes

    chosen, _ = choose_workers(wanted, batch_bytes=batch_bytes, free_bytes=free_bytes)
    assert 0 <= chosen <= wanted
    assert chosen == 0 or needed(chosen) <= free_bytes
    assert chosen == wanted or needed(chosen + 1) > free_bytes


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="no /dev/shm")
def test_t10_the_shared_memory_of_this_machine_is_looked_at() -> None:
    assert choose_workers(4, batch_bytes=1) == (4, None)
    assert choose_workers(4, batch_bytes=2**60)[0] == 0


PARENT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from test_feed import KEYS, Numbers
from gorae.training.feed import open_feed
class Sleepy(Numbers):
    def __getitem__(self, index):
        print(os.getpid(), flush=True)
        time.sleep(30)
list(open_feed(Sleepy(), KEYS, workers=2, pin_memory=False, on_note=print)())
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_t12_workers_in_a_long_item_end_with_their_parent() -> None:
    folder = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, folder], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        num_workers = min(2, len(os.sched_getaffinity(0)))
        workers = {int(parent.stdout.readline()) for _ in range(num_workers)}
        assert len(workers) == num_workers
        assert parent.pid not in workers
        parent.kill()
        parent.wait()
        for _ in range(60):
            if not any(is_alive(worker) for worker in workers):
                return
            time.sleep(0.1)
    pytest.fail("workers live on 6 s after their parent")


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_images_read_apart_are_those_of_the_workers() -> None:
    """Bytes, kinds and shapes: a batch does not tell who read it."""

    class Drawn(Dataset[tuple[Tensor, int]]):
        def __init__(self, parent: int | None) -> None:
            self.parent = parent

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            if torch.utils.data.get_worker_info() is not None and self.parent is not None:
                end_by(signal.SIGKILL)
            rng = np.random.default_rng(index)
            return torch.from_numpy(rng.integers(0, 256, (3, 5, 4), np.uint8)), index

    batches = []
    for dataset in (Drawn(os.getpid()), Drawn(None)):
        read = open_feed(dataset, KEYS, workers=1, pin_memory=False, on_note=lambda note: None)
        batches.append(list(read()))
    for (images, index), (others, other_index) in zip(*batches, strict=True):
        assert images.dtype == others.dtype == torch.uint8
        assert index.dtype == other_index.dtype == torch.int64
        assert torch.equal(images, others)
        assert torch.equal(index, other_index)
