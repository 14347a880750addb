"""Boosted trees on columns: the same on every run, blind to the fold they score."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.data.sources import Task
from gorae.eda.boosting import boosted_oof, encode_columns


def test_columns_become_numbers_or_codes() -> None:
    columns = pd.DataFrame(
        {
            "age": ["58", " 7", "", "1e1"],
            "sex": ["M", "F", "", "M"],
            "taken": pd.to_datetime(["2021-01-02", "NaT", "2021-01-01", "2021-01-03"]),
            "flag": [True, False, True, True],
            "size": [3, np.inf, np.nan, 5],
            "empty": ["", "", "", ""],
        }
    )
    encoded = encode_columns(columns)
    nan = np.nan
    expected = [
        [58, 1, 86400, 1, 3, nan],
        [7, 0, nan, 0, nan, nan],
        [nan, nan, 0, 1, nan, nan],
        [10, 1, 2 * 86400, 1, 5, nan],
    ]
    assert np.array_equal(encoded.values, np.array(expected), equal_nan=True)
    assert encoded.is_category == (False, True, False, False, False, True)


def test_codes_do_not_depend_on_the_order_of_rows() -> None:
    text = pd.Series(["b", "a", "c", "a"])
    there = encode_columns(text.to_frame()).values[:, 0]
    back = encode_columns(text[::-1].to_frame()).values[:, 0]
    assert np.array_equal(there, back[::-1])


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "ordinal", "regression"])
def test_scores_are_the_same_twice_and_on_any_number_of_threads(task: Task) -> None:
    rng = np.random.default_rng(0)
    columns = encode_columns(
        pd.DataFrame({"a": rng.normal(size=200), "b": rng.integers(0, 4, 200).astype(str)})
    )
    truths: dict[Task, Any] = {
        "multiclass": rng.integers(0, 3, 200),
        "multilabel": rng.integers(0, 2, (200, 2)),
        "ordinal": rng.integers(0, 5, 200),
        "regression": columns.values[:, 0] ** 2,
    }
    folds = np.arange(200) % 3
    runs = [
        boosted_oof(columns, truths[task], folds, task=task, seed=1, num_threads=threads)
        for threads in (1, 1, 2)
    ]
    for scores, gains in runs[1:]:
        assert np.array_equal(scores, runs[0][0])
        assert np.array_equal(gains, runs[0][1])
    widths: dict[Task, int] = {"multiclass": 3, "multilabel": 2, "ordinal": 1, "regression": 1}
    assert runs[0][0].shape == (200, widths[task])


def test_a_fold_is_scored_without_its_labels() -> None:
    rng = np.random.default_rng(0)
    columns = encode_columns(pd.DataFrame({"a": rng.normal(size=120)}))
    truth, folds = rng.integers(0, 2, 120), np.arange(120) % 4
    before, _ = boosted_oof(columns, truth, folds, task="multiclass", seed=0)
    turned = np.where(folds == 2, 1 - truth, truth)
    after, _ = boosted_oof(columns, turned, folds, task="multiclass", seed=0)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.array_equal(before, after)


def test_the_gain_names_the_column_that_tells() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"noise": rng.normal(size=300), "tells": rng.normal(size=300)})
    truth = (table["tells"] > 0).to_numpy(np.int64)
    _, gains = boosted_oof(
        encode_columns(table), truth, np.arange(300) % 5, task="multiclass", seed=0
    )
    assert gains[1] > 0.9
    assert gains.sum() == pytest.approx(1)
    _, nothing = boosted_oof(
        encode_columns(pd.DataFrame({"one": np.zeros(300)})),
        truth,
        np.arange(300) % 5,
        task="multiclass",
        seed=0,
    )
    assert nothing.tolist() == [0]
