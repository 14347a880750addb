"""What the models of a run say of train and test rows, joined by any vote and scored."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.ensemble import (
    HeldOut,
    require_vote,
    score_weights,
    subtask_vote,
    vote,
    vote_oof,
)
from gorae.ensemble.borrow import borrow_opinions
from gorae.errors import DataError
from gorae.metrics import Metric, bootstrap, evaluate
from gorae.pipeline.composed import label_parts
from gorae.pipeline.context import Context
from gorae.pipeline.open_set import OpenSet
from gorae.pipeline.scores import row_truth
from gorae.predictions import Kind, Predictions, aggregate_rows, concatenate
from gorae.workspace import Member, RunFolder, read_frame, read_predictions

# Intervals are part of the record: the seed is fixed so that they are the same each time.
INTERVAL_SEED = 0

# Rank of a checkpoint within its fold, from 1, and name of a view.
Voter = tuple[int, str]


@dataclass(frozen=True)
class FoldPredictions:
    """What the voters of one fold say of the images it held out."""

    repeat: int
    fold: int
    voters: Mapping[Voter, Predictions]


@dataclass(frozen=True)
class Voting:
    """How a run's models are joined."""

    context: Context
    metric: Metric
    how: str
    """A name of ``gorae.ensemble.VOTE_NAMES``."""
    open_set: OpenSet | None = None
    """Individuals that are unknown, where there are such."""


def require_fitting(context: Context, metric: Metric, how: str, *, kind: Kind) -> None:
    """Stop where a vote does not fit the competition.

    Raises:
        ConfigError: It cannot join these predictions; those that can are listed.
    """
    is_composed = bool(context.competition.train.compose)
    require_vote(how, kind, metric, task_is_composed=is_composed)


def read_contract(context: Context, run: RunFolder) -> pd.DataFrame:
    """The split a run was trained on: ``image_id``, ``group``, ``repeat``, ``fold``."""
    key = run.read_settings()["keys"]["split"]
    return read_frame(context.workspace.splits / key / "folds.parquet")


def read_voters(member: Member, part: str) -> dict[Voter, Predictions]:
    """Predictions per image of each used checkpoint and view; ``part`` is valid or test."""
    record = member.read_record()
    return {
        (rank, view): read_predictions(member.predictions(part, checkpoint, view))
        for rank, checkpoint in enumerate(record["used_checkpoints"], start=1)
        for view in record["views"]
    }


def read_folds(members: Sequence[Member], *, contract: pd.DataFrame) -> list[FoldPredictions]:
    """What each fold's voters say of the images it held out.

    Raises:
        DataError: A member predicts other images than the split kept from it.
    """
    folds = []
    for member in members:
        record = member.read_record()
        found = FoldPredictions(record["repeat"], record["fold"], read_voters(member, "valid"))
        place = (contract["repeat"] == found.repeat) & (contract["fold"] == found.fold)
        held_out = set(contract.loc[place, "image_id"])
        if any(set(predicted.ids) != held_out for predicted in found.voters.values()):
            raise DataError(
                f"{member.path} predicts other images than the split kept out of its training. "
                "Remove that folder and run `gorae train` again."
            )
        folds.append(found)
    return folds


def join_oof(
    voting: Voting,
    folds: Sequence[FoldPredictions],
    *,
    keep: Collection[Voter] | None = None,
) -> Predictions:
    """Each train row by a vote of the models that never saw its group.

    Args:
        voting: The vote.
        folds: All finished folds.
        keep: Which checkpoints and views vote; all when absent.
    """
    weights = _oof_weights(voting, folds)
    per_repeat: dict[int, list[HeldOut]] = {}
    for fold in folds:
        chosen = [voter for voter in fold.voters if keep is None or voter in keep]
        # A fold that stopped early lacks the later checkpoints: its best one speaks for it.
        chosen = chosen or [min(fold.voters)]
        held = HeldOut(
            tuple(fold.voters[voter] for voter in chosen),
            tuple(weights[fold.repeat, fold.fold][voter] for voter in chosen),
        )
        per_repeat.setdefault(fold.repeat, []).append(held)
    covered = [
        [id_ for held in parts for id_ in held.members[0].ids] for parts in per_repeat.values()
    ]
    # A run that ran out of time may lack folds of its later repeats: those do not count.
    whole = [
        parts
        for parts, ids in zip(per_repeat.values(), covered, strict=True)
        if set(ids) == set(covered[0])
    ]
    ids = list(dict.fromkeys(covered[0]))
    parts = label_parts(voting.context) if voting.how == "subtask" else None
    rows = _in_row_order(voting.context, vote_oof(whole, voting.how, ids=ids, parts=parts))
    return rows if voting.open_set is None else voting.open_set.oof(rows)


