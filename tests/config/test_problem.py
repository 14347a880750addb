"""[problem] in competition.toml: checked text."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gorae.config import read_competition
from gorae.config.problem import Problem
from gorae.eda.problem import QUESTIONS
from gorae.errors import ConfigError

TOML = """\
name = "letters"
task = "multiclass"
metric = "accuracy"

[train]
images = "train"
label_pattern = "(?P<label>.)/"

[problem]
use = "A reader for the blind."
mirror_left_right = "{}"
"""


def test_unknown_is_the_default_of_every_question() -> None:
    assert Problem().answers == dict.fromkeys(QUESTIONS, "unknown")
    assert set(Problem.model_fields) == {"question", "input", "output", "use", *QUESTIONS}


def test_it_is_read_with_the_competition(tmp_path: Path) -> None:
    path = tmp_path / "competition.toml"
    path.write_text(TOML.format("no"), "utf-8")
    problem = read_competition(path).problem
    assert problem is not None
    assert problem.use == "A reader for the blind."
    assert problem.answers["mirror_left_right"] == "no"
    path.write_text(TOML.split("[problem]")[0], "utf-8")
    assert read_competition(path).problem is None


def test_other_answers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "competition.toml"
    path.write_text(TOML.format("maybe"), "utf-8")
    with pytest.raises(
        ConfigError, match=r"problem.mirror_left_right: .*'yes', 'no' or 'unknown'"
    ):
        read_competition(path)


def test_answers_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="must have the same answer"):
        Problem(orientation_fixed="no", mirror_left_right="yes", mirror_up_down="no")
