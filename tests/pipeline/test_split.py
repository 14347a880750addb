"""The split contract, from pictures and tables to the folds that training obeys."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.config import resolve_recipe
from gorae.errors import ConfigError, DataError, StorageError
from gorae.pipeline.contract import Split
from gorae.pipeline.init import init
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.split import split
from gorae.pipeline.train import train
from gorae.workspace import Workspace, read_predictions

Make = Callable[..., Path]
Run = Callable[..., Any]
Clouds = Callable[[int], Image.Image]

RECIPE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "head.strengths=[1.0]",
    "train.precision=fp32",
    "train.threads=1",
)


def split_of(folder: Path, *overrides: str) -> Split:
    """The folds of a folder, made without training."""
    recipe = resolve_recipe(preset="quick", overrides=(*RECIPE, *overrides))
    if not (folder / "competition.toml").exists():
        init(folder)
    preprocess(folder, recipe=recipe)
    return split(folder, recipe=recipe)


def fold_of(made: Split, repeat: int = 0) -> "pd.Series[Any]":
    table = made.folds[made.folds["repeat"] == repeat]
    return table.set_index("image_id")["fold"]


def edit_train(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table = pd.read_csv(folder / "train.csv", dtype=str)
    change(table).to_csv(folder / "train.csv", index=False)


# Groups


def test_subjects_and_equal_pictures_never_cross_folds(make_competition: Make) -> None:
    folder = make_competition()
    train = folder / "train"
    # Equal bytes of subjects 0 and 2; equal pixels, as PNG and as BMP, of 4 and 6.
    shutil.copy(train / "000_0.png", train / "002_0.png")
    Image.open(train / "004_0.png").save(train / "006_0.bmp")
    (train / "006_0.png").unlink()
    for seed in range(6):
        made = split_of(folder, f"split.seed={seed}")
        fold = fold_of(made)
        subject = fold.index.str.extract(r"(\d{3})_", expand=False)
        assert (fold.groupby(subject).nunique() == 1).all()
        assert len(set(fold[subject.isin(["000", "002"])])) == 1
        assert len(set(fold[subject.isin(["004", "006"])])) == 1
    assert made.record["num_groups"] == 18
    assert made.record["group_columns"] == ["subject"]


def test_images_of_one_row_never_cross_folds_and_are_one_answer(
    make_competition: Make, run_quick: Run
) -> None:
    folder = make_competition()
    edit_train(
        folder,
        lambda table: pd.DataFrame(
            {"file": table["id"], "label": table["label"], "id": table["subject"]}
        ),
    )
    test = pd.DataFrame(
        {"file": [f"t{i}" for i in range(8)], "id": [f"물체{i // 2}" for i in range(8)]}
    )
    test.to_csv(folder / "test.csv", index=False)
    sample = "id,label\n" + "".join(f"물체{i},원\n" for i in (3, 1, 0, 2))
    (folder / "sample_submission.csv").write_text(sample, "utf-8")
    for how in ("mean", "max"):
        result = run_quick(folder)
        answers = pd.read_csv(result.submission, dtype=str)
        assert list(answers["id"]) == ["물체3", "물체1", "물체0", "물체2"]
        target = Workspace(folder).run(result.run_id)
        oof, member = read_predictions(target.oof), target.members()[0]
        assert sorted(oof.ids) == sorted(f"s{i}" for i in range(20))
        images = read_predictions(member.predictions("valid", "head", "identity"))
        subject = pd.Series(images.ids).str.extract(r"(\d{3})_", expand=False).astype(int)
        assert (subject.value_counts() == 2).all(), "both pictures of a row, or none"
        shots = images.values[(subject == subject[0]).to_numpy()].astype(np.float64)
        joined = shots.mean(axis=0) if how == "mean" else shots.max(axis=0)
        row = oof.select([f"s{subject[0]}"]).values[0]
        np.testing.assert_allclose(row, joined / joined.sum(), atol=1e-6)
        settings = (folder / "competition.toml").read_text("utf-8")
        (folder / "competition.toml").write_text('aggregate = "max"\n' + settings, "utf-8")


def test_group_off_lets_subjects_cross_but_never_the_images_of_a_row(
    make_competition: Make,
) -> None:
    folder = make_competition()
    fold = fold_of(split_of(folder, "split.group=false"))
    subject = fold.index.str.extract(r"(\d{3})_", expand=False)
    assert (fold.groupby(subject).nunique() == 2).any()


# Given folds


def with_folds(folder: Path, fold: Callable[[int], int]) -> None:
    edit_train(
        folder,
        lambda table: table.assign(
            fold=[str(fold(int(name[1:]))) for name in table["subject"]]
        ),
    )


def test_given_folds_are_honoured(make_competition: Make) -> None:
    folder = make_competition()
    with_folds(folder, lambda subject: subject % 3)
    made = split_of(folder)
    assert made.record["kind"] == "given folds"
    assert made.record["num_folds"] == 3
    assert "split.num_folds have no effect: the competition has given folds" in " ".join(
        made.record["warnings"]
    )
    fold = fold_of(made)
    assert (fold == fold.index.str.extract(r"(\d{3})_", expand=False).astype(int) % 3).all()


def test_given_folds_that_cut_a_subject_are_refused_by_its_name(
    make_competition: Make,
) -> None:
    folder = make_competition()
    with_folds(folder, lambda subject: subject % 3)

    def cut(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[(table["subject"] == "s7") & table["id"].str.endswith("_1"), "fold"] = "0"
        return table

    edit_train(folder, cut)
    with pytest.raises(
        DataError, match=r"(?s)1 of 20 groups.*subject s7 is in folds 0, 1"
    ) as told:
        split_of(folder)
    assert "Correct the fold column" in str(told.value)


def test_a_copy_across_given_folds_trains_in_neither(make_competition: Make) -> None:
    folder = make_competition()
    with_folds(folder, lambda subject: subject % 2)
    shutil.copy(folder / "train" / "000_0.png", folder / "train" / "001_0.png")
    made = split_of(folder)
    ids = made.folds["image_id"].tolist()
    for fold in range(2):
        train, valid = made.parts(0, fold, ids)
        trained = {name for name, used in zip(ids, train, strict=True) if used}
        assert not trained & {f"train/{s}_{shot}.png" for s in ("000", "001") for shot in "01"}
        assert valid.sum() == 20
    assert "4 pictures share a group" in " ".join(made.record["warnings"])


# A given validation set and extra tables


def with_holdout(folder: Path, subjects: range) -> None:
    """Move subjects of the train table into a validation table of its own."""
    table = pd.read_csv(folder / "train.csv", dtype=str)
    held_out = table["subject"].isin([f"s{subject}" for subject in subjects])
    (folder / "valid").mkdir()
    for name in table["id"][held_out]:
        (folder / "train" / f"{name}.png").rename(folder / "valid" / f"{name}.png")
    table[held_out].to_csv(folder / "valid.csv", index=False)
    table[~held_out].to_csv(folder / "train.csv", index=False)


def test_a_given_validation_table_is_the_hold_out(
    make_competition: Make, run_quick: Run
) -> None:
    folder = make_competition()
    with_holdout(folder, range(14, 20))
    # One copy of a hold-out picture in train, under another subject.
    shutil.copy(folder / "valid" / "015_0.png", folder / "train" / "003_1.png")
    result = run_quick(folder)
    text = " ".join(result.warnings)
    # Subject 3 goes as a whole: its other picture may show the same scene.
    assert "2 pictures share a group (equal pictures, or one subject)" in text
    target = Workspace(folder).run(result.run_id)
    (member,) = target.members()
    record = member.read_record()
    assert record["num_valid"] == 12
    assert record["num_train"] == 28 - 2
    assert set(read_predictions(target.oof).ids) == {
        f"valid/{subject:03d}_{shot}.png" for subject in range(14, 20) for shot in range(2)
    }


def test_subjects_on_both_sides_of_a_given_validation_set_are_refused(
    make_competition: Make,
) -> None:
    folder = make_competition()
    with_holdout(folder, range(14, 20))
    table = pd.read_csv(folder / "valid.csv", dtype=str)
    table.loc[0, "subject"] = "s2"
    table.to_csv(folder / "valid.csv", index=False)
    with pytest.raises(DataError, match=r"1 groups of meta\.subject are in train and.*s2"):
        split_of(folder)


def test_a_split_kind_that_passes_over_the_validation_set_is_refused(
    make_competition: Make,
) -> None:
    folder = make_competition()
    with_holdout(folder, range(14, 20))
    with pytest.raises(ConfigError, match='"kfold" would pass over the validation set'):
        split_of(folder, "split.kind=kfold")


def test_extra_pictures_train_and_never_validate(make_competition: Make) -> None:
    folder = make_competition()
    (folder / "extra").mkdir()
    rows = ["id,label,subject"]
    # x0: of subject 4; x1: the very picture 006_0; x2: a stranger.
    rng = np.random.default_rng(5)
    for number, subject in enumerate(("s4", "다른 사람", "또 다른 사람")):
        pixels = rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "extra" / f"x{number}.png")
        rows.append(f"x{number},원,{subject}")
    shutil.copy(folder / "train" / "006_0.png", folder / "extra" / "x1.png")
    (folder / "extra.csv").write_text("\n".join(rows) + "\n", "utf-8")
    made = split_of(folder)
    fold = fold_of(made)
    assert (fold[fold.index.str.startswith("extra/")] == -1).all()
    ids = made.folds["image_id"].tolist()
    for number in range(2):
        train, valid = made.parts(0, number, ids)
        trained = {name for name, used in zip(ids, train, strict=True) if used}
        assert not any(name.startswith("extra/") for name in np.array(ids)[valid])
        assert "extra/x2.png" in trained
        assert ("extra/x0.png" in trained) == (fold["train/004_0.png"] != number)
        assert ("extra/x1.png" in trained) == (fold["train/006_0.png"] != number)
    assert "2 pictures share a group" in " ".join(made.record["warnings"])


def test_a_validation_set_that_cannot_be_read_is_not_passed_over(
    make_competition: Make,
) -> None:
    folder = make_competition()
    with_holdout(folder, range(14, 20))
    for path in (folder / "valid").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="None of the pictures of the given validation set"):
        split_of(folder)


# Kinds


def test_hold_out_part_of_whole_groups(make_competition: Make, run_quick: Run) -> None:
    folder = make_competition()
    arguments = ("split.kind=holdout", "split.holdout_share=0.3")
    recipe = [change for change in RECIPE if not change.startswith("split.")]
    made = split(folder, recipe=prepared_recipe(folder, *recipe, *arguments))
    fold = fold_of(made)
    assert set(fold) == {-1, 0}
    assert (fold == 0).sum() == 12
    subject = fold.index.str.extract(r"(\d{3})_", expand=False)
    assert (fold.groupby(subject).nunique() == 1).all()


def prepared_recipe(folder: Path, *overrides: str) -> Any:
    recipe = resolve_recipe(preset="quick", overrides=overrides)
    init(folder)
    preprocess(folder, recipe=recipe)
    return recipe


def test_repeats_are_other_folds_of_the_same_groups(make_competition: Make) -> None:
    made = split_of(make_competition(), "split.repeats=3")
    folds = [fold_of(made, repeat) for repeat in range(3)]
    assert made.members() == [(r, f) for r in range(3) for f in range(2)]
    assert len({tuple(fold.sort_index()) for fold in folds}) == 3


def test_stratified_columns_are_even_in_every_fold(make_competition: Make) -> None:
    folder = make_competition()
    edit_train(
        folder,
        lambda t: t.assign(
            기관=[("서울", "부산")[int(name[1:]) // 2 % 2] for name in t["subject"]]
        ),
    )
    made = split_of(folder, 'split.stratify_columns=["기관"]')
    rows = [row for row in made.record["balance"] if row["column"] == "기관"]
    assert {row["value"] for row in rows} == {"서울", "부산"}
    assert all(row["deviation"] == pytest.approx(0, abs=1e-9) for row in rows)
    with pytest.raises(ConfigError, match="names '기과', which is not in the train table"):
        split_of(folder, 'split.stratify_columns=["기과"]')


def test_without_stratification_there_are_folds_too(make_competition: Make) -> None:
    made = split_of(make_competition(), "split.stratify=false")
    assert fold_of(made).value_counts().tolist() == [20, 20]


def test_the_order_of_the_train_table_changes_nothing(
    make_competition: Make, run_quick: Run, tmp_path: Path
) -> None:
    folder = make_competition()
    shuffled = tmp_path / "섞음" / folder.name
    shutil.copytree(folder, shuffled)
    edit_train(shuffled, lambda table: table.sample(frac=1, random_state=3))
    made, again = split_of(folder), split_of(shuffled)
    assert made.key == again.key
    pd.testing.assert_series_equal(fold_of(made).sort_index(), fold_of(again).sort_index())


# A contract that changed


def test_tampered_folds_are_refused(make_competition: Make) -> None:
    folder = make_competition()
    made = split_of(folder)
    path = folder / ".gorae" / "splits" / made.key / "folds.parquet"
    frame = pd.read_parquet(path)
    frame.loc[frame["image_id"] == "train/000_1.png", "fold"] ^= 1
    frame.to_parquet(path)
    with pytest.raises(StorageError, match="was changed after the split was made"):
        split_of(folder)


@pytest.mark.parametrize("change", ["label", "picture", "group column"])
def test_training_refuses_what_was_not_split_and_run_makes_a_new_run(
    make_competition: Make, run_quick: Run, change: str
) -> None:
    folder = make_competition()
    first = run_quick(folder, 'split.stratify_columns=["subject"]')
    recipe = resolve_recipe(
        preset="quick",
        overrides=(*RECIPE, 'split.stratify_columns=["subject"]'),
    )
    assert train(folder, recipe=recipe).run_id == first.run_id
    if change == "label":
        edit_train(folder, lambda t: t.assign(label=t["label"].where(t["id"] != "003_0", "원")))
    elif change == "picture":
        Image.new("RGB", (48, 40), "white").save(folder / "train" / "003_0.png")
    else:
        settings = folder / "competition.toml"
        text = settings.read_text("utf-8")
        assert '    "subject",\n' in text
        settings.write_text(text.replace('    "subject",\n', ""), "utf-8")
    with pytest.raises(ConfigError, match="There is no split for these pictures, labels"):
        train(folder, recipe=recipe)
    second = run_quick(folder, 'split.stratify_columns=["subject"]')
    assert second.run_id != first.run_id
    assert second.run_id.startswith("0002-")


# Look-alikes


def copy_of(source: Path, target: Path) -> None:
    """The picture, smaller and lighter."""
    with Image.open(source) as image:
        small = image.resize((36, 30), Image.Resampling.LANCZOS)
        small.point(lambda value: min(255, round(1.15 * value))).save(target)


def test_nearly_equal_pictures_share_a_fold(make_competition: Make, clouds: Clouds) -> None:
    folder = make_competition()
    for number in range(8):
        clouds(number).save(folder / "train" / f"{number:03d}_0.png")
        copy_of(folder / "train" / f"{number:03d}_0.png", folder / "train" / f"c{number}.png")

    def add(table: pd.DataFrame) -> pd.DataFrame:
        labels = table.set_index("id")["label"]
        rows = [
            {"id": f"c{n}", "label": labels[f"{n:03d}_0"], "subject": f"copy{n}"}
            for n in range(8)
        ]
        return pd.concat([table, pd.DataFrame(rows)])

    edit_train(folder, add)
    made = split_of(folder)
    assert made.record["num_look_alikes"] >= 16
    joined = fold_of(made)
    pairs = [(f"train/{n:03d}_0.png", f"train/c{n}.png") for n in range(8)]
    assert all(joined[first] == joined[second] for first, second in pairs)
    # Nothing that was changed is alike to the last digit.
    assert split_of(folder, "split.similarity=1.0").record["num_look_alikes"] == 0
    apart = fold_of(split_of(folder, "split.near_duplicates=false"))
    assert not all(apart[first] == apart[second] for first, second in pairs)


def test_a_chain_of_look_alikes_stops_and_says_what_to_do(make_competition: Make) -> None:
    folder = make_competition()
    rng = np.random.default_rng(5)
    base = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
    for number, path in enumerate(sorted((folder / "train").glob("*.png"))[:26]):
        image = Image.fromarray(base).resize((48, 40), Image.Resampling.BICUBIC)
        # Frames of one video: a little more light in each.
        image.point(lambda value, n=number: min(255, round((0.7 + 0.01 * n) * value))).save(
            path
        )
    with pytest.raises(DataError, match=r"look alike in one chain") as caught:
        split_of(folder)
    assert "group_columns" in str(caught.value)
    assert "split.near_duplicates = false" in str(caught.value)
    made = split_of(folder, "split.near_duplicates=false")
    assert made.record["num_look_alikes"] == 0
