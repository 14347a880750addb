"""Trees find what is there, for every task, and nothing where there is nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from gorae.data.sources import Task
from gorae.errors import ConfigError, DataError
from gorae.tabular import Boosted, BoostPlan, Features, fit_boosted

PLAN = BoostPlan(task="multiclass", num_classes=2, rounds=60, patience=15, learning_rate=0.1)
TASKS: tuple[Task, ...] = ("multiclass", "ordinal", "multilabel", "regression")


def draw(num_rows: int = 300, *, seed: int = 0) -> tuple[Features, NDArray[np.float64]]:
    """A number with gaps, a category and noise; and a score that the first two decide."""
    rng = np.random.default_rng(seed)
    number, site = rng.normal(size=num_rows), rng.integers(0, 4, num_rows)
    says = number + np.array([0.0, 3.0, -1.0, 1.0])[site]
    number[rng.random(num_rows) < 0.1] = np.nan
    values = np.column_stack([number, site, rng.normal(size=num_rows)])
    return Features(("age", "site", "noise"), values, np.array([False, True, False])), says


def truth_of(task: Task, says: NDArray[np.float64]) -> NDArray[Any]:
    classes = np.digitize(says, [-0.5, 1.5]).astype(np.int64)
    if task == "multilabel":
        return (says[:, None] > np.array([-0.5, 0.5, 1.5])).astype(np.float32)
    return says.astype(np.float32) if task == "regression" else classes


def fit(
    features: Features, truth: NDArray[Any], plan: BoostPlan = PLAN, **more: Any
) -> Boosted:
    groups = np.arange(len(features)) // 2
    return fit_boosted(features, truth, groups=groups, plan=plan, **more)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_learned_in_its_own_columns(task: Task) -> None:
    (train, says), (other, wanted) = draw(), draw(seed=1)
    num_columns = 1 if task == "regression" else 3
    plan = replace(PLAN, task=task, num_classes=num_columns)
    trees = fit(train, truth_of(task, says), plan)
    found = trees.predict(other)
    assert found.dtype == np.float32
    assert found.shape == (300, num_columns)
    truth = truth_of(task, wanted)
    if task == "regression":
        assert np.corrcoef(found[:, 0], truth)[0, 1] > 0.85
    elif task == "multilabel":
        assert roc_auc_score(truth, found) > 0.9
    else:
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        assert (found.argmax(axis=1) == truth).mean() > 0.7
    assert set(trees.importance["feature"][:2]) == {"age", "site"}
    assert trees.importance["gain"].sum() == pytest.approx(1)


def test_two_classes_have_two_columns_and_no_rows_no_answer() -> None:
    train, says = draw()
    trees = fit(train, (says > 0).astype(np.int64))
    found = trees.predict(train)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert roc_auc_score(says > 0, found[:, 1]) > 0.9
    assert trees.predict(train.select(np.zeros(300, bool))).shape == (0, 2)


def test_noise_gets_few_trees() -> None:
    train, says = draw()
    coins = [np.random.default_rng(seed).integers(0, 2, 300) for seed in range(4)]
    noise = [fit(train, coin).parts[0].num_rounds for coin in coins]
    signal = fit(train, (says > 0).astype(np.int64)).parts[0].num_rounds
    assert np.mean(noise) < 10
    assert signal > 20


def test_a_class_without_rows_and_a_train_part_of_one_class() -> None:
    train, says = draw(60)
    classes = (says > 0).astype(np.int64) * 2
    found = fit(train, classes, replace(PLAN, num_classes=3)).predict(train)
    assert found[:, 1].max() < 0.01
    alone = fit(train, np.zeros(60, np.int64)).predict(train)
    assert alone[:, 1].max() < 0.01


def test_rows_of_no_weight_do_not_teach() -> None:
    train, says = draw()
    truth = (says > 0).astype(np.int64)
    wrong = np.arange(300) % 3 == 0
    spoilt = np.where(wrong, 1 - truth, truth)
    weights = np.where(wrong, 1e-9, 1.0)
    ignored = fit(train, spoilt, weights=weights).predict(train)[:, 1]
    believed = fit(train, spoilt).predict(train)[:, 1]
    assert roc_auc_score(truth, ignored) > roc_auc_score(truth, believed) + 0.02


def test_the_same_input_gives_the_same_trees() -> None:
    train, says = draw()
    truth = truth_of("multiclass", says)
    plan = replace(PLAN, num_classes=3, row_share=0.7, column_share=0.7)
    first, second = (fit(train, truth, plan) for _ in range(2))
    assert [part.text for part in first.parts] == [part.text for part in second.parts]
    assert first.predict(train).tobytes() == second.predict(train).tobytes()


def test_the_number_of_trees_is_chosen_on_other_groups() -> None:
    train, _ = draw(120)
    twice = Features(train.names, np.repeat(train.values, 2, axis=0), train.is_category)
    rng = np.random.default_rng(0)
    # Equal rows with one coin per pair: only who has the twin can know it.
    coin = np.repeat(rng.integers(0, 2, 120), 2)
    plan = replace(PLAN, min_leaf_rows=1, leaves=31)
    kept = fit_boosted(twice, coin, groups=np.arange(240) // 2, plan=plan)
    torn = fit_boosted(twice, coin, groups=np.arange(240), plan=plan)
    assert kept.parts[0].num_rounds < 5
    assert torn.parts[0].num_rounds > 10


def test_one_group_gets_all_trees() -> None:
    train, says = draw(40)
    truth = (says > 0).astype(np.int64)
    alone = fit_boosted(train, truth, groups=np.zeros(40, np.int64), plan=PLAN)
    assert alone.parts[0].num_rounds == PLAN.rounds


def test_an_unknown_model_and_no_feature_are_refused() -> None:
    train, says = draw(20)
    truth = (says > 0).astype(np.int64)
    with pytest.raises(ConfigError, match=r'"forest" is no model of tables.*lightgbm'):
        fit(train, truth, replace(PLAN, model="forest"))
    none = Features((), np.zeros((20, 0)), np.zeros(0, bool))
    with pytest.raises(DataError, match="No column of the train part tells anything"):
        fit(none, truth)
