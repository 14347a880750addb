"""Runs on tables: from a folder to a submission, stacked and blended, and without a leak."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.config import resolve_recipe
from gorae.config.tabular import TabularSettings
from gorae.errors import ConfigError, DataError, UserError
from gorae.files import sha256_file
from gorae.pipeline.blend import Blend, blend
from gorae.pipeline.context import open_context, read_scan
from gorae.pipeline.contract import read_split
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.predict import load_run
from gorae.pipeline.run import RunResult, run
from gorae.pipeline.split import split
from gorae.pipeline.tabular_data import TabularData, fold_features, read_data, score_runs
from gorae.pipeline.train import train
from gorae.workspace import RunFolder, Workspace, read_predictions

TABLES = (
    "model.use=tabular",
    "model.name=lightgbm",
    "split.num_folds=3",
    "split.near_duplicates=false",
    "tabular.rounds=40",
    "tabular.learning_rate=0.1",
)
# What a network of random weights says, solved on the same folds.
PICTURES = (
    "model.name=lenet5",
    "model.weights=none",
    "model.use=frozen",
    "pixels.input_size=32",
    "split.num_folds=3",
    "split.near_duplicates=false",
    "head.strengths=[1.0]",
    "train.precision=fp32",
    "train.threads=1",
)
COLUMNS = ["id", "label", "subject", "age", "site", "sex", "diagnosis"]


def write_tables(folder: Path, clouds: Callable[[int], Image.Image]) -> Path:
    """Clouds of 30 patients; nearly all labels follow age, and sites have names."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    lines: list[list[Any]] = []
    test: list[list[Any]] = []
    for number in range(80):
        is_test = number >= 64
        name = f"{'t' if is_test else 'p'}{number:02d}"
        clouds(number).save(folder / ("test" if is_test else "train") / f"{name}.png")
        age = int(rng.integers(20, 80))
        is_ill = (age >= 50) != (rng.random() < 0.03)
        cells = [
            f"s{number // 2}",
            age,
            rng.choice(["arm", "leg", "head"]),
            rng.choice(["M", "F"]),
        ]
        label = "ill" if is_ill else "well"
        (test if is_test else lines).append([name, label, *cells, f"{label}!"])
    pd.DataFrame(lines, columns=COLUMNS).to_csv(folder / "train.csv", index=False)
    table = pd.DataFrame(test, columns=COLUMNS)
    table.drop(columns=["label", "diagnosis"]).to_csv(folder / "test.csv", index=False)
    sample = table[["id"]].assign(label="well")
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult, str]:
    """A folder with a run on tables (0001) and one on pictures (0002)."""

    def clouds(seed: int) -> Image.Image:
        noise = np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((48, 40), Image.Resampling.BICUBIC)

    folder = write_tables(tmp_path_factory.mktemp("tables") / "c", clouds)
    first = run(folder, overrides=[*TABLES, "name=meta"], looks=False)
    pictures = run(folder, overrides=[*PICTURES, "name=image"], looks=False)
    return folder, first, pictures.run_id


@pytest.fixture
def folder(made: tuple[Path, RunResult, str], tmp_path: Path) -> Path:
    """A copy of it, to do as one likes with."""
    target = tmp_path / "copy"
    shutil.copytree(made[0], target)
    return target


def fitted(folder: Path, *changes: str) -> RunFolder:
    keys = {change.split("=")[0] for change in changes}
    kept = [setting for setting in TABLES if setting.split("=")[0] not in keys]
    recipe = resolve_recipe(overrides=[*kept, *changes])
    split(folder, recipe=recipe)
    return train(folder, recipe=recipe).run


def left_behind(run: RunFolder) -> dict[str, str]:
    files = [*run.path.glob("*/checkpoints/*"), *run.path.glob("*/predictions/*")]
    files += run.path.glob("*/importance.csv")
    return {str(path.relative_to(run.path)): sha256_file(path) for path in files}


