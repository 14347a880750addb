"""Step ``ensemble``: the members of a run become one out-of-fold and one test prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.ensemble import assemble_oof, soft_vote
from gorae.errors import DataError, UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import write_json
from gorae.metrics import Metric, bootstrap, evaluate
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.scores import competition_metric, row_truth
from gorae.predictions import Predictions, aggregate_rows, concatenate
from gorae.workspace import Member, RunFolder, read_frame, read_predictions, write_predictions

# Intervals are part of the record: the seed is fixed so that they are the same each time.
INTERVAL_SEED = 0


@dataclass(frozen=True)
class EnsembleResult:
    """The scores of a run, as they stand in result.json."""

    run: RunFolder
    result: dict[str, Any]

    @property
    def has_test(self) -> bool:
        """Whether there are test rows, and so something to submit."""
        return bool(self.result["num_rows_test"])

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return self.result


def ensemble(
    folder: Path, *, run: str | None = None, on_event: OnEvent = ignore_events
) -> EnsembleResult:
    """Vote over folds, checkpoints and views of a run; score it out of fold.

    Writes ``oof.parquet``, ``test.parquet`` and ``result.json``.
    """
    context = open_context(folder)
    target = context.workspace.run(run)
    on_event(Event("stage", "ensemble", f"voting over the members of {target.run_id}"))
    members = target.members()
    folds = [member for member in members if "fold" in member.read_record()]
    if not folds:
        raise UserError(
            f"Run {target.run_id} has no finished fold yet; `gorae run` goes on with it."
        )
    metric = competition_metric(context)
    key = target.read_settings()["keys"]["split"]
    contract = read_frame(context.workspace.splits / key / "folds.parquet")
    oof, fold_scores = _out_of_fold(context, folds, metric, contract=contract)
    write_predictions(target.oof, oof)
    result = _score(context, target, oof, metric, contract=contract)
    result |= {"fold_scores": fold_scores, "num_folds": len(folds)}
    result["elapsed_s"] = round(sum(m.read_record()["elapsed_s"] for m in members), 1)
    if len(context.tables.test):
        test, fallback = _test(context, members, oof)
        write_predictions(target.test, test)
        result["fallback_rows"] = fallback
    write_json(target.result, result)
    for warning in _doubts(context, result):
        on_event(Event("warning", "ensemble", warning))
    low, high = result["interval"]
    text = f"{metric.name} {result['score']:.4f} (95 %: {low:.4f} to {high:.4f}), out of fold"
    on_event(Event("message", "ensemble", text))
    return EnsembleResult(target, result)


def _doubts(context: Context, result: dict[str, Any]) -> list[str]:
    """What the out-of-fold score does not know."""
    doubts = []
    form = context.competition.submission
    if form is not None and form.unknown_label not in (None, *context.tables.classes):
        doubts.append(
            f"the out-of-fold score knows labels of the train table only: on a test set where "
            f"{form.unknown_label} is right it says nothing, and the score there may be lower"
        )
    if result["num_rows_unscored"]:
        doubts.append(
            f"{result['num_rows_unscored']} train rows have no out-of-fold prediction and are "
            "not in the score"
        )
    return doubts


def _vote(member: Member, part: str) -> Predictions:
    """One member's prediction per image: the mean over its checkpoints and views."""
    record = member.read_record()
    return soft_vote(
        [
            read_predictions(member.predictions(part, checkpoint, view))
            for checkpoint in record["used_checkpoints"]
            for view in record["views"]
        ]
    )


