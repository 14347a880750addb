"""Votes: exact by hand, the same whatever the order, and refused where they mean nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.ensemble import (
    VOTE_NAMES,
    VOTES,
    fitting_votes,
    percentile_ranks,
    require_vote,
    soft_vote,
    vote,
)
from gorae.errors import ConfigError, DataError, UserError
from gorae.metrics import METRICS
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


@pytest.mark.parametrize("how", VOTES)
@given(seed=st.integers(0, 1000), weighted=st.booleans())
@settings(max_examples=8, deadline=None)
def test_order_of_members_and_rows_changes_no_bit(how: str, seed: int, weighted: bool) -> None:
    members = [drawn(seed + k) for k in range(4)]
    weights = [0.1, 0.7, 0.3, 1 / 3]
    expected = vote(members, how, weights=weights if weighted else None)
    for order in itertools.permutations(range(4)):
        again = vote(
            [members[k].select(members[k].ids[:: 1 if k % 2 else -1]) for k in order],
            how,
            weights=[weights[k] for k in order] if weighted else None,
        )
        assert again.select(expected.ids).values.tobytes() == expected.values.tobytes()


def test_order_of_members_changes_no_bit_of_sums_that_cancel() -> None:
    members = [one([value], kind="value") for value in (1e20, 1.0, -1e20, 3.0)]
    voted = {soft_vote(order).values.tobytes() for order in itertools.permutations(members)}
    assert len(voted) == 1


@pytest.mark.parametrize("how", VOTES)
def test_rows_in_parts_equal_rows_at_once(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [drawn(seed, num_ids=50) for seed in range(3)]
    whole = vote(members, how)
    monkeypatch.setattr("gorae.ensemble.votes.VALUES_AT_ONCE", 20)
    np.testing.assert_array_equal(vote(members, how).values, whole.values)


@pytest.mark.parametrize("how", ["arithmetic", "weighted", "geometric", "logit"])
def test_vote_of_one_and_of_equals_is_itself(how: str) -> None:
    member = drawn(0)
    np.testing.assert_allclose(vote([member], how).values, member.values, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        vote([member] * 7, how).values, member.values, rtol=1e-6, atol=1e-9
    )


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


def labels(*said: int, num_classes: int = 5) -> list[Predictions]:
    return [one(np.eye(num_classes)[label].tolist()) for label in said]


@pytest.mark.parametrize(
    ("said", "wins"),
    [((1, 1, 2, 3, 4), 1), ((3, 3, 1, 3, 1), 3), ((1, 2, 4, 3, 4), 4), ((3, 2, 1, 3, 3), 3)],
)
def test_hard_vote_by_hand(said: tuple[int, ...], wins: int) -> None:
    voted = vote(labels(*said), "hard")
    assert voted.values[0].argmax() == wins
    shares = np.bincount(said, minlength=5) / 5
    np.testing.assert_allclose(voted.values[0], shares, atol=1e-3)
    assert voted.kind == "multiclass"


@given(st.integers(0, 10_000), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_hard_vote_is_most_votes_then_mean_probability(seed: int, num_members: int) -> None:
    members = [drawn(seed + k, num_ids=20) for k in range(num_members)]
    voted = vote(members, "hard").values
    stacked = np.stack([member.values for member in members]).astype(np.float64)
    counts = (stacked.argmax(axis=2)[..., None] == np.arange(3)).sum(axis=0)
    for row, votes, mean in zip(voted, counts, stacked.mean(axis=0), strict=True):
        best = np.flatnonzero(votes == votes.max())
        assert row.argmax() == best[mean[best].argmax()]
        # More votes are always more, whatever the probabilities.
        assert all(row[a] > row[b] for a in range(3) for b in range(3) if votes[a] > votes[b])


def test_a_tie_of_votes_goes_to_a_probability_that_float32_hardly_tells() -> None:
    more = np.nextafter(np.float32(0.6), np.float32(1))
    members = [one([0.4, 0.6]), one([float(more), 1 - float(more)])]
    assert vote(members, "hard").values[0].argmax() == 0
    mirrored = [one([0.6, 0.4]), one([1 - float(more), float(more)])]
    assert vote(mirrored, "hard").values[0].argmax() == 1


def test_hard_vote_of_several_labels_is_by_column_at_one_half() -> None:
    members = [
        one([0.9, 0.5, 0.1], kind="multilabel"),
        one([0.2, 0.4, 0.4], kind="multilabel"),
        one([0.8, 0.5, 0.0], kind="multilabel"),
    ]
    voted = vote(members, "hard").values[0]
    np.testing.assert_allclose(voted, [2 / 3, 2 / 3, 0], atol=1e-3)
    tied = vote(members[:2], "hard").values[0]
    assert (tied >= 0.5).tolist() == [True, False, False], "means .55, .45, .25"


def test_geometric_mean_of_twenty_thousandths_is_a_thousandth() -> None:
    member = one([1e-3, 1e-30], kind="multilabel")
    voted = vote([member] * 20, "geometric").values[0]
    np.testing.assert_allclose(voted[0], 1e-3, rtol=1e-6)
    np.testing.assert_allclose(voted[1], 1e-15, rtol=1e-6, err_msg="the floor")


def test_geometric_mean_is_the_root_of_the_product_made_to_sum_to_one() -> None:
    members = [drawn(seed, num_ids=30) for seed in range(3)]
    stacked = np.stack([m.values for m in members]).astype(np.float64).clip(1e-15)
    product = stacked.prod(axis=0) ** (1 / 3)
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        vote(members, "geometric").values, expected, rtol=1e-5, atol=1e-9
    )


def test_one_zero_does_not_decide_alone() -> None:
    members = [one([1.0, 0.0])] + [one([0.01, 0.99])] * 20
    assert vote(members, "geometric").values[0].argmax() == 1


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_mean_of_logits_six_three_one(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (3, 8, 5))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    ids = tuple("abcdefgh")
    members = [
        Predictions(ids, tuple("vwxyz"), p.astype(np.float32), "multiclass") for p in softmax
    ]
    mean = np.tensordot([0.6, 0.3, 0.1], logits, 1)
    expected = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    voted = vote(members, "logit", weights=[6, 3, 1])
    np.testing.assert_allclose(voted.values, expected, rtol=2e-5, atol=1e-8)
    np.testing.assert_array_equal(
        voted.values, vote(members, "geometric", weights=[6, 3, 1]).values
    )


def test_mean_of_logits_of_several_labels() -> None:
    members = [one([0.9, 0.5], kind="multilabel"), one([0.5, 1.0], kind="multilabel")]
    voted = vote(members, "logit").values[0]
    np.testing.assert_allclose(voted[0], 1 / (1 + 9**-0.5), rtol=1e-6)
    assert 0.999 < voted[1] <= 1


def test_percentile_ranks_by_hand() -> None:
    column = np.array([[0.1], [0.9], [0.2], [0.3]], np.float32)
    member = Predictions(tuple("abcd"), ("melanoma",), column, "multilabel")
    ranks = percentile_ranks(member)
    assert ranks.values[:, 0].tolist() == [0.25, 1, 0.5, 0.75]
    assert ranks.kind == "score"
    tied = Predictions(
        tuple("abcd"), ("x",), np.eye(2, dtype=np.float32)[[1, 0, 1, 0], 1:], "multilabel"
    )
    assert percentile_ranks(tied).values[:, 0].tolist() == [0.875, 0.375, 0.875, 0.375]


def test_rank_vote_sees_the_order_only() -> None:
    members = [drawn(seed, num_ids=40) for seed in range(3)]
    voted = vote(members, "rank")
    assert voted.kind == "score"
    squeezed = [
        Predictions(m.ids, m.columns, m.values * np.float32(0.5), "multilabel") for m in members
    ]
    plain = [Predictions(m.ids, m.columns, m.values, "multilabel") for m in members]
    np.testing.assert_array_equal(vote(squeezed, "rank").values, vote(plain, "rank").values)


@pytest.mark.parametrize("how", ["geometric", "logit", "rank", "hard", "subtask", "median"])
def test_a_number_is_joined_by_a_mean_only(how: str) -> None:
    with pytest.raises(ConfigError, match="these can: arithmetic, weighted"):
        vote([one([3.0], kind="value")], how)


@pytest.mark.parametrize(
    ("how", "kind", "metric", "message"),
    [
        ("rank", "multiclass", "log_loss", "log_loss needs probabilities"),
        ("rank", "multilabel", "macro_f1", "counts what is above a threshold"),
        (
            "hard",
            "value",
            "rmse",
            "predictions of kind 'value'. Use one of arithmetic, weighted",
        ),
        ("subtask", "multiclass", "accuracy", "composes no labels"),
        ("subtask", "multilabel", "accuracy", "one per row"),
        ("mean", "multiclass", "accuracy", "there is no such vote"),
    ],
)
def test_votes_that_mean_nothing_here_are_refused(
    how: str, kind: Kind, metric: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        require_vote(how, kind, METRICS[metric])
    assert how not in fitting_votes(kind, METRICS[metric])


def test_every_vote_fits_somewhere() -> None:
    fitting = fitting_votes("multiclass", METRICS["accuracy"], task_is_composed=True)
    assert fitting == VOTE_NAMES
    assert fitting_votes("value", METRICS["rmse"]) == ("arithmetic", "weighted")
