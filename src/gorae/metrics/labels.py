"""Metrics on labels: what was said against what is true, after the choice was made.

Multi-class labels are class indices (N,); multi-label ones are 0/1 matrices (N, K).
Every multi-class metric here is a function of the confusion matrix.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gorae.errors import ConfigError, DataError
from gorae.metrics.scores import Floats, Scorer, weighted_mean

Average = Literal["macro", "micro", "binary", "samples"]
# Which classes a macro mean runs over.
Scope = Literal["auto", "present", "all"]


def confusion_matrix(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    *,
    num_classes: int | None = None,
    counts: Floats | None = None,
) -> Floats:
    """How often each true class (row) was called each class (column).

    Args:
        truth: True class indices, (N,).
        predicted: Predicted class indices, (N,).
        num_classes: K; absent: as many as the largest index needs.
        counts: How often each row is taken, (N,); absent: once.

    Returns:
        (K, K) counts; whole numbers of float64, exact below 2^53.
    """
    if num_classes is None:
        num_classes = 1 + int(max(truth.max(initial=0), predicted.max(initial=0)))
    cells = truth.astype(np.int64) * num_classes + predicted
    matrix = np.bincount(cells, weights=counts, minlength=num_classes**2)
    return matrix.astype(np.float64).reshape(num_classes, num_classes)


def accuracy_of(matrix: Floats) -> float:
    """Share of rows on the diagonal of a confusion matrix."""
    return float(np.trace(matrix) / matrix.sum())


def f_beta_of_counts(hits: Floats, true: Floats, predicted: Floats, beta: float) -> Floats:
    """F-beta from counts of hits, true and predicted; an empty denominator gives 0."""
    denominator = beta**2 * true + predicted
    return np.divide(
        (1 + beta**2) * hits, denominator, out=np.zeros_like(hits), where=denominator > 0
    )


def f_beta_of(
    matrix: Floats, *, beta: float, average: Average, scope: Scope, positive: int = 1
) -> float:
    """F-beta from a confusion matrix; see ``f_beta``."""
    hits, true, predicted = np.diag(matrix).copy(), matrix.sum(axis=1), matrix.sum(axis=0)
    if average == "micro":
        return accuracy_of(matrix)
    scores = f_beta_of_counts(hits, true, predicted, beta)
    if average == "binary":
        return float(scores[positive])
    if scope != "all":
        scores = scores[true + predicted > 0]
    return float(scores.mean())


def balanced_accuracy_of(matrix: Floats) -> float:
    """Mean recall of the classes that are in the truth, from a confusion matrix."""
    true = matrix.sum(axis=1)
    present = true > 0
    return float((np.diag(matrix)[present] / true[present]).mean())


def mcc_of(matrix: Floats) -> float:
    """Multi-class Matthews correlation from a confusion matrix; a constant margin gives 0.

    Source: Gorodkin, 2004, "Comparing two K-category assignments by a K-category
    correlation coefficient".
    """
    total = matrix.sum()
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    # Divided early, or a million rows to the fourth power would lose digits.
    spread_true = total - (true / total) @ true
    spread_predicted = total - (predicted / total) @ predicted
    if (true == total).any() or (predicted == total).any():
        return 0.0
    agreement = np.trace(matrix) - (true / total) @ predicted
    return float(agreement / np.sqrt(spread_true * spread_predicted))


def qwk_of(matrix: Floats) -> float:
    """Quadratic weighted kappa from a (K, K) confusion matrix over the labels 0 to K - 1."""
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    index = np.arange(len(matrix), dtype=np.float64)
    # The usual division of the weights by (K - 1)^2 cancels.
    weights = (index[:, None] - index[None, :]) ** 2
    expected = float((weights * np.outer(true, predicted)).sum())
    if expected == 0:
        raise DataError(
            "The quadratic weighted kappa is undefined: the truth and the predictions are "
            "all one and the same class. It needs rows of at least two classes."
        )
    observed = float((weights * matrix).sum())
    return 1 - observed * float(matrix.sum()) / expected


def f_beta_of_matrices(
    hits: Floats,
    true: Floats,
    predicted: Floats,
    *,
    beta: float,
    average: Average,
    scope: Scope,
) -> float:
    """F-beta of multi-label rows from per-class counts (K,); not for ``samples``."""
    if average == "micro":
        scores = f_beta_of_counts(
            hits.sum(keepdims=True), true.sum(keepdims=True), predicted.sum(keepdims=True), beta
        )
        return float(scores[0])
    scores = f_beta_of_counts(hits, true, predicted, beta)
    if scope == "present" and (true + predicted > 0).any():
        scores = scores[true + predicted > 0]
    return float(scores.mean())


def accuracy(truth: NDArray[np.generic], predicted: NDArray[np.generic]) -> float:
    """Share of rows whose label (multi-label: whole set of labels) is exactly right."""
    same = truth == predicted
    return float((same.all(axis=1) if same.ndim == 2 else same).mean())


def f_beta(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    *,
    beta: float = 1.0,
    average: Average = "macro",
    scope: Scope = "auto",
    num_classes: int | None = None,
) -> float:
    """F-beta: (1 + beta^2) hits / (beta^2 true + predicted), averaged.

    Args:
        truth: Class indices (N,), or 0/1 (N, K) for multi-label.
        predicted: The same of the predictions.
        beta: Weight of recall against precision.
        average: ``macro`` is the mean over classes; ``micro`` counts all classes together
            (equals accuracy for one label per row); ``binary`` is the score of class 1;
            ``samples`` is the mean over rows of a multi-label matrix.
        scope: Classes of the macro mean: ``present`` in truth or predictions, or ``all``,
            where an absent class counts 0. ``auto`` is ``present`` for one label per row and
            ``all`` for multi-label, as scikit-learn's ``fbeta_score(zero_division=0)``.
        num_classes: K for one label per row; absent: as many as the largest index needs.
    """
    if truth.ndim == 1:
        matrix = confusion_matrix(truth, predicted, num_classes=num_classes)
        return f_beta_of(matrix, beta=beta, average=average, scope=scope)
    told, said = truth.astype(np.float64), predicted.astype(np.float64)
    axis = 1 if average == "samples" else 0
    hits, true, called = (told * said).sum(axis), told.sum(axis), said.sum(axis)
    if average == "samples":
        return float(f_beta_of_counts(hits, true, called, beta).mean())
    return f_beta_of_matrices(hits, true, called, beta=beta, average=average, scope=scope)


def macro_f1(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], *, scope: Scope = "auto"
) -> float:
    """Mean F1 over classes; see ``f_beta`` for which classes count."""
    return f_beta(truth, predicted, scope=scope)


def micro_f1(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """F1 over all classes counted together."""
    return f_beta(truth, predicted, average="micro")


def balanced_accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean recall of the classes that are in the truth, not adjusted for chance."""
    return balanced_accuracy_of(confusion_matrix(truth, predicted))


