"""Votes over the models of a run and over runs: honest scores, folders, checked submissions."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w

from gorae.ensemble import percentile_ranks, subtask_vote, vote
from gorae.errors import ConfigError, UserError
from gorae.files import content_key
from gorae.pipeline.all_votes import all_votes
from gorae.pipeline.blend import Blend, blend
from gorae.pipeline.board import board
from gorae.pipeline.context import labels_key, open_context
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.init import init
from gorae.pipeline.submit import submit
from gorae.predictions import Predictions
from gorae.workspace import (
    RunFolder,
    Workspace,
    read_lines,
    read_predictions,
    write_frame,
    write_member_record,
    write_predictions,
)

Make = Callable[..., Path]
Cli = Callable[..., Any]

NUM_FOLDS = 4


@pytest.fixture
def folder(make_competition: Make) -> Path:
    """A competition with a split, where runs are drawn instead of trained."""
    made = make_competition(24, 6)
    init(made)
    write_split(made, "folds")
    return made


def write_split(
    folder: Path, key: str, *, repeats: int = 1, num_folds: int = NUM_FOLDS
) -> None:
    images = open_context(folder).tables.train["image_id"]
    group = np.arange(len(images)) // 2
    tables = [
        pd.DataFrame(
            {
                "image_id": images,
                "group": group,
                "repeat": repeat,
                "fold": (group + repeat * (group // num_folds)) % num_folds,
            }
        )
        for repeat in range(repeats)
    ]
    write_frame(
        Workspace(folder).splits / key / "folds.parquet", pd.concat(tables, ignore_index=True)
    )


def draw_run(
    folder: Path,
    number: int,
    *,
    skill: float = 0.3,
    split: str = "folds",
    views: Sequence[str] = ("identity",),
    checkpoints: Sequence[str] = ("epoch-3",),
    how: str = "arithmetic",
    refit: bool = False,
) -> RunFolder:
    """A run whose models know the label with some skill, on train and test pictures."""
    context = open_context(folder)
    run = RunFolder(context.workspace.runs / f"{number:04d}-drawn")
    contract = pd.read_parquet(context.workspace.splits / split / "folds.parquet")
    competition = context.competition
    run.path.mkdir(parents=True)
    run.settings.write_text(
        tomli_w.dumps(
            {
                "run_id": run.run_id,
                "key": f"drawn-{number}",
                "recipe": {
                    "name": "drawn",
                    "model": {"name": f"net{number}", "use": "finetune", "weights": "none"},
                    "predict": {"vote": how},
                },
                "keys": {
                    "split": split,
                    "labels": labels_key(context),
                    "metric": content_key([competition.metric, competition.metric_params]),
                },
            }
        ),
        "utf-8",
    )
    truth = dict(zip(context.tables.train["image_id"], context.truth, strict=True))
    rng = np.random.default_rng(number)

    def predictions(ids: Sequence[str], skill: float) -> Predictions:
        width = len(context.columns)
        sure = np.array([truth.get(id_, 0) for id_ in ids])
        values = (1 - skill) * rng.dirichlet(np.ones(width), len(ids)) + skill * np.eye(width)[
            sure
        ]
        return Predictions(tuple(ids), context.columns, values.astype("f4"), "multiclass")

    places: list[tuple[str, dict[str, int]]] = [
        (f"repeat-{repeat}-fold-{fold}", {"repeat": int(repeat), "fold": int(fold)})
        for repeat, fold in contract[["repeat", "fold"]].drop_duplicates().to_numpy()
    ]
    for name, place in [*places, ("refit", {})] if refit else places:
        member = run.member(name)
        for checkpoint in checkpoints:
            for worse, view in enumerate(views):
                known = skill / (1 + 2 * worse)
                parts = {"test": context.tables.test["image_id"].tolist()}
                if place:
                    held = (contract["repeat"] == place["repeat"]) & (
                        contract["fold"] == place["fold"]
                    )
                    parts["valid"] = contract.loc[held, "image_id"].tolist()
                for part, ids in parts.items():
                    path = member.predictions(part, checkpoint, view)
                    write_predictions(path, predictions(ids, known))
        record = {
            "name": name,
            "used_checkpoints": list(checkpoints),
            "views": list(views),
            "elapsed_s": 1.0,
        }
        write_member_record(member, {**record, **place})
    return run


def drawn_runs(folder: Path, *skills: float) -> list[str]:
    runs = [draw_run(folder, number, skill=skill) for number, skill in enumerate(skills, 1)]
    for run in runs:
        ensemble(folder, run=run.run_id)
    return [run.run_id for run in runs]


def read_all(run: RunFolder, part: str) -> dict[tuple[str, str, str], Predictions]:
    found = {}
    for member in run.members():
        record = member.read_record()
        for checkpoint in record["used_checkpoints"]:
            for view in record["views"]:
                path = member.predictions(part, checkpoint, view)
                if path.exists():
                    found[member.name, checkpoint, view] = read_predictions(path)
    return found


@pytest.mark.parametrize("how", ["arithmetic", "geometric", "logit", "rank", "hard"])
def test_a_run_is_voted_on_as_its_recipe_says(folder: Path, how: str) -> None:
    write_split(folder, "twice", repeats=2)
    views, checkpoints = ("identity", "hflip", "scale-1.1"), ("epoch-3", "epoch-2")
    run = draw_run(
        folder, 1, split="twice", views=views, checkpoints=checkpoints, how=how, refit=True
    )
    found = ensemble(folder)
    assert found.result["vote"] == how
    # Out of fold: only those that held the row out, here by hand for one picture.
    voters = read_all(run, "valid")
    oof = read_predictions(run.oof)
    context = open_context(folder)
    image, row = context.tables.train[["image_id", "row_id"]].iloc[7]
    if how == "rank":
        voters = {name: percentile_ranks(each) for name, each in voters.items()}
    held = [each.select([image]) for each in voters.values() if image in each.ids]
    assert len(held) == 2 * 3 * 2, "repeats x views x checkpoints"
    expected = vote(held, "arithmetic" if how == "rank" else how)
    np.testing.assert_allclose(oof.select([row]).values, expected.values, atol=1e-6)
    assert oof.ids == tuple(context.tables.train["row_id"])
    # Test: all of them, the refit as well.
    test = read_predictions(run.test)
    all_voters = list(read_all(run, "test").values())
    assert len(all_voters) == (2 * NUM_FOLDS + 1) * 3 * 2
    np.testing.assert_allclose(test.values, vote(all_voters, how).values, atol=1e-6)
    lines = found.result["compared"]
    assert [line["name"] for line in lines if line["what"] == "view"] == list(views)
    assert [line["name"] for line in lines if line["what"] == "without view"] == list(views)
    assert [line["name"] for line in lines if line["what"] == "checkpoint"] == ["1", "2"]
    votes = {line["name"] for line in lines if line["what"] == "vote"}
    assert how not in votes
    assert {"hard", "rank", "weighted"} - {how} <= votes
    for line in lines:
        assert line["difference"] == pytest.approx(found.result["score"] - line["score"])
        assert line["interval"][0] <= line["interval"][1]
    assert len(found.result["fold_scores"]) == 2 * NUM_FOLDS


def test_weights_by_score_use_the_fold_for_the_test_set_and_the_others_out_of_fold(
    folder: Path,
) -> None:
    run = draw_run(folder, 1, views=("identity", "hflip"), how="weighted")
    ensemble(folder)
    voters, context = read_all(run, "valid"), open_context(folder)
    truth = dict(zip(context.tables.train["image_id"], context.truth, strict=True))
    accuracy = {
        name: float(np.mean(each.values.argmax(1) == [truth[i] for i in each.ids]))
        for name, each in voters.items()
    }
    tests = read_all(run, "test")
    expected = vote(list(tests.values()), "weighted", weights=[accuracy[n] for n in tests])
    np.testing.assert_allclose(read_predictions(run.test).values, expected.values, atol=1e-6)
    told = json.loads(run.result.read_text("utf-8"))["voters"]
    shares = np.array([accuracy[name] for name in tests]) / sum(accuracy.values())
    assert [line["weight"] for line in told] == pytest.approx(shares.tolist())
    first = "repeat-0-fold-0"
    weights = [
        sum(accuracy[name] for name in accuracy if name[0] != first and name[2] == view)
        for view in ("identity", "hflip")
    ]
    held = [voters[first, "epoch-3", view] for view in ("identity", "hflip")]
    expected = vote(held, "weighted", weights=weights)
    row_of = dict(context.tables.train[["image_id", "row_id"]].to_numpy())
    found = read_predictions(run.oof).select([row_of[i] for i in held[0].ids])
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)


def test_parts_of_composed_labels_are_voted_on(make_competition: Make) -> None:
    folder = make_competition(24, 6)
    (folder / "competition.toml").write_text(
        """
