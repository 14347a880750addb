"""Recipes that ship with the package are found by name."""

from pathlib import Path

import pytest

from gorae.config import resolve_recipe
from gorae.config.shipped import find_recipe, shipped_recipes
from gorae.errors import ConfigError


def test_a_shipped_recipe_is_found_by_its_name_and_named_after_it() -> None:
    for name, recipe in shipped_recipes().items():
        assert find_recipe(Path(name)) == recipe.path
        assert recipe.title, name
        assert resolve_recipe(path=Path(name)).name == name


def test_a_file_of_the_user_comes_before_a_shipped_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(shipped_recipes()))
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("seed = 41\n")
    assert resolve_recipe(path=Path(name)).seed == 41


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no recipe file nothing\.toml.*Shipped: .*cats"):
        resolve_recipe(path=Path("nothing.toml"))
