"""Pseudo-labels: what fold k learns is said by models that never saw what validates there."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gorae.config import Recipe, resolve_recipe
from gorae.config.pseudo import PseudoSettings
from gorae.errors import ConfigError, DataError, StorageError, UserError
from gorae.events import Event
from gorae.pipeline.context import open_context, read_scan
from gorae.pipeline.contract import read_split
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.init import init
from gorae.pipeline.job import Job, open_job
from gorae.pipeline.learning import fit_plan, fold_data
from gorae.pipeline.network import load_network
from gorae.pipeline.pseudo import PseudoResult, pseudo
from gorae.pipeline.pseudo_labels import (
    PseudoLabels,
    probabilities,
    pseudo_notes,
    read_labels,
    select_rows,
)
from gorae.pipeline.pseudo_pictures import company
from gorae.pipeline.pseudo_rows import with_pseudo_rows
from gorae.pipeline.report import report
from gorae.training.fit import build_trainer
from gorae.training.plan import Control, FoldData, Interrupted
from gorae.workspace import RunFolder, Workspace, read_predictions, write_predictions

from .conftest import SMALL, draw_clouds, small_recipe, train_small, write_competition

EQUAL, ALIKE = "test/t8.png", "test/t9.png"
"""Test pictures that are one train picture, and nearly another."""


def labels_of(folder: Path, made: PseudoResult) -> PseudoLabels:
    return read_labels(Workspace(folder), made.name)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs and boxes, a teacher ``0001``, and its labels of the test pictures."""
    folder = tmp_path_factory.mktemp("pseudo") / "shapes"
    write_competition(folder, num_subjects=12, num_test=10)
    draw_clouds(5).save(folder / "train/001_0.png")
    shutil.copy(folder / "train/000_0.png", folder / EQUAL)
    with Image.open(folder / "train/001_0.png") as cloud:
        cloud.resize((72, 60), Image.Resampling.BICUBIC).save(folder / ALIKE)
    init(folder)
    ensemble(folder, run=train_small(folder).run_id)
    pseudo(folder)
    return folder


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    """The same, to change freely."""
    return shutil.copytree(drawn, tmp_path / "shapes")


@pytest.fixture(scope="module")
def labels(drawn: Path) -> PseudoLabels:
    [record] = (drawn / ".gorae/pseudo").glob("*/record.json")
    return read_labels(Workspace(drawn), record.parent.name)


def said_by(run: RunFolder, member: str) -> tuple[tuple[str, ...], Any]:
    """What a member says of the test pictures, the mean of its views."""
    record = run.member(member).read_record()
    found = [
        read_predictions(run.member(member).predictions("test", checkpoint, view))
        for checkpoint in record["used_checkpoints"]
        for view in record["views"]
    ]
    assert len(found) == 2
    return found[0].ids, np.mean([each.values for each in found], axis=0)


def test_the_label_of_a_fold_is_what_its_own_member_says(
    drawn: Path, labels: PseudoLabels
) -> None:
    run = Workspace(drawn).run("0001")
    says = []
    for fold in range(2):
        lines = labels.of_place((0, fold))
        ids, values = said_by(run, f"fold-{fold}")
        assert lines["image_id"].tolist() == list(ids)
        np.testing.assert_allclose(probabilities(lines), values, atol=1e-6)
        says.append(values)
    assert np.abs(says[0] - says[1]).max() > 1e-4, "the folds are of two minds"
    refit = labels.of_place((-1, -1))
    np.testing.assert_allclose(probabilities(refit), np.mean(says, axis=0), atol=1e-6)
    assert set(refit["left_out"]) == {""}


