"""Documentation is kept true: every command, every setting, every file of the tree."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from gorae.config.reading import known_settings
from gorae.config.recipe import ModelSettings, PredictSettings, Recipe
from gorae.config.training import AugmentSettings, LossSettings, TrainSettings

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


@pytest.mark.parametrize("page", ["config.md", "commands.md", "options.md"])
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
    from gorae.augment.plan import POLICIES
    from gorae.ensemble import VOTE_NAMES
    from gorae.models.head import HEADS
    from gorae.models.margin import NECKS
    from gorae.models.metadata_net import METADATA_SHAPES
    from gorae.models.plan import Outputs
    from gorae.pipeline.train import TRAINERS
    from gorae.training.optim import OptimizerName
    from gorae.training.outputs import LOSS_KINDS
    from gorae.training.schedules import ScheduleKind

    def names(settings: type[BaseModel], field: str) -> set[str]:
        return set(get_args(settings.model_fields[field].annotation))

    assert names(ModelSettings, "use") == {*TRAINERS, "tabular"}
    # A loss brings the other.
    assert names(ModelSettings, "head") == set(HEADS) - {"coral"}
    assert names(ModelSettings, "neck") == set(NECKS)
    assert names(ModelSettings, "metadata") == {"none", *METADATA_SHAPES}
    assert names(ModelSettings, "outputs") == set(get_args(Outputs))
    assert names(AugmentSettings, "policy") == set(POLICIES)
    assert names(LossSettings, "kind") == {"auto", *LOSS_KINDS}
    assert names(TrainSettings, "optimizer") == set(get_args(OptimizerName))
    assert names(TrainSettings, "schedule") == set(get_args(ScheduleKind))
    assert names(PredictSettings, "vote") == set(VOTE_NAMES)


def test_every_option_names_its_source_and_a_test_that_is_there() -> None:
    from gorae.augment.names import VIEW_FAMILIES

    table = tomllib.loads((ROOT / "docs" / "options.toml").read_text("utf-8"))
    wanted = {
        "head": get_args(ModelSettings.model_fields["head"].annotation),
        "neck": get_args(ModelSettings.model_fields["neck"].annotation),
        "metadata": get_args(ModelSettings.model_fields["metadata"].annotation),
        "optimizer": get_args(TrainSettings.model_fields["optimizer"].annotation),
        "schedule": get_args(TrainSettings.model_fields["schedule"].annotation),
        "policy": get_args(AugmentSettings.model_fields["policy"].annotation),
        "mixing": ("mixup", "cutmix", "half_cutmix", "box_mix"),
        "family": tuple(VIEW_FAMILIES),
        "vote": get_args(PredictSettings.model_fields["vote"].annotation),
        "loss": (),
    }
    assert set(table) == set(wanted)
    for kind, names in wanted.items():
        test = ROOT / table[kind].pop("test")
        assert test.exists(), test
        assert set(table[kind]) == set(names), kind


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
