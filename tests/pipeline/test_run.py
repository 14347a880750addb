"""The main job on drawn pictures, from folder to submission."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gorae
from gorae.config import resolve_recipe
from gorae.errors import ConfigError, DataError, UserError
from gorae.pipeline.init import init
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.run import run
from gorae.pipeline.split import split
from gorae.pipeline.train import train
from gorae.workspace import Workspace, read_frame, read_predictions

Make = Callable[..., Path]

OVERRIDES = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
)
TRAINED = (
    *OVERRIDES,
    "train.workers=0",
    "train.epochs=2",
    "train.batch_size=8",
    "train.lr=2e-3",
)


def rows_of(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as handle:
        return {line["id"]: line["label"] for line in csv.DictReader(handle)}


def tree_hash(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }


def test_finetune_leaves_a_checked_submission_a_score_and_a_report(
    make_competition: Make,
) -> None:
    folder = make_competition()
    before = tree_hash(folder)
    result = run(folder, preset="standard", overrides=TRAINED)
    assert result.metric == "accuracy"
    assert result.interval[0] <= result.score <= result.interval[1]
    assert result.submission is not None
    assert result.submission.relative_to(folder) == Path(
        ".gorae/submissions/submission-0001.csv"
    )
    answers = rows_of(result.submission)
    assert list(answers) == [f"t{i}" for i in range(8)]
    assert set(answers.values()) <= {"원", "상자"}
    assert "원" in result.report.read_text("utf-8")
    after = tree_hash(folder)
    assert {name: after[name] for name in before} == before, "raw data are never changed"
    new = {Path(name).parts[0] for name in set(after) - set(before)}
    assert new == {".gorae", "competition.toml"}


def test_out_of_fold_predictions_never_saw_the_subject(make_competition: Make) -> None:
    folder = make_competition()
    result = run(folder, preset="quick", overrides=OVERRIDES)
    target = Workspace(folder).run(result.run_id)
    key = target.read_settings()["keys"]["split"]
    folds = read_frame(folder / ".gorae" / "splits" / key / "folds.parquet")
    subject = folds["image_id"].str.extract(r"(\d{3})_", expand=False)
    assert (folds.groupby(subject)["fold"].nunique() == 1).all()
    covered: list[str] = []
    for member in target.members():
        record = member.read_record()
        valid = read_predictions(member.predictions("valid", "head", "identity"))
        fold_of = folds.set_index("image_id")["fold"]
        assert (fold_of.loc[list(valid.ids)] == record["fold"]).all()
        covered += valid.ids
    assert sorted(covered) == sorted(folds["image_id"])
    assert len(read_predictions(target.oof).ids) == 40


def test_two_runs_on_two_copies_give_the_same_bytes(
    make_competition: Make, tmp_path: Path
) -> None:
    first = make_competition()
    second = tmp_path / "copy" / first.name
    shutil.copytree(first, second)
    results = [run(folder, preset="standard", overrides=TRAINED) for folder in (first, second)]
    kept = []
    for folder, result in zip((first, second), results, strict=True):
        assert result.submission is not None
        target = Workspace(folder).run(result.run_id)
        kept.append((result.submission.read_bytes(), target.oof.read_bytes(), result.score))
    assert kept[0] == kept[1]


def test_the_same_command_again_repeats_no_work_and_writes_no_second_file(
    make_competition: Make,
) -> None:
    folder = make_competition()
    first = run(folder, preset="quick", overrides=OVERRIDES)
    stages: list[str] = []
    second = run(
        folder,
        preset="quick",
        overrides=OVERRIDES,
        on_event=lambda event: stages.append(event.text),
    )
    assert second.run_id == first.run_id
    assert second.submission == first.submission
    assert not any("out of" in text for text in stages if "features" in text)
    changed = run(folder, preset="quick", overrides=(*OVERRIDES, "seed=1"))
    assert changed.run_id != first.run_id


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    make_competition: Make, tmp_path: Path
) -> None:
    undisturbed = make_competition()
    stopped = tmp_path / "stopped" / undisturbed.name
    shutil.copytree(undisturbed, stopped)
    whole = run(undisturbed, preset="standard", overrides=TRAINED)

    class StopError(Exception):
        pass

    def stop_in_second_fold(event: gorae.events.Event) -> None:
        if event.kind == "progress" and event.text.startswith("fold-1") and event.done > 0:
            raise StopError

    with pytest.raises(StopError):
        run(stopped, preset="standard", overrides=TRAINED, on_event=stop_in_second_fold)
    resumed = run(stopped, preset="standard", overrides=TRAINED)
    assert resumed.run_id == whole.run_id
    assert whole.submission is not None
    assert resumed.submission is not None
    assert resumed.submission.read_bytes() == whole.submission.read_bytes()
    assert resumed.score == whole.score


def test_a_broken_test_picture_gets_the_prior_and_is_named(make_competition: Make) -> None:
    folder = make_competition()
    (folder / "test" / "t3.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "train" / "004_1.png").write_bytes(b"")
    (folder / "test" / "t5.png").unlink()
    result = run(folder, preset="quick", overrides=OVERRIDES)
    target = Workspace(folder).run(result.run_id)
    test = read_predictions(target.test)
    values = dict(zip(test.ids, test.values, strict=True))
    oof = read_predictions(target.oof)
    assert len(oof.ids) == 39
    # 20 boxes of 39 readable pictures: classes in sorted order are 상자 (box), 원 (disc).
    np.testing.assert_allclose(values["t3"], values["t5"])
    np.testing.assert_allclose(np.sort(values["t3"]), np.sort([19 / 39, 20 / 39]), atol=1e-6)
    assert json.loads(target.result.read_text("utf-8"))["fallback_rows"] == ["t3", "t5"]
    text = "\n".join(result.warnings)
    assert "2 pictures cannot be read: 1 of train, left out, and 1 of test" in text
    assert "2 of 8 rows hold the class prior" in text


def test_refit_joins_the_vote_on_the_test_set_only(make_competition: Make) -> None:
    folder = make_competition()
    plain = run(folder, preset="quick", overrides=OVERRIDES)
    refit = run(folder, preset="quick", overrides=OVERRIDES, refit=True)
    workspace = Workspace(folder)
    assert [m.name for m in workspace.run(refit.run_id).members()] == [
        "fold-0",
        "fold-1",
        "refit",
    ]
    assert refit.score == plain.score
    one = read_predictions(workspace.run(plain.run_id).test).values
    two = read_predictions(workspace.run(refit.run_id).test).values
    assert not np.array_equal(one, two)


def test_views_are_kept_apart_and_averaged(make_competition: Make) -> None:
    folder = make_competition()
    views = (*OVERRIDES, 'predict.views=["identity", "hflip"]')
    result = run(folder, preset="quick", overrides=views)
    target = Workspace(folder).run(result.run_id)
    member = target.members()[0]
    parts = [
        read_predictions(member.predictions("valid", "head", v)) for v in ("identity", "hflip")
    ]
    mean = (parts[0].values.astype(np.float64) + parts[1].values) / 2
    oof = read_predictions(target.oof)
    train = {name: name for name in parts[0].ids}
    assert train
    np.testing.assert_allclose(oof.select(parts[0].ids).values, mean, atol=1e-6)


def test_repeats_average_and_each_repeat_covers_every_row(make_competition: Make) -> None:
    folder = make_competition()
    result = run(folder, preset="quick", overrides=(*OVERRIDES, "split.repeats=2"))
    target = Workspace(folder).run(result.run_id)
    assert [m.name for m in target.members()] == [
        f"repeat-{repeat}-fold-{fold}" for repeat in range(2) for fold in range(2)
    ]
    assert len(read_predictions(target.oof).ids) == 40


def test_a_loaded_run_predicts_paths_folders_and_arrays_alike(make_competition: Make) -> None:
    folder = make_competition()
    for preset, overrides in (("quick", OVERRIDES), ("standard", TRAINED)):
        result = run(folder, preset=preset, overrides=overrides)
        target = Workspace(folder).run(result.run_id)
        loaded = gorae.load_run(target.path)
        paths = [folder / "test" / f"t{i}.png" for i in range(8)]
        by_path = loaded.predict(paths)
        by_folder = loaded.predict(folder / "test")
        by_array = loaded.predict([np.asarray(Image.open(path)) for path in paths])
        kept = read_predictions(target.test)
        for found in (by_path, by_folder, by_array):
            np.testing.assert_allclose(found.values, kept.values, atol=2e-5)
        assert by_folder.ids == tuple(f"t{i}.png" for i in range(8))


def test_budget_plans_less_and_still_submits(make_competition: Make) -> None:
    folder = make_competition()
    said: list[str] = []
    result = run(
        folder,
        preset="standard",
        overrides=(*TRAINED, "train.epochs=500"),
        budget_s=25.0,
        on_event=lambda event: said.append(event.text),
    )
    assert result.submission is not None
    assert any(text.startswith("plan for the budget: finetune") for text in said)
    assert result.elapsed_s < 60


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_other_tasks_run_from_folder_to_submission(make_competition: Make, task: str) -> None:
    folder = make_competition(num_subjects=16)
    table = pd.read_csv(folder / "train.csv", dtype=str)
    rng = np.random.default_rng(1)
    if task == "regression":
        table["label"] = [f"{value:.3f}" for value in rng.normal(50, 10, len(table))]
        sample = "\n".join(["id,label", *(f"t{i},0.0" for i in range(8))])
    else:
        table["label"] = np.where(table["label"] == "원", "빨강 둥근", "빨강")
        table.loc[::5, "label"] = "둥근"
        sample = "\n".join(["id,label", *(f"t{i},빨강 둥근" for i in range(8))])
    table.to_csv(folder / "train.csv", index=False)
    (folder / "sample_submission.csv").write_text(sample + "\n", "utf-8")
    for preset, overrides in (("quick", OVERRIDES), ("standard", TRAINED)):
        result = run(folder, preset=preset, overrides=overrides)
        assert result.submission is not None
        assert len(rows_of(result.submission)) == 8
        assert result.report.exists()


def test_what_cannot_be_run_says_so(make_competition: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        run(tmp_path / "nowhere")
    folder = make_competition()
    with pytest.raises(UserError, match="not both"):
        run(folder, preset="quick", recipe=folder / "a.toml")
    with pytest.raises(ConfigError, match="stored_short_side = 16 is smaller"):
        run(folder, overrides=(*OVERRIDES, "pixels.stored_short_side=16"))
    with pytest.raises(ConfigError, match="'cuda:9' names no devices of this machine"):
        run(folder, overrides=(*OVERRIDES, "train.devices=cuda:9"))
    for path in (folder / "train").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="No training picture can be read"):
        run(folder, overrides=OVERRIDES)


def test_training_refuses_a_picture_with_other_bytes_behind_the_same_time(
    make_competition: Make,
) -> None:
    folder = make_competition()
    recipe = resolve_recipe(preset="quick", overrides=OVERRIDES)
    init(folder)
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    path = folder / "train" / "003_0.png"
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(
        DataError, match=r"(?s)1 pictures changed after.*train/003_0\.png: has other"
    ):
        train(folder, recipe=recipe)


def test_a_lost_prediction_of_a_finished_fold_is_made_again(make_competition: Make) -> None:
    folder = make_competition()
    first = run(folder, preset="quick", overrides=OVERRIDES)
    target = Workspace(folder).run(first.run_id)
    kept = target.oof.read_bytes()
    target.members()[1].predictions("valid", "head", "identity").unlink()
    again = run(folder, preset="quick", overrides=OVERRIDES)
    assert again.run_id == first.run_id
    assert target.oof.read_bytes() == kept


def test_a_budget_leaves_a_given_validation_set_alone(make_competition: Make) -> None:
    folder = make_competition()
    rows = (folder / "train.csv").read_text("utf-8").splitlines()
    (folder / "valid").mkdir()
    held_out = [row for row in rows[1:] if row.split(",")[2] in ("s0", "s1", "s2", "s3")]
    for row in held_out:
        name = row.split(",")[0]
        (folder / "train" / f"{name}.png").rename(folder / "valid" / f"{name}.png")
    kept = [row for row in rows[1:] if row not in held_out]
    (folder / "train.csv").write_text("\n".join([rows[0], *kept]) + "\n", "utf-8")
    (folder / "valid.csv").write_text("\n".join([rows[0], *held_out]) + "\n", "utf-8")
    budgeted = (*TRAINED, "train.epochs=900")
    result = run(folder, preset="standard", overrides=budgeted, budget_s=25.0, refit=True)
    members = Workspace(folder).run(result.run_id).members()
    assert [member.name for member in members] == ["fold-0", "refit"]
    assert [member.read_record()["num_train"] for member in members] == [32, 32]
