"""Every metric against scikit-learn or a straightforward reference, on random cases."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference
from numpy.typing import NDArray
from sklearn import config_context

from gorae.errors import DataError
from gorae.metrics import average_precision_at_k, bind_metric, evaluate, map_at_k

TOLERANCE = 1e-12
CASES = 2000

Case = tuple[NDArray[Any], NDArray[np.float64]]


def multiclass_case(rng: np.random.Generator) -> Case:
    """Labels and probabilities, with ties, absent classes and constant sides among them."""
    num_rows, num_classes = int(rng.integers(1, 40)), int(rng.integers(2, 7))
    truth = rng.integers(0, rng.integers(1, num_classes + 1), num_rows)
    values = rng.dirichlet(np.full(num_classes, rng.choice([0.2, 1.0, 5.0])), num_rows)
    values += rng.random() * np.eye(num_classes)[truth]
    if rng.random() < 0.3:
        values = np.round(values, 1)
    values = values / values.sum(axis=1, keepdims=True).clip(1e-9)
    return truth, values.clip(0, 1)


def binary_case(rng: np.random.Generator) -> Case:
    num_rows = int(rng.integers(2, 60))
    truth = np.r_[0, 1, rng.integers(0, 2, num_rows)]
    scores = rng.random(num_rows + 2) * 0.7 + truth * rng.random() * 0.3
    if rng.random() < 0.5:
        scores = np.round(scores, 1)
    return truth, np.column_stack([1 - scores, scores])


def multilabel_case(rng: np.random.Generator) -> Case:
    shape = int(rng.integers(1, 40)), int(rng.integers(2, 6))
    truth = (rng.random(shape) < rng.random()).astype(np.float32)
    return truth, rng.random(shape)


def regression_case(rng: np.random.Generator) -> Case:
    truth = rng.normal(0, 10.0 ** rng.integers(-3, 6), int(rng.integers(1, 60)))
    return truth, (truth + rng.normal(0, 1, len(truth)))[:, None]


def reference_log_loss(truth: NDArray[Any], values: NDArray[np.float64]) -> float:
    p = (values / values.sum(axis=1, keepdims=True)).clip(1e-15, 1 - 1e-15)
    return float(np.mean([-np.log(p[row, label]) for row, label in enumerate(truth)]))


def reference_partial_auc(truth: NDArray[Any], values: NDArray[np.float64]) -> float:
    scaled = reference.roc_auc_score(1 - truth, 1 - values[:, 1], max_fpr=1 - 0.8)
    return float(0.5 * 0.2**2 + (0.2 - 0.5 * 0.2**2) / 0.5 * (scaled - 0.5))


def reference_pf(truth: NDArray[Any], values: NDArray[np.float64], beta: float) -> float:
    hits = sum(v for t, v in zip(truth, values[:, 1], strict=True) if t)
    wrong = sum(v for t, v in zip(truth, values[:, 1], strict=True) if not t)
    precision, recall = (hits / (hits + wrong) if hits + wrong else 0.0), hits / truth.sum()
    if precision == 0 or recall == 0:
        return 0.0
    return float((1 + beta**2) * precision * recall / (beta**2 * precision + recall))


def reference_micro_f1(truth: NDArray[Any], values: NDArray[np.float64]) -> float:
    true, said = truth.ravel() == 1, values.ravel() >= 0.5
    hits, misses, false = (true & said).sum(), (true & ~said).sum(), (said & ~true).sum()
    return float(2 * hits / (2 * hits + misses + false)) if hits else 0.0


def pairwise_auc(is_positive: NDArray[Any], scores: NDArray[np.float64]) -> float:
    above = np.sign(scores[is_positive][:, None] - scores[~is_positive][None, :])
    return float((above.mean() + 1) / 2)


def reference_auc_macro(truth: NDArray[Any], values: NDArray[np.float64]) -> float:
    matrix = truth if truth.ndim == 2 else truth[:, None] == np.arange(values.shape[1])
    scores = [
        pairwise_auc(matrix[:, k] == 1, values[:, k])
        for k in range(values.shape[1])
        if 0 < matrix[:, k].sum() < len(matrix)
    ]
    return float(np.mean(scores)) if scores else float("nan")


def reference_map(truth: NDArray[Any], values: NDArray[np.float64]) -> float:
    total = 0.0
    for row, scores in zip(truth, values, strict=True):
        order = sorted(range(len(scores)), key=lambda k: (-scores[k], k))
        true = {int(row)} if truth.ndim == 1 else set(np.flatnonzero(row))
        hits, sum_ = 0, 0.0
        for rank, k in enumerate(order[:3], start=1):
            if k in true:
                hits += 1
                sum_ += hits / rank
        total += sum_ / min(len(true), 3) if true else 0.0
    return total / len(truth)


def reference_kappa(truth: NDArray[Any], values: NDArray[np.float64]) -> float:
    labels = list(range(values.shape[1]))
    predicted = values.argmax(axis=1)
    return float(
        reference.cohen_kappa_score(truth, predicted, labels=labels, weights="quadratic")
    )


def reference_top_k(truth: NDArray[Any], values: NDArray[np.float64]) -> float:
    ranks = [
        sorted(range(len(v)), key=lambda k: (-v[k], k)).index(t)
        for t, v in zip(truth, values, strict=True)
    ]
    return float(np.mean(np.array(ranks) < 1))


def on_labels(score: Callable[..., float], **settings: Any) -> Callable[..., float]:
    return lambda truth, values: float(score(truth, values.argmax(axis=1), **settings))


def on_sets(score: Callable[..., float], **settings: Any) -> Callable[..., float]:
    return lambda truth, values: float(score(truth, values >= 0.5, **settings))


ZERO = {"zero_division": 0}
REFERENCES: list[tuple[str, dict[str, Any], Callable[..., Case], Callable[..., float]]] = [
    ("accuracy", {}, multiclass_case, on_labels(reference.accuracy_score)),
    ("accuracy", {}, multilabel_case, on_sets(reference.accuracy_score)),
    ("macro_f1", {}, multiclass_case, on_labels(reference.f1_score, average="macro", **ZERO)),
    ("macro_f1", {}, multilabel_case, on_sets(reference.f1_score, average="macro", **ZERO)),
    ("micro_f1", {}, multiclass_case, on_labels(reference.f1_score, average="micro", **ZERO)),
    ("micro_f1", {}, multilabel_case, reference_micro_f1),
    (
        "f_beta",
        {"beta": 2.0},
        multiclass_case,
        on_labels(reference.fbeta_score, beta=2.0, average="macro", **ZERO),
    ),
    (
        "f_beta",
        {"beta": 0.5, "average": "samples"},
        multilabel_case,
        on_sets(reference.fbeta_score, beta=0.5, average="samples", **ZERO),
    ),
    (
        "f_beta",
        {"average": "binary"},
        binary_case,
        on_labels(reference.f1_score, average="binary", **ZERO),
    ),
    ("balanced_accuracy", {}, multiclass_case, on_labels(reference.balanced_accuracy_score)),
    ("mcc", {}, multiclass_case, on_labels(reference.matthews_corrcoef)),
    ("qwk", {}, multiclass_case, reference_kappa),
    ("log_loss", {}, multiclass_case, reference_log_loss),
    (
        "log_loss",
        {},
        multilabel_case,
        lambda t, v: float(-np.log(np.where(t == 1, v, 1 - v)).mean()),
    ),
    ("roc_auc", {}, binary_case, lambda t, v: pairwise_auc(t == 1, v[:, 1])),
    ("roc_auc_macro", {}, multiclass_case, reference_auc_macro),
    ("roc_auc_macro", {}, multilabel_case, reference_auc_macro),
    ("partial_auc", {}, binary_case, reference_partial_auc),
    ("probabilistic_f_beta", {"beta": 2.0}, binary_case, lambda t, v: reference_pf(t, v, 2.0)),
    ("map_at_k", {"k": 3}, multiclass_case, reference_map),
    ("map_at_k", {"k": 3}, multilabel_case, reference_map),
    ("top_k_accuracy", {"k": 1}, multiclass_case, reference_top_k),
    ("mae", {}, regression_case, lambda t, v: float(reference.mean_absolute_error(t, v))),
    ("rmse", {}, regression_case, lambda t, v: float(reference.root_mean_squared_error(t, v))),
]
NAMES = [f"{name}-{case.__name__}-{params}" for name, params, case, _ in REFERENCES]


def check_cases(index: int, *, cases: int) -> None:
    name, params, draw, refer = REFERENCES[index]
    num_undefined = 0
    with config_context(skip_parameter_validation=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(cases):
            truth, values = draw(np.random.default_rng(seed))
            expected = refer(truth, values)
            if np.isnan(expected):
                num_undefined += 1
                with pytest.raises(DataError, match="undefined"):
                    evaluate(name, truth, values, params=params)
                continue
            score = evaluate(name, truth, values, params=params)
            assert score == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE), seed
    assert num_undefined < cases / 2


# Rows of the table whose metric has all its cases in another row.
FEWER = {("macro_f1", "multilabel_case"), ("micro_f1", "multiclass_case")} | {
    ("f_beta", "multilabel_case"),
    ("f_beta", "binary_case"),
    ("accuracy", "multilabel_case"),
}


@pytest.mark.parametrize("index", range(len(REFERENCES)), ids=NAMES)
def test_metric_equals_its_reference(index: int) -> None:
    name, _, case, _ = REFERENCES[index]
    check_cases(index, cases=CASES // 8 if (name, case.__name__) in FEWER else CASES)


@pytest.mark.long
@pytest.mark.parametrize("index", range(len(REFERENCES)), ids=NAMES)
def test_metric_equals_its_reference_on_ten_thousand_cases(index: int) -> None:
    check_cases(index, cases=10_000)


@pytest.mark.parametrize("index", range(len(REFERENCES)), ids=NAMES)
def test_counting_rows_equals_repeating_them(index: int) -> None:
    name, params, draw, _ = REFERENCES[index]
    metric = bind_metric(name, params=params)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth, values = draw(rng)
        counts = rng.integers(0, 4, len(truth))
        counts[:2] = 1
        rows = np.repeat(np.arange(len(truth)), counts)
        try:
            expected = metric.function(truth[rows], values[rows])
        except DataError:
            with pytest.raises(DataError, match="undefined"):
                metric.scorer(truth, values)(counts.astype(np.float64))
            continue
        score = metric.scorer(truth, values)(counts.astype(np.float64))
        assert score == pytest.approx(expected, rel=1e-11, abs=1e-11), seed


def test_scores_do_not_depend_on_the_order_of_rows() -> None:
    for name, params, draw, _ in REFERENCES:
        for seed in range(20):
            rng = np.random.default_rng(seed)
            truth, values = draw(rng)
            order = rng.permutation(len(truth))
            try:
                score = evaluate(name, truth, values, params=params)
            except DataError:
                continue
            again = evaluate(name, truth[order], values[order], params=params)
            assert again == pytest.approx(score, abs=1e-9, rel=1e-12)


def test_average_precision_of_lists_with_repeats_equals_a_plain_count() -> None:
    rng = np.random.default_rng(0)
    for _ in range(CASES):
        k = int(rng.integers(1, 7))
        true = set(rng.integers(0, 6, int(rng.integers(0, 4))).tolist())
        guesses = rng.integers(0, 6, int(rng.integers(0, 9))).tolist()
        found = [
            (rank, len(true & set(guesses[:rank])))
            for rank in range(1, min(k, len(guesses)) + 1)
            if guesses[rank - 1] in true and guesses[rank - 1] not in guesses[: rank - 1]
        ]
        expected = sum(hits / rank for rank, hits in found) / max(min(len(true), k), 1)
        assert average_precision_at_k(true, guesses, k=k) == pytest.approx(expected, abs=1e-15)


def test_lists_and_probabilities_give_the_same_map() -> None:
    for seed in range(100):
        truth, values = multiclass_case(np.random.default_rng(seed))
        order = np.argsort(-values, axis=1, kind="stable")
        by_list = map_at_k([{int(t)} for t in truth], order.tolist(), k=3)
        by_values = evaluate("map_at_k", truth, values, params={"k": 3})
        assert by_values == pytest.approx(by_list, abs=1e-12)
