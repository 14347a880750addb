"""XGBoost and CatBoost take the place of LightGBM; where they are not installed it is said."""

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from gorae.data.sources import Task
from gorae.errors import ConfigError
from gorae.tabular import BoostPlan, Features, fit_boosted, require_booster

OTHERS = ("xgboost", "catboost")
PLAN = BoostPlan(task="multiclass", num_classes=2, rounds=60, patience=15, learning_rate=0.1)
TASKS: tuple[Task, ...] = ("multiclass", "ordinal", "multilabel", "regression")


def draw(num_rows: int = 240, *, seed: int = 0) -> tuple[Features, NDArray[np.float64]]:
    """A number with gaps, a category with gaps and noise; the first two decide a score."""
    rng = np.random.default_rng(seed)
    number, site = rng.normal(size=num_rows), rng.integers(0, 4, num_rows).astype(np.float64)
    says = number + np.array([0.0, 3.0, -1.0, 1.0])[site.astype(int)]
    number[rng.random(num_rows) < 0.1] = np.nan
    site[rng.random(num_rows) < 0.05] = np.nan
    values = np.column_stack([number, site, rng.normal(size=num_rows)])
    return Features(("age", "site", "noise"), values, np.array([False, True, False])), says


def truth_of(task: Task, says: NDArray[np.float64]) -> NDArray[Any]:
    if task == "multilabel":
        return (says[:, None] > np.array([-0.5, 0.5, 1.5])).astype(np.float32)
    classes = np.digitize(says, [-0.5, 1.5]).astype(np.int64)
    return says.astype(np.float32) if task == "regression" else classes


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", OTHERS)
def test_every_task_is_learned(model: str, task: Task) -> None:
    pytest.importorskip(model)
    (train, says), (other, wanted) = draw(), draw(seed=1)
    num_columns = 1 if task == "regression" else 3
    plan = replace(PLAN, task=task, num_classes=num_columns, model=model)
    groups = np.arange(len(train)) // 2
    trees = fit_boosted(train, truth_of(task, says), groups=groups, plan=plan)
    found, truth = trees.predict(other), truth_of(task, wanted)
    assert found.shape == (len(other), num_columns)
    if task == "regression":
        assert np.corrcoef(found[:, 0], truth)[0, 1] > 0.75
    elif task == "multilabel":
        assert roc_auc_score(truth, found) > 0.85
    else:
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        assert (found.argmax(axis=1) == truth).mean() > 0.6
    assert set(trees.importance["feature"][:2]) == {"age", "site"}
    # The same once more, and with categories the train part did not have.
    again = fit_boosted(train, truth_of(task, says), groups=groups, plan=plan)
    np.testing.assert_array_equal(again.predict(other), found)
    assert all(part.text for part in trees.parts)


@pytest.mark.parametrize("model", OTHERS)
def test_noise_ends_after_few_trees(model: str) -> None:
    pytest.importorskip(model)
    train, _ = draw()
    truth = np.random.default_rng(3).integers(0, 2, len(train))
    plan = replace(PLAN, model=model, rounds=400)
    trees = fit_boosted(train, truth, groups=np.arange(len(train)) // 2, plan=plan)
    assert trees.parts[0].num_rounds < 60


@pytest.mark.parametrize("model", OTHERS)
def test_an_extra_that_is_not_installed_is_named(model: str) -> None:
    if importlib.util.find_spec(model) is not None:
        pytest.skip(f"{model} is installed")
    with pytest.raises(ConfigError, match=rf"pip install 'gorae\[{model}\]'"):
        require_booster(model)
