import json
from dataclasses import asdict
from typing import Literal, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.errors import ConfigError
from gorae.training.outputs import (
    LOSS_KINDS,
    Activation,
    OutputForm,
    activate,
    num_outputs,
    resolve_loss,
)

ONE_OF_MANY: tuple[Activation, ...] = ("softmax", "normalised_sigmoid", "cumulative")
TASKS: tuple[Task, ...] = get_args(Task)

WIDE = st.floats(-1e4, 1e4, width=32)
matrices = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=WIDE)

# Mask, gender and age group of each of 18 classes.
MASK = tuple((k // 6, k // 3 % 2, k % 3) for k in range(18))


@pytest.mark.parametrize("activation", ONE_OF_MANY)
@given(outputs=matrices)
def test_probabilities_of_one_class_sum_to_1(
    activation: Activation, outputs: NDArray[np.float32]
) -> None:
    proba = activate(outputs, OutputForm(activation))
    num_images, num_columns = outputs.shape
    assert proba.shape == (num_images, num_columns + (activation == "cumulative"))
    assert proba.dtype == np.float32
    assert proba.min() >= 0
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)


@given(outputs=matrices)
def test_softmax_and_sigmoid_are_torchs(outputs: NDArray[np.float32]) -> None:
    exact = torch.from_numpy(outputs).double()
    softmax, sigmoid = (activate(outputs, OutputForm(a)) for a in ("softmax", "sigmoid"))
    np.testing.assert_allclose(softmax, exact.softmax(1).float().numpy(), rtol=1e-6)
    np.testing.assert_allclose(sigmoid, exact.sigmoid().float().numpy(), rtol=1e-6)


def test_one_against_the_rest_gives_shares_of_the_sigmoids() -> None:
    outputs = np.random.default_rng(0).normal(0, 3, (50, 4)).astype(np.float32)
    sigmoids = activate(outputs, OutputForm("sigmoid")).astype(np.float64)
    proba = activate(outputs, OutputForm("normalised_sigmoid"))
    np.testing.assert_allclose(proba, sigmoids / sigmoids.sum(1, keepdims=True), rtol=1e-5)


def test_one_against_the_rest_where_no_class_is_likely() -> None:
    outputs = np.array([[-1e4, -1e4 + 1, -1e4]])
    proba = activate(outputs, OutputForm("normalised_sigmoid"))
    np.testing.assert_allclose(proba, torch.tensor([[0.0, 1, 0]]).softmax(1), rtol=1e-6)


def test_ordered_classes_worked_by_hand() -> None:
    above = np.array([[0.9, 0.5], [0.5, 0.9], [0.25, 0.25]])
    proba = activate(np.log(above / (1 - above)), OutputForm("cumulative"))
    # The second row says "above 1" oftener than "above 0": it is held to the latter.
    expected = [[0.1, 0.4, 0.5], [0.5, 0, 0.5], [0.75, 0, 0.25]]
    np.testing.assert_allclose(proba, expected, atol=1e-7)


@given(outputs=matrices, data=st.data())
def test_a_higher_output_never_lowers_an_ordered_class(
    outputs: NDArray[np.float32], data: st.DataObject
) -> None:
    raised = outputs.copy()
    raised[:, data.draw(st.integers(0, outputs.shape[1] - 1))] += 1
    before, after = (activate(rows, OutputForm("cumulative")) for rows in (outputs, raised))
    up_to_class = np.cumsum(before, axis=1, dtype=np.float64)
    assert (np.cumsum(after, axis=1, dtype=np.float64) <= up_to_class + 1e-6).all()


def test_numbers_come_back_in_their_unit() -> None:
    form = OutputForm("value", shift=100_000, scale=20_000)
    values = activate(np.array([[1.0], [-0.5]], dtype=np.float32), form)
    assert values.tolist() == [[120_000], [90_000]]
    assert values.dtype == np.float32


def test_form_survives_json() -> None:
    for form in (OutputForm("value", 0.1, 1 / 3), OutputForm("composed", parts=MASK)):
        assert OutputForm(**json.loads(json.dumps(asdict(form)))) == form


def test_a_form_from_before_there_were_parts_is_still_read() -> None:
    assert OutputForm(activation="softmax", shift=0.0, scale=1.0) == OutputForm("softmax")


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.sampled_from([8, 26])), elements=WIDE)
)
def test_outputs_of_parts_become_probabilities_of_classes(outputs: NDArray[np.float32]) -> None:
    proba = activate(outputs, OutputForm("composed", parts=MASK))
    assert proba.shape == (len(outputs), 18)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    exact = torch.from_numpy(outputs).double()
    if outputs.shape[1] == 26:
        expected = exact[:, :18].softmax(1)
    else:
        mask, gender, age = (each.softmax(1) for each in torch.split(exact, [3, 2, 3], dim=1))
        expected = torch.einsum("na,nb,nc->nabc", mask, gender, age).flatten(1)
    np.testing.assert_allclose(proba, expected, atol=1e-6)


@pytest.mark.parametrize(("outputs", "width"), [("classes", 18), ("parts", 8), ("both", 26)])
def test_the_width_of_outputs_of_parts(
    outputs: Literal["classes", "parts", "both"], width: int
) -> None:
    found = num_outputs("focal", num_columns=18, outputs=outputs, part_sizes=(3, 2, 3))
    assert found == width


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("multiclass", "cross_entropy"),
        ("ordinal", "cross_entropy"),
        ("multilabel", "bce"),
        ("regression", "mse"),
    ],
)
def test_auto_goes_by_task(task: Task, kind: str) -> None:
    assert resolve_loss("auto", task) == kind
    assert task in LOSS_KINDS[kind].tasks


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", [*LOSS_KINDS, "hinge"])
def test_a_loss_is_refused_for_other_tasks_and_the_fitting_ones_are_listed(
    kind: str, task: Task
) -> None:
    if kind in LOSS_KINDS and task in LOSS_KINDS[kind].tasks:
        assert resolve_loss(kind, task) == kind
        return
    with pytest.raises(ConfigError, match=f"'{kind}' cannot be used .* {task}") as caught:
        resolve_loss(kind, task)
    advice = str(caught.value).split("Set")[1]
    for name, loss in LOSS_KINDS.items():
        assert (name in advice.replace(",", "").replace(".", "").split()) == (
            task in loss.tasks
        )


def test_questions_of_order_are_one_fewer_than_classes() -> None:
    assert {kind for kind in LOSS_KINDS if num_outputs(kind, num_columns=5) == 4} == {
        "coral",
        "cumulative",
    }
    assert num_outputs("cross_entropy", num_columns=5) == 5
    assert [kind for kind, loss in LOSS_KINDS.items() if loss.head == "coral"] == ["coral"]