def _out_of_fold(
    context: Context, folds: Sequence[Member], metric: Metric, *, contract: pd.DataFrame
) -> tuple[Predictions, list[float | None]]:
    """Each row once, predicted by members that never saw its group; and the score per fold."""
    how = context.competition.aggregate
    row_of = context.tables.train.set_index("image_id")["row_id"]
    per_repeat: dict[int, list[Predictions]] = {}
    scores: list[float | None] = []
    for member in folds:
        per_image = _vote(member, "valid")
        _require_held_out(member, per_image, folds=contract)
        rows = aggregate_rows(per_image, row_of.loc[list(per_image.ids)].tolist(), how=how)
        per_repeat.setdefault(member.read_record()["repeat"], []).append(rows)
        scores.append(_fold_score(context, rows, metric))
    covered = [{id_ for part in parts for id_ in part.ids} for parts in per_repeat.values()]
    order = [row for row in dict.fromkeys(row_of) if row in covered[0]]
    # A run that ran out of time may lack folds of its later repeats: those do not count.
    whole = [
        p for p, ids in zip(per_repeat.values(), covered, strict=True) if ids == covered[0]
    ]
    return assemble_oof(whole, ids=order), scores


def _require_held_out(member: Member, predicted: Predictions, *, folds: pd.DataFrame) -> None:
    """What a member says out of fold is about exactly the images the contract kept from it."""
    record = member.read_record()
    place = (folds["repeat"] == record["repeat"]) & (folds["fold"] == record["fold"])
    if set(predicted.ids) != set(folds.loc[place, "image_id"]):
        raise DataError(
            f"{member.path} predicts other images than the split kept out of its training. "
            "Remove that folder and run `gorae train` again."
        )


def _fold_score(context: Context, rows: Predictions, metric: Metric) -> float | None:
    """The score of one fold; None where the metric is undefined on it (a class is absent)."""
    try:
        return evaluate(metric, row_truth(context, rows.ids), rows.values)
    except DataError:
        return None


def _score(
    context: Context,
    run: RunFolder,
    oof: Predictions,
    metric: Metric,
    *,
    contract: pd.DataFrame,
) -> dict[str, Any]:
    settings = run.read_settings()
    row_of = context.tables.train.set_index("image_id")["row_id"]
    group_of_row = dict(zip(row_of.loc[contract["image_id"]], contract["group"], strict=True))
    groups = np.array([group_of_row[row] for row in oof.ids], dtype=np.int64)
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
        "run_id": run.run_id,
        "status": "done",
        "metric": metric.name,
        "greater_is_better": metric.greater_is_better,
        "score": found.score,
        "interval": [found.low, found.high],
        "predicted": predicted,
        "num_rows_scored": len(oof.ids),
        "num_rows_unscored": _num_unscored(context, oof),
        "num_rows_test": num_test,
        "model": settings["recipe"]["model"]["name"],
    }


def _num_unscored(context: Context, oof: Predictions) -> int:
    train = context.tables.train
    wanted = train.loc[train["role"] == "train", "row_id"]
    if (train["role"] == "holdout").any():
        wanted = train.loc[train["role"] == "holdout", "row_id"]
    return len(set(wanted) - set(oof.ids))


def _test(
    context: Context, members: Sequence[Member], oof: Predictions
) -> tuple[Predictions, list[str]]:
    """Test rows in the order of the test table; rows without a readable picture get the prior.

    Returns:
        The predictions, and the ids of the rows that got the prior.
    """
    table = context.tables.test
    votes = soft_vote([_vote(member, "test") for member in members])
    row_of = table.set_index("image_id")["row_id"]
    seen = aggregate_rows(
        votes, row_of.loc[list(votes.ids)].tolist(), how=context.competition.aggregate
    )
    rows = list(dict.fromkeys(table["row_id"]))
    fallback = [row for row in rows if row not in set(seen.ids)]
    if not fallback:
        return seen.select(rows), []
    prior = _prior(context, oof)
    values = np.tile(prior, (len(fallback), 1)).astype(np.float32)
    filled = concatenate([seen, Predictions(tuple(fallback), seen.columns, values, seen.kind)])
    return filled.select(rows), fallback


def _prior(context: Context, oof: Predictions) -> NDArray[np.float64]:
    """What is said of a row nothing is known of: class shares, or the mean, of train rows."""
    truth = row_truth(context, oof.ids)
    if truth.ndim == 1 and context.competition.task != "regression":
        truth = np.eye(len(oof.columns))[truth]
    prior: NDArray[np.float64] = truth.astype(np.float64).reshape(len(oof.ids), -1).mean(axis=0)
    return prior