def _in_row_order(context: Context, per_image: Predictions) -> Predictions:
    """Predictions per image as predictions per row, in the order of the train table."""
    row_of = context.tables.train.set_index("image_id")["row_id"]
    rows = _as_rows(context, per_image, row_of)
    there = set(rows.ids)
    return rows.select([row for row in dict.fromkeys(row_of) if row in there])


def _as_rows(context: Context, per_image: Predictions, row_of: "pd.Series[Any]") -> Predictions:
    row_ids = row_of.loc[list(per_image.ids)].tolist()
    return aggregate_rows(per_image, row_ids, how=context.competition.aggregate)


def _voter_scores(
    voting: Voting, folds: Sequence[FoldPredictions]
) -> dict[tuple[int, int], dict[Voter, float | None]]:
    """The score of each checkpoint and view on what its fold held out."""
    row_of = voting.context.tables.train.set_index("image_id")["row_id"]
    return {
        (fold.repeat, fold.fold): {
            voter: score_of(
                voting.context, _as_rows(voting.context, found, row_of), voting.metric
            )
            for voter, found in fold.voters.items()
        }
        for fold in folds
    }


def _oof_weights(
    voting: Voting, folds: Sequence[FoldPredictions]
) -> dict[tuple[int, int], dict[Voter, float]]:
    """Weights of each fold's voters; by score, those of the other folds: what a fold held out
    must not choose the weights it is scored with.
    """
    if voting.how != "weighted":
        return {(fold.repeat, fold.fold): dict.fromkeys(fold.voters, 1.0) for fold in folds}
    scores = _voter_scores(voting, folds)
    weights = {}
    for fold in folds:
        here = (fold.repeat, fold.fold)
        elsewhere: list[float | None] = []
        for voter in fold.voters:
            others = [scores[place].get(voter) for place in scores if place != here]
            known = [score for score in others if score is not None]
            elsewhere.append(float(np.mean(known)) if known else None)
        shares = score_weights(
            elsewhere, greater_is_better=voting.metric.greater_is_better
        ).tolist()
        weights[here] = dict(zip(fold.voters, shares, strict=True))
    return weights


def fold_scores(voting: Voting, folds: Sequence[FoldPredictions]) -> list[float | None]:
    """The score of each fold's vote on what it held out; None where it is undefined."""
    row_of = voting.context.tables.train.set_index("image_id")["row_id"]
    weights = _oof_weights(voting, folds)
    parts = label_parts(voting.context) if voting.how == "subtask" else None
    scores = []
    for fold in folds:
        held = HeldOut(
            tuple(fold.voters.values()), tuple(weights[fold.repeat, fold.fold].values())
        )
        ids = held.members[0].ids
        voted = vote_oof([[held]], voting.how, ids=ids, parts=parts)
        rows = _as_rows(voting.context, voted, row_of)
        scores.append(score_of(voting.context, rows, voting.metric))
    return scores


def score_of(context: Context, rows: Predictions, metric: Metric) -> float | None:
    """The score of some rows; None where the metric is undefined on them."""
    try:
        return evaluate(metric, row_truth(context, rows.ids), rows.values)
    except DataError:
        return None


@dataclass(frozen=True)
class TestVoter:
    """One voice on the test set."""

    member: str
    checkpoint: str
    view: str
    weight: float


def weigh_test(
    voting: Voting, members: Sequence[Member], folds: Sequence[FoldPredictions]
) -> list[TestVoter]:
    """All voters on the test set, in the order of members, checkpoints and views.

    Each trained model (fold or refit) weighs the same, however many checkpoints it has; by
    score, each voter weighs by its own on what its fold held out.
    """
    scores = _voter_scores(voting, folds) if voting.how == "weighted" else {}
    found: list[tuple[str, str, str, int]] = []
    known: list[float | None] = []
    for member in members:
        record = member.read_record()
        # A refit has seen every row, so it has no score of its own.
        own = scores.get((record["repeat"], record["fold"]), {}) if "fold" in record else {}
        names, views = record["used_checkpoints"], record["views"]
        for rank, checkpoint in enumerate(names, start=1):
            for view in views:
                found.append((member.name, checkpoint, view, len(names) * len(views)))
                known.append(own.get((rank, view)))
    by_score = score_weights(known, greater_is_better=voting.metric.greater_is_better)
    weights = by_score / np.array([count for *_, count in found])
    return [
        TestVoter(member, checkpoint, view, float(weight))
        for (member, checkpoint, view, _), weight in zip(
            found, weights / weights.sum(), strict=True
        )
    ]


