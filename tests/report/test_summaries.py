"""gorae.report.summaries, against scikit-learn and by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from gorae.report.page import Confusion
from gorae.report.summaries import (
    build_summaries,
    class_shares,
    confident_errors,
    confused_pairs,
    reliability,
    roc_curve,
    wilson_interval,
)

Floats = NDArray[np.float64]


def draw(
    seed: int, *, num_rows: int = 300, num_classes: int = 4
) -> tuple[NDArray[np.int64], Floats]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, num_rows)
    values = rng.dirichlet(np.ones(num_classes), num_rows)
    values[np.arange(num_rows), truth] += 0.3
    # Few decimals, so that ties occur.
    values = (values / values.sum(axis=1, keepdims=True)).round(2)
    values[:, 0] += 1 - values.sum(axis=1)
    return truth, values


@pytest.mark.parametrize("seed", range(4))
def test_class_scores_equal_scikit_learn(seed: int) -> None:
    truth, values = draw(seed)
    names = ("a", "b", "c", "d")
    found = build_summaries(truth, values.astype(np.float32), classes=names, task="multiclass")
    predicted = values.astype(np.float32).argmax(axis=1)
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        truth, predicted, labels=range(4), zero_division=0
    )
    table = found.per_class
    assert table is not None
    assert found.confusion is not None
    np.testing.assert_array_equal(
        found.confusion.counts, reference.confusion_matrix(truth, predicted, labels=range(4))
    )
    np.testing.assert_allclose(table["precision"], precision)
    np.testing.assert_allclose(table["recall"], recall)
    np.testing.assert_allclose(table["f1"], f1)
    np.testing.assert_array_equal(table["support"], support)
    np.testing.assert_array_equal(table["predicted"], np.bincount(predicted, minlength=4))
    for j in range(4):
        area = reference.roc_auc_score(truth == j, values.astype(np.float32)[:, j])
        assert table["auc"][j] == pytest.approx(area)
    assert dict(found.scores)["accuracy"] == pytest.approx((predicted == truth).mean())
    assert found.roc is None


@pytest.mark.parametrize("seed", range(4))
def test_the_roc_of_two_classes_equals_scikit_learn(seed: int) -> None:
    truth, values = draw(seed, num_classes=2)
    found = roc_curve(truth, values[:, 1], positive="dog")
    assert found.area == pytest.approx(reference.roc_auc_score(truth, values[:, 1]))
    false_alarms, hits, _ = reference.roc_curve(truth, values[:, 1], drop_intermediate=False)
    # Straight pieces are drawn by their ends only, so ours are some of the reference's points.
    points = set(zip(false_alarms.round(12).tolist(), hits.round(12).tolist(), strict=True))
    ours = zip(
        found.false_alarms.round(12).tolist(), found.hits.round(12).tolist(), strict=True
    )
    assert set(ours) <= points
    assert np.trapezoid(found.hits, found.false_alarms) == pytest.approx(found.area)
    assert (found.false_alarms[0], found.hits[0]) == (0, 0)
    assert (found.false_alarms[-1], found.hits[-1]) == (1, 1)


def test_a_long_roc_keeps_its_ends_and_its_area() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 20_000)
    found = roc_curve(truth, rng.normal(size=20_000) + truth, positive="x")
    assert len(found.hits) <= 1000
    assert np.trapezoid(found.hits, found.false_alarms) == pytest.approx(found.area, abs=1e-3)
    assert found.hits[-1] == 1


def test_reliability_by_hand() -> None:
    said = np.array([0.05, 0.05, 0.95, 0.95, 0.95, 1.0])
    happened = np.array([False, True, True, True, True, False])
    found = reliability(said, happened)
    assert found.bins["low"].tolist() == [0.0, 0.9]
    assert found.bins["count"].tolist() == [2, 4]
    assert found.bins["happened"].tolist() == [0.5, 0.75]
    assert found.bins["said"].to_numpy() == pytest.approx([0.05, 0.9625])
    assert found.error == pytest.approx((2 * 0.45 + 4 * 0.2125) / 6)


@pytest.mark.parametrize("seed", range(3))
def test_reliability_equals_scikit_learn(seed: int) -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(seed)
    said = rng.random(500)
    happened = rng.random(500) < said**2
    share, mean = calibration_curve(happened, said, n_bins=10)
    found = reliability(said, happened)
    np.testing.assert_allclose(found.bins["happened"], share)
    np.testing.assert_allclose(found.bins["said"], mean)


def test_the_interval_of_a_share_equals_scipy() -> None:
    from scipy.stats import binomtest

    for hits, trials in ((0, 7), (3, 9), (9, 9), (120, 500)):
        low, high = wilson_interval(np.array([hits / trials]), np.array([trials]))
        expected = binomtest(hits, trials).proportion_ci(method="wilson")
        assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_scores_that_are_no_probabilities_have_no_reliability_and_no_log_loss() -> None:
    truth, values = draw(0)
    found = build_summaries(truth, 10 * values, classes=tuple("abcd"), task="multiclass")
    assert found.reliability is None
    assert "log_loss" not in dict(found.scores)


def test_labels_are_scored_one_by_one() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random((200, 3)) < 0.4).astype(np.float32)
    values = np.clip(truth * 0.4 + rng.random((200, 3)) * 0.6, 0, 1).astype(np.float32)
    found = build_summaries(truth, values, classes=("a", "b", "c"), task="multilabel")
    table = found.per_class
    assert table is not None
    assert found.confusion is None
    for j in range(3):
        assert table["f1"][j] == pytest.approx(
            reference.f1_score(truth[:, j], values[:, j] >= 0.5)
        )
        assert table["auc"][j] == pytest.approx(
            reference.roc_auc_score(truth[:, j], values[:, j])
        )


def test_classes_that_never_occur_do_not_stop_the_summaries() -> None:
    truth = np.zeros(5, np.int64)
    values = np.tile(np.array([0.7, 0.3], np.float32), (5, 1))
    found = build_summaries(truth, values, classes=("cat", "dog"), task="ordinal")
    assert found.roc is None
    assert "qwk" not in dict(found.scores)
    labels = build_summaries(
        np.zeros((4, 2), np.float32),
        np.full((4, 2), 0.1, np.float32),
        classes="ab",
        task="multilabel",
    )
    assert "roc_auc_macro" not in dict(labels.scores)


def test_a_regression_has_its_fit_and_its_scores() -> None:
    truth = np.array([1.0, 2.0, 4.0], np.float32)
    values = np.array([[1.0], [3.0], [2.0]], np.float32)
    found = build_summaries(truth, values, classes=(), task="regression")
    assert found.regression is not None
    assert dict(found.scores)["mae"] == pytest.approx(1.0)
    errors = confident_errors(truth, values, classes=(), task="regression", limit=2)
    assert errors["row"].tolist() == [2, 1]
    assert errors["true"].tolist() == ["4", "2"]
    assert errors["predicted"].tolist() == ["2", "3"]
    assert errors["probability"].isna().all()


def test_the_surest_mistakes_come_first() -> None:
    truth = np.array([0, 1, 1, 0])
    values = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]], np.float32)
    errors = confident_errors(truth, values, classes=("cat", "dog"), task="multiclass", limit=2)
    assert errors["row"].tolist() == [2, 3]
    assert errors["predicted"].tolist() == ["cat", "dog"]
    assert errors["probability"].to_numpy() == pytest.approx([0.8, 0.7])


def test_rows_of_labels_are_listed_by_what_is_most_wrong() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 1]], np.float32)
    values = np.array([[0.9, 0.1], [0.95, 0.2], [0.2, 0.8]], np.float32)
    errors = confident_errors(truth, values, classes=("a", "b"), task="multilabel", limit=9)
    assert errors["row"].tolist() == [1, 2]
    assert errors["true"].tolist() == ["–", "a, b"]
    assert errors["predicted"].tolist() == ["a", "b"]
    assert errors["probability"].to_numpy() == pytest.approx([0.95, 0.8])


def test_confused_pairs_leave_out_what_is_right() -> None:
    counts = np.array([[9, 1, 0], [4, 5, 0], [0, 2, 1]])
    pairs = confused_pairs(Confusion(classes=("a", "b", "c"), counts=counts), limit=2)
    assert pairs["true"].tolist() == ["b", "c"]
    assert pairs["predicted"].tolist() == ["a", "b"]
    assert pairs["count"].tolist() == [4, 2]
    assert pairs["share"].to_numpy() == pytest.approx([4 / 9, 2 / 3])


def test_shares_of_answers_sum_to_one() -> None:
    truth, values = draw(2)
    shares = class_shares(
        tuple("abcd"), train=truth, oof=values, test=values[:50], task="ordinal"
    )
    assert shares[["train", "oof", "test"]].sum().to_numpy() == pytest.approx([1, 1, 1])
    assert shares["train"][1] == pytest.approx((truth == 1).mean())
    numbers = class_shares(
        (), train=values[:, 0], oof=values[:, :1], test=values[:9, :1], task="regression"
    )
    assert numbers[["train", "oof", "test"]].sum().to_numpy() == pytest.approx([1, 1, 1])
    labels = class_shares(
        ("a",),
        train=np.array([[1], [0]], np.float32),
        oof=np.array([[1], [1]], np.float32),
        test=np.array([[0]], np.float32),
        task="multilabel",
    )
    assert labels[["train", "oof", "test"]].to_numpy().tolist() == [[0.5, 1.0, 0.0]]
