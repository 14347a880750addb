"""The vote on parts of a label, where the vote on the label is tied."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.data.composed import part_indices
from gorae.data.person_layout import COMPOSITION
from gorae.data.sources import LabelPart
from gorae.ensemble import subtask_vote, vote
from gorae.predictions import Predictions

MASK = tuple(LabelPart(**part) for part in COMPOSITION)
CLASSES = tuple(str(label) for label in range(18))
PARTS = part_indices(MASK, CLASSES)


def said(labels: Sequence[int], classes: Sequence[str] = CLASSES) -> list[Predictions]:
    return [
        Predictions(
            ("a",), tuple(classes), np.eye(len(classes))[[k]].astype("f4"), "multiclass"
        )
        for k in labels
    ]


def winner(labels: Sequence[int]) -> int:
    return int(subtask_vote(said(labels), parts=PARTS).values[0].argmax())


def test_parts_of_the_mask_classes() -> None:
    found = {int(name): tuple(row) for name, row in zip(CLASSES, PARTS.tolist(), strict=True)}
    assert found[0] == (0, 0, 0)
    assert found[4] == (0, 1, 1)
    assert found[11] == (1, 1, 2)
    assert found[13] == (2, 0, 1)
    assert found[17] == (2, 1, 2)
    assert len(set(found.values())) == 18


@pytest.mark.parametrize(("labels", "wins"), [((3, 2, 1), 0), ((5, 1, 0), 2)])
def test_votes_by_hand(labels: tuple[int, ...], wins: int) -> None:
    assert winner(labels) == wins


def test_the_order_counts_only_where_parts_are_tied() -> None:
    # 3 is a woman below 30, 2 a man of 60, 1 a man of 30: the age is tied.
    assert winner((3, 2, 1)) == 0
    assert winner((2, 3, 1)) == 2
    assert winner((1, 2, 3)) == 1


@given(st.lists(st.integers(0, 17), min_size=1, max_size=7))
def test_a_majority_stands_and_a_tie_is_voted_on_by_part(labels: list[int]) -> None:
    counts = np.bincount(labels, minlength=18)
    most = np.flatnonzero(counts == counts.max())
    if len(most) == 1:
        assert winner(labels) == most[0]
        return
    expected = 0
    for weight, base in ((6, 3), (3, 2), (1, 3)):
        indices = [label // weight % base for label in labels]
        tops = [i for i in indices if indices.count(i) == max(map(indices.count, indices))]
        expected += weight * tops[0]
    assert winner(labels) == expected


@given(st.lists(st.lists(st.integers(0, 17), min_size=4, max_size=4), min_size=1, max_size=5))
def test_shares_are_those_of_the_hard_vote(labels: list[list[int]]) -> None:
    ids = tuple("abcd")
    members = [
        Predictions(ids, CLASSES, np.eye(18)[row].astype(np.float32), "multiclass")
        for row in labels
    ]
    voted, hard = subtask_vote(members, parts=PARTS), vote(members, "hard")
    np.testing.assert_allclose(np.sort(voted.values), np.sort(hard.values), atol=1e-6)


def test_parts_that_make_up_no_class_leave_it_to_the_first() -> None:
    classes = ("1", "2", "3")  # 0, which (3, 2, 1) would make, is no class here
    parts = part_indices(MASK, classes)
    voted = subtask_vote(said([2, 1, 0], classes), parts=parts)
    assert voted.values[0].argmax() == 2
