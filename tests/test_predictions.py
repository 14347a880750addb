"""Predictions: what they accept, and how they are joined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gorae.errors import DataError
from gorae.predictions import Kind, Predictions, aggregate_rows, concatenate


def of(
    rows: dict[str, list[float]], kind: Kind = "multiclass", columns: tuple[str, ...] = ()
) -> Predictions:
    values = np.array(list(rows.values()), dtype=np.float32).reshape(len(rows), -1)
    names = columns or tuple(f"c{k}" for k in range(values.shape[1]))
    return Predictions(tuple(rows), names, values, kind)


def test_an_id_stands_once() -> None:
    values = np.array([[0.5, 0.5]] * 3, np.float32)
    with pytest.raises(DataError, match="hold id '7' 2 times"):
        Predictions(("7", "8", "7"), ("cat", "dog"), values, "multiclass")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_are_finite(bad: float) -> None:
    with pytest.raises(DataError, match="1 of 2 ids are not finite, first 'b'"):
        of({"a": [1.0], "b": [bad]}, "value")


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_probabilities_lie_from_0_to_1(kind: Kind) -> None:
    with pytest.raises(DataError, match="outside 0 to 1, first 'a'"):
        of({"a": [1.5, -0.5], "b": [0.5, 0.5]}, kind)


def test_multiclass_rows_sum_to_1_and_others_need_not() -> None:
    with pytest.raises(DataError, match=r"1 of 2 ids do not sum to 1, first 'b' \(0.4, 0.5\)"):
        of({"a": [0.5, 0.5], "b": [0.4, 0.5]})
    of({"a": [0.4, 0.4]}, "multilabel")
    of({"a": [3.0, -4.0]}, "score")


def test_a_row_of_many_classes_is_shortened_in_the_message() -> None:
    with pytest.raises(DataError, match=r"first 'a' \(0, 0, 0, 0, 0, \.\.\.\)"):
        of({"a": [0.0] * 9})


@given(st.permutations([str(number) for number in range(6)]), st.integers(0, 6))
def test_select_gives_rows_by_id(order: list[str], count: int) -> None:
    all_rows = of({str(n): [float(n)] for n in range(6)}, "value")
    chosen = all_rows.select(order[:count])
    assert chosen.ids == tuple(order[:count])
    assert chosen.values[:, 0].tolist() == [float(id_) for id_ in order[:count]]


def test_select_names_ids_without_prediction() -> None:
    with pytest.raises(DataError, match="2 of 3 ids have no prediction, first 'x'"):
        of({"a": [1.0]}, "value").select(["a", "x", "y"])


def test_to_frame_holds_ids_and_columns() -> None:
    frame = of({"007": [0.25, 0.75]}, columns=("개", "id")).to_frame()
    assert list(frame.columns) == ["id", "개", "id"]
    assert frame.iloc[0].tolist() == ["007", 0.25, 0.75]


def test_concatenate_joins_disjoint_parts_only() -> None:
    first, second = of({"a": [1.0, 0.0]}), of({"b": [0.0, 1.0]})
    assert concatenate([first, second]).ids == ("a", "b")
    with pytest.raises(DataError, match="hold id 'a' 2 times"):
        concatenate([first, second, first])


def test_rows_are_joined_by_mean_and_max() -> None:
    images = of({"1a": [0.9, 0.1], "2a": [0.2, 0.8], "1b": [0.5, 0.5]})
    mean = aggregate_rows(images, ["p1", "p2", "p1"], how="mean")
    assert mean.ids == ("p1", "p2")
    np.testing.assert_allclose(mean.values, [[0.7, 0.3], [0.2, 0.8]], rtol=1e-6)
    # 0.9 and 0.5 are the largest of p1, and are made to sum to 1.
    largest = aggregate_rows(images, ["p1", "p2", "p1"], how="max")
    np.testing.assert_allclose(largest.values[0], [0.9 / 1.4, 0.5 / 1.4], rtol=1e-6)
    numbers = of({"a": [2.0], "b": [5.0]}, "value")
    assert aggregate_rows(numbers, ["p", "p"], how="max").values.tolist() == [[5.0]]


def test_no_images_make_no_rows() -> None:
    none = Predictions((), ("a", "b"), np.zeros((0, 2), np.float32), "multiclass")
    assert aggregate_rows(none, [], how="mean").ids == ()
    assert aggregate_rows(none, [], how="max").ids == ()


@st.composite
def images_and_rows(draw: st.DrawFn) -> tuple[NDArray[np.float32], list[str]]:
    rows = draw(st.lists(st.sampled_from("pqrst"), min_size=1, max_size=20))
    seed = draw(st.integers(0, 100))
    values = np.random.default_rng(seed).dirichlet(np.ones(3), len(rows))
    return values.astype(np.float32), rows


@given(images_and_rows())
@settings(max_examples=50, deadline=None)
def test_each_row_is_the_mean_of_its_images(
    case: tuple[NDArray[np.float32], list[str]],
) -> None:
    values, rows = case
    images = Predictions(
        tuple(str(n) for n in range(len(rows))), ("a", "b", "c"), values, "multiclass"
    )
    joined = aggregate_rows(images, rows, how="mean")
    assert joined.ids == tuple(dict.fromkeys(rows))
    for id_, value in zip(joined.ids, joined.values, strict=True):
        own = values[[row == id_ for row in rows]].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(value, own, rtol=1e-5, atol=1e-7)
