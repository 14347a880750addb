"""Votes: each is a weighted mean in a space of its own, exact whatever the members' order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.ensemble.align import aligned, member_shares
from gorae.errors import ConfigError
from gorae.metrics import Metric
from gorae.predictions import Kind, Predictions

Floats = NDArray[np.float64]

# Rows voted on at once: members x rows x classes of float64 stay small in memory.
VALUES_AT_ONCE = 4_000_000

# What 0 counts as where logarithms are taken: as in Kaggle's log loss, so that one member
# that is sure weighs much but does not decide alone.
PROBABILITY_FLOOR = 1e-15

# What a probability counts beside a whole vote: all of them together are less than one vote
# of 1,000 members, and differences of 1e-4 still show in float32.
TIE_SHARE = 1 / 1024


@dataclass(frozen=True)
class Vote:
    """A mean in another space: members go there, are averaged by weight, and come back."""

    doc: str
    there: Callable[[Floats, Kind], Floats]
    """From values of a member to what is averaged."""
    back: Callable[[Floats, Kind], Floats]
    """From the average, (N, K), to the values of the vote."""
    kinds: tuple[Kind, ...] = ("multiclass", "multilabel")
    """Kinds of predictions it can join."""


def _same(values: Floats, kind: Kind) -> Floats:
    return values


def _logarithm(values: Floats, kind: Kind) -> Floats:
    found: Floats = np.log(np.maximum(values, PROBABILITY_FLOOR))
    return found


def _exponential(means: Floats, kind: Kind) -> Floats:
    if kind != "multiclass":
        plain: Floats = np.exp(means)
        return plain
    powers = np.exp(means - means.max(axis=1, keepdims=True))
    found: Floats = powers / powers.sum(axis=1, keepdims=True)
    return found


def _logit(values: Floats, kind: Kind) -> Floats:
    # Logits of a softmax are log-probabilities up to a number per row, which cancels.
    if kind == "multiclass":
        return _logarithm(values, kind)
    p = values.clip(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    found: Floats = np.log(p) - np.log1p(-p)
    return found


def _from_logit(means: Floats, kind: Kind) -> Floats:
    if kind == "multiclass":
        return _exponential(means, kind)
    found: Floats = 1 / (1 + np.exp(-means))
    return found


def _ballot(values: Floats, kind: Kind) -> Floats:
    """One vote for the label, and a little for the probabilities, which decide ties."""
    if kind == "multiclass":
        votes = (values.argmax(axis=-1)[..., None] == np.arange(values.shape[-1])) * 1.0
    else:
        votes = (values >= 0.5) * 1.0
    found: Floats = (votes + TIE_SHARE * values) / (1 + TIE_SHARE)
    return found


_ARITHMETIC = Vote(
    "Mean of the probabilities, or of the numbers of a regression.",
    _same,
    _same,
    ("multiclass", "multilabel", "value", "score"),
)

VOTES: dict[str, Vote] = {
    "arithmetic": _ARITHMETIC,
    "weighted": Vote(
        "Arithmetic mean with weights by out-of-fold score: score / sum of scores.",
        _same,
        _same,
        _ARITHMETIC.kinds,
    ),
    "geometric": Vote(
        "Geometric mean of the probabilities, in logarithms; rows of classes sum to 1 again.",
        _logarithm,
        _exponential,
    ),
    "logit": Vote(
        "Mean of the logits; for one class of several the same as the geometric mean.",
        _logit,
        _from_logit,
    ),
    "rank": Vote(
        "Mean of the percentile ranks within each column: an order, no probabilities.",
        _same,
        _same,
        ("multiclass", "multilabel", "score"),
    ),
    "hard": Vote(
        "Share of the members whose label it is; ties go to the greater mean probability.",
        _ballot,
        _same,
    ),
}

# `subtask` is no mean: see gorae.ensemble.subtask.
VOTE_NAMES: tuple[str, ...] = (*VOTES, "subtask")


def vote(
    members: Sequence[Predictions],
    how: str,
    *,
    weights: Sequence[float] | None = None,
) -> Predictions:
    """Join what the members say of each id.

    ``geometric`` of multi-label columns is the plain mean of each column; ``hard`` gives
    shares of the votes, of which 1 / 1024 is the mean probability, so that rows sum to 1 and
    the label of the greatest value has most votes or, among equals, the greatest mean
    probability (then the first column). ``rank`` gives predictions of kind ``score``.

    Args:
        members: Equal ids, in any order, and equal columns.
        how: A name in ``VOTES``.
        weights: One per member, not negative; only their ratios count. Absent: equal.

    Returns:
        In the order of ids of the first member. The order of the members does not change a
        single bit of any value.

    Raises:
        ConfigError: There is no such vote, or it cannot join predictions of this kind.
        DataError: Members differ in ids, columns or kind.
        UserError: The weights do not fit.
    """
    _require_joins(how, members[0].kind)
    shares = member_shares(weights, len(members))
    values = aligned(members)
    first = members[0]
    kind = first.kind
    if how == "rank":
        values = [_column_ranks(each) for each in values]
        kind = "score"
    space = VOTES[how]
    voted = np.empty_like(first.values)
    step = max(1, VALUES_AT_ONCE // max(1, len(members) * len(first.columns)))
    for start in range(0, len(first.ids), step):
        rows = slice(start, start + step)
        # float64, or the mean of many float32 would drift; sorted, or its last digit would
        # depend on the order of the members.
        stacked = space.there(
            np.stack([each[rows] for each in values]).astype(np.float64), kind
        )  # (M, n, K)
        stacked = stacked * shares[:, None, None]
        joined = space.back(np.sort(stacked, axis=0).sum(axis=0), kind)
        voted[rows] = joined
        if how == "hard" and kind == "multiclass":
            put_first(voted[rows], joined.argmax(axis=1))
    return Predictions(first.ids, first.columns, voted, kind)


def soft_vote(
    members: Sequence[Predictions], *, weights: Sequence[float] | None = None
) -> Predictions:
    """The (weighted) arithmetic mean of what the members say of each id; see ``vote``."""
    return vote(members, "arithmetic", weights=weights)


def percentile_ranks(predictions: Predictions) -> Predictions:
    """For each column the share of ids whose value is at most as great; ties share a mean.

    From 1 / N to 1; of kind ``score``. Source: the blend of the SIIM-ISIC 2020 winners.
    """
    ranks = _column_ranks(predictions.values)
    return Predictions(predictions.ids, predictions.columns, ranks, "score")


def _column_ranks(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return pd.DataFrame(values).rank(pct=True).to_numpy(np.float32)


def put_first(values: NDArray[np.float32], winners: NDArray[np.int64]) -> None:
    """Make ``winners`` the only largest value of each row, in place, where they are not.

    Winner and largest value are exchanged, then the winner stands above by one digit: sums of
    the rows stay.
    """
    rows = np.flatnonzero(values.argmax(axis=1) != winners)
    best, largest = winners[rows], values[rows].argmax(axis=1)
    top = values[rows, largest]
    values[rows, largest] = values[rows, best]
    values[rows, best] = np.nextafter(top, np.float32(np.inf))


def fitting_votes(
    kind: Kind, metric: Metric, *, task_is_composed: bool = False
) -> tuple[str, ...]:
    """Names of the votes that can join predictions of ``kind`` and be scored by ``metric``."""
    return tuple(
        name
        for name in VOTE_NAMES
        if _why_not(name, kind, metric, task_is_composed=task_is_composed) is None
    )


def require_vote(
    how: str, kind: Kind, metric: Metric, *, task_is_composed: bool = False
) -> None:
    """Stop where a vote cannot join these predictions or its result cannot be scored.

    Raises:
        ConfigError: Says why, and which votes can be used.
    """
    reason = _why_not(how, kind, metric, task_is_composed=task_is_composed)
    if reason is not None:
        fitting = ", ".join(fitting_votes(kind, metric, task_is_composed=task_is_composed))
        raise ConfigError(f"Vote {how!r} cannot be used here: {reason}. Use one of {fitting}.")


def _why_not(how: str, kind: Kind, metric: Metric, *, task_is_composed: bool) -> str | None:
    if how not in VOTE_NAMES:
        return "there is no such vote"
    if how == "subtask":
        if kind != "multiclass":
            return "it joins labels, one per row"
        return None if task_is_composed else "competition.toml composes no labels of parts"
    if kind not in VOTES[how].kinds:
        return f"it cannot join predictions of kind {kind!r}"
    if how != "rank":
        return None
    if metric.needs == "probabilities":
        return f"{metric.name} needs probabilities, and mean ranks are none"
    if metric.needs == "labels" and kind == "multilabel":
        return f"{metric.name} counts what is above a threshold, and mean ranks have none"
    return None


def _require_joins(how: str, kind: Kind) -> None:
    if how not in VOTES or kind not in VOTES[how].kinds:
        fitting = ", ".join(name for name, space in VOTES.items() if kind in space.kinds)
        raise ConfigError(
            f"Vote {how!r} cannot join predictions of kind {kind!r}; these can: {fitting}."
        )
