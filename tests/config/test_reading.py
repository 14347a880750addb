"""Settings: presets, recipe files, --set, and messages."""

import tomllib
from pathlib import Path

import pytest

from gorae.config import PRESETS, read_competition, resolve_recipe, settings_to_toml
from gorae.config.reading import known_settings
from gorae.config.recipe import Recipe
from gorae.errors import ConfigError


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_written_and_read(preset: str) -> None:
    recipe = resolve_recipe(preset=preset)
    assert Recipe.model_validate(tomllib.loads(settings_to_toml(recipe))) == recipe


def test_set_takes_toml_values_and_bare_text() -> None:
    recipe = resolve_recipe(
        preset="standard",
        overrides=[
            "train.lr=3e-4",
            "model.name=mobilenetv2_100",
            'model.kwargs={pad_type="same"}',
            "predict.views=['identity']",
            "model.weights=/some where/weights.safetensors",
        ],
    )
    assert recipe.train.lr == 3e-4
    assert recipe.model.name == "mobilenetv2_100"
    assert recipe.model.kwargs == {"pad_type": "same"}
    assert recipe.predict.views == ("identity",)
    assert recipe.model.weights == "/some where/weights.safetensors"


def test_a_table_set_whole_loses_what_the_file_said_of_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('preset = "standard"\n[augment]\ncutout = 0.5\ncutout_side = 0.2\n')
    # Without the crop of the file there is no side of it either, which would be dead.
    recipe = resolve_recipe(path=path, overrides=['augment={policy="none"}'])
    assert recipe.augment.cutout is None
    with pytest.raises(ConfigError, match=r"augment\.cutout_side has no effect"):
        resolve_recipe(path=path, overrides=["augment.cutout=0"])


def test_set_replaces_a_table_as_a_whole() -> None:
    recipe = resolve_recipe(overrides=["model.kwargs={a=1}", "model.kwargs={b=2}"])
    assert recipe.model.kwargs == {"b": 2}


def test_recipe_file_starts_from_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('preset = "standard"\n[train]\nepochs = 2\n')
    recipe = resolve_recipe(path=path, overrides=["seed=7"])
    assert (recipe.name, recipe.train.epochs, recipe.seed) == ("mine", 2, 7)
    assert recipe.predict.views == ("identity", "hflip")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr", "not of the form name=value"),
        ("train..lr=1", "not of the form name=value"),
        ("model.kwargs={a=", "not valid TOML"),
        ("model.wieghts=none", r"model.wieghts: no such setting; near: model.weights"),
        ("lr=0.1", r"lr: no such setting; near: train.lr"),
        ("split.num_folds=1", "split.num_folds: .*greater than or equal to 2.*got 1"),
        ("model.use=half", "model.use: .*'frozen'"),
    ],
)
def test_a_wrong_set_is_explained(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_recipe(preset="standard", overrides=[override])


def test_all_wrong_settings_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("seed = -1\n[train]\nepochs = 0\nlr = 'fast'\n")
    with pytest.raises(ConfigError, match=r"3 setting\(s\) in .*r.toml") as caught:
        resolve_recipe(path=path)
    assert all(name in str(caught.value) for name in ("seed", "train.epochs", "train.lr"))


def test_unknown_preset_and_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no preset 'fast'. Presets: quick, standard, best"):
        resolve_recipe(preset="fast")
    with pytest.raises(ConfigError, match=r"There is no .*missing\.toml"):
        resolve_recipe(path=tmp_path / "missing.toml")
    (tmp_path / "broken.toml").write_text("a = [")
    with pytest.raises(ConfigError, match=r"broken\.toml cannot be read as TOML"):
        resolve_recipe(path=tmp_path / "broken.toml")


def test_unknown_metric_lists_the_known(tmp_path: Path) -> None:
    path = tmp_path / "competition.toml"
    path.write_text(
        'name = "a"\ntask = "multiclass"\nmetric = "acuracy"\n[train]\nimages = "x"\n'
    )
    with pytest.raises(ConfigError, match="metric 'acuracy' is not one of accuracy"):
        read_competition(path)


def test_known_settings_are_dotted_names() -> None:
    names = known_settings(Recipe)
    assert "train.lr" in names
    assert "seed" in names
    assert "train" not in names
