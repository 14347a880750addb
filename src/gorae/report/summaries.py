"""What a report shows of the truth and the out-of-fold values, computed."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.metrics import METRICS, confusion_matrix, predicted_labels, roc_auc_per_class
from gorae.report.page import Confusion, RegressionFit, Reliability, Roc, Summaries

Floats = NDArray[np.float64]

THRESHOLD = 0.5
NUM_RELIABILITY_BINS = 10
# A curve on a screen is some 500 pixels wide; more points cannot be seen.
MAX_ROC_POINTS = 1000
# Probabilities are float32: their sum is off by less than this.
ROW_SUM_TOLERANCE = 1e-3

# Shown beside the competition's own metric, where they are defined.
USUAL_METRICS: dict[Task, tuple[str, ...]] = {
    "multiclass": ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"),
    "ordinal": ("accuracy", "qwk", "macro_f1", "log_loss"),
    "multilabel": ("macro_f1", "micro_f1", "roc_auc_macro", "log_loss"),
    "regression": ("mae", "rmse"),
}


def build_summaries(
    truth: NDArray[Any], values: NDArray[Any], *, classes: Sequence[str], task: Task
) -> Summaries:
    """Compute all that a page shows of out-of-fold values.

    Args:
        truth: Encoded targets: class indices (N,), 0/1 (N, K), or numbers (N,).
        values: Out-of-fold values, (N, K); (N, 1) for a regression.
        classes: Class names, K; not used by a regression.
        task: What a label is.
    """
    values = values.astype(np.float64)
    if task == "regression":
        fit = RegressionFit(truth=truth.astype(np.float64), predicted=values.reshape(-1))
        return Summaries(scores=_usual_scores(truth, values, task), regression=fit)
    if task == "multilabel":
        return Summaries(
            scores=_usual_scores(truth, values, task),
            per_class=label_table(truth, values, classes=classes),
            reliability=_label_reliability(truth, values),
        )
    labels = truth.astype(np.int64)
    matrix = confusion_matrix(labels, predicted_labels(values), num_classes=len(classes))
    confusion = Confusion(classes=tuple(classes), counts=matrix.astype(np.int64))
    table = class_table(confusion)
    table["auc"] = roc_auc_per_class(labels, values)
    is_binary_mixed = len(classes) == 2 and 0 < labels.sum() < len(labels)
    return Summaries(
        scores=_usual_scores(labels, values, task),
        confusion=confusion,
        per_class=table,
        reliability=class_reliability(labels, values, classes=classes),
        roc=roc_curve(labels, values[:, 1], positive=classes[1]) if is_binary_mixed else None,
    )


def _usual_scores(
    truth: NDArray[Any], values: Floats, task: Task
) -> tuple[tuple[str, float], ...]:
    names = [
        name
        for name in USUAL_METRICS[task]
        if METRICS[name].needs != "probabilities" or _are_probabilities(values, task)
    ]
    if name_of_undefined := _undefined(truth, task):
        names = [name for name in names if name not in name_of_undefined]
    return tuple((name, METRICS[name].function(truth, values)) for name in names)


def _undefined(truth: NDArray[Any], task: Task) -> tuple[str, ...]:
    """Usual metrics that have no value for such a truth."""
    if task == "multilabel":
        is_mixed = (truth.min(axis=0) == 0) & (truth.max(axis=0) == 1)
        return () if is_mixed.any() else ("roc_auc_macro",)
    return ("qwk",) if len(np.unique(truth)) < 2 else ()


def _are_probabilities(values: Floats, task: Task) -> bool:
    is_inside = bool(((values >= 0) & (values <= 1)).all())
    sums_to_one = bool(np.abs(values.sum(axis=1) - 1).max(initial=0) <= ROW_SUM_TOLERANCE)
    return is_inside and (task == "multilabel" or sums_to_one)


def _rates(names: Sequence[str], hits: Floats, true: Floats, predicted: Floats) -> pd.DataFrame:
    """Precision, recall and F1 from counts, (K,); an empty denominator gives 0."""

    def ratio(part: Floats, whole: Floats) -> Floats:
        return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)

    return pd.DataFrame(
        {
            "class": list(names),
            "precision": ratio(hits, predicted),
            "recall": ratio(hits, true),
            "f1": ratio(2 * hits, true + predicted),
            "support": true.astype(np.int64),
            "predicted": predicted.astype(np.int64),
        }
    )


def class_table(confusion: Confusion) -> pd.DataFrame:
    """Precision, recall and F1 of each class from a confusion matrix."""
    counts = confusion.counts.astype(np.float64)
    return _rates(confusion.classes, np.diag(counts), counts.sum(axis=1), counts.sum(axis=0))


def label_table(truth: NDArray[Any], values: Floats, *, classes: Sequence[str]) -> pd.DataFrame:
    """Precision, recall, F1 and AUC of each label at threshold 0.5.

    Args:
        truth: 0/1, (N, K).
        values: Probabilities, (N, K).
        classes: Label names, K.
    """
    given, true = values >= THRESHOLD, truth == 1
    counts = [a.sum(axis=0).astype(np.float64) for a in (given & true, true, given)]
    table = _rates(classes, *counts)
    table["auc"] = roc_auc_per_class(truth, values)
    return table


def confused_pairs(confusion: Confusion, *, limit: int) -> pd.DataFrame:
    """The most frequent mistakes: ``true``, ``predicted``, ``count``, ``share`` of the true."""
    counts = confusion.counts.copy()
    np.fill_diagonal(counts, 0)
    rows, columns = np.nonzero(counts)
    order = np.argsort(-counts[rows, columns], kind="stable")[:limit]
    rows, columns = rows[order], columns[order]
    found = counts[rows, columns]
    return pd.DataFrame(
        {
            "true": [confusion.classes[i] for i in rows],
            "predicted": [confusion.classes[j] for j in columns],
            "count": found,
            "share": found / confusion.counts.sum(axis=1)[rows],
        }
    )


def wilson_interval(share: Floats, counts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """95 % interval of shares seen in ``counts`` trials each, both (N,).

    Source: Wilson, 1927, "Probable inference, the law of succession, and statistical
    inference".
    """
    z = 1.959963984540054
    centre = share + z**2 / (2 * counts)
    spread = z * np.sqrt(share * (1 - share) / counts + z**2 / (4 * counts**2))
    scale = 1 + z**2 / counts
    return (centre - spread) / scale, (centre + spread) / scale


def reliability(
    said: Floats, happened: NDArray[np.bool_], *, positive: str | None = None
) -> Reliability:
    """Bin said probabilities into tenths and compare with how often they came true.

    Args:
        said: Probabilities, (N,).
        happened: Whether what was said was so, (N,).
        positive: Class the probabilities are of; None: of each answer.

    Source: Naeini et al., 2015, "Obtaining well calibrated probabilities using Bayesian
    binning" (expected calibration error).
    """
    place = np.minimum((said * NUM_RELIABILITY_BINS).astype(np.int64), NUM_RELIABILITY_BINS - 1)
    counts = np.bincount(place, minlength=NUM_RELIABILITY_BINS)
    used = np.flatnonzero(counts)
    mean_said = np.bincount(place, weights=said, minlength=NUM_RELIABILITY_BINS)[used]
    mean_happened = np.bincount(place, weights=happened, minlength=NUM_RELIABILITY_BINS)[used]
    share = mean_happened / counts[used]
    happened_low, happened_high = wilson_interval(share, counts[used])
    bins = pd.DataFrame(
        {
            "low": used / NUM_RELIABILITY_BINS,
            "high": (used + 1) / NUM_RELIABILITY_BINS,
            "said": mean_said / counts[used],
            "happened": share,
            "happened_low": happened_low,
            "happened_high": happened_high,
            "count": counts[used],
        }
    )
    gap = (bins["said"] - bins["happened"]).abs()
    return Reliability(
        bins=bins, error=float((gap * bins["count"]).sum() / len(said)), positive=positive
    )


def class_reliability(
    truth: NDArray[np.int64], values: Floats, *, classes: Sequence[str]
) -> Reliability | None:
    """Reliability of class probabilities; None when the values are none.

    With two classes it is that of the second one's probability, else that of the answer.
    """
    if not _are_probabilities(values, "multiclass"):
        return None
    if len(classes) == 2:
        return reliability(values[:, 1], truth == 1, positive=classes[1])
    return reliability(values.max(axis=1), predicted_labels(values) == truth)


def _label_reliability(truth: NDArray[Any], values: Floats) -> Reliability | None:
    if not _are_probabilities(values, "multilabel"):
        return None
    return reliability(values.reshape(-1), truth.reshape(-1) == 1)


def roc_curve(truth: NDArray[np.int64], scores: Floats, *, positive: str) -> Roc:
    """The ROC curve of one class against the other.

    Args:
        truth: 1 for the positive class, (N,); both classes must be present.
        scores: Greater for the positive class, (N,).
        positive: Name of the positive class.
    """
    order = np.argsort(-scores, kind="stable")
    # One point per distinct score: equal scores are decided together.
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    hits = np.r_[0, np.cumsum(truth[order])[last]] / truth.sum()
    false_alarms = np.r_[0, np.cumsum(1 - truth[order])[last]] / (1 - truth).sum()
    area = float(np.trapezoid(hits, false_alarms))
    # Points inside a straight piece say nothing.
    turns = np.r_[True, (np.diff(hits, 2) != 0) | (np.diff(false_alarms, 2) != 0), True]
    hits, false_alarms = hits[turns], false_alarms[turns]
    kept = np.unique(np.linspace(0, len(hits) - 1, MAX_ROC_POINTS).round().astype(np.int64))
    return Roc(false_alarms=false_alarms[kept], hits=hits[kept], area=area, positive=positive)


def class_shares(
    classes: Sequence[str],
    *,
    train: NDArray[Any],
    oof: NDArray[Any],
    test: NDArray[Any],
    task: Task,
) -> pd.DataFrame:
    """How often each class is true in training, answered out of fold, answered on the test set.

    Args:
        classes: Class names, K; not used by a regression, whose numbers are put into bins.
        train: Encoded targets, as in ``build_summaries``.
        oof: Out-of-fold values, (N, K).
        test: Values of the test rows, (M, K).
        task: What a label is.
    """
    if task == "regression":
        return _bin_shares(train=train, oof=oof.reshape(-1), test=test.reshape(-1))
    if task == "multilabel":
        shares = [(part >= THRESHOLD).mean(axis=0) for part in (train, oof, test)]
    else:
        labels = [train.astype(np.int64), predicted_labels(oof), predicted_labels(test)]
        shares = [np.bincount(part, minlength=len(classes)) / len(part) for part in labels]
    train_share, oof_share, test_share = shares
    return pd.DataFrame(
        {"class": list(classes), "train": train_share, "oof": oof_share, "test": test_share}
    )


def _bin_shares(**parts: NDArray[Any]) -> pd.DataFrame:
    everything = np.concatenate([part.astype(np.float64) for part in parts.values()])
    edges = np.histogram_bin_edges(everything, bins=12)
    table = pd.DataFrame(
        {name: np.histogram(part, bins=edges)[0] / len(part) for name, part in parts.items()}
    )
    names = [f"{low:.4g} – {high:.4g}" for low, high in itertools.pairwise(edges)]
    table.insert(0, "class", names)
    return table


def confident_errors(
    truth: NDArray[Any], values: NDArray[Any], *, classes: Sequence[str], task: Task, limit: int
) -> pd.DataFrame:
    """The mistakes the model was surest of, worst first.

    Args:
        truth: Encoded targets, as in ``build_summaries``.
        values: Out-of-fold values, (N, K).
        classes: Class names, K.
        task: What a label is.
        limit: How many at most.

    Returns:
        ``row`` (index into the truth), ``true`` and ``predicted`` (text), ``probability`` of
        the answer: with several labels per row, of what was most wrong about it; NaN for a
        regression, whose largest residuals are listed.
    """
    rows: NDArray[np.int64]
    if task == "regression":
        said = values.reshape(-1).astype(np.float64)
        rows = np.argsort(-np.abs(said - truth), kind="stable")[:limit]
        answers = [f"{number:.4g}" for number in said[rows]]
        truths = [f"{float(number):.4g}" for number in truth[rows]]
        return _errors(rows, truths, answers, np.full(len(rows), np.nan))
    if task == "multilabel":
        return _label_errors(truth, values, classes, limit)
    predicted = predicted_labels(values.astype(np.float64))
    sureness = values[np.arange(len(values)), predicted].astype(np.float64)
    order = np.argsort(-sureness, kind="stable")
    rows = order[predicted[order] != truth[order]][:limit]
    truths = [classes[int(label)] for label in truth[rows]]
    answers = [classes[int(label)] for label in predicted[rows]]
    return _errors(rows, truths, answers, sureness[rows])


def _label_errors(
    truth: NDArray[Any], values: NDArray[Any], classes: Sequence[str], limit: int
) -> pd.DataFrame:
    """Rows by their worst label: surely given and not true, or surely not given and true."""
    gap = np.abs(values.astype(np.float64) - truth).max(axis=1)
    order = np.argsort(-gap, kind="stable")
    rows = order[gap[order] > THRESHOLD][:limit]

    def names(is_given: NDArray[np.bool_]) -> str:
        return ", ".join(classes[int(j)] for j in np.flatnonzero(is_given)) or "–"

    truths = [names(truth[row] == 1) for row in rows]
    answers = [names(values[row] >= THRESHOLD) for row in rows]
    return _errors(rows, truths, answers, gap[rows])


def _errors(
    rows: NDArray[np.int64], true: list[str], predicted: list[str], probability: Floats
) -> pd.DataFrame:
    return pd.DataFrame(
        {"row": rows, "true": true, "predicted": predicted, "probability": probability}
    )
