"""A planted shift is found, none where there is none, and near-duplicates change nothing."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gorae.eda.shift import FALSE_ALARM_RATE, embedding_shift, metadata_shift, rows_like_test
from gorae.errors import DataError


def pictures(
    seed: int, *, num: int = 240, moved: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features of a quarter of test pictures, ``moved`` along one direction; more than rows."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, 300)) * rng.lognormal(size=300)
    is_test = rng.permutation(num) < num // 4
    features[:, :10] += moved * is_test[:, None] * features[:, :10].std(axis=0)
    return features.astype(np.float32), is_test


def test_sets_of_one_kind_are_called_shifted_at_most_as_often_as_stated() -> None:
    by_features = by_columns = 0
    for seed in range(40):
        features, is_test = pictures(seed)
        groups = np.arange(len(is_test))
        by_features += embedding_shift(features, is_test, groups, seed=seed).is_shifted
        columns = pd.DataFrame(features[:, :4], columns=list("abcd"))
        by_columns += metadata_shift(columns, is_test, groups, seed=seed).is_shifted
    # More than 5 of 40 at a rate of 5 %: a chance of 1 in 70.
    assert FALSE_ALARM_RATE == 0.05
    assert by_features <= 5
    assert by_columns <= 5


def test_a_planted_shift_is_found_and_grows_with_its_size() -> None:
    aucs = []
    for moved in (0.5, 1.0, 2.0):
        features, is_test = pictures(0, num=400, moved=moved)
        shift = embedding_shift(features, is_test, np.arange(400), seed=0)
        assert shift.is_shifted
        assert shift.low > 0.5
        aucs.append(shift.auc)
    assert aucs == sorted(aucs)
    assert aucs[-1] > 0.95


def test_the_moved_column_is_named() -> None:
    rng = np.random.default_rng(0)
    is_test = np.arange(300) < 60
    columns = pd.DataFrame(
        {
            "width": rng.normal(size=300),
            "camera": np.where(is_test & (rng.random(300) < 0.7), "new", "old"),
        }
    )
    shift = metadata_shift(columns, is_test, np.arange(300), seed=0)
    assert shift.is_shifted
    assert shift.top_columns[0][0] == "camera"
    assert sum(share for _, share in shift.top_columns) == pytest.approx(1)


def test_train_pictures_that_look_like_test_come_first() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 20)).astype(np.float32)
    is_test = np.arange(300) >= 200
    features[is_test, :3] += 2
    features[:20, :3] += 2
    shift = embedding_shift(features, is_test, np.arange(300), seed=0)
    most, least = rows_like_test(shift, is_test, count=20)
    assert (most < 20).mean() > 0.5
    assert not (least < 20).any()
    assert not is_test[np.r_[most, least]].any()
    assert shift.test_likeness.min() >= 0
    assert shift.test_likeness.max() <= 1


def test_near_duplicates_inside_the_parts_do_not_fake_a_shift() -> None:
    """Twelve copies of each picture, all on one side: torn apart they would be recognised."""
    torn, kept = [], []
    groups = np.repeat(np.arange(40), 12)
    is_test = groups < 12
    for seed in range(12):
        rng = np.random.default_rng(seed)
        base = rng.normal(size=(40, 200))
        features = (base[groups] + rng.normal(size=(480, 200)) / 20).astype(np.float32)
        torn.append(embedding_shift(features, is_test, np.arange(480), seed=seed))
        kept.append(embedding_shift(features, is_test, groups, seed=seed))
    assert all(shift.auc > 0.95 and shift.is_shifted for shift in torn)
    assert np.mean([shift.auc for shift in kept]) == pytest.approx(0.5, abs=0.1)
    # More than 3 of 12 at a rate of 5 %: a chance of 1 in 400.
    assert sum(shift.is_shifted for shift in kept) <= 3


def test_scale_and_order_of_features_and_a_constant_one_do_not_matter() -> None:
    features, is_test = pictures(3, moved=0.7)
    groups = np.arange(len(is_test))
    plain = embedding_shift(features, is_test, groups, seed=0)
    scaled = np.c_[features[:, ::-1] * 1000 + 5, np.full(len(features), 7.0)]
    other = embedding_shift(scaled.astype(np.float32), is_test, groups, seed=0)
    assert other.auc == pytest.approx(plain.auc, abs=0.01)


def test_large_parts_are_drawn_from_and_small_ones_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, is_test = pictures(0, moved=1.0)
    monkeypatch.setattr("gorae.eda.shift.MOST_ROWS_OF_PART", 40)
    first = embedding_shift(features, is_test, np.arange(240), seed=0)
    again = embedding_shift(features, is_test, np.arange(240), seed=0)
    assert first.auc == again.auc
    assert first.is_shifted
    with pytest.raises(DataError, match="231 train and 9 test pictures, and 10 of each"):
        embedding_shift(features, np.arange(240) < 9, np.arange(240), seed=0)
    with pytest.raises(DataError, match="no columns"):
        metadata_shift(pd.DataFrame(index=range(240)), is_test, np.arange(240), seed=0)