def gathered(folder: Path, *changes: str) -> TabularData:
    recipe = resolve_recipe(overrides=[*TABLES, *changes])
    context = open_context(folder)
    scan = read_scan(context)
    contract = read_split(context, scan, recipe.split)
    sources = score_runs(context, recipe, contract)
    columns = ["meta.age", "meta.site", "meta.sex"]
    return read_data(context, recipe, scan, contract, columns, sources)


def test_from_folder_to_submission(made: tuple[Path, RunResult, str]) -> None:
    folder, result, _ = made
    assert result.run_id == "0001-meta-lightgbm"
    assert result.score > 0.8
    assert result.submission is not None
    sent = pd.read_csv(result.submission)
    test = pd.read_csv(folder / "test.csv")
    assert sent["id"].tolist() == test["id"].tolist()
    says = dict(zip(sent["id"], sent["label"] == "ill", strict=True))
    assert (
        np.mean([says[i] == (a >= 50) for i, a in zip(test["id"], test["age"], strict=True)])
        > 0.8
    )
    assert "trees on tables" in result.report.read_text("utf-8")
    found = Workspace(folder).run("0001")
    importance = pd.read_csv(found.member("fold-0").path / "importance.csv")
    assert importance["feature"][0] == "age"
    # The label in other words, which the test table does not have.
    assert "diagnosis" not in set(importance["feature"])
    assert any("the test table lacks diagnosis" in text for text in result.warnings)


def test_neither_weights_nor_features_are_needed(made: tuple[Path, RunResult, str]) -> None:
    settings = Workspace(made[0]).run("0001").read_settings()
    assert "weights" not in settings["keys"]
    assert "arithmetic" not in settings["choices"]


def test_the_same_settings_leave_the_same_bytes(folder: Path) -> None:
    changes = ('tabular.scores=["0001", "0002"]', 'tabular.groups=["subject"]', "refit=true")
    first = fitted(folder, *changes)
    before = left_behind(first)
    assert any(name.startswith("refit") for name in before)
    assert fitted(folder, *changes).run_id == first.run_id
    shutil.rmtree(first.path)
    again = fitted(folder, *changes)
    assert left_behind(again) == before


def test_what_validates_changes_no_model_of_its_fold(folder: Path) -> None:
    before = Workspace(folder).run("0001")
    recipe = resolve_recipe(overrides=TABLES)
    context = open_context(folder)
    contract = read_split(context, read_scan(context), recipe.split)
    held = contract.folds[contract.folds["fold"] == 0]["image_id"]
    names = {Path(image).stem for image in held}
    table = pd.read_csv(folder / "train.csv", dtype=str)
    is_held = table["id"].isin(names)
    table.loc[is_held, "age"] = "-999"
    table.loc[is_held, "site"] = "somewhere new"
    table.loc[is_held, "sex"] = "2020-01-01"
    table.to_csv(folder / "train.csv", index=False)
    after = fitted(folder)
    assert after.run_id != before.run_id
    assert after.read_settings()["keys"]["split"] == contract.key
    for name in ("checkpoints/trees-0.txt", "predictions/test-trees-identity.parquet"):
        same = [sha256_file(each.member("fold-0").path / name) for each in (before, after)]
        other = [sha256_file(each.member("fold-1").path / name) for each in (before, after)]
        assert same[0] == same[1]
        assert other[0] != other[1]


def test_features_see_no_label_and_nothing_of_the_other_parts(folder: Path) -> None:
    changes = ('tabular.scores=["0002"]', 'tabular.groups=["site+sex"]')
    data = gathered(folder, *changes)
    num_train = len(data.train)
    valid = np.arange(num_train) % 3 == 0
    plain = fold_features(data, ~valid, valid)
    assert any("0002 well z in site+sex" in name for name in plain[0].names)
    upside_down = fold_features(replace(data, truth=1 - data.truth), ~valid, valid)
    # Other scores and cells of what validates.
    scores = data.train_scores.values.copy()
    scores[valid] = np.random.default_rng(0).random(scores[valid].shape)
    cells = data.train_cells.copy()
    cells.loc[valid, "meta.age"] = "unheard of"
    moved = replace(
        data, train_scores=replace(data.train_scores, values=scores), train_cells=cells
    )
    disturbed = fold_features(moved, ~valid, valid)
    for part, name in enumerate(("train", "valid", "test")):
        np.testing.assert_array_equal(plain[part].values, upside_down[part].values)
        is_same = np.array_equal(plain[part].values, disturbed[part].values, equal_nan=True)
        assert is_same == (name != "valid")


