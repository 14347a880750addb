"""gorae.ensemble.control: differences to a base, judged together."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.ensemble.control import Against, compare_with_base
from gorae.ensemble.paired import paired_differences
from gorae.errors import DataError
from gorae.metrics import bind_metric

Settings = list[list[NDArray[np.float32]]]
Labels = NDArray[np.int64]

ACCURACY = bind_metric("accuracy", params={}, task="multiclass")
LOG_LOSS = bind_metric("log_loss", params={}, task="multiclass")


def answers(truth: Labels, is_right: NDArray[np.bool_]) -> NDArray[np.float32]:
    labels = np.where(is_right, truth, (truth + 1) % 3)
    return np.eye(3, dtype=np.float32)[labels] * 0.8 + np.float32(0.2 / 3)


def judge(settings: Settings, truth: Labels, **options: object) -> list[Against]:
    groups = options.get("groups", np.arange(len(truth)))
    metric = options.get("metric", ACCURACY)
    return compare_with_base(metric, truth, settings, groups=groups, seed=0)  # type: ignore[arg-type]


def says(found: Against) -> int:
    assert found.interval is not None
    low, high = found.interval
    assert low <= found.gain <= high
    return int(low > 0) - int(high < 0)


def drawn(seed: int, *shares: float, num_rows: int = 150) -> tuple[Settings, Labels]:
    rng = np.random.default_rng(seed)
    truth, hard = rng.integers(0, 3, num_rows), rng.random(num_rows)
    # What is hard for one is hard for the other, in half of the rows.
    return [
        [answers(truth, np.where(rng.random(num_rows) < 0.5, hard, rng.random(num_rows)) < p)]
        for p in shares
    ], truth


def test_useless_settings_are_rarely_told_from_the_base() -> None:
    wrong = 0
    for seed in range(40):
        settings, truth = drawn(seed, *[0.8] * 5, num_rows=60)
        wrong += any(says(found) for found in judge(settings, truth)[1:])
    # 2 expected where the level is kept; more than 6 would be one chance in a hundred.
    assert wrong <= 6


def test_a_large_difference_is_told_in_the_direction_of_the_metric() -> None:
    settings, truth = drawn(0, 0.7, 0.95, 0.4, 0.7)
    for metric in (ACCURACY, LOG_LOSS):
        found = judge(settings, truth, metric=metric)
        assert [says(each) for each in found[1:3]] == [1, -1]
        assert found[0].gain == 0
        sign = 1 if metric.greater_is_better else -1
        assert found[1].gain == pytest.approx(sign * (found[1].score - found[0].score))


def test_more_settings_make_every_interval_wider() -> None:
    settings, truth = drawn(1, *[0.8] * 9)
    alone = judge(settings[:2], truth)[1].interval
    among = judge(settings, truth)[1].interval
    assert alone is not None
    assert among is not None
    assert among[1] - among[0] > 1.15 * (alone[1] - alone[0])


def test_one_rival_agrees_with_the_paired_bootstrap() -> None:
    settings, truth = drawn(2, 0.8, 0.85, num_rows=400)
    groups = np.arange(400) // 2
    (_, ours) = judge(settings, truth, metric=LOG_LOSS, groups=groups)
    (theirs,) = paired_differences(
        LOG_LOSS, truth, settings[1][0], [settings[0][0]], groups=groups, seed=3
    )
    assert ours.interval is not None
    assert theirs.interval is not None
    # Theirs is the plain difference, and of a loss less is better.
    np.testing.assert_allclose(
        ours.interval, [-theirs.interval[1], -theirs.interval[0]], atol=0.012
    )


@pytest.mark.parametrize(("num_mended", "verdict"), [(5, 0), (9, 1)])
def test_few_rows_prove_nothing(num_mended: int, verdict: int) -> None:
    # Right instead of wrong in 5 of 5 rows: a fair coin does that once in sixteen (sign test,
    # both sides); 9 of 9 once in 256.
    truth = np.zeros(100, dtype=np.int64)
    base, other = np.ones(100, bool), np.ones(100, bool)
    base[:9] = False
    other[num_mended:9] = False
    assert (
        says(judge([[answers(truth, right)] for right in (base, other)], truth)[1]) == verdict
    )


def test_the_spread_over_seeds_is_part_of_the_interval() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 2000)
    right = rng.random(2000)
    steady = [[answers(truth, right < p)] * 3 for p in (0.80, 0.83)]
    assert says(judge(steady, truth)[1]) == 1
    shaky = [[answers(truth, right < p + d) for d in (-0.05, 0, 0.05)] for p in (0.80, 0.83)]
    assert says(judge(shaky, truth)[1]) == 0


def test_one_group_has_no_interval_and_an_undefined_metric_is_told() -> None:
    settings, truth = drawn(0, 0.8, 0.9)
    found = judge(settings, truth, groups=np.zeros(150, dtype=np.int64))
    assert [each.interval for each in found] == [None, None]
    auc = bind_metric("roc_auc_macro", params={}, task="multiclass")
    with pytest.raises(DataError):
        judge(settings, np.zeros(150, dtype=np.int64), metric=auc)
