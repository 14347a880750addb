"""Metadata beside the picture, from the table to predictions of new pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.config import resolve_recipe
from gorae.errors import ConfigError, DataError, UserError
from gorae.events import Event
from gorae.pipeline.context import open_context
from gorae.pipeline.init import init
from gorae.pipeline.metadata import metadata_code, read_metadata
from gorae.pipeline.predict import load_run, predict
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.run import run
from gorae.pipeline.split import split
from gorae.pipeline.train import train
from gorae.workspace import read_predictions

BASE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.epochs=3",
    "train.batch_size=16",
    "train.precision=fp32",
    "train.channels_last=true",
    "train.compile=false",
    "predict.compile=false",
    "train.threads=1",
    "train.workers=0",
    "augment.policy=none",
    "predict.batch_size=5",
)
SITES = ("head", "torso", "foot")


def write_moles(folder: Path, *, num_train: int = 60, num_test: int = 12) -> Path:
    """Pictures of noise, which tell nothing; sex, age and site, which tell the label."""
    rng = np.random.default_rng(0)
    for part, number in (("train", num_train), ("test", num_test)):
        (folder / part).mkdir(parents=True)
        header = "image,patient,sex,age,site"
        lines = [header if part == "test" else f"{header},label"]
        for place in range(number):
            pixels = rng.integers(0, 256, (36, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / f"{part}{place}.png")
            label = place % 2
            age = "" if place == 3 else str(70 - 40 * label + int(rng.integers(0, 9)))
            site = "" if place % 7 == 6 else SITES[int(rng.integers(0, 3))]
            line = f"{part}{place},{part}p{place // 2},{('M', 'F')[label]},{age},{site}"
            lines.append(line if part == "test" else f"{line},{('ill', 'well')[label]}")
        (folder / f"{part}.csv").write_text("\n".join(lines) + "\n")
    sample = ["image,label", *(f"test{place},ill" for place in range(num_test))]
    (folder / "sample_submission.csv").write_text("\n".join(sample) + "\n")
    init(folder)
    return folder


@pytest.fixture(scope="module")
def moles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_moles(tmp_path_factory.mktemp("metadata") / "moles")


def recipe_of(*changes: str) -> Any:
    given = {change.split("=")[0] for change in changes}
    kept = [each for each in BASE if each.split("=")[0] not in given]
    return resolve_recipe(preset="standard", overrides=[*kept, *changes])


def run_moles(folder: Path, *changes: str) -> Any:
    given = {change.split("=")[0] for change in changes}
    kept = [each for each in BASE if each.split("=")[0] not in given]
    return run(folder, preset="standard", overrides=[*kept, *changes], looks=False)


def truth_of_test(folder: Path) -> dict[str, str]:
    table = pd.read_csv(folder / "test.csv")
    return dict(zip(table["image"], np.where(table["sex"] == "M", "ill", "well"), strict=True))


@pytest.mark.parametrize("style", ["isic2019", "isic2020"])
def test_pictures_of_noise_are_told_by_their_metadata(moles: Path, style: str) -> None:
    done = run_moles(moles, f"model.metadata={style}", "train.lr=0.01", "train.epochs=5")
    assert done.score > 0.9
    # The test set's own metadata went with its pictures.
    test = read_predictions(load_run(moles / ".gorae" / "runs" / done.run_id).run.test)
    answers = truth_of_test(moles)
    best = [test.columns[place] for place in test.values.argmax(axis=1)]
    right = [answers[name] == said for name, said in zip(test.ids, best, strict=True)]
    assert np.mean(right) > 0.9


def test_metadata_of_other_pictures_tell_nothing(moles: Path) -> None:
    # Rows in another order: what is learned must fall to chance, or order would not matter.
    context = open_context(moles)
    recipe = recipe_of("model.metadata=isic2020")
    preprocess(moles, recipe=recipe)
    from gorae.pipeline.context import read_scan

    scan = read_scan(context)
    known = read_metadata(context, recipe, scan)
    assert known is not None
    tables = context.tables
    order = np.random.default_rng(1).permutation(len(tables.train))
    shuffled = replace(
        context, tables=replace(tables, train=tables.train.iloc[order].reset_index(drop=True))
    )
    again = read_metadata(shuffled, recipe, scan)
    assert again is not None
    # By id it is the same, and by place it is not.
    pd.testing.assert_frame_equal(again.train.loc[known.train.index], known.train)
    assert not np.array_equal(again.train.to_numpy(), known.train.to_numpy(), equal_nan=True)


def test_a_loaded_run_predicts_the_test_pictures_as_the_run_did(
    moles: Path, tmp_path: Path
) -> None:
    views = 'predict.views=["identity", "hflip"]'
    done = run_moles(moles, "model.metadata=isic2020", views)
    loaded = load_run(moles / ".gorae" / "runs" / done.run_id)
    expected = read_predictions(loaded.run.test)
    heard: list[Event] = []
    found = loaded.predict(moles / "test", table=moles / "test.csv", on_event=heard.append)
    assert not [event for event in heard if event.kind == "warning"]
    place = [found.ids.index(f"{name}.png") for name in expected.ids]
    np.testing.assert_allclose(found.values[place], expected.values, atol=1e-5)
    # Another order of the lines changes nothing.
    table = pd.read_csv(moles / "test.csv", dtype=str, keep_default_na=False)
    turned = loaded.predict(moles / "test", table=table.iloc[::-1])
    np.testing.assert_array_equal(turned.values, found.values)
    # Lines that belong to other pictures do.
    table["image"] = [*table["image"][1:], table["image"][0]]
    wrong = loaded.predict(moles / "test", table=table)
    assert np.abs(wrong.values - found.values).max() > 1e-3


def test_new_pictures_without_metadata_are_predicted_with_a_warning(moles: Path) -> None:
    done = run_moles(moles, "model.metadata=isic2020")
    heard: list[Event] = []
    loaded = load_run(moles / ".gorae" / "runs" / done.run_id)
    found = loaded.predict(moles / "test", on_event=heard.append)
    assert np.isfinite(found.values).all()
    [warning] = [event.text for event in heard if event.kind == "warning"]
    assert "(sex, age, site)" in warning
    assert "--table" in warning
    in_memory = loaded.predict([np.zeros((40, 40, 3), np.uint8)], on_event=heard.append)
    assert in_memory.values.shape == (1, 2)
    with pytest.raises(DataError, match="The table lacks sex, age, which this run looks at"):
        loaded.predict(moles / "test", table=pd.DataFrame({"image": ["test0"], "site": [""]}))
    lines = pd.read_csv(moles / "test.csv", dtype=str, keep_default_na=False)
    with pytest.raises(DataError, match="names 1 pictures more than once, first test0"):
        loaded.predict(moles / "test", table=pd.concat([lines, lines[:1]]))
    with pytest.raises(DataError, match="No column of the table names the pictures"):
        loaded.predict(moles / "test", table=lines.assign(image="x", patient="y"))
    heard.clear()
    loaded.predict(moles / "test", table=lines[1:], on_event=heard.append)
    assert "1 of 12 pictures have no line in the table, first test0.png" in heard[0].text


def test_a_table_for_a_run_of_pictures_alone_is_refused(moles: Path) -> None:
    done = run_moles(moles, "train.epochs=1")
    with pytest.raises(UserError, match="looks at pictures alone"):
        predict(moles, run=done.run_id, images=moles / "test", table=moles / "test.csv")


def test_columns_and_what_is_made_of_pictures(moles: Path) -> None:
    context = open_context(moles)
    code = metadata_code(context, recipe_of("model.metadata=isic2020"))
    assert code is not None
    told = [(each.column, each.kind) for each in code.features]
    assert told == [
        ("sex", "yes_no"),
        ("age", "age"),
        *[("site", "level")] * 3,
        ("site", "missing"),
    ]
    named = recipe_of(
        "model.metadata=isic2019",
        'model.metadata_columns=["file_bytes", "images_of_group", "age"]',
    )
    preprocess(moles, recipe=named)
    from gorae.pipeline.context import read_scan

    known = read_metadata(context, named, read_scan(context))
    assert known is not None
    assert [each.column for each in known.code.features] == [
        "age",
        "images_of_group",
        "file_bytes",
    ]
    image = known.train.index[4]
    size = (moles / image).stat().st_size
    age = float(context.tables.train["meta.age"].iloc[4])
    assert known.train.loc[image].tolist() == pytest.approx(
        # Two pictures of a patient.
        [age, np.log(3), np.log(size)],
        rel=1e-6,
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ('["colour"]', "names colour, which the train and test tables do not both have"),
        ('["patient"]', "patient: it holds ids, texts or one value only"),
    ],
)
def test_a_column_that_cannot_be_used_is_refused(
    moles: Path, columns: str, message: str
) -> None:
    recipe = recipe_of("model.metadata=isic2020", f"model.metadata_columns={columns}")
    with pytest.raises(ConfigError, match=message):
        metadata_code(open_context(moles), recipe)


def test_metadata_with_a_frozen_backbone_leaves_it_as_it_was(moles: Path) -> None:
    from gorae.training.checkpoint import read_tensors

    recipe = recipe_of("model.metadata=isic2019", "train.freeze=backbone")
    preprocess(moles, recipe=recipe)
    split(moles, recipe=recipe)
    members = train(moles, recipe=recipe).run.members()
    first, second = (
        read_tensors(each.checkpoints, each.read_record()["used_checkpoints"][0])[0]
        for each in members
    )
    # Of one seed, so of the same backbone; each head and scale is that of its fold.
    of_backbone = [name for name in first if name.startswith("backbone")]
    assert of_backbone
    assert all(bool((first[name] == second[name]).all()) for name in of_backbone)
    assert not bool((first["head.input.mean"] == second["head.input.mean"]).all())


def test_a_run_with_metadata_starts_from_one_without(moles: Path) -> None:
    from gorae.training.checkpoint import read_tensors

    recipe = recipe_of()
    preprocess(moles, recipe=recipe)
    split(moles, recipe=recipe)
    cnn = train(moles, recipe=recipe).run
    second = recipe_of(
        "model.metadata=isic2019", "train.freeze=backbone", f"train.start={cnn.run_id}"
    )
    joined = train(moles, recipe=second).run
    for before, after in zip(cnn.members(), joined.members(), strict=True):
        old, new = (
            read_tensors(each.checkpoints, each.read_record()["used_checkpoints"][0])[0]
            for each in (before, after)
        )
        names = [name for name in new if name.startswith("backbone")]
        assert all(bool((old[name] == new[name]).all()) for name in names)
        assert "head.joint.0.weight" in new


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("augment.mixup=1", "a blend of two pictures has no metadata"),
        ("augment.half_cutmix=1", "a blend of two pictures has no metadata"),
        ("model.head=vanilla", "a linear head of its own"),
        ("loss.kind=coral", "a linear head of its own"),
        ("model.name=net.py:Net", "a class of your own"),
        ("model.use=frozen", 'belongs to model.use = "finetune"'),
        ("model.drop_rate=0.5", "has dropouts of its own"),
    ],
)
def test_what_metadata_does_not_go_with_is_refused(setting: str, reason: str) -> None:
    changes = [change for change in BASE if not setting.startswith("model.use=")]
    with pytest.raises(ConfigError, match=reason):
        resolve_recipe(
            preset="quick" if setting == "model.use=frozen" else "standard",
            overrides=[
                *(each for each in changes if each.split("=")[0] != setting.split("=")[0]),
                "model.metadata=isic2020",
                setting,
            ],
        )
