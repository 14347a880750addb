import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.errors import DataError
from gorae.metrics import METRICS, bind_metric, bootstrap

ACCURACY = METRICS["accuracy"]


def draw_rows(
    rng: np.random.Generator, num_rows: int, *, right: float, group_size: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Three classes, right with a probability that differs between groups."""
    groups = np.arange(num_rows) // group_size
    p = np.full(len(groups), right)
    if group_size > 1:
        p = rng.beta(4 * right, 4 * (1 - right), groups.max() + 1)[groups]
    truth = rng.integers(0, 3, num_rows)
    wrong = (truth + rng.integers(1, 3, num_rows)) % 3
    predicted = np.where(rng.random(num_rows) < p, truth, wrong)
    return truth, np.eye(3)[predicted], groups


@pytest.mark.parametrize(
    ("name", "num_rows", "right", "group_size"),
    [
        ("accuracy", 300, 0.7, 1),
        ("accuracy", 300, 0.995, 1),
        ("accuracy", 350, 0.8, 7),
        ("macro_f1", 200, 0.9, 1),
    ],
)
def test_intervals_hold_what_they_promise(
    name: str, num_rows: int, right: float, group_size: int
) -> None:
    metric, rng = METRICS[name], np.random.default_rng(0)
    true = metric.function(*draw_rows(rng, 200_000, right=right)[:2])
    num_held = num_predicted = 0
    for seed in range(100):
        truth, values, groups = draw_rows(rng, num_rows, right=right, group_size=group_size)
        new = metric.function(*draw_rows(rng, 105, right=right, group_size=group_size)[:2])
        interval = bootstrap(
            metric,
            truth,
            values,
            groups=groups if group_size > 1 else None,
            num_rows_test=105,
            num_draws=150,
            seed=seed,
        )
        assert interval.low <= interval.score <= interval.high
        assert interval.predicted_low is not None
        assert interval.predicted_high is not None
        num_held += interval.low <= true <= interval.high
        num_predicted += interval.predicted_low <= new <= interval.predicted_high
    # 95 of 100, with a standard deviation of 2.2: less than 87 is no chance.
    assert num_held >= 87
    assert num_predicted >= 87


def test_rows_of_a_group_give_a_wider_interval_than_rows_alone() -> None:
    truth, values, groups = draw_rows(np.random.default_rng(1), 700, right=0.8, group_size=7)
    alone = bootstrap(ACCURACY, truth, values, seed=0)
    together = bootstrap(ACCURACY, truth, values, groups=groups, seed=0)
    assert together.high - together.low > 1.2 * (alone.high - alone.low)


def test_the_width_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 4000)
    values = truth + rng.normal(0, 1, 4000)
    metric = METRICS["mae"]
    interval = bootstrap(metric, truth, values, num_rows_test=4000, num_draws=2000, seed=0)
    deviation = np.abs(values - truth).std()
    assert interval.high - interval.low == pytest.approx(
        2 * 1.96 * deviation / np.sqrt(4000), rel=0.1
    )
    assert interval.predicted_low is not None
    assert interval.predicted_high is not None
    assert interval.predicted_high - interval.predicted_low == pytest.approx(
        2 * 1.96 * deviation * np.sqrt(1 / 4000 + 1 / 4000), rel=0.1
    )


def test_a_perfect_score_is_not_certain() -> None:
    truth = np.arange(100) % 2
    interval = bootstrap(ACCURACY, truth, np.eye(2)[truth], num_rows_test=50, seed=0)
    assert interval.score == interval.high == 1
    # Jeffreys' interval of 100 of 100 begins at .975, the rule of three says .97.
    assert 0.95 <= interval.low <= 0.98
    assert interval.predicted_low is not None
    assert 0.93 <= interval.predicted_low <= 0.98


def test_one_seed_gives_one_interval_and_another_another() -> None:
    truth, values, _ = draw_rows(np.random.default_rng(1), 200, right=0.8)
    metric = METRICS["log_loss"]
    soft = values * 0.9 + 0.05
    first = bootstrap(metric, truth, soft, seed=3)
    assert bootstrap(metric, truth, soft, seed=3) == first
    assert bootstrap(metric, truth, soft, seed=4) != first
    assert first.predicted_low is None


def test_draws_without_a_class_are_drawn_again_and_counted() -> None:
    truth = np.array([1, 0, 0, 0, 0, 0])
    interval = bootstrap(METRICS["roc_auc"], truth, np.arange(6.0), seed=0, num_draws=100)
    assert interval.num_redrawn > 10
    assert interval.low == interval.high == 0


def test_where_most_draws_are_undefined_there_is_no_interval() -> None:
    truth = np.array([1, 0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(DataError, match="No interval for roc_auc: it is undefined in most"):
        bootstrap(METRICS["roc_auc"], truth, np.arange(8.0), num_rows_test=1, seed=0)


@pytest.mark.parametrize(("groups", "word"), [(None, "row"), (np.zeros(1), "group")])
def test_one_row_or_group_has_no_interval(groups: Any, word: str) -> None:
    with pytest.raises(DataError, match=f"from one {word}: it needs at least two"):
        bootstrap(ACCURACY, np.array([0]), np.eye(2)[[0]], groups=groups, seed=0)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("roc_auc_macro", (200, 3)), ("macro_f1", (200, 3)), ("log_loss", (200, 3))],
)
def test_several_labels_per_row_have_intervals(name: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random(shape) < 0.3).astype(np.float32)
    values = (0.2 + 0.5 * truth + 0.3 * rng.random(shape)).astype(np.float32)
    interval = bootstrap(bind_metric(name), truth, values, num_rows_test=100, seed=0)
    assert interval.low <= interval.score <= interval.high


def test_a_hundred_thousand_rows_take_seconds() -> None:
    truth, values, _ = draw_rows(np.random.default_rng(0), 100_000, right=0.9)
    start = time.perf_counter()
    bootstrap(METRICS["macro_f1"], truth, values, num_rows_test=10_000, seed=0)
    assert time.perf_counter() - start < 10
