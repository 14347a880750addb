"""Soft voting and the assembly of out-of-fold predictions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.ensemble import assemble_oof, soft_vote
from gorae.errors import DataError, UserError
from gorae.predictions import Kind, Predictions


def one(row: list[float], *, id_: str = "a", kind: Kind = "multiclass") -> Predictions:
    names = tuple(f"c{k}" for k in range(len(row)))
    return Predictions((id_,), names, np.array([row], np.float32), kind)


def drawn(seed: int, *, num_ids: int = 7, num_classes: int = 3) -> Predictions:
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.full(num_classes, 0.1), num_ids).astype(np.float32)
    ids = tuple(str(number) for number in range(num_ids))
    return Predictions(ids, tuple("xyz"[:num_classes]), values, "multiclass")


# Printed in one of the sources; the second example holds a vector that sums to 0.9.
FIRST = [
    [0.1, 0.5, 0.2, 0.2],
    [0.1, 0.6, 0.1, 0.2],
    [0.1, 0.4, 0.3, 0.2],
    [0.3, 0.3, 0.2, 0.2],
    [0.1, 0.4, 0.1, 0.4],
]
SECOND = [
    [0.1, 0.1, 0.1, 0.7],
    [0.2, 0.2, 0.4, 0.2],
    [0.1, 0.1, 0.2, 0.5],
    [0.2, 0.1, 0.3, 0.4],
    [0.1, 0.3, 0.2, 0.4],
]


def test_soft_vote_by_hand() -> None:
    voted = soft_vote([one(row) for row in FIRST])
    np.testing.assert_allclose(voted.values[0], [0.14, 0.44, 0.18, 0.24], rtol=1e-6)
    assert voted.values[0].argmax() == 1


def test_a_vector_that_is_no_distribution_is_flagged_and_votes_only_as_a_score() -> None:
    with pytest.raises(DataError, match=r"do not sum to 1, first 'a' \(0.1, 0.1, 0.2, 0.5\)"):
        soft_vote([one(row) for row in SECOND])
    voted = soft_vote([one(row, kind="score") for row in SECOND])
    np.testing.assert_allclose(voted.values[0], [0.14, 0.16, 0.24, 0.44], rtol=1e-6)
    assert voted.values[0].argmax() == 3


def test_views_by_hand() -> None:
    views = [[0.7, 0.1, 0.05, 0.03], [0.3, 0.1, 0.03, 0.27], [0.5, 0.02, 0.2, 0.21]]
    voted = soft_vote([one(view, kind="score") for view in views])
    np.testing.assert_allclose(voted.values[0], [0.5, 0.0733, 0.0933, 0.17], atol=5e-5)


@given(st.integers(0, 50), st.booleans())
@settings(max_examples=25, deadline=None)
def test_order_of_members_and_rows_changes_no_bit(seed: int, weighted: bool) -> None:
    members = [drawn(seed + k) for k in range(4)]
    weights = [0.1, 0.7, 0.3, 1 / 3]
    expected = soft_vote(members, weights=weights if weighted else None)
    for order in itertools.permutations(range(4)):
        again = soft_vote(
            [members[k].select(members[k].ids[:: 1 if k % 2 else -1]) for k in order],
            weights=[weights[k] for k in order] if weighted else None,
        )
        assert again.select(expected.ids).values.tobytes() == expected.values.tobytes()


def test_order_of_members_changes_no_bit_of_sums_that_cancel() -> None:
    members = [one([value], kind="value") for value in (1e20, 1.0, -1e20, 3.0)]
    voted = {soft_vote(order).values.tobytes() for order in itertools.permutations(members)}
    assert len(voted) == 1


def test_rows_in_parts_equal_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [drawn(seed, num_ids=50) for seed in range(3)]
    whole = soft_vote(members)
    monkeypatch.setattr("gorae.ensemble.VALUES_AT_ONCE", 20)
    np.testing.assert_array_equal(soft_vote(members).values, whole.values)


def test_vote_of_one_and_of_equals_is_itself() -> None:
    member = drawn(0)
    np.testing.assert_array_equal(soft_vote([member]).values, member.values)
    np.testing.assert_allclose(soft_vote([member] * 7).values, member.values, rtol=1e-6)


def test_weights_are_ratios() -> None:
    first, second = one([1.0, 0.0]), one([0.0, 1.0])
    voted = soft_vote([first, second], weights=[6, 2])
    np.testing.assert_array_equal(voted.values, [[0.75, 0.25]])
    alone = soft_vote([first, second], weights=[0, 3])
    np.testing.assert_array_equal(alone.values, second.values)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "1 weights are given for 2 members"),
        ([1.0, -1.0], "must be finite and 0 or more"),
        ([0.0, 0.0], "one of them above 0"),
        ([1.0, float("nan")], "must be finite"),
    ],
)
def test_wrong_weights_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        soft_vote([drawn(0), drawn(1)], weights=weights)


def test_members_must_agree_on_ids_and_columns() -> None:
    with pytest.raises(DataError, match=r"Member 2 and member 1 .* differ in 2 ids, first 'a'"):
        soft_vote([one([1.0, 0.0]), one([1.0, 0.0], id_="b")])
    with pytest.raises(DataError, match="Member 2 of the vote predicts multiclass c0, c1, c2"):
        soft_vote([one([1.0, 0.0]), one([1.0, 0.0, 0.0])])
    with pytest.raises(DataError, match="predicts score"):
        soft_vote([one([1.0, 0.0]), one([1.0, 0.0], kind="score")])


def folds_of(whole: Predictions, num_folds: int, seed: int) -> list[Predictions]:
    fold = np.random.default_rng(seed).integers(0, num_folds, len(whole.ids))
    return [
        whole.select([id_ for id_, f in zip(whole.ids, fold, strict=True) if f == k])
        for k in range(num_folds)
    ]


def test_out_of_fold_is_each_id_once_and_the_mean_of_repeats() -> None:
    first, second = drawn(1), drawn(2)
    ids = list(reversed(first.ids))
    oof = assemble_oof([folds_of(first, 3, 0), folds_of(second, 2, 1)], ids=ids)
    assert oof.ids == tuple(ids)
    expected = (first.values.astype(np.float64) + second.values) / 2
    np.testing.assert_allclose(oof.values, expected[::-1], rtol=1e-6)


def test_out_of_fold_refuses_overlap_gaps_and_strangers() -> None:
    whole = drawn(0)
    parts = folds_of(whole, 2, 0)
    with pytest.raises(DataError, match="Repeat 0: folds 0 and 2 both hold out"):
        assemble_oof([[*parts, parts[0]]], ids=whole.ids)
    with pytest.raises(DataError, match=r"Repeat 1: .* were held out by no fold, first"):
        assemble_oof([parts, parts[:1]], ids=whole.ids)
    with pytest.raises(DataError, match="1 were not asked for, first '6'"):
        assemble_oof([parts], ids=whole.ids[:-1])