def test_a_corrupted_member_changes_its_own_fold_only(
    folder: Path, labels: PseudoLabels
) -> None:
    member = Workspace(folder).run("0001").member("fold-1")
    for path in member.path.glob("predictions/test-*"):
        found = read_predictions(path)
        turned = type(found)(found.ids, found.columns, found.values[:, ::-1], found.kind)
        write_predictions(path, turned)
    after = labels_of(folder, pseudo(folder, runs=["0001"]))
    assert after.name != labels.name

    def of(found: PseudoLabels, fold: int) -> Any:
        return probabilities(found.of_place((0, fold)))

    np.testing.assert_array_equal(of(after, 0), of(labels, 0))
    np.testing.assert_array_equal(of(after, 1), of(labels, 1)[:, ::-1])


def test_what_equals_or_resembles_a_validation_picture_is_left_out_of_that_fold(
    drawn: Path, labels: PseudoLabels
) -> None:
    run = Workspace(drawn).run("0001")
    key = run.read_settings()["keys"]["split"]
    folds = pd.read_parquet(drawn / f".gorae/splits/{key}/folds.parquet")
    fold_of = folds.set_index("image_id")["fold"]
    for fold in range(2):
        reasons = labels.of_place((0, fold)).set_index("image_id")["left_out"]
        expected = {}
        if fold_of["train/000_0.png"] == fold:
            expected[EQUAL] = "equal picture"
        if fold_of["train/001_0.png"] == fold:
            expected[ALIKE] = "look-alike"
        assert reasons[reasons != ""].to_dict() == expected
    assert labels.record["reasons"] == {"equal picture": 1, "look-alike": 1}
    assert labels.record["checked"] == ["equal picture", "look-alike"]
    assert labels.record["num_known"] == 1


def test_a_picture_of_a_known_group_is_left_out_where_the_group_validates(
    drawn: Path,
) -> None:
    context, recipe = open_context(drawn), small_recipe()
    [column] = context.tables.group_columns
    subjects = context.tables.train.set_index("image_id")[column]
    ids = [f"test/t{number}.png" for number in range(8)]
    test = context.tables.test
    named = test["image_id"].map({ids[3]: subjects["train/004_0.png"]}).fillna("")
    context = replace(
        context, tables=replace(context.tables, test=test.assign(**{column: named}))
    )
    scan = read_scan(context)
    made = read_split(context, scan, recipe.split)
    found = company(
        context, scan, made, recipe.split, image_ids=ids, on_event=lambda event: None
    )
    assert list(found.levels) == ["equal picture", "same group", "look-alike"]
    # By the other picture of the subject alone.
    reasons = found.left_out(["train/004_1.png"])
    assert reasons == ["", "", "", "same group", "", "", "", ""]
    assert found.left_out(["train/005_0.png"]) == [""] * 8


def opened(folder: Path, *changes: str) -> tuple[Job, Any]:
    """A trained student's job, as its folds were trained."""
    run = train_small(folder, *changes)
    recipe = Recipe.model_validate(run.read_settings()["recipe"])
    context = open_context(folder)
    loaded = load_network(context, recipe)
    return open_job(context, recipe, loaded, run, deadline=None), loaded


