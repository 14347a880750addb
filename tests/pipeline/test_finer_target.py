"""Finer classes are learned, and the competition's are predicted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.config import Recipe, resolve_recipe
from gorae.errors import ConfigError, DataError
from gorae.pipeline.context import open_context
from gorae.pipeline.finer_target import finer_key, finer_target
from gorae.pipeline.init import init
from gorae.pipeline.predict import load_run
from gorae.pipeline.run import run
from gorae.workspace import read_predictions

SETTINGS = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.epochs=6",
    "train.lr=0.01",
    "train.batch_size=16",
    "train.precision=fp32",
    "train.channels_last=true",
    "train.compile=false",
    "predict.compile=false",
    "train.threads=1",
    "train.workers=0",
    "augment.policy=none",
)
# Each colour is a diagnosis; red and green ones are benign.
COLOURS = {
    "nevus": (200, 30, 30),
    "keratosis": (30, 200, 30),
    "lentigo": (30, 190, 60),
    "melanoma": (30, 30, 200),
}


@pytest.fixture(scope="module")
def moles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finer") / "moles"
    rng = np.random.default_rng(0)
    for part, number in (("train", 48), ("test", 8)):
        (folder / part).mkdir(parents=True)
        lines = ["image,diagnosis,target"] if part == "train" else ["image"]
        for place in range(number):
            name = list(COLOURS)[place % 4]
            noise = rng.integers(-25, 25, (36, 36, 3))
            pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / part / f"{part}{place}.png")
            target = int(name == "melanoma")
            lines.append(f"{part}{place}" + (f",{name},{target}" if part == "train" else ""))
        (folder / f"{part}.csv").write_text("\n".join(lines) + "\n")
    sample = ["image,target", *(f"test{place},0.5" for place in range(8))]
    (folder / "sample_submission.csv").write_text("\n".join(sample) + "\n")
    init(folder)
    return folder


def recipe_of(*changes: str) -> Recipe:
    return resolve_recipe(preset="standard", overrides=[*SETTINGS, *changes])


def test_finer_classes_stand_in_the_order_of_their_classes(moles: Path) -> None:
    recipe = recipe_of("target.column=diagnosis", 'target.merge={lentigo="keratosis"}')
    target = finer_target(open_context(moles), recipe)
    assert target is not None
    assert target.names == ("keratosis", "nevus", "melanoma")
    assert target.coarse == (0, 0, 1)
    table = pd.read_csv(moles / "train.csv")
    merged = table["diagnosis"].replace("lentigo", "keratosis")
    ids = pd.Series([f"train/{name}.png" for name in table["image"]])
    assert [target.names[place] for place in target.of(ids)] == merged.tolist()
    assert finer_target(open_context(moles), recipe_of()) is None
    assert finer_key(open_context(moles), recipe_of()) == {}


@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "focal"])
def test_predictions_are_of_the_competition(moles: Path, loss: str) -> None:
    changes = ("target.column=diagnosis", f"loss.kind={loss}", "loss.class_weight_power=1")
    done = run(moles, preset="standard", overrides=[*SETTINGS, *changes], looks=False)
    assert done.score > 0.95
    folder = moles / ".gorae" / "runs" / done.run_id
    loaded = load_run(folder)
    test = read_predictions(loaded.run.test)
    assert test.columns == ("0", "1")
    np.testing.assert_allclose(test.values.sum(axis=1), 1, atol=1e-6)
    is_ill = np.array([int(name.removeprefix("test")) % 4 == 3 for name in test.ids])
    assert test.values[is_ill, 1].min() > test.values[~is_ill, 1].max()
    again = loaded.predict(moles / "test")
    place = [again.ids.index(f"{name}.png") for name in test.ids]
    np.testing.assert_allclose(again.values[place], test.values, atol=1e-5)
    assert loaded.run.read_settings()["choices"]["num_outputs"] == 4
    assert done.submission is not None
    sent = pd.read_csv(done.submission)
    np.testing.assert_allclose(sent["target"], test.values[:, 1], atol=1e-5)


def test_what_cannot_be_learned_is_refused_with_all_of_it(moles: Path) -> None:
    context = open_context(moles)
    merged = recipe_of(
        "target.column=diagnosis", 'target.merge={melanoma="dark", nevus="dark"}'
    )
    with pytest.raises(DataError, match=r"1 value\(s\).*\n.*'dark': 12 of 0, 12 of 1"):
        finer_target(context, merged)
    with pytest.raises(ConfigError, match=r"'colour' is not in the train table.*diagnosis"):
        finer_target(context, recipe_of("target.column=colour"))
    typo = recipe_of("target.column=diagnosis", 'target.merge={navus="x"}')
    with pytest.raises(ConfigError, match="'navus', none of which is in column diagnosis"):
        finer_target(context, typo)
    table = context.tables.train
    table.loc[table.index[table["label"] == "0"][:2], "meta.diagnosis"] = ""
    with pytest.raises(DataError, match=r"2 of 48 pictures .* first train/train"):
        finer_target(context, recipe_of("target.column=diagnosis"))
    filled = recipe_of("target.column=diagnosis", 'target.merge={""="unknown"}')
    found = finer_target(context, filled)
    assert found is not None
    assert found.names == ("keratosis", "lentigo", "nevus", "unknown", "melanoma")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("loss.kind=coral",), "needs an order"),
        (("model.outputs=both",), "parts of the label"),
        (("augment.flip_identities=true",), "individuals"),
    ],
)
def test_what_finer_classes_do_not_go_with_is_refused(
    settings: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        recipe_of("target.column=diagnosis", *settings)
