"""Runs of one part of a label, composed into classes; thresholds that only training sees."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.config import resolve_recipe
from gorae.config.target import TargetSettings
from gorae.data.sources import LabelPart
from gorae.ensemble.composed import compose_predictions
from gorae.errors import ConfigError, DataError, UserError
from gorae.metrics import bind_metric, evaluate
from gorae.pipeline.all_votes import all_votes
from gorae.pipeline.blend import Blend, blend
from gorae.pipeline.board import board
from gorae.pipeline.check import check
from gorae.pipeline.compose import compose_runs
from gorae.pipeline.context import open_context
from gorae.pipeline.init import init
from gorae.pipeline.part_target import as_groups, as_target, learned_truth
from gorae.pipeline.predict import load_run
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.report import report
from gorae.pipeline.run import RunResult, run
from gorae.pipeline.scores import row_truth
from gorae.pipeline.split import split
from gorae.pipeline.submit import submit
from gorae.pipeline.train import train
from gorae.predictions import Predictions
from gorae.training.checkpoint import read_checkpoints
from gorae.workspace import Workspace, read_frame, read_predictions

FILES = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
AGES = (25, 45, 65, 20, 58, 60)
BASE = (
    *("model.name=lenet5", "model.weights=none", "pixels.input_size=32"),
    *("train.batch_size=16", "train.precision=fp32", "train.compile=false"),
    *("predict.compile=false", "train.threads=1", "train.workers=0", "augment.policy=none"),
    *("train.lr=0.01", "train.schedule=constant"),
)
FOLDS = ("split.num_folds=2", "train.epochs=10")
SHORT = ("split.kind=holdout", "split.holdout_share=0.5", "train.epochs=1")
AGE = LabelPart(name="age", weight=1, column="age", thresholds=(30.0, 60.0))
PARTS = (
    LabelPart(
        name="mask",
        weight=6,
        pattern="(?P<label>.*)",
        values={"mask": 0, "incorrect_mask": 1, "normal": 2},
    ),
    LabelPart(name="gender", weight=3, column="gender", values={"male": 0, "female": 1}),
    AGE,
)
CLASSES = tuple(map(str, range(18)))


def draw_people(folder: Path) -> Path:
    """12 people with 7 pictures each: red tells the mask, green the gender, blue the age."""
    rng = np.random.default_rng(0)
    lines, asked = ["id,gender,race,age,path"], ["ImageID,ans"]

    def draw(path: Path, mask: int, gender: int, years: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.array([30 + 90 * mask, 60 + 120 * gender, 3 * years])
        pixels = colour + rng.integers(-15, 15, (40, 32, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    for person in range(12):
        gender, years = person % 2, AGES[person // 2]
        name = ("male", "female")[gender]
        place = f"{person:06d}_{name}_Asian_{years}"
        lines.append(f"{person:06d},{name},Asian,{years},{place}")
        for number, file in enumerate(FILES):
            draw(folder / f"train/images/{place}/{file}.png", max(0, number - 4), gender, years)
    (folder / "train/train.csv").write_text("\n".join(lines) + "\n", "utf-8")
    for number in range(6):
        path = folder / f"eval/images/{number:04x}.png"
        draw(path, number % 3, number % 2, AGES[number % 3])
        asked.append(f"{number:04x}.png,0")
    (folder / "eval/info.csv").write_text("\n".join(asked) + "\n", "utf-8")
    return folder


def trained(folder: Path, *changes: str) -> RunResult:
    return run(folder, preset="standard", overrides=(*BASE, *changes), looks=False)


def short(folder: Path, *changes: str) -> Any:
    recipe = resolve_recipe(preset="standard", overrides=[*BASE, *SHORT, *changes])
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    return train(folder, recipe=recipe).run


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = draw_people(tmp_path_factory.mktemp("people"))
    init(folder)
    return folder


@pytest.fixture(scope="module")
def runs(people: Path) -> Mapping[str, RunResult]:
    """A run of each part, the age as a number, and one of the classes."""
    smooth = ("target.part=age", "target.part_as=number", "loss.kind=smooth_l1")
    return {
        "mask": trained(people, *FOLDS, "target.part=mask"),
        "gender": trained(people, *FOLDS, "target.part=gender"),
        "age": trained(people, *FOLDS, *smooth),
        "classes": trained(people, *FOLDS),
    }


def test_a_part_is_learned_on_the_folds_of_its_label(
    people: Path, runs: Mapping[str, RunResult]
) -> None:
    workspace = Workspace(people)
    settings = [workspace.run(result.run_id).read_settings() for result in runs.values()]
    [key] = {each["keys"]["split"] for each in settings}
    assert len({each["keys"]["labels"] for each in settings}) == 4
    folds = read_frame(workspace.splits / key / "folds.parquet")
    person = folds["image_id"].str.extract(r"images/(\d{6})_")[0]
    assert (folds.groupby(person)["fold"].nunique() == 1).all(), "a person is in one fold"
    assert person.nunique() == 12
    columns = {"mask": ("mask", "incorrect_mask", "normal"), "gender": ("male", "female")}
    columns |= {"age": ("value",), "classes": CLASSES}
    metrics = {"age": "rmse"}
    for part, result in runs.items():
        oof = read_predictions(workspace.run(result.run_id).oof)
        assert oof.columns == columns[part]
        assert len(oof.ids) == 84
        assert result.metric == metrics.get(part, "macro_f1")
        assert (result.submission is not None) == (part == "classes")
        again = load_run(workspace.run(result.run_id).path).predict(people / "eval/images")
        test = read_predictions(workspace.run(result.run_id).test).select(again.ids)
        np.testing.assert_allclose(again.values, test.values, atol=1e-4)
    assert runs["mask"].score > 0.5, "by chance it is 0.3"
    assert runs["age"].score < 10, "the standard deviation of the ages is 17 years"


def test_parts_compose_classes_that_are_scored_submitted_and_joined(
    people: Path, runs: Mapping[str, RunResult]
) -> None:
    workspace = Workspace(people)
    # In any order.
    named = [runs[part].run_id for part in ("age", "mask", "gender")]
    result = compose_runs(people, runs=named)
    assert compose_runs(people, runs=named[::-1]).run == result.run
    oof = read_predictions(result.run.oof)
    assert oof.columns == CLASSES
    context = open_context(people)
    truth = row_truth(context, oof.ids)
    metric = bind_metric("macro_f1", params={}, task="multiclass")
    assert result.result["metric"] == "macro_f1"
    assert result.result["score"] == evaluate(metric, truth, oof.values)
    assert result.result["score"] > 0.3, "by chance it is below 0.05"
    # By hand: products of the parts, and an age that counts as the group it is in.
    parts = {
        p: read_predictions(workspace.run(runs[p].run_id).oof).select(oof.ids) for p in runs
    }
    years = parts["age"].values[:, 0]
    group = (years >= 30).astype(int) + (years >= 60)
    shares = np.einsum(
        "nm,ng,na->nmga", parts["mask"].values, parts["gender"].values, np.eye(3)[group]
    )
    np.testing.assert_allclose(oof.values, shares.reshape(-1, 18), atol=1e-5)
    assert {0, 1, 2} == set(group.tolist()), "never one group for all"
    sent = submit(people, run=result.run.run_id)
    assert check(people, file=sent.path).is_accepted
    report(people, run=result.run.run_id)
    # It stands beside a run of classes, in any vote; by sub-tasks too.
    for how in ("arithmetic", "subtask"):
        both = [runs["classes"].run_id, result.run.run_id]
        joined = blend(people, runs=both, plan=Blend(how=how))
        assert joined.result["vote"] == how
        assert read_predictions(joined.run.oof).columns == CLASSES


def test_a_run_of_a_part_stands_aside_on_the_board_and_says_so_in_its_report(
    people: Path, runs: Mapping[str, RunResult]
) -> None:
    lines = {line.run_id: line for line in board(people).lines}
    assert lines[runs["classes"].run_id].rank is not None
    assert lines[runs["mask"].run_id].rank is None
    assert lines[runs["mask"].run_id].note == "scored on the part mask of the label alone"
    page = runs["age"].report.read_text("utf-8")
    assert "learned and scored: the part age alone, as a number" in page
    assert "macro_f1 of the groups of age" in page


def test_a_run_of_a_part_cannot_be_sent_or_averaged_with_another_part(
    people: Path, runs: Mapping[str, RunResult]
) -> None:
    message = (
        r"knows the part mask .* each part \(mask, gender, age\) .*ensemble --compose 0001"
    )
    for step in (submit, all_votes):
        with pytest.raises(UserError, match=message):
            step(people, run=runs["mask"].run_id)
    names = [runs["mask"].run_id, runs["gender"].run_id]
    with pytest.raises(UserError, match=r"lenet5 mask, .*lenet5 gender.* cannot be averaged"):
        blend(people, runs=names, plan=Blend())
    with pytest.raises(UserError, match=r"part age: no run, one is needed"):
        compose_runs(people, runs=names)
    wrong = [*names, runs["classes"].run_id]
    with pytest.raises(UserError, match=r"standard-lenet5 learned classes"):
        compose_runs(people, runs=wrong)


def test_an_age_is_binned_and_never_the_largest_of_one_column() -> None:
    ids = ("a", "b", "c", "d", "e")
    values = np.array([[29.9], [30.0], [45.0], [59.9], [60.0]], dtype=np.float32)
    target = TargetSettings(part="age", part_as="number")
    found = as_groups(Predictions(ids, ("value",), values, "value"), AGE, target)
    assert found.columns == ("0", "1", "2")
    assert found.values.argmax(axis=1).tolist() == [0, 1, 1, 1, 2]
    # Each year a class: 25 and 29 are both young.
    shares = np.array([[0.3, 0.3, 0.4, 0.0]], dtype=np.float32)
    years = Predictions(("a",), ("25", "29", "45", "60"), shares, "multiclass")
    found = as_groups(years, AGE, TargetSettings(part="age", part_as="each"))
    np.testing.assert_allclose(found.values, [[0.6, 0.4, 0.0]], atol=1e-7)


@pytest.mark.parametrize("order", [("mask", "incorrect_mask", "normal"), None])
def test_18_classes_go_to_parts_and_back_by_name_in_either_order_of_masks(
    order: tuple[str, ...] | None,
) -> None:
    # The source's sub-task labels have another order than its classes.
    masks = order or ("incorrect_mask", "mask", "normal")
    genders, ages = ("female", "male"), ("0", "1", "2")
    for label in range(18):
        names = {
            "mask": ("mask", "incorrect_mask", "normal")[label // 6],
            "gender": ("male", "female")[label // 3 % 2],
            "age": str(label % 3),
        }
        columns = {"mask": masks, "gender": genders, "age": ages}
        members = {
            part: Predictions(
                ("a",),
                columns[part],
                np.eye(len(columns[part]), dtype=np.float32)[[columns[part].index(name)]],
                "multiclass",
            )
            for part, name in names.items()
        }
        found = compose_predictions(members, parts=PARTS, classes=CLASSES)
        assert found.columns[found.values[0].argmax()] == str(label)


def test_thresholds_of_training_change_what_is_learned_and_nothing_else(people: Path) -> None:
    changed = "train.part_thresholds={age=[30, 58]}"
    context = open_context(people)
    recipe = resolve_recipe(preset="standard", overrides=[*BASE, changed])
    ids = context.tables.train["image_id"]
    learned = learned_truth(context, recipe, ids)
    assert learned is not None
    is_58 = ids.str.contains("_58/").to_numpy()
    assert is_58.sum() == 14
    np.testing.assert_array_equal(learned - context.truth, is_58.astype(int))
    plain, other = short(people), short(people, changed)
    assert plain != other
    records = [run.members()[0].read_record() for run in (plain, other)]
    assert records[0]["num_valid"] == records[1]["num_valid"] == 42
    folds = [run.read_settings()["keys"] for run in (plain, other)]
    assert folds[0]["split"] == folds[1]["split"]
    assert folds[0]["labels"] == folds[1]["labels"]
    assert "learned" in folds[1]
    weights = []
    for member in (plain.members()[0], other.members()[0]):
        [checkpoint], _ = read_checkpoints(member.checkpoints)
        weights.append((member.checkpoints / f"{checkpoint.name}.safetensors").read_bytes())
        # The score beside the weights is by the competition's thresholds.
        valid = read_predictions(member.predictions("valid", checkpoint.name, "identity"))
        metric = bind_metric("macro_f1", params={}, task="multiclass")
        truth = pd.Series(context.truth, ids).loc[list(valid.ids)].to_numpy()
        assert checkpoint.score == pytest.approx(evaluate(metric, truth, valid.values))
    assert weights[0] != weights[1]


def test_the_report_tells_of_thresholds_of_training(people: Path) -> None:
    found = trained(people, *SHORT, "train.part_thresholds={age=[30, 58]}", "seed=4")
    text = "training saw age with thresholds 30, 58; validation and the score have those of"
    assert text in found.report.read_text("utf-8")


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        (("target.part=age", "loss.kind=coral"), ("0", "1", "2")),
        (("target.part=age", "loss.kind=cumulative"), ("0", "1", "2")),
        (
            ("target.part=age", "train.part_thresholds={age=[30, 58]}", "model.head=vanilla"),
            ("0", "1", "2"),
        ),
        (("target.part=age", "target.part_as=each"), ("20", "25", "45", "58", "60", "65")),
        (("target.part=mask", "model.use=frozen"), ("mask", "incorrect_mask", "normal")),
    ],
)
def test_parts_are_learned_in_every_way(
    people: Path, changes: tuple[str, ...], columns: tuple[str, ...]
) -> None:
    if "model.use=frozen" in changes:
        kept = (*BASE[:3], "train.precision=fp32", "train.threads=1", "head.strengths=[1.0]")
        found = run(
            people, preset="quick", overrides=(*kept, *SHORT[:2], *changes), looks=False
        )
    else:
        found = trained(people, *SHORT, *changes)
    finished = Workspace(people).run(found.run_id)
    assert read_predictions(finished.oof).columns == columns
    if "target.part_as=each" in changes:
        assert 0 <= (finished.read_result() or {})["groups"]["score"] <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("target.part=hat",), r"'hat' is no part of the label\. Its parts: mask, gender, age"),
        (
            ("target.part=mask", "target.part_as=number"),
            r"mask has values \(mask, incorrect_mask, normal\), no thresholds",
        ),
        (("target.part=mask", "loss.kind=mse"), r"mse' cannot be used where the task is multi"),
        (("target.part=age", "model.outputs=parts"), r"about the whole label"),
        (("target.part=age", "model.head=thanet"), r"learns one part of it: choose one"),
        (("target.part=age", "predict.vote=subtask"), r"subtask\" is about the whole label"),
        (("target.part_as=number",), r"target.part names no part to be learned"),
        (("train.part_thresholds={hat=[1]}",), r"no part with thresholds; those are: age"),
        (("train.part_thresholds={age=[58]}",), r"age needs 2 thresholds"),
        (("train.part_thresholds={age=[58, 30]}",), r"must rise"),
        (
            ("train.part_thresholds={age=[30, 58]}", "target.part=mask"),
            r"age has no effect where mask is learned",
        ),
        (
            (
                *("train.part_thresholds={age=[30, 58]}", "target.part=age"),
                *("target.part_as=number", "loss.kind=mse"),
            ),
            r"target.part_as makes no groups",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    people: Path, changes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        short(people, *changes)


def test_a_number_needs_a_number_in_every_row_and_no_corrected_group(people: Path) -> None:
    context = open_context(people)
    target = TargetSettings(part="age", part_as="number")
    assert as_target(context, target).truth.tolist()[0] == 25
    table = context.tables.train
    cases = (
        (
            table.assign(**{"meta.age": "?"}),
            r"84 rows have no number in column age, first .*'\?'",
        ),
        (table.assign(label="2"), r"corrected labels say another group than column age"),
    )
    for changed, message in cases:
        tables = replace(context.tables, train=changed)
        with pytest.raises(DataError, match=message):
            as_target(replace(context, tables=tables), target)
