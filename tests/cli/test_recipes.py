"""Command ``recipes``: the list, and the text of one to go on from."""

import json

import pytest

from gorae.cli import main
from gorae.config.shipped import shipped_recipes


def test_all_shipped_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert listed == {name: each.title for name, each in shipped_recipes().items()}


def test_a_recipe_is_printed_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    name, recipe = next(iter(shipped_recipes().items()))
    assert main(["recipes", name]) == 0
    assert capsys.readouterr().out == recipe.path.read_text(encoding="utf-8")


def test_an_unknown_name_is_an_error_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["recipes", "nothing"]) == 64
    assert next(iter(shipped_recipes())) in capsys.readouterr().err
