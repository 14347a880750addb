"""Scores of a run are taken for each image's row, and ranks name the likeliest classes."""

import numpy as np

from gorae.predictions import Predictions
from gorae.tabular import score_features

THREE = Predictions(
    ("a", "b"),
    ("x", "y", "z"),
    np.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]], np.float32),
    "multiclass",
)


def test_values_and_ranks_by_hand() -> None:
    rows = np.array(["b", "a", "none", "b"], object)
    found = score_features(THREE, rows, name="0003", top_ranks=2)
    assert found.names == (
        *("0003 x", "0003 y", "0003 z"),
        *("0003 rank of x", "0003 rank of y", "0003 rank of z"),
    )
    nan = np.nan
    a = [0.25, 0.5, 0.25, 2, 1, nan]
    b = [0.125, 0.125, 0.75, 2, nan, 1]
    np.testing.assert_equal(found.values, np.array([b, a, [nan] * 6, b]))
    assert not found.is_category.any()


def test_of_two_classes_one_score_is_enough() -> None:
    two = Predictions(("a",), ("no", "yes"), np.array([[0.75, 0.25]], np.float32), "multiclass")
    found = score_features(two, np.array(["a"], object), name="7", top_ranks=0)
    assert found.names == ("7 yes",)
    assert found.values.tolist() == [[0.25]]


def test_a_number_is_taken_as_it_is() -> None:
    number = Predictions(("a",), ("value",), np.array([[-3.5]], np.float32), "value")
    found = score_features(number, np.array(["a"], object), name="7", top_ranks=0)
    assert found.values.tolist() == [[-3.5]]
