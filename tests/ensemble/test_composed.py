"""A composed label predicted by models of its parts."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.data.person_layout import COMPOSITION
from gorae.data.sources import LabelPart
from gorae.ensemble.composed import compose_predictions
from gorae.errors import DataError
from gorae.predictions import Kind, Predictions

MASK = tuple(LabelPart(**part) for part in COMPOSITION)
CLASSES = tuple(str(label) for label in range(18))


def said(
    columns: tuple[str, ...],
    values: list[list[float]],
    kind: Kind = "multiclass",
    ids: tuple[str, ...] = ("a", "b"),
) -> Predictions:
    return Predictions(ids, columns, np.array(values, dtype=np.float32), kind)


def composed(**changed: Predictions) -> NDArray[np.float32]:
    members = {
        # In the order of the alphabet, which is not that of the classes.
        "mask": said(("incorrect_mask", "mask", "normal"), [[0.1, 0.7, 0.2], [0.8, 0.1, 0.1]]),
        "gender": said(("male", "female"), [[0.9, 0.1], [0.2, 0.8]]),
        "age": said(("0", "1", "2"), [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]),
    } | changed
    predictions = compose_predictions(members, parts=MASK, classes=CLASSES)
    assert predictions.ids == ("a", "b")
    assert predictions.columns == CLASSES
    return predictions.values


def test_columns_are_matched_by_name() -> None:
    values = composed()
    assert values.argmax(axis=1).tolist() == [0, 11]
    assert values[0, 0] == pytest.approx(0.7 * 0.9 * 0.5)
    assert values[1, 11] == pytest.approx(0.8 * 0.8 * 0.7)
    assert values[0, 12] == pytest.approx(0.2 * 0.9 * 0.5)


def test_ids_are_matched_by_name() -> None:
    other = said(("male", "female"), [[0.2, 0.8], [0.9, 0.1]], ids=("b", "a"))
    np.testing.assert_array_equal(composed(gender=other), composed())


@pytest.mark.parametrize(("age", "group"), [(29.9, 0), (30, 1), (45, 1), (60, 2), (99, 2)])
def test_a_predicted_age_counts_as_the_group_it_is_in(age: float, group: int) -> None:
    values = composed(age=said(("age",), [[age], [age]], "value"))
    assert values.argmax(axis=1).tolist() == [group, 9 + group]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(DataError, match="age has none"):
        compose_predictions(
            {
                "mask": said(("mask",), [[1], [1]]),
                "gender": said(("male",), [[1], [1]]),
            },
            parts=MASK,
            classes=CLASSES,
        )
    with pytest.raises(DataError, match=r"of gender are .*of m, f; .*male, female"):
        composed(gender=said(("m", "f"), [[0.5, 0.5], [0.5, 0.5]]))
    with pytest.raises(DataError, match="of gender are of other ids than those of mask"):
        composed(gender=said(("male", "female"), [[0.5, 0.5], [0.5, 0.5]], ids=("a", "c")))