def parts_of(job: Job, fold: int) -> tuple[FoldData, FoldData]:
    """A fold with true labels alone, and as it is learned."""
    masks = job.split.parts(0, fold, job.train["image_id"].tolist())
    data = fold_data(job, *masks, epochs=1)
    return data, with_pseudo_rows(job, data, place=(0, fold))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_targets_against_the_labels(
    kind: str, folder: Path, labels: PseudoLabels, tmp_path: Path
) -> None:
    job, loaded = opened(
        folder, "pseudo.labels=newest", f"pseudo.kind={kind}", "pseudo.weight=0.5"
    )
    for fold in range(2):
        plain, data = parts_of(job, fold)
        lines = labels.of_place((0, fold))
        lines = lines[lines["left_out"] == ""]
        proba, num_true = probabilities(lines), len(plain.train_ids)
        assert list(data.train_ids) == [*plain.train_ids, *lines["image_id"]]
        assert data.valid is not None
        assert plain.valid is not None
        assert data.valid.fingerprint() == plain.valid.fingerprint()
        assert data.train_weights is not None
        assert data.train_weights.tolist() == [1.0] * num_true + [0.5] * len(lines)
        np.testing.assert_array_equal(data.train_truth[num_true:], proba.argmax(axis=1))
        trainer = build_trainer(
            loaded.model,
            data,
            plan=fit_plan(job, loaded, epochs=1),
            folder=tmp_path,
            control=Control(),
            notes=[],
        )
        rows = trainer.targets_of(torch.arange(len(data.train))).numpy()
        one_hot = np.eye(2, dtype=np.float32)
        wanted = proba if kind == "soft" else one_hot[proba.argmax(axis=1)]
        np.testing.assert_array_equal(
            rows, np.concatenate([one_hot[plain.train_truth.astype(int)], wanted])
        )
        # A soft label costs its cross entropy: -sum p log q.
        outputs = torch.tensor([[2.0, -1.0]]).expand(len(rows), 2)
        losses = trainer.objective.loss(outputs, torch.from_numpy(rows)).numpy()
        log_q = np.log(np.exp([2.0, -1.0]) / np.exp([2.0, -1.0]).sum())
        np.testing.assert_allclose(losses, -(rows * log_q).sum(axis=1), rtol=1e-5)


def test_a_student_never_validates_on_them_and_says_where_they_come_from(
    folder: Path, labels: PseudoLabels
) -> None:
    events: list[Event] = []
    changes = ("pseudo.labels=newest", "pseudo.per_class=2", "augment.mixup=0.4", "refit=true")
    student = train_small(folder, *changes, events=events)
    teacher = Workspace(folder).run("0001")
    for fold in range(2):
        found, before = (run.member(f"fold-{fold}") for run in (student, teacher))
        lines = labels.of_place((0, fold))
        kept = len(select_rows(lines, PseudoSettings(per_class=2)))
        assert found.read_record()["num_train"] == before.read_record()["num_train"] + kept
        valid = [
            read_predictions(next(m.path.glob("predictions/valid-*"))) for m in (found, before)
        ]
        assert valid[0].ids == valid[1].ids
    ensemble(folder, run=student.run_id)
    assert read_predictions(student.oof).ids == read_predictions(teacher.oof).ids
    settings = student.read_settings()
    # By its full name, so that newer labels are another run.
    assert settings["recipe"]["pseudo"]["labels"] == labels.name
    choice = settings["choices"]["pseudo"]
    assert choice["teachers"] == ["0001-standard-lenet5"]
    assert choice["is_transductive"]
    assert set(choice["kept"]) == {"fold-0", "fold-1", "refit"}
    warned = [event.text for event in events if event.kind == "warning"]
    assert any("Test pictures were learned from (transductive)" in text for text in warned)
    page = report(folder, run=student.run_id).path.read_text("utf-8")
    assert f"Pseudo-labels {labels.name} of 0001-standard-lenet5" in page
    assert pseudo_notes(teacher.read_settings()["choices"]) == ()
    # A second round: the student teaches.
    again = pseudo(folder, runs=[student.run_id, "0001"])
    assert [each["run"] for each in again.record["teachers"]] == [
        student.run_id,
        teacher.run_id,
    ]


def test_only_them_then_only_true_labels(folder: Path) -> None:
    job, _ = opened(folder, "pseudo.labels=newest", "pseudo.only=true", "pseudo.kind=hard")
    plain, data = parts_of(job, 0)
    assert not set(data.train_ids) & set(plain.train_ids)
    assert len(data.train) == len(data.train_truth) == len(data.train_ids) > 0
    assert data.train_weights is None
    assert data.soft_targets is None
    tuned = train_small(folder, f"train.start={job.run.run_id}")
    assert "pseudo" not in tuned.read_settings()["choices"]


