"""Group-relative features against numpy, by hand, and on awkward groups."""

import numpy as np
import pytest
from scipy.stats import rankdata

from gorae.tabular import Features, relative_features


def scores(*columns: list[float]) -> Features:
    values = np.array(columns, np.float64).T
    names = tuple(f"s{place}" for place in range(len(columns)))
    return Features(names, values, np.zeros(len(columns), bool))


def test_by_hand() -> None:
    keys = np.array(["p", "q", "p", "", "p"], object)
    found = relative_features(
        scores([1.0, 5.0, 2.0, 9.0, 3.0]), keys, name="patient", with_size=True
    )
    assert found.names == (
        *("s0 / mean of patient", "s0 z in patient", "s0 rank in patient"),
        "size of patient",
    )
    z, nan = np.sqrt(1.5), np.nan
    expected = [
        [0.5, -z, 1 / 3, 3],
        [1.0, 0.0, 1.0, 1],
        [1.0, 0.0, 2 / 3, 3],
        [nan, nan, nan, nan],
        [1.5, z, 1.0, 3],
    ]
    np.testing.assert_allclose(found.values, expected)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_numpy_within_each_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = [rng.random(60).round(1).tolist() for _ in range(2)]
    keys = rng.choice(["a", "b", "c"], 60).astype(object)
    found = relative_features(scores(*columns), keys, name="g", with_size=False).values
    for key in "abc":
        rows = keys == key
        for place in range(2):
            own = np.array(columns[place])[rows]
            np.testing.assert_allclose(found[rows, place], own / own.mean())
            np.testing.assert_allclose(found[rows, 2 + place], (own - own.mean()) / own.std())
            np.testing.assert_allclose(found[rows, 4 + place], rankdata(own) / len(own))


def test_groups_without_spread_or_with_a_mean_of_zero() -> None:
    keys = np.array(["a", "a", "b", "b"], object)
    found = relative_features(scores([0.3, 0.3, -1.0, 1.0]), keys, name="g", with_size=False)
    nan = np.nan
    expected = [[1, 0, 0.75], [1, 0, 0.75], [nan, -1, 0.5], [nan, 1, 1.0]]
    np.testing.assert_allclose(found.values, expected)


def test_an_unscored_image_is_missing_and_moves_no_other() -> None:
    keys = np.array(["a", "a", "a"], object)
    found = relative_features(scores([1.0, 3.0, np.nan]), keys, name="g", with_size=False)
    np.testing.assert_allclose(found.values[:2], [[0.5, -1, 0.5], [1.5, 1, 1.0]])
    assert np.isnan(found.values[2]).all()


@pytest.mark.parametrize("seed", range(3))
def test_other_groups_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = np.array(["a"] * 5 + ["b"] * 7, object)
    values = rng.random(12)
    other = np.where(keys == "b", rng.random(12), values)
    one, two = (
        relative_features(scores(each.tolist()), keys, name="g", with_size=True).values[:5]
        for each in (values, other)
    )
    np.testing.assert_array_equal(one, two)
