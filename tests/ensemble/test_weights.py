"""Weights by score, in either direction and at its edges."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.ensemble import score_weights

SCORES = st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=6)


def test_a_score_weighs_as_its_share_of_the_sum() -> None:
    weights = score_weights([0.6, 0.3, 0.1], greater_is_better=True)
    np.testing.assert_allclose(weights, [0.6, 0.3, 0.1])


@pytest.mark.parametrize(
    ("scores", "is_greater", "weights"),
    [
        ([0.5, 0.25], False, [1 / 3, 2 / 3]),
        ([0.0, 0.25], False, [1, 0]),
        ([0.0, 0.0, 1.0], False, [0.5, 0.5, 0]),
        ([-3.0, -1.0], False, [0.75, 0.25]),
        ([-0.1, 0.4, 0.6], True, [0, 0.4, 0.6]),
        ([-0.1, -0.4], True, [0.5, 0.5]),
        ([None, None], True, [0.5, 0.5]),
        ([None, 0.6, 0.2], True, [1 / 3, 0.5, 1 / 6]),
    ],
)
def test_edges_by_hand(
    scores: list[float | None], is_greater: bool, weights: list[float]
) -> None:
    found = score_weights(scores, greater_is_better=is_greater)
    np.testing.assert_allclose(found, weights)


@given(SCORES, st.booleans())
def test_better_never_weighs_less_and_all_sum_to_one(
    scores: list[float | None], is_greater: bool
) -> None:
    weights = score_weights(scores, greater_is_better=is_greater)
    assert math.isclose(weights.sum(), 1)
    assert (weights >= 0).all()
    pairs = [(s if is_greater else -s, w) for s, w in zip(scores, weights, strict=True) if s]
    for (first, w_first), (second, w_second) in itertools.product(pairs, repeat=2):
        if first > second:
            assert w_first >= w_second - 1e-12
