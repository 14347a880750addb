from pathlib import Path

import pytest

from gorae.pipeline.curves import open_curves

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="needs the extra tensorboard",
)


def test_tensorboard_reads_the_rows_of_a_history_and_of_its_resume(tmp_path: Path) -> None:
    with open_curves(tmp_path) as add:
        add({"epoch": 1, "lr": 0.5, "score": None, "train_loss": 2.0})
    with open_curves(tmp_path) as add:
        add({"epoch": 2, "lr": 0.25, "score": 0.75, "train_loss": 1.0})
    found = event_accumulator.EventAccumulator(str(tmp_path))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {"lr", "score", "train_loss"}
    assert [(e.step, e.value) for e in found.Scalars("lr")] == [(1, 0.5), (2, 0.25)]
    assert [(e.step, e.value) for e in found.Scalars("score")] == [(2, 0.75)]