def mcc(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Multi-class Matthews correlation; 0 when the truth or the predictions are constant."""
    return mcc_of(confusion_matrix(truth, predicted))


def qwk(truth: NDArray[np.int64], predicted: NDArray[np.int64], *, num_classes: int) -> float:
    """Quadratic weighted kappa over the fixed labels 0 to K - 1.

    Raises:
        DataError: Truth and predictions are all one class, so it is undefined.
    """
    return qwk_of(confusion_matrix(truth, predicted, num_classes=num_classes))


def predicted_labels(values: Floats) -> NDArray[np.int64]:
    """Class of the largest value of each row, (N,); the first of equals."""
    return np.asarray(values.argmax(axis=1), dtype=np.int64)


def from_confusion(score: Callable[..., float]) -> Callable[..., Scorer]:
    """Prepare a metric that is a function of the (K, K) confusion matrix."""

    def prepare(truth: NDArray[Any], values: Floats, **params: Any) -> Scorer:
        predicted = predicted_labels(values)
        return lambda counts: score(
            confusion_matrix(truth, predicted, num_classes=values.shape[1], counts=counts),
            **params,
        )

    return prepare


def prepare_accuracy(truth: NDArray[Any], values: Floats, *, threshold: float) -> Scorer:
    if truth.ndim == 1:
        return from_confusion(accuracy_of)(truth, values)
    right = ((values >= threshold) == (truth == 1)).all(axis=1)
    return weighted_mean(right.astype(np.float64))


def prepare_f_beta(
    truth: NDArray[Any],
    values: Floats,
    *,
    beta: float,
    average: Average,
    scope: Scope,
    threshold: float,
) -> Scorer:
    _check_f_beta(truth, values, beta=beta, average=average, scope=scope)
    if truth.ndim == 1:
        return from_confusion(f_beta_of)(truth, values, beta=beta, average=average, scope=scope)
    told, said = truth.astype(np.float64), (values >= threshold).astype(np.float64)
    if average == "samples":
        by_row = f_beta_of_counts(
            (told * said).sum(axis=1), told.sum(axis=1), said.sum(axis=1), beta
        )
        return weighted_mean(by_row)
    hits = told * said
    return lambda counts: f_beta_of_matrices(
        counts @ hits, counts @ told, counts @ said, beta=beta, average=average, scope=scope
    )


def _check_f_beta(
    truth: NDArray[Any], values: Floats, *, beta: float, average: str, scope: str
) -> None:
    if not beta > 0:
        raise ConfigError(f"beta of f_beta must be above 0, got {beta!r}.")
    averages = (
        ("macro", "micro", "binary") if truth.ndim == 1 else ("macro", "micro", "samples")
    )
    if average not in averages:
        raise ConfigError(
            f"average of f_beta must be one of {', '.join(averages)} here, got {average!r}."
        )
    if average == "binary" and values.shape[1] > 2:
        raise ConfigError(
            f"average 'binary' of f_beta is for two classes, here are {values.shape[1]}. "
            "Use 'macro' or 'micro'."
        )
    if scope not in ("auto", "present", "all"):
        raise ConfigError(f"scope must be 'auto', 'present' or 'all', got {scope!r}.")


def prepare_macro_f1(
    truth: NDArray[Any], values: Floats, *, scope: Scope, threshold: float
) -> Scorer:
    return prepare_f_beta(
        truth, values, beta=1.0, average="macro", scope=scope, threshold=threshold
    )


def prepare_micro_f1(truth: NDArray[Any], values: Floats, *, threshold: float) -> Scorer:
    return prepare_f_beta(
        truth, values, beta=1.0, average="micro", scope="auto", threshold=threshold
    )
