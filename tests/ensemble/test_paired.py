"""Paired differences: what is the same differs by nothing, what is better shows."""

import numpy as np
import pytest

from gorae.ensemble import paired_differences
from gorae.errors import DataError
from gorae.metrics import METRICS, bootstrap


def drawn(num_rows: int, skill: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, num_rows)
    noise = np.random.default_rng(seed).dirichlet(np.ones(3), num_rows)
    values = skill * np.eye(3)[truth] + (1 - skill) * noise
    return truth, values.astype(np.float32)


def test_equal_predictions_differ_by_exactly_nothing() -> None:
    truth, values = drawn(60, 0.3, 1)
    (found,) = paired_differences(
        METRICS["accuracy"], truth, values, [values], groups=np.arange(60), seed=0
    )
    assert (found.difference, found.interval) == (0, (0, 0))


def test_a_better_one_is_seen_and_its_interval_is_narrower_than_unpaired() -> None:
    truth, good = drawn(300, 0.5, 1)
    worse = good.copy()
    worse[:40] = np.roll(worse[:40], 1, axis=1)
    metric, groups = METRICS["log_loss"], np.arange(300)
    (found,) = paired_differences(metric, truth, good, [worse], groups=groups, seed=0)
    assert found.interval is not None
    low, high = found.interval
    assert low <= found.difference <= high < 0, "a loss: less is better"
    assert found.difference == pytest.approx(
        metric.function(truth, good) - metric.function(truth, worse)
    )
    alone = bootstrap(metric, truth, worse, groups=groups, seed=0)
    assert high - low < alone.high - alone.low + 0.2


def test_rows_of_one_group_are_drawn_together() -> None:
    # Ten groups of thirty equal rows know as little as ten rows.
    truth, values = drawn(10, 0.2, 1)
    rival = drawn(10, 0.2, 2)[1]
    metric = METRICS["accuracy"]
    few = paired_differences(metric, truth, values, [rival], groups=np.arange(10), seed=0)[0]
    many = paired_differences(
        metric,
        np.repeat(truth, 30),
        np.repeat(values, 30, axis=0),
        [np.repeat(rival, 30, axis=0)],
        groups=np.repeat(np.arange(10), 30),
        seed=0,
    )[0]
    assert few.interval == pytest.approx(many.interval)


def test_one_group_has_no_interval_and_an_undefined_score_is_an_error() -> None:
    truth, values = drawn(9, 0.3, 1)
    metric = METRICS["accuracy"]
    (found,) = paired_differences(
        metric, truth, values, [values[::-1].copy()], groups=np.zeros(9, np.int64), seed=0
    )
    assert found.interval is None
    with pytest.raises(DataError, match="undefined"):
        paired_differences(
            METRICS["roc_auc"],
            np.zeros(4, np.int64),
            values[:4, :2],
            [values[:4, :2]],
            groups=np.arange(4),
            seed=0,
        )
    assert paired_differences(metric, truth, values, [], groups=np.arange(9), seed=0) == []