def join_test(
    voting: Voting, run: RunFolder, voters: Sequence[TestVoter], *, scored_ids: Sequence[str]
) -> tuple[Predictions, list[str]]:
    """Test rows by a vote; rows without a readable picture get the prior.

    Args:
        voting: The vote.
        run: Where the predictions of the voters lie.
        voters: From ``weigh_test``.
        scored_ids: Rows of the train table whose class shares, or mean, are the prior.

    Returns:
        The predictions in the order of the test table, and the ids of the rows that got the
        prior.
    """
    context = voting.context
    found = [
        read_predictions(run.member(v.member).predictions("test", v.checkpoint, v.view))
        for v in voters
    ]
    if voting.open_set is not None:
        unlearned = [voting.open_set.unlearned_by(run.member(v.member)) for v in voters]
        found = borrow_opinions(found, unlearned)
    voted = join(context, found, voting.how, [voter.weight for voter in voters])
    table = context.tables.test
    seen = _as_rows(context, voted, table.set_index("image_id")["row_id"])
    rows = list(dict.fromkeys(table["row_id"]))
    there = set(seen.ids)
    fallback = [row for row in rows if row not in there]
    if not fallback:
        return seen.select(rows), []
    values = np.tile(_prior(context, seen, scored_ids), (len(fallback), 1)).astype(np.float32)
    filled = concatenate([seen, Predictions(tuple(fallback), seen.columns, values, seen.kind)])
    return filled.select(rows), fallback


def join(
    context: Context, members: Sequence[Predictions], how: str, weights: Sequence[float]
) -> Predictions:
    """A vote by its name; ``subtask`` looks at the parts of the competition's labels."""
    if how == "subtask":
        parts = label_parts(context)
        assert parts is not None
        return subtask_vote(members, parts=parts)
    return vote(members, how, weights=weights)


def _prior(context: Context, seen: Predictions, row_ids: Sequence[str]) -> NDArray[np.float64]:
    """What is said of a row nothing is known of."""
    if seen.kind == "score":
        middle: NDArray[np.float64] = seen.values.mean(axis=0, dtype=np.float64)
        return middle
    truth = row_truth(context, row_ids)
    if truth.ndim == 1 and context.competition.task != "regression":
        truth = np.eye(len(seen.columns))[truth]
    prior: NDArray[np.float64] = truth.astype(np.float64).reshape(len(truth), -1).mean(axis=0)
    return prior


def row_groups(
    context: Context, row_ids: Sequence[str], *, contract: pd.DataFrame, column: str = "group"
) -> NDArray[np.int64]:
    """Group (or another column of the contract's first repeat) of each row, (N,)."""
    row_of = context.tables.train.set_index("image_id")["row_id"]
    first = contract[contract["repeat"] == contract["repeat"].min()]
    value_of = dict(zip(row_of.loc[first["image_id"]], first[column], strict=True))
    return np.array([value_of[row] for row in row_ids], dtype=np.int64)


def scored(
    context: Context, oof: Predictions, metric: Metric, *, groups: NDArray[np.int64]
) -> dict[str, Any]:
    """The score of out-of-fold rows with its intervals, as it stands in result.json."""
    num_test = int(context.tables.test["row_id"].nunique())
    found = bootstrap(
        metric,
        row_truth(context, oof.ids),
        oof.values,
        groups=groups,
        num_rows_test=num_test or None,
        seed=INTERVAL_SEED,
    )
    predicted = None
    if found.predicted_low is not None and found.predicted_high is not None:
        predicted = [found.predicted_low, found.predicted_high]
    return {
        "status": "done",
        "metric": metric.name,
        "greater_is_better": metric.greater_is_better,
        "score": found.score,
        "interval": [found.low, found.high],
        "predicted": predicted,
        "num_rows_scored": len(oof.ids),
        "num_rows_unscored": _num_unscored(context, oof),
        "num_rows_test": num_test,
    }


def _num_unscored(context: Context, oof: Predictions) -> int:
    train = context.tables.train
    wanted = train.loc[train["role"] == "train", "row_id"]
    if (train["role"] == "holdout").any():
        wanted = train.loc[train["role"] == "holdout", "row_id"]
    return len(set(wanted) - set(oof.ids))
