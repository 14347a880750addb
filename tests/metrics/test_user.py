from pathlib import Path

import numpy as np
import pytest

from gorae.errors import ConfigError, DataError
from gorae.metrics import bootstrap, evaluate, load_metric

TRUTH, VALUES = np.array([0, 1, 1, 0]), np.eye(2)[[0, 1, 0, 0]]

SOURCE = '''
from dataclasses import dataclass
import numpy as np

def hit_rate(truth, values, bonus=0):
    """Share of hits.

    More text.
    """
    return np.mean(values.argmax(axis=1) == truth) + bonus

def loss(truth, values):
    return 1 - hit_rate(truth, values)

loss.greater_is_better = False

def broken(truth, values):
    return truth / np.zeros((2, 2)) @ values.no_such_thing

def text(truth, values):
    return "0.5"

def nothing(truth, values):
    return float("nan")

def one_class(truth, values):
    if len(set(truth)) < 2:
        raise ValueError("one class")
    return 0.5

number = 3
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "내 지표.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def test_a_function_from_a_file_is_a_metric(folder: Path) -> None:
    metric = load_metric("내 지표.py:hit_rate", folder)
    assert evaluate(metric, TRUTH, VALUES) == 0.75
    assert metric.greater_is_better
    assert metric.doc == "Share of hits."
    assert not load_metric("내 지표.py:loss", folder).greater_is_better
    assert evaluate(load_metric("내 지표.py:loss", folder), TRUTH, VALUES) == 0.25
    more = load_metric("내 지표.py:hit_rate", folder, params={"bonus": 1})
    assert evaluate(more, TRUTH, VALUES) == 1.75


def test_nothing_is_written_beside_the_file(folder: Path) -> None:
    load_metric("내 지표.py:hit_rate", folder)
    assert [path.name for path in folder.iterdir()] == ["내 지표.py"]


def test_a_users_metric_has_an_interval(folder: Path) -> None:
    interval = bootstrap(
        load_metric("내 지표.py:one_class", folder), TRUTH, VALUES, num_draws=50, seed=0
    )
    assert interval.low == interval.high == 0.5
    assert interval.num_redrawn > 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("absent.py:score", "there is no file .*absent.py"),
        ("내 지표.py", "given as 'file.py:function'"),
        (":score", "there is no file"),
        ("내 지표.py:score", "has no function 'score'; it has hit_rate, loss, broken"),
        ("내 지표.py:number", "has no function 'number'"),
    ],
)
def test_a_missing_file_or_function_is_named(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_metric(spec, folder)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nimport no_such_module_at_all", "ModuleNotFoundError in line 2"),
        ("def score(:", "SyntaxError in line 1"),
        ("x = 1 / 0", "ZeroDivisionError in line 1: division by zero"),
    ],
)
def test_a_file_that_cannot_be_run_is_named(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "metric.py").write_text(source)
    with pytest.raises(ConfigError, match=f"metric.py cannot be run: {message}"):
        load_metric("metric.py:score", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "failed: ValueError in line 18: operands"),
        ("text", "must return one finite number, got '0.5'"),
        ("nothing", "must return one finite number, got nan"),
    ],
)
def test_a_failing_function_is_named_with_its_line(
    folder: Path, name: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(load_metric(f"내 지표.py:{name}", folder), TRUTH, VALUES)
