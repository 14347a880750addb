"""The metrics by name, and the one door through which truth and predictions are scored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.errors import ConfigError, DataError
from gorae.metrics import labels, ranking, scores
from gorae.metrics.scores import Floats, Scorer

Needs = Literal["labels", "probabilities", "ranked", "values"]

EVERY_CLASS_TASK: tuple[Task, ...] = ("multiclass", "ordinal", "multilabel")
ONE_CLASS_TASK: tuple[Task, ...] = ("multiclass", "ordinal")


@dataclass(frozen=True)
class Metric:
    """A score of predictions, its conventions fixed.

    ``prepare(truth, values, **params)`` does once what does not depend on which rows are
    taken, and returns the scorer: how often each row counts (N,) to the score.
    """

    name: str
    prepare: Callable[..., Scorer]
    needs: Needs
    """What of the predictions counts: the chosen label, probabilities, their order, numbers."""
    greater_is_better: bool
    tasks: tuple[Task, ...]
    doc: str
    params: Mapping[str, Any] = field(default_factory=dict)
    """Settings and their values; ``None`` must be set."""
    checks_params: bool = True
    """Whether only the settings in ``params`` exist; not so for a user's own function."""

    def scorer(self, truth: NDArray[Any], values: NDArray[Any]) -> Scorer:
        """Check truth and predictions and prepare to score any choice of their rows."""
        truth, values = _checked(self, np.asarray(truth), np.asarray(values))
        return self.prepare(truth, values, **self.params)

    def function(self, truth: NDArray[Any], values: NDArray[Any]) -> float:
        """The score of predictions (N, K) against encoded targets, in float64.

        Raises:
            DataError: Something is not finite, or the metric is undefined on these rows.
            ConfigError: The metric does not fit the task.
        """
        return checked_score(self.name, self.scorer(truth, values)(np.ones(len(truth))))


def checked_score(name: str, score: float) -> float:
    """The score, if it is a finite number."""
    if not np.isfinite(score):
        raise DataError(f"{name} gave {score}, which is not a finite number.")
    return float(score)


def _part_scorers(
    truth: NDArray[Any], values: Floats, *, part: str, weights: Any
) -> tuple[list[Scorer], Floats]:
    if part not in PARTS:
        raise ConfigError(f"part must be one of {', '.join(PARTS)}, got {part!r}.")
    weights = [1.0] * truth.shape[1] if weights is None else weights
    if len(weights) != truth.shape[1] or not all(w >= 0 for w in weights) or not sum(weights):
        raise ConfigError(
            f"weights of weighted_multi_task must be {truth.shape[1]} numbers of at least 0, "
            f"one per label column and not all 0, got {weights!r}."
        )
    metric = METRICS[part]
    columns = range(truth.shape[1])
    prepared = [metric.prepare(truth[:, [j]], values[:, [j]], **metric.params) for j in columns]
    return prepared, np.array(weights, dtype=np.float64) / sum(weights)


def _prepare_weighted(
    truth: NDArray[Any], values: Floats, *, part: str, weights: Any
) -> Scorer:
    prepared, shares = _part_scorers(truth, values, part=part, weights=weights)
    return lambda counts: float(shares @ np.array([scorer(counts) for scorer in prepared]))


def evaluate_parts(metric: Metric, truth: NDArray[Any], values: NDArray[Any]) -> list[float]:
    """The score of each label column of ``weighted_multi_task``, (K,)."""
    truth, values = _checked(metric, np.asarray(truth), np.asarray(values))
    prepared, _ = _part_scorers(truth, values, **metric.params)
    ones = np.ones(len(truth))
    return [checked_score(metric.params["part"], scorer(ones)) for scorer in prepared]