def test_scores_are_those_of_the_runs_named(folder: Path) -> None:
    data = gathered(folder, 'tabular.scores=["0002"]')
    source = Workspace(folder).run("0002")
    for table, said, path in (
        (data.train, data.train_scores, source.oof),
        (data.test, data.test_scores, source.test),
    ):
        wanted = read_predictions(path).select(table["row_id"].tolist()).values
        assert said.names == ("0002 well",)
        np.testing.assert_array_equal(said.values[:, 0], wanted[:, 1].astype(np.float64))


def test_sizes_are_given_of_groups_that_no_fold_cuts(folder: Path) -> None:
    data = gathered(folder, 'tabular.groups=["subject", "site"]')
    assert [(group.name, group.is_whole) for group in data.groups] == [
        ("subject", True),
        ("site", False),
    ]
    everything = np.ones(len(data.train), bool)
    names = fold_features(data, everything, ~everything)[2].names
    assert "size of subject" in names
    assert "size of site" not in names


@pytest.mark.parametrize(
    ("plan", "join"),
    [
        (Blend(weights=(8.0, 2.0)), lambda a, b: 0.8 * a + 0.2 * b),
        (Blend(weights=(0.7, 0.3)), lambda a, b: 0.7 * a + 0.3 * b),
    ],
)
def test_pictures_and_tables_blend(folder: Path, plan: Blend, join: Any) -> None:
    joined = blend(folder, runs=["0002", "0001"], plan=plan).run
    image, tables = (Workspace(folder).run(name) for name in ("0002", "0001"))
    for name in ("oof", "test"):
        parts = [read_predictions(getattr(each, name)) for each in (image, tables, joined)]
        values = [part.select(parts[0].ids).values for part in parts]
        np.testing.assert_allclose(values[2], join(values[0], values[1]), atol=1e-6)


def test_a_stacked_run_is_as_good_as_its_best_column(folder: Path) -> None:
    stacked = fitted(folder, 'tabular.scores=["0001", "0002"]', "tabular.columns=[]")
    assert ensemble(folder, run=stacked.run_id).result["score"] > 0.8


# Each setting, what it is set to, and what must be set for it to have an effect.
CHANGES: dict[str, tuple[str, ...]] = {
    "columns": ('tabular.columns=["age"]',),
    "scores": ('tabular.scores=["0002"]',),
    "top_ranks": ("tabular.top_ranks=2", 'tabular.scores=["0002"]'),
    "groups": ('tabular.groups=["subject"]', 'tabular.scores=["0002"]'),
    "rounds": ("tabular.rounds=3",),
    "patience": ("tabular.patience=1", "tabular.learning_rate=0.5"),
    "learning_rate": ("tabular.learning_rate=0.03",),
    "leaves": ("tabular.leaves=2",),
    "min_leaf_rows": ("tabular.min_leaf_rows=12",),
    "row_share": ("tabular.row_share=0.5",),
    "column_share": ("tabular.column_share=0.5",),
}


def test_every_setting_is_looked_at() -> None:
    assert set(CHANGES) == set(TabularSettings.model_fields)


