"""gorae.pipeline.report: what a run left behind stands on its page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gorae.errors import UserError
from gorae.metrics import bind_metric
from gorae.pipeline.report import report
from gorae.pipeline.report_learning import compared_table, run_diagnosis, training_summary
from gorae.pipeline.run import RunResult, run
from gorae.report.page import Diagnosis
from gorae.workspace import RunFolder, Workspace

Make = Callable[..., Path]
RunQuick = Callable[..., RunResult]

TRAINED = (
    "model.name=lenet5",
    "model.weights=none",
    "model.use=finetune",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
    "train.workers=0",
    "train.batch_size=8",
    "train.keep_checkpoints=2",
    "predict.use_checkpoints=2",
)


def trained(folder: Path, *overrides: str) -> tuple[RunFolder, str]:
    made = run(folder, preset="standard", overrides=(*TRAINED, *overrides))
    return Workspace(folder).run(made.run_id), made.report.read_text("utf-8")


def diagnosed(target: RunFolder) -> Diagnosis:
    result = target.read_result()
    assert result is not None
    found = run_diagnosis(
        target,
        result,
        settings=target.read_settings(),
        metric=bind_metric("accuracy", params={}, task="multiclass"),
        baseline=0.5,
        short_side_px=40.0,
    )
    assert found is not None
    return found


def test_too_little_training_is_called_that(make_competition: Make) -> None:
    target, html = trained(make_competition(), "train.epochs=1", "train.lr=1e-5", "refit=true")
    found = diagnosed(target)
    assert found.fit == "underfits"
    assert found.remedies[0].setting == "train.epochs = 6"
    for text in found.evidence:
        assert text.en in html
    assert "train.epochs = 6" in html
    # Two views, two votes; the one epoch is one checkpoint.
    assert "view hflip alone" in html
    assert "How it was computed" in html
    assert "Rule of thumb" in html


def test_labels_without_a_meaning_are_not_called_well_learned(make_competition: Make) -> None:
    folder = make_competition()
    lines = (folder / "train.csv").read_text("utf-8").splitlines()
    # Labels that have nothing to do with the pictures: there is only learning by heart.
    swapped = [
        f"{line.split(',')[0]},{('원', '상자')[(7 * place // 3) % 2]},{line.split(',')[2]}"
        for place, line in enumerate(lines[1:])
    ]
    (folder / "train.csv").write_text("\n".join([lines[0], *swapped]) + "\n", "utf-8")
    target, html = trained(
        folder, "train.epochs=10", "train.lr=1e-2", "augment.policy=none", "split.group=false"
    )
    found = diagnosed(target)
    # The best of ten epochs on coin tosses may be an early one, which knows nothing.
    assert found.fit in ("overfits", "underfits")
    assert any("validation loss" in text.en for text in found.evidence)
    assert "checkpoint of rank 1 alone" in html


def test_frozen_features_are_judged_by_the_strength_of_the_head(
    make_competition: Make, run_quick: RunQuick
) -> None:
    folder = make_competition()
    made = run_quick(folder, "head.strengths=[0.01,1.0,100.0]")
    target = Workspace(folder).run(made.run_id)
    summary = training_summary(target)
    assert summary is not None
    assert summary.strengths is not None
    found = diagnosed(target)
    assert "the loss of the head is lowest at strength" in found.evidence[0].en
    html = made.report.read_text("utf-8")
    assert found.evidence[0].en in html
    assert "What each part adds" not in html


def line(what: str, difference: float, interval: Any) -> dict[str, Any]:
    return {
        "what": what, "name": "x", "score": 0.5, "difference": difference, "interval": interval
    }  # fmt: skip


@pytest.mark.parametrize(("is_greater", "sign"), [(True, 1), (False, -1)])
def test_gains_point_the_same_way_for_every_metric(is_greater: bool, sign: int) -> None:
    lines = [line("view", 0.02, [-0.01, 0.05]), line("vote", 0.1, None)]
    table = compared_table({"compared": lines, "greater_is_better": is_greater})
    assert table is not None
    assert table["gain"].tolist() == [sign * 0.02, sign * 0.1]
    assert table.loc[0, "low"] == (-0.01 if is_greater else -0.05)
    assert table.loc[0, "high"] == (0.05 if is_greater else 0.01)
    assert table.loc[1, ["low", "high"]].isna().all()


def test_one_view_and_one_checkpoint_are_no_comparison() -> None:
    only = {"compared": [line("vote", 0.0, [0.0, 0.0])], "greater_is_better": True}
    assert compared_table(only) is None
    assert compared_table({"greater_is_better": True}) is None


def test_a_run_without_a_result_has_no_report(
    make_competition: Make, run_quick: RunQuick
) -> None:
    folder = make_competition()
    made = run_quick(folder)
    Workspace(folder).run(made.run_id).result.unlink()
    with pytest.raises(UserError, match="has no result yet"):
        report(folder)
