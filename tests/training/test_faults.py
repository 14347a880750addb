"""Faults in the midst of a training: what must happen, and that the result does not change."""

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gorae.data.dataset import TrainDataset
from gorae.errors import ConfigError, DataError, StorageError
from gorae.files import content_key, sha256_file
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.plan import Control, FoldData, Interrupted

Fit = Callable[..., FoldResult]
Fold = Callable[..., FoldData]


class Deadly(TrainDataset):
    """Reading the image at ``index`` ends every process but the one that made this."""

    @classmethod
    def over(cls, data: FoldData, index: int) -> FoldData:
        """``data`` with such an image."""
        deadly = cls.__new__(cls)
        deadly.__dict__.update(data.train.__dict__)
        deadly.parent, deadly.index = os.getpid(), index
        return replace(data, train=deadly)

    parent: int
    index: int

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        if key[1] == self.index and os.getpid() != self.parent:
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__getitem__(key)


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in (folder / "checkpoints").iterdir()}


def stop_after(steps: int, workers: int) -> Control:
    taken: list[int] = []
    return Control(
        workers=workers,
        should_stop=lambda: len(taken) >= steps,
        on_step=lambda done, _: taken.append(done),
    )


def test_t8_a_deadly_image_is_left_out_of_the_same_training_with_any_workers(
    tmp_path: Path, fit: Fit, fold: Fold
) -> None:
    """Found by one worker or by two; before a stop, or again behind it."""
    data = Deadly.over(fold(num_train=120), 77)
    settings: dict[str, Any] = {"data": data, "epochs": 2, "batch_size": 16}
    for workers in (1, 2):
        folder = tmp_path / f"workers-{workers}"
        result = fit(folder, control=Control(workers=workers), **settings)
        assert any(note.startswith("사진-77.jpg is left out") for note in result.notes)
        assert files_of(folder) == files_of(tmp_path / "workers-1")
    stopped = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        fit(stopped, control=stop_after(11, 2), **settings)
    # Without workers: only what is known keeps this process from reading it, and from dying.
    result = fit(stopped, control=Control(workers=1), **settings)
    assert files_of(stopped) == files_of(tmp_path / "workers-1")
    assert any("사진-77.jpg" in note for note in result.notes)
    free = fit(tmp_path / "free", **{**settings, "data": fold(num_train=120)})
    assert free.notes == ()
    assert files_of(tmp_path / "free") != files_of(stopped)


def test_t8_too_many_deadly_images_end_the_training_by_name(
    tmp_path: Path, fit: Fit, fold: Fold
) -> None:
    with pytest.raises(DataError, match=r"(?s)1 pictures end the process.*사진-7\.jpg"):
        fit(tmp_path, data=Deadly.over(fold(), 7), control=Control(workers=1))


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_t15_resumed_with_any_workers_the_weights_are_the_same(
    workers: int, tmp_path: Path, fit: Fit
) -> None:
    fit(tmp_path / "whole", control=Control(workers=1))
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", control=stop_after(9, 1))
    fit(tmp_path / "stopped", control=Control(workers=workers))
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


def test_t15_another_batch_size_is_refused(tmp_path: Path, fit: Fit) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, control=stop_after(9, 0))
    with pytest.raises(ConfigError, match="batch_size was 4, now 8"):
        fit(tmp_path, batch_size=8)


def change_record(path: Path, *, is_sealed: bool, **changes: Any) -> None:
    """Change a sidecar, with a checksum that fits where ``is_sealed``."""
    record = json.loads(path.read_text("utf-8")) | changes
    if is_sealed:
        record.pop("checksum")
        record["checksum"] = content_key(record)
    path.write_text(json.dumps(record), "utf-8")


def test_t14_a_state_of_a_newer_gorae_gives_way_and_is_named(tmp_path: Path, fit: Fit) -> None:
    fit(tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", control=stop_after(16, 0))
    newest = sorted((tmp_path / "stopped" / "state").glob("*.json"))[-1]
    change_record(newest, is_sealed=True, schema=99)
    result = fit(tmp_path / "stopped")
    assert any("schema 99" in note and "Went on from" in note for note in result.notes)
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


def test_t14_a_state_of_another_network_is_refused_and_nothing_is_loaded(
    tmp_path: Path, fit: Fit, fold: Fold, tiny_net: Callable[..., torch.nn.Module]
) -> None:
    plan = vars(sys.modules[fit.__module__])["PLAN"]

    with pytest.raises(Interrupted):
        fit(tmp_path, control=stop_after(9, 0))
    other = tiny_net(5)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(StorageError, match=r"belongs to another network"):
        fit_fold(other, fold(), plan=plan, folder=tmp_path, control=Control(workers=0))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in before.items())


def test_t13_not_finite_targets_end_in_a_message_and_leave_no_bad_checkpoint(
    tmp_path: Path, fit: Fit, fold: Fold
) -> None:
    data = fold("regression")
    truth = data.train_truth.astype(np.float32)
    truth[3] = np.inf
    with np.errstate(all="ignore"), pytest.raises(DataError, match="no longer finite"):
        fit(tmp_path, data=replace(data, train_truth=truth, scorer=data.scorer))
    assert not list(tmp_path.glob("checkpoints/*"))