@pytest.mark.parametrize("setting", CHANGES)
def test_a_setting_changes_what_is_learned(setting: str, folder: Path) -> None:
    first, *needed = CHANGES[setting]
    changed = left_behind(fitted(folder, first, *needed))
    assert changed != left_behind(fitted(folder, *needed))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        (
            ["tabular.scores=['0002']", "split.seed=5"],
            UserError,
            "other folds than this recipe",
        ),
        (["tabular.scores=['0002', '0002']"], UserError, "named twice"),
        (
            ["tabular.columns=['diagnosis']"],
            ConfigError,
            "names diagnosis, .* do not both have",
        ),
        (["tabular.groups=['site+room']"], ConfigError, "tabular.groups names room"),
        (["tabular.columns=[]"], ConfigError, "nothing to look at"),
        (["tabular.columns=['subject']"], DataError, "No column of the train part tells"),
        (["tabular.scores=['0002']", "tabular.top_ranks=3"], ConfigError, "more than the 2"),
        (["model.name=forest"], ConfigError, '"forest" is no model of tables'),
    ],
)
def test_what_cannot_be_is_told(
    changes: list[str], error: type[UserError], match: str, folder: Path
) -> None:
    with pytest.raises(error, match=match):
        fitted(folder, *changes)


def test_one_held_out_part_leaves_nothing_to_stack_on(folder: Path) -> None:
    holdout = ["split.kind=holdout", "split.near_duplicates=false"]
    pictures = [each for each in PICTURES if not each.startswith("split")]
    said = run(folder, overrides=[*pictures, *holdout], looks=False)
    tables = [each for each in TABLES if not each.startswith("split")]
    recipe = resolve_recipe(overrides=[*tables, *holdout, f'tabular.scores=["{said.run_id}"]'])
    with pytest.raises(DataError, match="nothing to stack on"):
        train(folder, recipe=recipe)


def test_pictures_alone_have_no_tables_and_a_budget_nothing_to_cut(folder: Path) -> None:
    with pytest.raises(UserError, match="predicts from tables"):
        load_run(Workspace(folder).run("0001").path)
    with pytest.raises(ConfigError, match="no network whose work a budget could cut"):
        run(folder, overrides=TABLES, budget_s=60)


@pytest.mark.parametrize(
    "override",
    ["pixels.input_size=64", "model.weights=none", "train.epochs=3", "head.kind=mlp"],
)
def test_settings_of_networks_have_no_effect_on_tables(override: str) -> None:
    with pytest.raises(ConfigError, match="has no network and looks at no picture"):
        resolve_recipe(overrides=[*TABLES, override])


def test_settings_of_tables_have_no_effect_on_networks() -> None:
    with pytest.raises(ConfigError, match="trees on tables belong to"):
        resolve_recipe(preset="quick", overrides=["tabular.leaves=4"])


def test_whatever_preset_it_began_with_equal_work_is_one_run(folder: Path) -> None:
    recipe = resolve_recipe(preset="best", overrides=[*TABLES, "refit=false", "name=meta"])
    assert train(folder, recipe=recipe).run_id == "0001-meta-lightgbm"


def test_images_of_a_row_are_predicted_each_and_sent_as_one(folder: Path) -> None:
    for name in ("train", "test"):
        table = pd.read_csv(folder / f"{name}.csv", dtype=str)
        # The label and the line of the submission are those of the subject.
        if name == "train":
            table["label"] = table.groupby("subject")["label"].transform("first")
        table.to_csv(folder / f"{name}.csv", index=False)
    subjects = pd.read_csv(folder / "test.csv", dtype=str)["subject"].drop_duplicates()
    sample = pd.DataFrame({"subject": subjects, "label": "well"})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    text = (folder / "competition.toml").read_text("utf-8")
    text = text.replace('image_column = "id"', 'image_column = "id"\nrow_column = "subject"')
    text = text.replace('id_column = "id"', 'id_column = "subject"')
    (folder / "competition.toml").write_text(text, "utf-8")
    found = ensemble(folder, run=fitted(folder).run_id).run
    assert len(read_predictions(found.oof).ids) == 32
    assert read_predictions(found.test).ids == tuple(subjects)
    member = found.member("fold-0").predictions("test", "trees", "identity")
    assert len(read_predictions(member).ids) == 16


def test_a_test_row_without_a_readable_picture_is_predicted_from_its_metadata(
    folder: Path,
) -> None:
    (folder / "test" / "t70.png").write_bytes(b"no picture")
    result = run(folder, overrides=[*TABLES, "name=meta"], looks=False)
    told = Workspace(folder).run(result.run_id).read_result() or {}
    assert told["fallback_rows"] == []
