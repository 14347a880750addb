"""The board: best first in the metric's direction, and nothing without a score is ranked."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.cli import main
from gorae.config import write_competition
from gorae.errors import UserError
from gorae.pipeline.board import board
from gorae.workspace import Workspace, append_line


def make_competition(folder: Path, metric: str = "accuracy") -> Workspace:
    workspace = Workspace(folder)
    write_competition(
        workspace.competition_file,
        {"name": "고래", "task": "multiclass", "metric": metric, "train": {"images": "train"}},
    )
    return workspace


def make_run(workspace: Workspace, run_id: str, **result: Any) -> None:
    folder = workspace.runs / run_id
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(
        f'run_id = "{run_id}"\n[recipe]\nname = "quick"\n[recipe.model]\nname = "lenet5"\n',
        "utf-8",
    )
    if result:
        record = {
            "run_id": run_id,
            "status": "done",
            "metric": "accuracy",
            "greater_is_better": True,
            "score": 0.5,
            "interval": [0.4, 0.6],
            "predicted": None,
            "fold_scores": [0.5, None],
            "num_folds": 2,
            "model": "lenet5",
            "elapsed_s": 12.0,
        }
        (folder / "result.json").write_text(json.dumps(record | result), "utf-8")


@given(
    scores=st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=8),
    is_greater_better=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_the_best_score_is_first(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float], is_greater_better: bool
) -> None:
    metric = "accuracy" if is_greater_better else "log_loss"
    workspace = make_competition(tmp_path_factory.mktemp("board"), metric)
    for number, score in enumerate(scores):
        make_run(
            workspace,
            f"{number:04d}-a",
            metric=metric,
            score=score,
            greater_is_better=is_greater_better,
        )
    lines = board(workspace.folder).lines
    shown = [line.score for line in lines]
    assert shown == sorted(scores, reverse=is_greater_better)
    for line in lines:
        assert line.score is not None
        better = [
            s for s in scores if (s > line.score) == is_greater_better and s != line.score
        ]
        assert line.rank == len(better) + 1


def test_runs_without_a_comparable_score_are_last_and_never_ranked(tmp_path: Path) -> None:
    workspace = make_competition(tmp_path, "log_loss")
    loss = {"metric": "log_loss", "greater_is_better": False}
    make_run(workspace, "0001-none", **loss, score=None)
    make_run(workspace, "0002-good", **loss, score=0.2)
    make_run(workspace, "0003-other", metric="accuracy", score=0.99)
    make_run(workspace, "0004-nan", **loss, score=float("nan"))
    make_run(workspace, "0005-unfinished")
    make_run(workspace, "0006-bad", **loss, score=0.3)
    make_run(workspace, "0007-damaged", **loss)
    (workspace.runs / "0007-damaged" / "result.json").write_text("{", "utf-8")
    lines = board(tmp_path).lines
    assert [(line.run_id[5:], line.rank) for line in lines] == [
        ("good", 1),
        ("bad", 2),
        ("damaged", None),
        ("unfinished", None),
        ("nan", None),
        ("other", None),
        ("none", None),
    ]
    notes = {line.run_id[5:]: line.note for line in lines}
    assert notes["other"] == "scored by accuracy, not by log_loss"
    assert notes["none"] == notes["nan"] == "has no out-of-fold score"
    assert "goes on with it" in notes["unfinished"]
    assert "Cannot read" in notes["damaged"]


def test_a_line_tells_all_of_a_run(tmp_path: Path) -> None:
    workspace = make_competition(tmp_path)
    make_run(workspace, "0001-quick-lenet5", predicted=[0.3, 0.7])
    for number in (1, 2):
        path = f".gorae/submissions/submission-{number:04d}.csv"
        append_line(workspace.ledger, {"run_id": "0001-quick-lenet5", "path": path})
    (line,) = board(tmp_path).lines
    assert (line.recipe, line.model, line.num_folds) == ("quick", "lenet5", 2)
    assert (line.interval, line.predicted) == ((0.4, 0.6), (0.3, 0.7))
    assert line.fold_scores == (0.5, None)
    assert line.elapsed_s == 12.0
    assert line.submission == ".gorae/submissions/submission-0002.csv"


def test_a_folder_that_is_no_competition(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no competition\.toml in"):
        board(tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = make_competition(tmp_path)
    assert main(["board", str(tmp_path)]) == 0
    assert "No runs yet" in capsys.readouterr().out
    make_run(workspace, "0001-quick-lenet5", score=0.98765)
    make_run(workspace, "0002-quick-lenet5")
    assert main(["board", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "0.9877" in shown
    assert "0002-quick-lenet5: unfinished" in shown
    assert main(["board", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["competition"] == "고래"
    assert [run["rank"] for run in answer["runs"]] == [1, None]