def test_a_stopped_student_ends_in_the_same_weights(folder: Path) -> None:
    changes = ("pseudo.labels=newest", "train.epochs=2", "train.sampler=weighted")

    def weights(run: RunFolder) -> list[Any]:
        paths = sorted(run.path.glob("*/checkpoints/*.safetensors"))
        return [load_file(path) for path in paths]

    whole = train_small(folder, *changes)
    kept = weights(whole)
    shutil.rmtree(whole.path)
    with pytest.raises(Interrupted):
        train_small(folder, *changes, stop_after=4)
    again = train_small(folder, *changes)
    assert again.run_id == whole.run_id
    for found, wanted in zip(weights(again), kept, strict=True):
        assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_pictures_of_a_folder_are_labelled_as_those_of_the_test_set(
    folder: Path, labels: PseudoLabels
) -> None:
    others = folder / "others"
    shutil.copytree(folder / "test", others)
    found = labels_of(folder, pseudo(folder, images=others))
    assert found.record["source"] == "images"
    for fold in range(2):
        lines, wanted = (each.of_place((0, fold)) for each in (found, labels))
        names = [Path(image_id).name for image_id in lines["image_id"]]
        assert names == [Path(image_id).name for image_id in wanted["image_id"]]
        np.testing.assert_allclose(probabilities(lines), probabilities(wanted), atol=1e-5)
        assert lines["left_out"].tolist() == wanted["left_out"].tolist()
    student = train_small(folder, "pseudo.labels=newest", "pixels.input_size=40")
    choice = student.read_settings()["choices"]["pseudo"]
    assert not choice["is_transductive"]
    assert choice["labels"] == found.name
    (others / "t0.png").unlink()
    with pytest.raises(DataError, match=r"1 of 10 pictures with pseudo-labels are gone"):
        train_small(folder, "pseudo.labels=newest", "pixels.input_size=24")


def test_pictures_that_are_labelled_truly_are_no_pseudo_pictures(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no pictures in .* but those of the tables"):
        pseudo(folder, images=folder / "train")
    with pytest.raises(UserError, match="There is no folder"):
        pseudo(folder, images=folder / "elsewhere")
    with pytest.raises(UserError, match=r"is outside the competition's folder"):
        pseudo(folder, images=folder.parent)


def test_labels_of_other_folds_and_of_nobody_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"were made by runs of other folds .* fold k would"):
        train_small(folder, "pseudo.labels=newest", "split.seed=1")
    with pytest.raises(UserError, match=r"pseudo.labels = 'zz' names no pseudo-labels here"):
        train_small(folder, "pseudo.labels=zz")
    with pytest.raises(ConfigError, match=r"keeps no picture in fold-0, fold-1"):
        train_small(folder, "pseudo.labels=newest", "pseudo.threshold=0.999")
    other = train_small(folder, "split.seed=1")
    with pytest.raises(ConfigError, match="trained on other folds than each other"):
        pseudo(folder, runs=["0001", other.run_id])
    shutil.rmtree(other.path / "fold-0")
    with pytest.raises(ConfigError, match="has 1 of 2 folds"):
        pseudo(folder, runs=[other.run_id])


def test_labels_that_were_changed_by_hand_are_refused(
    folder: Path, labels: PseudoLabels
) -> None:
    path = folder / f".gorae/pseudo/{labels.name}/labels.parquet"
    pd.read_parquet(path).assign(p0=1.0, p1=0.0).to_parquet(path)
    with pytest.raises(StorageError, match="was changed after it was made"):
        train_small(folder, "pseudo.labels=newest")


def test_settings_without_effect_are_refused() -> None:
    for changes, message in (
        (["pseudo.threshold=0.5"], r"pseudo\.labels names no labels"),
        (["pseudo.labels=newest", "model.use=frozen"], r"pseudo\.labels has no effect here"),
        (["pseudo.labels=newest", "pseudo.fill=true"], r"per_class says no number"),
        (["pseudo.labels=newest", "pseudo.only=true", "pseudo.weight=2"], r"only is on"),
        (["pseudo.labels=newest", "model.metadata=isic2020"], r"model\.metadata reads columns"),
    ):
        with pytest.raises(ConfigError, match=message):
            resolve_recipe(preset="standard", overrides=changes)


