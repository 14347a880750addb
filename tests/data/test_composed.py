"""Composed labels: classes of parts and back, and their probabilities."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from gorae.data.composed import (
    class_indices,
    class_probabilities,
    composed_probabilities,
    part_columns,
    part_indices,
    part_probabilities,
    part_sizes,
)
from gorae.data.person_layout import COMPOSITION
from gorae.data.sources import LabelPart
from gorae.errors import ConfigError

MASK = tuple(LabelPart(**part) for part in COMPOSITION)
PARTS = part_indices(MASK, [str(label) for label in range(18)])

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def full_table(sizes: list[int]) -> NDArray[np.int64]:
    return np.array(list(itertools.product(*map(range, sizes))), dtype=np.int64)


def draw_proba(rng: np.random.Generator, num_rows: int, size: int) -> NDArray[np.float64]:
    return softmax(3 * rng.normal(size=(num_rows, size)), axis=1)


def test_the_mask_classes_by_hand() -> None:
    assert part_sizes(PARTS) == (3, 2, 3)
    hand = np.array([[0, 0, 0], [0, 1, 1], [1, 1, 2], [2, 0, 1], [2, 1, 2]])
    assert class_indices(hand, parts=PARTS).tolist() == [0, 4, 11, 13, 17]
    assert (PARTS @ [6, 3, 1]).tolist() == list(range(18))


@given(sizes=SIZES, seed=st.integers(0, 99))
def test_a_class_comes_back_from_its_parts_in_any_order_of_classes(
    sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table = rng.permutation(full_table(sizes))
    assert part_sizes(table) == tuple(sizes)
    chosen = rng.integers(len(table), size=20)
    assert class_indices(table[chosen], parts=table).tolist() == chosen.tolist()


@given(weights=st.permutations([6, 3, 1]), order=st.permutations(range(18)))
def test_indices_of_declared_parts_add_up_to_the_class(
    weights: list[int], order: list[int]
) -> None:
    sizes = {6: 3, 3: 2, 1: 3}
    parts = [
        LabelPart(name=f"p{w}", weight=w, values={str(i): i for i in range(sizes[w])})
        for w in weights
    ]
    table = part_indices(parts, [str(label) for label in order])
    assert (table @ weights).tolist() == order


def test_a_choice_of_parts_that_is_no_class_has_none() -> None:
    indices = np.array([[0, 0, 0], [2, 1, 2], [0, 1, 0]])
    assert class_indices(indices, parts=PARTS[:3]).tolist() == [0, -1, -1]


@given(sizes=SIZES, seed=st.integers(0, 99))
def test_products_sum_to_one_and_their_marginals_are_the_factors(
    sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table = rng.permutation(full_table(sizes))
    factors = [draw_proba(rng, 5, size) for size in sizes]
    proba = class_probabilities(factors, parts=table)
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    for marginal, factor in zip(part_probabilities(proba, parts=table), factors, strict=True):
        np.testing.assert_allclose(marginal, factor, atol=1e-12)


def test_eighteen_probabilities_by_hand() -> None:
    mask, gender, age = ([[0.7, 0.2, 0.1]], [[0.6, 0.4]], [[0.5, 0.3, 0.2]])
    proba = class_probabilities([np.array(p) for p in (mask, gender, age)], parts=PARTS)
    assert proba[0, 0] == pytest.approx(0.7 * 0.6 * 0.5)
    assert proba[0, 4] == pytest.approx(0.7 * 0.4 * 0.3)
    assert proba[0, 17] == pytest.approx(0.1 * 0.4 * 0.2)


def test_classes_that_are_missing_leave_their_share_to_the_others() -> None:
    table = np.array([[0, 0], [0, 1], [1, 0]])
    proba = class_probabilities([np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]])], parts=table)
    np.testing.assert_allclose(proba, [[1 / 3, 1 / 3, 1 / 3]])
    # Parts that are certain of what is no class: those with one part right share alike.
    certain = np.array([[0.0, 1.0]])
    np.testing.assert_allclose(
        class_probabilities([certain, certain], parts=table), [[0, 0.5, 0.5]], atol=1e-12
    )


@given(sizes=SIZES, num_classes=st.integers(0, 5))
def test_columns_hold_classes_first_and_every_part_once(
    sizes: list[int], num_classes: int
) -> None:
    width = num_classes + sum(sizes)
    of_classes, of_parts = part_columns(sizes, width=width)
    every = list(range(width))
    assert [len(every[each]) for each in (of_classes, *of_parts)] == [num_classes, *sizes]
    assert [x for each in (of_classes, *of_parts) for x in every[each]] == every


def test_outputs_with_classes_are_decided_by_them_alone() -> None:
    outputs = np.random.default_rng(0).normal(size=(4, 26)).astype(np.float32)
    np.testing.assert_allclose(
        composed_probabilities(outputs, parts=PARTS), softmax(outputs[:, :18], axis=1), 1e-6
    )
    of_parts = composed_probabilities(outputs[:, 18:], parts=PARTS)
    arguments = [outputs[:, 18:21], outputs[:, 21:23], outputs[:, 23:]]
    chosen = np.stack([each.argmax(axis=1) for each in arguments], axis=1)
    assert of_parts.argmax(axis=1).tolist() == class_indices(chosen, parts=PARTS).tolist()


def test_every_wrong_part_and_class_is_named_at_once() -> None:
    parts = [
        LabelPart(name="mask", weight=2, values={"on": 0, "off": -1}),
        LabelPart(name="age", weight=1, thresholds=(30.0, 60.0)),
    ]
    with pytest.raises(ConfigError, match=r"(?s)'mask': index -1 of 'off'.*'7': 0 choices"):
        part_indices(parts, ["1", "7"])


def test_classes_must_be_made_of_the_parts_in_one_way() -> None:
    with pytest.raises(ConfigError, match="class '18': 0 choices of mask, gender, age"):
        part_indices(MASK, ("17", "18"))
    double = (
        LabelPart(name="a", weight=1, values={"x": 0, "y": 1}),
        LabelPart(name="b", weight=1, values={"x": 0, "y": 1}),
    )
    with pytest.raises(ConfigError, match="class '1': 2 choices of a, b"):
        part_indices(double, ("0", "1", "2"))
