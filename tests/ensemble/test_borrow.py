"""What a member never learned it takes from those that did."""

import numpy as np
import pytest

from gorae.ensemble import vote
from gorae.ensemble.borrow import borrow_opinions
from gorae.predictions import Predictions

IDS, COLUMNS = ("a", "b"), ("x", "y", "z")


def said(values: list[list[float]], ids: tuple[str, ...] = IDS) -> Predictions:
    return Predictions(ids, COLUMNS, np.array(values, dtype=np.float32), "score")


def test_a_class_is_judged_by_those_that_know_it() -> None:
    first = said([[0.8, 0.0, 0.2], [0.1, 0.0, 0.9]])
    second = said([[0.2, 0.6, 0.2], [0.3, 0.3, 0.4]])
    third = said([[0.4, 0.2, 0.4], [0.2, 0.5, 0.3]])
    borrowed = borrow_opinions([first, second, third], [{"y"}, set(), set()])
    np.testing.assert_allclose(borrowed[0].values, [[0.8, 0.4, 0.2], [0.1, 0.4, 0.9]])
    for before, after in zip((second, third), borrowed[1:], strict=True):
        np.testing.assert_array_equal(after.values, before.values)
    voted = vote(borrowed, "arithmetic")
    np.testing.assert_allclose(voted.values[:, 1], [0.4, 0.4], rtol=1e-6)


def test_what_nobody_learned_stays_and_order_of_ids_is_minded() -> None:
    first = said([[0.8, 0.1, 0.0], [0.1, 0.2, 0.0]])
    second = said([[0.5, 0.0, 0.0], [0.7, 0.0, 0.0]], ("b", "a"))
    borrowed = borrow_opinions([first, second], [{"z"}, {"y", "z"}])
    assert borrowed[1].ids == IDS
    np.testing.assert_allclose(borrowed[1].values, [[0.7, 0.1, 0.0], [0.5, 0.2, 0.0]])
    np.testing.assert_allclose(borrowed[0].values, first.values)


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_still_sum_to_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    members = [
        Predictions(IDS, COLUMNS, rng.dirichlet([1, 1, 1], 2).astype(np.float32), "multiclass")
        for _ in range(3)
    ]
    for member in borrow_opinions(members, [{"x"}, {"y"}, set()]):
        np.testing.assert_allclose(member.values.sum(axis=1), 1, atol=1e-6)