def weighted_multi_task(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Weighted mean of the scores of several tasks; ``weights`` need not sum to 1.

    Raises:
        ConfigError: A part has no weight, or a weight no part.
    """
    if set(parts) != set(weights):
        raise ConfigError(
            f"The parts are {', '.join(sorted(parts))}, the weights are for "
            f"{', '.join(sorted(weights))}: give each part one weight."
        )
    total = float(sum(weights.values()))
    if total <= 0 or min(weights.values()) < 0:
        raise ConfigError("Weights must be at least 0 and not all 0.")
    return float(sum(parts[name] * weights[name] for name in parts)) / total


THRESHOLD = {"threshold": 0.5}

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "accuracy",
            labels.prepare_accuracy,
            "labels",
            True,
            EVERY_CLASS_TASK,
            "Share of rows with the right label; multi-label: with exactly the right set.",
            THRESHOLD,
        ),
        Metric(
            "macro_f1",
            labels.prepare_macro_f1,
            "labels",
            True,
            EVERY_CLASS_TASK,
            "Mean F1 over the classes in truth or predictions; scope = 'all': every class.",
            {"scope": "auto", **THRESHOLD},
        ),
        Metric(
            "micro_f1",
            labels.prepare_micro_f1,
            "labels",
            True,
            EVERY_CLASS_TASK,
            "F1 over all classes counted together; one label per row: the accuracy.",
            THRESHOLD,
        ),
        Metric(
            "f_beta",
            labels.prepare_f_beta,
            "labels",
            True,
            EVERY_CLASS_TASK,
            "F-beta; average = macro, micro, binary (class 1 of 2) or samples (multi-label).",
            {"beta": 1.0, "average": "macro", "scope": "auto", **THRESHOLD},
        ),
        Metric(
            "balanced_accuracy",
            labels.from_confusion(labels.balanced_accuracy_of),
            "labels",
            True,
            ONE_CLASS_TASK,
            "Mean recall of the classes in the truth.",
        ),
        Metric(
            "mcc",
            labels.from_confusion(labels.mcc_of),
            "labels",
            True,
            ONE_CLASS_TASK,
            "Matthews correlation of several classes; 0 when either side is constant.",
        ),
        Metric(
            "qwk",
            labels.from_confusion(labels.qwk_of),
            "labels",
            True,
            ("ordinal", "multiclass"),
            "Quadratic weighted kappa over the classes in their order.",
        ),
        Metric(
            "log_loss",
            scores.prepare_log_loss,
            "probabilities",
            False,
            EVERY_CLASS_TASK,
            "Mean of -ln p of the true class, rows normalised, clipped to 1e-15.",
        ),
        Metric(
            "roc_auc",
            scores.prepare_roc_auc,
            "ranked",
            True,
            EVERY_CLASS_TASK,
            "Area under the ROC curve of class 1 of two; ties count one half.",
        ),
        Metric(
            "roc_auc_macro",
            scores.prepare_roc_auc_macro,
            "ranked",
            True,
            EVERY_CLASS_TASK,
            "Mean one-vs-rest ROC-AUC of the classes that have positive and negative rows.",
        ),
        Metric(
            "partial_auc",
            scores.prepare_partial_auc,
            "ranked",
            True,
            EVERY_CLASS_TASK,
            "Area between the ROC curve of class 1 and true positive rate min_tpr (ISIC 2024).",
            {"min_tpr": 0.8},
        ),
        Metric(
            "probabilistic_f_beta",
            scores.prepare_probabilistic_f_beta,
            "probabilities",
            True,
            EVERY_CLASS_TASK,
            "F-beta of class 1 with sums of probabilities as counts (RSNA 2022).",
            {"beta": 1.0},
        ),
        Metric(
            "map_at_k",
            ranking.prepare_map_at_k,
            "ranked",
            True,
            EVERY_CLASS_TASK,
            "Mean average precision of the first k guesses; one true label: 1 / its rank.",
            {"k": 5},
        ),
        Metric(
            "top_k_accuracy",
            ranking.prepare_top_k_accuracy,
            "ranked",
            True,
            ONE_CLASS_TASK,
            "Share of rows whose true class is among the k most probable.",
            {"k": 5, "ties": "column"},
        ),
        Metric(
            "mae", scores.prepare_mae, "values", False, ("regression",), "Mean absolute error."
        ),
        Metric(
            "rmse",
            scores.prepare_rmse,
            "values",
            False,
            ("regression",),
            "Root of the mean squared error.",
        ),
        Metric(
            "weighted_multi_task",
            _prepare_weighted,
            "probabilities",
            True,
            ("multilabel",),
            "Weighted mean over label columns of the score `part` of each column.",
            {"part": "roc_auc", "weights": None},
        ),
    )
}

# What one label column can be scored with in `weighted_multi_task`.
PARTS = ("roc_auc", "log_loss", "macro_f1", "accuracy", "partial_auc", "probabilistic_f_beta")


def bind_metric(
    name: str, *, params: Mapping[str, Any] | None = None, task: Task | None = None
) -> Metric:
    """A metric of the table with its settings, checked before anything is computed.

    Raises:
        ConfigError: The name, a setting, or the metric for this task is not known.
    """
    if name not in METRICS:
        raise ConfigError(f"metric {name!r} is not one of {', '.join(METRICS)}.")
    metric, params = METRICS[name], dict(params or {})
    unknown = [key for key in params if key not in metric.params]
    if unknown:
        known = ", ".join(metric.params) or "none"
        raise ConfigError(
            f"{name} has no setting {', '.join(map(repr, unknown))}; its settings: {known}."
        )
    for key, value in params.items():
        _check_kind(name, key, value, metric.params[key])
    if task is not None:
        _check_task(metric, task)
    bound = replace(metric, params={**metric.params, **params})
    if name == "weighted_multi_task" and bound.params["part"] in PARTS:
        better = METRICS[bound.params["part"]].greater_is_better
        bound = replace(bound, greater_is_better=better)
    return bound


def _check_kind(name: str, key: str, value: Any, default: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if default is None:
        fits, needed = isinstance(value, list | tuple), "a list of numbers"
    elif isinstance(default, str):
        fits, needed = isinstance(value, str), "a text"
    else:
        fits, needed = is_number, "a number"
    if not fits:
        raise ConfigError(f"{key} of {name} must be {needed}, got {value!r}.")


def _check_task(metric: Metric, task: Task) -> None:
    if task not in metric.tasks:
        fitting = ", ".join(m.name for m in METRICS.values() if task in m.tasks)
        raise ConfigError(
            f"Metric {metric.name} does not fit task {task}; these do: {fitting}."
        )


def _checked(
    metric: Metric, truth: NDArray[Any], values: NDArray[Any]
) -> tuple[NDArray[Any], Floats]:
    """Truth as given and values as float64 (N, K), fit for each other and for the metric."""
    values = values.astype(np.float64)
    values = values[:, None] if values.ndim == 1 else values
    assert len(truth) == len(values)
    assert values.ndim == 2
    if len(truth) == 0:
        raise DataError(f"{metric.name} needs at least one row, got none.")
    for what, array in (("predictions", values), ("targets", truth)):
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if bad.any():
            raise DataError(
                f"{int(bad.sum())} of {len(bad)} {what} are not finite numbers (NaN or "
                f"infinite), first row {int(bad.argmax())}."
            )
    if truth.ndim == 2:
        task: Task = "multilabel"
    else:
        task = "multiclass" if np.issubdtype(truth.dtype, np.integer) else "regression"
    _check_task(metric, task)
    if task == "multilabel" and truth.shape != values.shape:
        raise DataError(
            f"Predictions have {values.shape[1]} columns, the targets {truth.shape[1]}."
        )
    if task == "regression" and values.shape[1] != 1:
        raise DataError(f"A number has one prediction column, got {values.shape[1]}.")
    if task == "multiclass" and values.shape[1] == 1:
        values = np.hstack([1 - values, values])
    num_classes = values.shape[1]
    if task == "multiclass" and (truth.min() < 0 or truth.max() >= num_classes):
        raise DataError(
            f"Labels must be class indices from 0 to {num_classes - 1}, one per prediction "
            f"column; found {int(truth.min())} to {int(truth.max())}."
        )
    return truth, values


def evaluate(
    metric: str | Metric,
    truth: NDArray[Any],
    values: NDArray[Any],
    *,
    params: Mapping[str, Any] | None = None,
) -> float:
    """The score of predictions against encoded targets.

    Args:
        metric: Name in ``METRICS``, or a metric from ``bind_metric`` or ``load_metric``.
        truth: Class indices int (N,), 0/1 labels (N, K), or numbers float (N,).
        values: Predictions, (N, K), or (N,) for one column. Label metrics take the largest
            of a row (the first of equals), or for multi-label those of at least ``threshold``.
        params: Settings, when ``metric`` is a name.

    Returns:
        The score, a finite float.

    Raises:
        DataError: Something is not finite, or the metric is undefined on these rows.
        ConfigError: Metric, settings or task do not fit.
    """
    bound = bind_metric(metric, params=params) if isinstance(metric, str) else metric
    return bound.function(truth, values)
