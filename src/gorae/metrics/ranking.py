"""Metrics on ranked guesses: MAP@k and top-k accuracy."""

from collections.abc import Collection, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gorae.errors import ConfigError, DataError
from gorae.metrics.scores import Floats, Scorer, weighted_mean

Label = TypeVar("Label")


def average_precision_at_k(
    true_labels: Collection[Label], guesses: Sequence[Label], *, k: int
) -> float:
    """Average precision of the first ``k`` guesses of one row.

    A label counts where it stands first; a repeat counts nothing but keeps its place. With one
    true label this is 1 / rank. A row without a true label scores 0.

    Source: ``apk`` of benhamner/Metrics.
    """
    if not true_labels:
        return 0.0
    total = 0.0
    seen: set[Label] = set()
    for rank, guess in enumerate(guesses[:k], start=1):
        if guess in true_labels and guess not in seen:
            seen.add(guess)
            total += len(seen) / rank
    return total / min(len(true_labels), k)


def map_at_k(
    truth: Sequence[Collection[Label]], guesses: Sequence[Sequence[Label]], *, k: int = 5
) -> float:
    """Mean over rows of ``average_precision_at_k``; ``truth`` holds the labels of each row."""
    pairs = zip(truth, guesses, strict=True)
    return float(np.mean([average_precision_at_k(t, g, k=k) for t, g in pairs]))


def true_ranks(truth: NDArray[np.int64], values: Floats) -> NDArray[np.int64]:
    """Rank from 1 of each true class by falling value, (N,); equal values in column order."""
    own = values[np.arange(len(values)), truth][:, None]
    is_before = np.arange(values.shape[1]) < truth[:, None]
    num_before = ((values > own) | ((values == own) & is_before)).sum(axis=1)
    return np.asarray(1 + num_before, dtype=np.int64)


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ConfigError(f"k must be a whole number of at least 1, got {k!r}.")


def prepare_map_at_k(truth: NDArray[np.generic], values: Floats, *, k: int) -> Scorer:
    """MAP@k of classes ranked by falling value; equal values in column order."""
    _check_k(k)
    if truth.ndim == 1:
        ranks = true_ranks(truth.astype(np.int64), values)
        return weighted_mean(np.where(ranks <= k, 1 / ranks, 0.0))
    first = np.argsort(-values, axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(truth.astype(np.float64), first, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    num_true = truth.astype(np.float64).sum(axis=1)
    return weighted_mean((precision * hits).sum(axis=1) / num_true.clip(1, k))


def prepare_top_k_accuracy(
    truth: NDArray[np.generic], values: Floats, *, k: int, ties: str
) -> Scorer:
    """Share of rows whose true class is among the ``k`` largest values.

    Args:
        truth: Class indices, (N,).
        values: Scores, (N, K).
        k: Number of guesses, below K.
        ties: Equal values stand in ``column`` order, or are an ``error`` where they decide.
    """
    _check_k(k)
    if ties not in ("column", "error"):
        raise ConfigError(f"ties of top_k_accuracy must be 'column' or 'error', got {ties!r}.")
    if k >= values.shape[1]:
        raise ConfigError(
            f"top_k_accuracy with k = {k} is always 1 for {values.shape[1]} classes. "
            f"Set k to {values.shape[1] - 1} or less."
        )
    labels = truth.astype(np.int64)
    ranks = true_ranks(labels, values)
    if ties == "error":
        own = values[np.arange(len(values)), labels][:, None]
        num_above, num_equal = (values > own).sum(axis=1), (values == own).sum(axis=1)
        undecided = (num_above < k) & (num_above + num_equal > k)
        if undecided.any():
            raise DataError(
                f"Top-{k} accuracy cannot be told: in {int(undecided.sum())} of {len(values)} "
                f"rows equal scores stand across place {k}, first row "
                f"{int(undecided.argmax())}. Give distinct scores."
            )
    return weighted_mean((ranks <= k).astype(np.float64))
