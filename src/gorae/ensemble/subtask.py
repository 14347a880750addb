"""Votes on the parts of a composed label, where the vote on the label itself is tied."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gorae.data.composed import Indices, class_indices
from gorae.ensemble.align import aligned
from gorae.ensemble.votes import put_first, vote
from gorae.predictions import Predictions


def subtask_vote(members: Sequence[Predictions], *, parts: Indices) -> Predictions:
    """The label of most members; where several have most, each part is voted on by itself.

    A part's vote that is tied goes to the first member among the tied; parts that make up no
    class leave the label to the first member among the tied labels. Only here does the order
    of the members count.

    Args:
        members: Equal ids and columns, of kind ``multiclass``.
        parts: Index of each part in each class, (K, P); see
            ``gorae.data.composed.part_indices``.

    Returns:
        Shares as of ``vote(members, "hard")``; where another label won, its value and the
        largest are exchanged.

    Source: nestiank/boostcamp-image-classification.
    """
    shares = vote(members, "hard")
    labels = np.stack([values.argmax(axis=1) for values in aligned(members)])  # (M, N)
    num_classes = len(shares.columns)
    counts = _counts(labels, num_classes)
    is_most = counts == counts.max(axis=1, keepdims=True)
    tied = np.flatnonzero(is_most.sum(axis=1) > 1)
    if not len(tied):
        return shares
    voices = labels[:, tied]
    chosen = np.stack([_majority(of_class[voices]) for of_class in parts.T], axis=1)
    found = class_indices(chosen, parts=parts)
    winners = shares.values.argmax(axis=1)
    winners[tied] = np.where(found >= 0, found, _first_of(voices, is_most[tied]))
    values = shares.values.copy()
    put_first(values, winners)
    return Predictions(shares.ids, shares.columns, values, shares.kind)


def _counts(labels: Indices, num_classes: int) -> Indices:
    """How many members say each label, (n, K), of labels (M, n)."""
    cells = np.arange(labels.shape[1]) * num_classes + labels
    counts = np.bincount(cells.ravel(), minlength=labels.shape[1] * num_classes)
    return counts.reshape(-1, num_classes)


def _majority(labels: Indices) -> Indices:
    """The label of most members, (n,) of (M, n); of tied ones, the first member's."""
    counts = _counts(labels, 1 + int(labels.max()))
    return _first_of(labels, counts == counts.max(axis=1, keepdims=True))


def _first_of(labels: Indices, allowed: NDArray[np.bool_]) -> Indices:
    """What the first member says whose label is allowed, (n,)."""
    is_allowed = np.take_along_axis(allowed.T, labels, axis=0)  # (M, n)
    found: Indices = labels[is_allowed.argmax(axis=0), np.arange(labels.shape[1])]
    return found
