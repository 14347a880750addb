"""Values worked by hand, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest

from gorae import metrics
from gorae.errors import ConfigError, DataError
from gorae.metrics import METRICS, bind_metric, evaluate, evaluate_parts

FIRST = (np.array([0, 1, 2, 2, 1, 0, 2, 1]), np.array([0, 2, 2, 2, 1, 0, 0, 1]))
SECOND = (np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 2, 1, 1, 2, 0]))
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.1, 0.4, 0.5],
        [0.2, 0.2, 0.6],
        [0.1, 0.1, 0.8],
        [0.2, 0.6, 0.2],
        [0.8, 0.1, 0.1],
        [0.5, 0.2, 0.3],
        [0.1, 0.8, 0.1],
    ]
)


@pytest.mark.parametrize(
    ("name", "params", "first", "second"),
    [
        ("accuracy", {}, 0.75, 0.625),
        ("micro_f1", {}, 0.75, 0.625),
        ("macro_f1", {}, 0.7555555556, 0.6238095238),
        ("f_beta", {"beta": 2}, 0.7633477633, 0.6451355662),
        ("balanced_accuracy", {}, 0.7777777778, 0.6666666667),
        ("mcc", {}, 0.6428571429, 0.4391550328),
        ("qwk", {}, 0.5454545455, 0.1428571429),
    ],
)
def test_label_metrics_on_two_worked_examples(
    name: str, params: dict[str, Any], first: float, second: float
) -> None:
    for (truth, predicted), expected in ((FIRST, first), (SECOND, second)):
        score = evaluate(name, truth, np.eye(3)[predicted], params=params)
        assert score == pytest.approx(expected, abs=5e-11)


def test_functions_on_labels_give_the_same() -> None:
    truth, predicted = FIRST
    assert metrics.accuracy(truth, predicted) == 0.75
    assert metrics.accuracy(truth.astype(str), predicted.astype(str)) == 0.75
    assert metrics.macro_f1(truth, predicted) == pytest.approx(0.7555555556, abs=5e-11)
    assert metrics.micro_f1(truth, predicted) == 0.75
    assert metrics.f_beta(truth, predicted, beta=2) == pytest.approx(0.7633477633, abs=5e-11)
    assert metrics.balanced_accuracy(truth, predicted) == pytest.approx(7 / 9)
    assert metrics.mcc(truth, predicted) == pytest.approx(0.6428571429, abs=5e-11)
    assert metrics.qwk(truth, predicted, num_classes=3) == pytest.approx(6 / 11)
    truth, predicted = SECOND
    assert metrics.f_beta(truth, predicted, beta=0.5) == pytest.approx(0.6130952381, abs=5e-11)


def test_functions_on_label_sets() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 0]])
    predicted = np.array([[1, 1, 1], [0, 0, 0], [0, 1, 0]])
    assert metrics.accuracy(truth, predicted) == pytest.approx(1 / 3)
    assert metrics.micro_f1(truth, predicted) == pytest.approx(2 * 3 / (4 + 4))
    assert metrics.macro_f1(truth, predicted) == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    samples = metrics.f_beta(truth, predicted, average="samples")
    assert samples == pytest.approx((4 / 5 + 0 + 2 / 3) / 3)


def test_macro_f1_over_seen_classes_or_over_a_fixed_list() -> None:
    truth, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])
    assert evaluate("macro_f1", truth, np.eye(3)[predicted]) == pytest.approx(
        0.655556, abs=5e-7
    )
    seen = np.array([0, 1, 1, 0])
    values = np.eye(3)[seen]
    assert evaluate("macro_f1", seen, values) == 1.0
    assert evaluate("macro_f1", seen, values, params={"scope": "all"}) == pytest.approx(2 / 3)
    four = evaluate("macro_f1", np.array([0, 1, 2]), np.eye(4)[:3], params={"scope": "all"})
    assert four == 0.75


def test_log_loss_normalises_rows_and_clips() -> None:
    truth = FIRST[0]
    assert evaluate("log_loss", truth, PROBABILITIES) == pytest.approx(0.5210025477, abs=5e-11)
    assert evaluate("log_loss", truth, 0.9 * PROBABILITIES) == pytest.approx(
        0.5210025477, abs=5e-11
    )
    assert evaluate("log_loss", truth, np.ones((8, 3))) == pytest.approx(math.log(3), abs=1e-15)
    wrong = evaluate("log_loss", np.array([0]), np.array([[0.0, 1.0]]))
    assert wrong == pytest.approx(34.5387763949, abs=5e-11)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.5, 0.5], [-0.1, 1.0]], "1 of 2 rows have a value outside, first row 1"),
        ([[0.5, 1.5], [0.1, 1.0]], "outside, first row 0"),
        ([[0.5, 0.5], [0.0, 0.0]], "1 of 2 rows are all 0, first row 1"),
        ([[0.5, 0.5], [np.nan, 0.0]], "1 of 2 predictions are not finite numbers.* row 1"),
        ([[np.inf, 0.5], [0.5, 0.5]], "not finite"),
    ],
)
def test_log_loss_refuses_what_is_no_probability(
    values: list[list[float]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        evaluate("log_loss", np.array([0, 1]), np.array(values))


def test_auc_worked_by_hand() -> None:
    truth, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.9, 0.4, 0.1])
    assert evaluate("roc_auc", truth, scores) == 0.625
    assert evaluate("roc_auc", truth, np.column_stack([-scores, scores])) == 0.625
    # Any finite score is taken.
    assert evaluate("roc_auc", truth, scores * 1e6 - 3) == 0.625
    macro = evaluate("roc_auc_macro", FIRST[0], PROBABILITIES)
    assert macro == pytest.approx(0.9777777778, abs=5e-11)
    assert evaluate("roc_auc_macro", FIRST[0], PROBABILITIES * 3) == pytest.approx(macro)


def test_auc_skips_and_names_absent_classes() -> None:
    values = np.hstack([PROBABILITIES, np.zeros((8, 1))])
    by_class = metrics.roc_auc_per_class(FIRST[0], values)
    assert np.isnan(by_class).tolist() == [False, False, False, True]
    assert evaluate("roc_auc_macro", FIRST[0], values) == pytest.approx(by_class[:3].mean())
    with pytest.raises(DataError, match="undefined: no class has both"):
        evaluate("roc_auc_macro", np.zeros(3, dtype=np.int64), np.ones((3, 2)))


@pytest.mark.parametrize("name", ["roc_auc", "partial_auc"])
@pytest.mark.parametrize(("label", "missing"), [(0, "positive"), (1, "negative")])
def test_auc_of_one_class_is_undefined(name: str, label: int, missing: str) -> None:
    with pytest.raises(DataError, match=f"undefined: no {missing} row among 5"):
        evaluate(name, np.full(5, label), np.arange(5.0))


def test_partial_auc_ends() -> None:
    truth = np.repeat([0, 1], 50)
    assert evaluate("partial_auc", truth, truth.astype(float)) == pytest.approx(0.2)
    assert evaluate("partial_auc", truth, np.full(100, 0.3)) == pytest.approx(0.02)
    assert evaluate("partial_auc", truth, 1.0 - truth) == 0
    whole = evaluate("partial_auc", truth, np.arange(100) % 37.0, params={"min_tpr": 0})
    assert whole == pytest.approx(evaluate("roc_auc", truth, np.arange(100) % 37.0))
    with pytest.raises(ConfigError, match="min_tpr of partial_auc must be from 0"):
        evaluate("partial_auc", truth, truth.astype(float), params={"min_tpr": 1})


def test_probabilistic_f1_worked_by_hand() -> None:
    truth, p = np.array([1, 0, 1, 0]), np.array([0.8, 0.4, 0.6, 0.0])
    # precision 1.4 / 1.8, recall 1.4 / 2
    assert evaluate("probabilistic_f_beta", truth, p) == pytest.approx(2 * 1.4 / 3.8)
    assert evaluate("probabilistic_f_beta", truth, np.zeros(4)) == 0
    with pytest.raises(DataError, match="undefined: no positive row among 4"):
        evaluate("probabilistic_f_beta", np.zeros(4, dtype=int), p)


def test_map_at_5_worked_by_hand() -> None:
    guesses = ["a b", "a b b", "x y z w c c"]
    score = metrics.map_at_k([{"a"}, {"b"}, {"c"}], [g.split() for g in guesses], k=5)
    assert score == pytest.approx(0.5666666667, abs=5e-11)
    assert metrics.map_at_k(["b"], [["a", "a", "b"]]) == pytest.approx(1 / 3)
    assert metrics.map_at_k([{"고래"}], [["x", "고래"]]) == 0.5
    for rank, expected in enumerate([1, 0.5, 1 / 3, 0.25, 0.2, 0, 0]):
        values = np.linspace(1, 0.4, 7)[None]
        assert evaluate("map_at_k", np.array([rank]), values) == pytest.approx(expected)
    assert metrics.average_precision_at_k([], ["a"], k=5) == 0


def test_equal_values_rank_in_column_order() -> None:
    values = np.array([[0.5, 0.5, 0.0]])
    assert evaluate("map_at_k", np.array([1]), values) == 0.5
    assert evaluate("top_k_accuracy", np.array([1]), values, params={"k": 1}) == 0
    assert evaluate("accuracy", np.array([0]), values) == 1


def test_top_k_accuracy_can_refuse_ties_that_decide() -> None:
    strict = {"k": 1, "ties": "error"}
    values = np.array([[0.6, 0.2, 0.2], [0.5, 0.5, 0.0]])
    assert evaluate("top_k_accuracy", np.array([1, 2]), values, params=strict) == 0
    with pytest.raises(DataError, match="1 of 2 rows equal scores stand across place 1"):
        evaluate("top_k_accuracy", np.array([0, 1]), values, params=strict)
    with pytest.raises(ConfigError, match="'column' or 'error'"):
        evaluate("top_k_accuracy", np.array([0]), values[:1], params={"ties": "x", "k": 1})


def test_top_k_accuracy_that_is_always_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"k = 5 is always 1 for 3 classes. Set k to 2"):
        evaluate("top_k_accuracy", FIRST[0], PROBABILITIES)


@pytest.mark.parametrize("k", [0, -1, 2.5])
def test_k_must_be_a_whole_number(k: float) -> None:
    with pytest.raises(ConfigError, match="k must be a whole number of at least 1"):
        evaluate("map_at_k", FIRST[0], PROBABILITIES, params={"k": k})


def test_errors_of_numbers() -> None:
    truth, values = np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 5, 3])
    assert evaluate("mae", truth, values) == 0.75
    assert evaluate("rmse", truth, values) == pytest.approx(1.1180339887, abs=5e-11)
    with pytest.raises(DataError, match=r"1 of 4 rows have a number beyond 1e\+12.*row 2"):
        evaluate("rmse", truth, np.array([1, 2, 1e308, 3]))
    with pytest.raises(DataError, match="one prediction column, got 2"):
        evaluate("mae", truth, np.ones((4, 2)))


def test_kappa_over_fixed_labels() -> None:
    truth = np.array([0, 1, 4, 4])
    assert evaluate("qwk", truth, np.eye(5)[[0, 1, 1, 4]]) == pytest.approx(0.625)
    assert evaluate("qwk", truth, np.eye(5)[[2, 2, 2, 2]]) == 0
    with pytest.raises(DataError, match="kappa is undefined: the truth and the predictions"):
        evaluate("qwk", np.array([2, 2]), np.eye(5)[[2, 2]])


def test_constant_predictions() -> None:
    constant = np.eye(3)[[1, 1, 1]]
    assert evaluate("mcc", np.array([0, 1, 2]), constant) == 0
    assert evaluate("mcc", np.array([1, 1, 1]), np.eye(3)) == 0
    balanced = evaluate("balanced_accuracy", np.array([0, 0, 1, 1]), np.eye(3)[[0, 2, 1, 1]])
    assert balanced == 0.75


def test_mcc_keeps_its_digits_on_many_rows() -> None:
    truth, predicted = (np.tile(labels, 250_000) for labels in FIRST)
    assert metrics.mcc(truth, predicted) == pytest.approx(metrics.mcc(*FIRST), abs=1e-12)


def test_weighted_multi_task_shows_its_parts() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.float32)
    values = np.array([[0.9, 0.4], [0.2, 0.3], [0.6, 0.8], [0.1, 0.5]])
    metric = bind_metric("weighted_multi_task", params={"weights": [3, 1]})
    assert evaluate_parts(metric, truth, values) == [1.0, 0.5]
    assert metric.function(truth, values) == pytest.approx(0.875)
    plain = evaluate("weighted_multi_task", truth, values, params={"part": "log_loss"})
    assert plain == pytest.approx(evaluate("log_loss", truth, values))
    loss = bind_metric("weighted_multi_task", params={"part": "log_loss"})
    assert not loss.greater_is_better
    assert metric.greater_is_better
    by_name = metrics.weighted_multi_task({"mask": 0.9, "age": 0.6}, {"mask": 2, "age": 1})
    assert by_name == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"part": "qwk"}, "part must be one of roc_auc"),
        ({"weights": [1]}, "must be 2 numbers of at least 0"),
        ({"weights": [1, -1]}, "must be 2 numbers"),
        ({"weights": [0, 0]}, "not all 0"),
        ({"weights": 1}, "weights of weighted_multi_task must be a list of numbers, got 1"),
    ],
)
def test_weighted_multi_task_refuses(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate("weighted_multi_task", np.eye(2, dtype=np.float32), np.eye(2), params=params)


def test_weights_of_other_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="The parts are a, the weights are for b"):
        metrics.weighted_multi_task({"a": 1.0}, {"b": 1.0})
    with pytest.raises(ConfigError, match="not all 0"):
        metrics.weighted_multi_task({"a": 1.0}, {"a": 0.0})


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("acuracy", {}, "metric 'acuracy' is not one of accuracy, macro_f1"),
        ("map_at_k", {"n": 5}, "map_at_k has no setting 'n'; its settings: k"),
        ("mcc", {"k": 5}, "mcc has no setting 'k'; its settings: none"),
        ("map_at_k", {"k": "5"}, "k of map_at_k must be a number, got '5'"),
        ("map_at_k", {"k": True}, "k of map_at_k must be a number, got True"),
        ("f_beta", {"average": 1}, "average of f_beta must be a text, got 1"),
        ("f_beta", {"average": "samples"}, "one of macro, micro, binary here, got 'samples'"),
        ("f_beta", {"average": "binary"}, "is for two classes, here are 3"),
        ("f_beta", {"beta": 0}, "beta of f_beta must be above 0"),
        ("macro_f1", {"scope": "some"}, "scope must be 'auto', 'present' or 'all'"),
        ("roc_auc", {}, "for two classes, here are 3. Use roc_auc_macro"),
        ("mae", {}, "Metric mae does not fit task multiclass; these do: accuracy.*log_loss"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    name: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(name, FIRST[0], PROBABILITIES, params=params)


def test_a_metric_that_does_not_fit_the_task_is_refused_before_any_data() -> None:
    with pytest.raises(ConfigError, match="qwk does not fit task multilabel; these do"):
        bind_metric("qwk", task="multilabel")
    with pytest.raises(ConfigError, match="task regression; these do: mae, rmse"):
        bind_metric("accuracy", task="regression")
    assert bind_metric("qwk", task="ordinal").greater_is_better


@pytest.mark.parametrize("name", METRICS)
def test_no_rows_are_refused_by_every_metric(name: str) -> None:
    task = METRICS[name].tasks[0]
    shape = {"multilabel": (0, 2)}.get(task, (0,))
    truth = np.zeros(shape, dtype=float if task in ("regression", "multilabel") else int)
    with pytest.raises(DataError, match=f"{name} needs at least one row, got none"):
        evaluate(name, truth, np.zeros((0, 1 if task == "regression" else 2)))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_every_metric(name: str, bad: float) -> None:
    task = METRICS[name].tasks[0]
    values = np.full((3, 1 if task == "regression" else 2), 0.5)
    values[2, 0] = bad
    truth = {"multilabel": np.eye(3, 2), "regression": np.zeros(3)}.get(
        task, np.array([0, 1, 0])
    )
    with pytest.raises(DataError, match=r"1 of 3 predictions are not finite.*first row 2"):
        evaluate(name, truth, values)


def test_targets_are_checked() -> None:
    with pytest.raises(DataError, match="1 of 2 targets are not finite"):
        evaluate("mae", np.array([1, np.nan]), np.ones(2))
    with pytest.raises(DataError, match=r"class indices from 0 to 2.*found 0 to 3"):
        evaluate("accuracy", np.array([0, 3]), np.ones((2, 3)))
    with pytest.raises(DataError, match=r"class indices from 0 to 2.*found -1 to 0"):
        evaluate("accuracy", np.array([0, -1]), np.ones((2, 3)))
    with pytest.raises(DataError, match="3 columns, the targets 2"):
        evaluate("log_loss", np.eye(2, dtype=np.float32), np.ones((2, 3)))


def test_one_column_is_the_probability_of_class_one() -> None:
    truth, p = np.array([0, 1, 1]), np.array([0.2, 0.7, 0.4], dtype=np.float32)
    assert evaluate("accuracy", truth, p) == pytest.approx(2 / 3)
    both = np.column_stack([1 - p, p]).astype(np.float64)
    assert evaluate("log_loss", truth, p) == pytest.approx(evaluate("log_loss", truth, both))


def test_every_metric_says_what_it_is() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.doc.endswith(".")
        assert metric.tasks