name = "parts"
task = "multiclass"
metric = "accuracy"
classes = ["0", "1", "2", "3"]
[train]
images = "train"
table = "train.csv"
image_column = "id"
group_columns = ["subject"]
[[train.compose]]
name = "kind"
weight = 2
column = "label"
values = {"원" = 0, "상자" = 1}
[[train.compose]]
name = "shot"
weight = 1
pattern = "_(?P<label>[01])[.]"
values = {0 = 0, 1 = 1}
[test]
images = "test"
""",
        "utf-8",
    )
    write_split(folder, "folds")
    run = draw_run(folder, 1, skill=0.1, views=("a", "b", "c"), how="subtask")
    found = ensemble(folder)
    voters = list(read_all(run, "test").values())
    parts = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    expected = subtask_vote(voters, parts=parts)
    np.testing.assert_array_equal(read_predictions(run.test).values, expected.values)
    assert found.result["vote"] == "subtask"
    assert "hard" in {line["name"] for line in found.result["compared"]}
    draw_run(folder, 2, skill=0.1)
    ensemble(folder, run="0002")
    both = blend(folder, runs=["0001", "0002"], plan=Blend(how="subtask"))
    assert "equal weights" in {line["what"] for line in both.result["compared"]}


def test_one_voter_has_nothing_to_be_compared_with(folder: Path) -> None:
    draw_run(folder, 1)
    assert ensemble(folder).result["compared"] == []


def test_runs_joined_are_a_run_like_any_other(folder: Path, gorae_cli: Cli) -> None:
    names = drawn_runs(folder, 0.3, 0.1, 0.2)
    plan = Blend(how="geometric", weights=(6, 3, 1))
    found = blend(folder, runs=names, plan=plan)
    assert found.run.run_id == "0004-geometric-of-3-runs"
    members = [read_predictions(RunFolder(found.run.path.parent / n).oof) for n in names]
    expected = vote(members, "geometric", weights=[6, 3, 1])
    np.testing.assert_array_equal(read_predictions(found.run.oof).values, expected.values)
    assert [m["weight"] for m in found.result["members"]] == pytest.approx([0.6, 0.3, 0.1])
    whats = [line["what"] for line in found.result["compared"]]
    assert whats[:4] == ["run", "run", "run", "equal weights"]
    assert found.result["num_folds"] == len(found.result["fold_scores"]) == NUM_FOLDS
    sent = submit(folder, run="0004")
    assert sent.path.exists()
    (line,) = [line for line in board(folder).lines if line.run_id == found.run.run_id]
    assert line.rank is not None
    assert (line.model, line.note) == ("net1 + net2 + net3", "")
    # Again: the same run; asked in another way: another.
    assert blend(folder, runs=names, plan=plan).run == found.run
    other = blend(folder, runs=names, plan=Blend(how="geometric", name="trio"))
    assert other.run.run_id == "0005-trio"
    # And it may be a member itself; it is never voted on again.
    both = blend(folder, runs=["0004", "0001"], plan=Blend())
    assert both.run.run_id == "0006-arithmetic-of-2-runs"
    before = found.run.result.read_bytes()
    assert ensemble(folder, run="0004").result == found.result
    assert found.run.result.read_bytes() == before
    with pytest.raises(ConfigError, match="0004-geometric-of-3-runs has no models"):
        blend(folder, runs=["0004"], plan=Blend(how="hard"))
    with pytest.raises(UserError, match="joins other runs"):
        all_votes(folder, run="0004")
    shown = gorae_cli("ensemble", *names, "--vote", "geometric", "--weights", "6:3:1",
                      "--folder", folder)  # fmt: skip
    assert shown.code == 0
    assert "0001-drawn, weight 0.6" in shown.out
    assert "equal weights geometric" in shown.out


@pytest.mark.parametrize("select", ["greedy", "best_subset", "fit_weights", "by_score"])
def test_what_is_chosen_by_score_is_scored_on_other_folds(folder: Path, select: str) -> None:
    names = drawn_runs(folder, 0.5, 0.0, 0.4)
    found = blend(folder, runs=names, plan=Blend(select=select))
    chosen = found.result["selection"]
    assert len(chosen["weights_per_part"]) == NUM_FOLDS
    members = [read_predictions(RunFolder(found.run.path.parent / n).oof) for n in names]
    fold_of = np.arange(len(members[0].ids)) // 2 % NUM_FOLDS
    for fold, weights in enumerate(chosen["weights_per_part"]):
        ids = [i for i, f in zip(members[0].ids, fold_of, strict=True) if f == fold]
        expected = vote([m.select(ids) for m in members], "arithmetic", weights=weights)
        found_rows = read_predictions(found.run.oof).select(ids)
        np.testing.assert_array_equal(found_rows.values, expected.values)
    on_test = [read_predictions(RunFolder(found.run.path.parent / n).test) for n in names]
    weights = [member["weight"] for member in found.result["members"]]
    np.testing.assert_allclose(
        read_predictions(found.run.test).values,
        vote(on_test, "arithmetic", weights=weights).values,
        atol=1e-6,
    )
    # Equal weights stand beside it, so that the choice can be seen to pay or not.
    lines = found.result["compared"]
    assert ("equal weights", "arithmetic") in [(line["what"], line["name"]) for line in lines]


def test_one_fold_is_parted_by_groups_to_choose_on(folder: Path) -> None:
    write_split(folder, "hold", num_folds=3)
    path = Workspace(folder).splits / "hold" / "folds.parquet"
    frame = pd.read_parquet(path)
    frame.loc[frame["fold"] > 0, "fold"] = -1
    write_frame(path, frame[frame["fold"] == 0])
    for number in (1, 2):
        draw_run(folder, number, split="hold")
        ensemble(folder)
    found = blend(folder, runs=["0001", "0002"], plan=Blend(select="greedy"))
    assert len(found.result["selection"]["weights_per_part"]) == 5


def test_runs_that_do_not_compare_are_refused_with_every_difference(folder: Path) -> None:
    write_split(folder, "others", num_folds=3)
    drawn_runs(folder, 0.3)
    for number, changes in ((2, {"split": "others"}), (3, {"labels": "x", "metric": "y"})):
        run = draw_run(folder, number)
        settings = run.read_settings()
        settings["keys"] |= changes
        run.write_settings(settings)
        write_predictions(
            run.oof, read_predictions(RunFolder(run.path.parent / "0001-drawn").oof)
        )
    draw_run(folder, 4)
    with pytest.raises(UserError, match="0004-drawn has no out-of-fold predictions yet"):
        blend(folder, runs=["0001", "0004"], plan=Blend())
    with pytest.raises(UserError) as raised:
        blend(folder, runs=["0001", "0002", "0003"], plan=Blend())
    text = str(raised.value)
    assert "0002-drawn has other folds than 0001-drawn" in text
    assert "0003-drawn has other labels than 0001-drawn" in text
    assert "0003-drawn has other metric than 0001-drawn" in text
    assert "0003-drawn was made with other metric than competition.toml has now" in text
    assert len(list(Workspace(folder).runs.glob("*-of-*"))) == 0


@pytest.mark.parametrize(
    ("runs", "plan", "message"),
    [
        (["1", "2"], Blend(weights=(1.0,)), "1 weights are given for 2 runs"),
        (["1", "1"], Blend(), "named twice"),
        (["1", "2"], Blend(weights=(1, 1), select="greedy"), "do one of both"),
        (
            ["1", "2"],
            Blend(how="weighted", weights=(1, 1)),
            "takes its weights from the scores",
        ),
        (["1", "2"], Blend(how="subtask", select="greedy"), "has no weights"),
        (["1", "2"], Blend(select="luck"), "select must be one of greedy, best_subset"),
        (["1"], Blend(select="greedy"), "for several runs, one is named"),
        (["1", "2"], Blend(name="a b"), "a name is letters"),
        (
            ["1", "2"],
            Blend(how="subtask"),
            "composes no labels of parts. Use one of arithmetic",
        ),
        (["1"], Blend(how="median"), "there is no such vote"),
    ],
)
def test_requests_without_sense_leave_nothing_behind(
    folder: Path, runs: list[str], plan: Blend, message: str
) -> None:
    drawn_runs(folder, 0.3, 0.2)
    before = sorted(Workspace(folder).runs.iterdir())
    with pytest.raises(ConfigError, match=message):
        blend(folder, runs=[f"000{number}" for number in runs], plan=plan)
    assert [p for p in sorted(Workspace(folder).runs.iterdir()) if p not in before] == []


def test_all_votes_write_four_checked_submissions(folder: Path, gorae_cli: Cli) -> None:
    draw_run(folder, 1, views=("identity", "hflip"), checkpoints=("epoch-2", "epoch-1"))
    said = gorae_cli("ensemble", "--all-votes", "--folder", folder, "--json")
    assert said.code == 0, said.err
    votes = [line["vote"] for line in said.json["votes"]]
    assert votes == ["arithmetic", "geometric", "weighted", "hard"]
    assert said.json["votes"][0]["run_id"] == "0001-drawn", "its own vote stays the run"
    workspace = Workspace(folder)
    ledger = read_lines(workspace.ledger)
    assert [line["run_id"] for line in ledger] == [v["run_id"] for v in said.json["votes"]]
    for line in said.json["votes"]:
        assert gorae_cli("check", line["submission"], "--folder", folder).code == 0
        run = RunFolder(workspace.runs / line["run_id"])
        members = list(read_all(RunFolder(workspace.runs / "0001-drawn"), "test").values())
        if line["vote"] != "weighted":
            expected = vote(members, line["vote"])
            np.testing.assert_allclose(
                read_predictions(run.test).values, expected.values, atol=1e-6
            )
    # Once more: the same files.
    again = gorae_cli("ensemble", "0001", "--all-votes", "--folder", folder)
    assert again.code == 0
    assert "submission-0004.csv" in again.out
    assert len(read_lines(workspace.ledger)) == 4


def test_ranks_can_be_sent_where_the_order_is_scored(folder: Path) -> None:
    path = folder / "competition.toml"
    text = path.read_text("utf-8").replace('metric = "accuracy"', 'metric = "roc_auc"')
    path.write_text(text.replace('kind = "label"', 'kind = "probability"'), "utf-8")
    text = path.read_text("utf-8")
    path.write_text(text + '\n[submission.column_classes]\nlabel = "원"\n', "utf-8")
    names = drawn_runs(folder, 0.3, 0.2)
    found = blend(folder, runs=names, plan=Blend(how="rank"))
    assert found.result["metric"] == "roc_auc"
    assert read_predictions(found.run.oof).kind == "score"
    sent = pd.read_csv(submit(folder, run=found.run.run_id).path)
    column = open_context(folder).columns.index("원")
    np.testing.assert_allclose(
        sent["label"], read_predictions(found.run.test).values[:, column], rtol=1e-6
    )


@pytest.mark.parametrize(
    "arguments", [["--all-votes", "--vote", "hard"], ["a", "b", "--all-votes"]]
)
def test_options_that_do_not_go_together(
    folder: Path, gorae_cli: Cli, arguments: list[str]
) -> None:
    said = gorae_cli("ensemble", *arguments, "--folder", folder)
    assert said.code != 0
    assert "--all-votes takes one run" in said.err


@pytest.mark.parametrize("text", ["6,3,1", "", "1:-1", "0:0", "1:nan"])
def test_weights_are_numbers_with_colons(folder: Path, gorae_cli: Cli, text: str) -> None:
    said = gorae_cli("ensemble", "a", "b", "--weights", text, "--folder", folder)
    assert said.code == 64
    assert "like 6:3:1" in said.err


def test_an_ensemble_that_was_stopped_says_how_to_go_on(folder: Path) -> None:
    names = drawn_runs(folder, 0.3, 0.2)
    found = blend(folder, runs=names, plan=Blend(how="hard"))
    found.run.result.unlink()
    with pytest.raises(UserError, match="Repeat `gorae ensemble 0001-drawn 0002-drawn --vote"):
        ensemble(folder)
    assert blend(folder, runs=names, plan=Blend(how="hard")).run == found.run
    assert json.loads(found.run.result.read_text("utf-8")) == found.result


def test_a_joined_run_has_a_report(
    make_competition: Make, run_quick: Callable[..., Any], gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    names = [run_quick(folder, f"seed={seed}").run_id for seed in range(2)]
    found = blend(folder, runs=names, plan=Blend(how="geometric"))
    assert gorae_cli("submit", found.run.run_id, "--folder", folder).code == 0
    from gorae.pipeline.report import report

    page = report(folder, run=found.run.run_id).path.read_text("utf-8")
    assert found.run.run_id in page
    assert "gorae ensemble" in page