def test_without_labels_runs_keep_their_identity() -> None:
    assert "pseudo" not in resolve_recipe(preset="standard").model_dump(mode="json")


def test_a_regression_is_refused(folder: Path) -> None:
    path = folder / "competition.toml"
    text = path.read_text("utf-8")
    assert 'task = "multiclass"' in text
    table = folder / "train.csv"
    lines = table.read_text("utf-8").replace("원", "1").replace("상자", "2")
    table.write_text(lines, "utf-8")
    text = text.replace('task = "multiclass"', 'task = "regression"')
    text = text.replace('metric = "accuracy"', 'metric = "rmse"')
    kept = [line for line in text.splitlines() if not line.startswith("classes")]
    path.write_text("\n".join(kept) + "\n", "utf-8")
    with pytest.raises(UserError, match=r"one class of several, and the task is regression"):
        pseudo(folder)


def test_the_command(folder: Path, gorae_cli: Callable[..., Any]) -> None:
    said = gorae_cli("pseudo", "0001", "--folder", folder, "--json")
    assert said.code == 0
    assert said.json["num_pictures"] == 10
    assert said.json["left_out"].keys() == {"0-0", "0-1"}
    record = json.loads((Path(said.json["folder"]) / "record.json").read_text("utf-8"))
    assert record["teachers"][0]["run"] == "0001-standard-lenet5"
    assert set(record["teachers"][0]["weights"]) == {"fold-0", "fold-1"}
    shown = gorae_cli("pseudo", "--folder", folder)
    assert shown.code == 0
    assert "10 of the test set" in shown.out
    assert "transductive" in shown.out + shown.err
    assert gorae_cli("pseudo", "0007", "--folder", folder).code == 64


def test_rounds_let_each_student_label_for_the_next(
    make_competition: Callable[..., Path], run_quick: Callable[..., Any], gorae_cli: Any
) -> None:
    folder = make_competition(num_subjects=8, num_test=4)
    teacher = run_quick(folder)
    changes = [part for each in SMALL for part in ("--set", each)]
    command = ("pseudo", "--folder", folder, "--rounds", "2", "--preset", "standard", *changes)
    found = gorae_cli(*command, "--json").json
    first, *students = found["rounds"]
    assert (first["run_id"], first["labels"]) == (teacher.run_id, None)
    assert first["score"] == teacher.score
    names = [each["labels"] for each in students]
    records = [
        json.loads((folder / ".gorae" / "pseudo" / name / "record.json").read_text("utf-8"))
        for name in names
    ]
    taught = [[each["run"] for each in record["teachers"]] for record in records]
    assert taught == [[teacher.run_id], [students[0]["run_id"]]]
    settings = [
        Workspace(folder).run(each["run_id"]).read_settings()["recipe"] for each in students
    ]
    assert [each["pseudo"]["labels"] for each in settings] == names
    assert Path(found["submission"]).exists()
    # Given again it finds what is there.
    again = gorae_cli(*command)
    assert again.code == 0
    assert len(list((folder / ".gorae" / "runs").glob("0*"))) == 3
    assert all(each["run_id"] in again.out for each in found["rounds"])
    before = set((folder / ".gorae" / "pseudo").iterdir())
    both = gorae_cli(*command, "--recipe", "noisy-student")
    assert both.code == 64
    assert "not both" in both.err
    assert set((folder / ".gorae" / "pseudo").iterdir()) == before
    alone = gorae_cli("pseudo", "--folder", folder, "--set", "train.epochs=1")
    assert alone.code != 0
    assert "--rounds" in alone.err
