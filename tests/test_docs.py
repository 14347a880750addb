"""Documentation is kept true: every command, every setting, every file of the tree."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from gorae.config.reading import known_settings
from gorae.config.recipe import ModelSettings, PredictSettings, Recipe

ROOT = Path(__file__).parents[1]


def load_builder() -> Any:
    specification = importlib.util.spec_from_file_location(
        "docs_build", ROOT / "docs" / "build.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["config.md", "commands.md"])
def test_generated_pages_are_up_to_date(page: str) -> None:
    made = load_builder().PAGES[page]()
    assert (ROOT / "docs" / page).read_text("utf-8") == made, "run `make docs`"


def test_every_setting_is_explained() -> None:
    text = (ROOT / "docs" / "config.md").read_text("utf-8")
    for name in known_settings(Recipe):
        row = re.search(rf"^\| `{name.split('.')[-1]}` \|.*\| (.+) \|$", text, re.MULTILINE)
        assert row, name
        assert len(row[1]) > 15, name


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_tree_of_the_readme_is_the_tree_of_the_package(readme: str) -> None:
    text = (ROOT / readme).read_text("utf-8")
    tree = text.split("src/gorae/", maxsplit=1)[1].split("```", maxsplit=1)[0]
    named = set(re.findall(r"^\s+([\w/]+(?:\.py)?)\s", tree, re.MULTILINE))
    package = ROOT / "src" / "gorae"
    there = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    there |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert named == there


def test_dict_keys_are_the_literals_of_the_settings() -> None:
    from gorae.augment import VIEWS
    from gorae.pipeline.train import TRAINERS

    use = ModelSettings.model_fields["use"].annotation
    assert set(get_args(use)) == set(TRAINERS)
    views = get_args(PredictSettings.model_fields["views"].annotation)[0]
    assert set(get_args(views)) == set(VIEWS)


def test_the_command_line_loads_neither_torch_nor_pandas() -> None:
    program = (
        "import sys, gorae.cli, gorae.cli.app; "
        "heavy = {'torch', 'timm', 'pandas', 'torchvision', 'sklearn'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
