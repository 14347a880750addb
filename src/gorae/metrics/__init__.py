"""Metrics with exact conventions, and how sure a score is."""

from gorae.metrics.intervals import Interval, bootstrap
from gorae.metrics.labels import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    f_beta,
    macro_f1,
    mcc,
    micro_f1,
    predicted_labels,
    qwk,
)
from gorae.metrics.ranking import average_precision_at_k, map_at_k
from gorae.metrics.scores import roc_auc_per_class
from gorae.metrics.table import (
    METRICS,
    Metric,
    bind_metric,
    evaluate,
    evaluate_parts,
    weighted_multi_task,
)
from gorae.metrics.user import load_metric

__all__ = [
    "METRICS",
    "Interval",
    "Metric",
    "accuracy",
    "average_precision_at_k",
    "balanced_accuracy",
    "bind_metric",
    "bootstrap",
    "confusion_matrix",
    "evaluate",
    "evaluate_parts",
    "f_beta",
    "load_metric",
    "macro_f1",
    "map_at_k",
    "mcc",
    "micro_f1",
    "predicted_labels",
    "qwk",
    "roc_auc_per_class",
    "weighted_multi_task",
]
