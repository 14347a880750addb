"""Step ``ensemble``: the members of a run become one out-of-fold and one test prediction."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gorae.ensemble import fitting_votes, paired_differences
from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import write_json
from gorae.metrics import Metric
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.open_set import as_scored, find_open_set, open_fold_scores
from gorae.pipeline.part_target import as_target, group_score, target_of
from gorae.pipeline.scores import competition_metric, row_truth
from gorae.pipeline.voters import (
    INTERVAL_SEED,
    FoldPredictions,
    Voter,
    Voting,
    fold_scores,
    join_oof,
    join_test,
    read_contract,
    read_folds,
    require_fitting,
    row_groups,
    scored,
    weigh_test,
)
from gorae.predictions import Kind, Predictions
from gorae.workspace import RunFolder, write_predictions


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


@dataclass(frozen=True)
class Joined:
    """What a vote says of the rows, before it is written."""

    oof: Predictions
    test: Predictions | None
    """None when the competition has no test rows."""
    result: dict[str, Any]
    """What result.json is to hold, but for the names of run and model."""


def ensemble(
    folder: Path, *, run: str | None = None, on_event: OnEvent = ignore_events
) -> EnsembleResult:
    """Vote over folds, checkpoints and views of a run as its recipe says; score it out of fold.

    Writes ``oof.parquet``, ``test.parquet`` and ``result.json``. A run that was joined of
    others stays as it is.
    """
    context = open_context(folder)
    target = context.workspace.run(run)
    settings = target.read_settings()
    if "ensemble" in settings:
        return _as_it_is(target, settings, on_event)
    recipe = settings["recipe"]
    how = recipe["predict"].get("vote", "arithmetic")
    on_event(Event("stage", "ensemble", f"voting over the members of {target.run_id}"))
    context = as_target(context, target_of(target))
    joined = vote_over_members(context, target, how=how)
    result = write_joined(target, joined, model=recipe["model"]["name"])
    tell(context, result, on_event)
    return EnsembleResult(target, result)


def _as_it_is(run: RunFolder, settings: dict[str, Any], on_event: OnEvent) -> EnsembleResult:
    result = run.read_result()
    if result is None:
        raise UserError(
            f"Run {run.run_id} was stopped before it was joined. Repeat "
            f"`{settings['ensemble']['command']}`."
        )
    text = f"{run.run_id} joins {', '.join(settings['ensemble']['runs'])} and stays as it is"
    on_event(Event("message", "ensemble", text))
    return EnsembleResult(run, result)


def vote_over_members(context: Context, trained: RunFolder, *, how: str) -> Joined:
    """Join the folds, checkpoints and views of a run.

    Raises:
        UserError: No fold is finished.
        ConfigError: The vote does not fit the competition.
    """
    members = trained.members()
    held_out = [member for member in members if "fold" in member.read_record()]
    if not held_out:
        raise UserError(
            f"Run {trained.run_id} has no finished fold yet; `gorae run` goes on with it."
        )
    metric = competition_metric(context)
    contract = read_contract(context, trained)
    folds = read_folds(held_out, contract=contract)
    kind = next(iter(folds[0].voters.values())).kind
    require_fitting(context, metric, how, kind=kind)
    opened = find_open_set(context, trained.read_settings(), contract, metric)
    voting = Voting(context, metric, how, opened)
    oof = join_oof(voting, folds)
    groups = row_groups(context, oof.ids, contract=contract)
    rivals = _parts(voting, folds)
    seen = as_scored(context, contract, oof.columns)
    result = {
        **scored(seen, oof, metric, groups=groups),
        **group_score(context, target_of(trained), oof),
        "fold_scores": fold_scores(voting, folds)
        if opened is None
        else open_fold_scores(seen, oof, contract, metric),
        "num_folds": len(folds),
        "vote": how,
        "compared": compared(seen, metric, oof, rivals=rivals, groups=groups),
        "elapsed_s": round(sum(m.read_record()["elapsed_s"] for m in members), 1),
    }
    if not len(context.tables.test):
        told = {} if opened is None else opened.told(oof, None, members)
        return Joined(oof, None, {**result, **told})
    voters = weigh_test(voting, members, folds)
    test, fallback = join_test(voting, trained, voters, scored_ids=oof.ids)
    if opened is not None:
        result |= opened.told(oof, test, members)
        test = opened.with_column(test, opened.test_value(oof, test))
    told = {"voters": [asdict(voter) for voter in voters], "fallback_rows": fallback}
    return Joined(oof, test, {**result, **told})


def write_joined(run: RunFolder, joined: Joined, *, model: str) -> dict[str, Any]:
    """Write the predictions of a run, then result.json, which is returned."""
    write_predictions(run.oof, joined.oof)
    if joined.test is not None:
        write_predictions(run.test, joined.test)
    result = {"run_id": run.run_id, "model": model, **joined.result}
    write_json(run.result, result)
    return result


Rival = tuple[str, str, Predictions]
"""What it is (view, checkpoint, vote, run), its name, and its predictions of the rows."""


def _parts(voting: Voting, folds: Sequence[FoldPredictions]) -> list[Rival]:
    """Each view and checkpoint alone, all but one view, and the other votes on all."""
    voters = {voter for fold in folds for voter in fold.voters}
    views = list(dict.fromkeys(view for fold in folds for _, view in fold.voters))
    ranks = sorted({rank for rank, _ in voters})
    wanted: list[tuple[str, str, set[Voter]]] = []
    if len(views) > 1:
        wanted += [("view", view, {v for v in voters if v[1] == view}) for view in views]
    # Of two views, all but one is the other alone.
    if len(views) > 2:
        wanted += [
            ("without view", view, {v for v in voters if v[1] != view}) for view in views
        ]
    if len(ranks) > 1:
        wanted += [
            ("checkpoint", str(rank), {v for v in voters if v[0] == rank}) for rank in ranks
        ]
    found = [(what, name, join_oof(voting, folds, keep=keep)) for what, name, keep in wanted]
    if len(voters) * len({fold.repeat for fold in folds}) > 1:
        found += [
            ("vote", other.how, join_oof(other, folds)) for other in _other_votes(voting, folds)
        ]
    return found


def _other_votes(voting: Voting, folds: Sequence[FoldPredictions]) -> list[Voting]:
    kind = next(iter(folds[0].voters.values())).kind
    names = other_votes(voting.context, voting.metric, voting.how, kind=kind)
    return [Voting(voting.context, voting.metric, name, voting.open_set) for name in names]


def other_votes(context: Context, metric: Metric, how: str, *, kind: Kind) -> list[str]:
    """Votes beside ``how`` that would give another answer."""
    is_composed = bool(context.competition.train.compose)
    names = fitting_votes(kind, metric, task_is_composed=is_composed)
    # For one class of several the two are the same.
    twins = {"geometric": "logit", "logit": "geometric"} if kind == "multiclass" else {}
    hidden = {how, twins.get(how, "logit" if kind == "multiclass" else "")}
    return [name for name in names if name not in hidden]


def compared(
    context: Context,
    metric: Metric,
    oof: Predictions,
    *,
    rivals: Sequence[Rival],
    groups: NDArray[np.int64],
) -> list[dict[str, Any]]:
    """Scores of other ways to predict the same rows, and how much better ``oof`` is.

    Each line holds ``what``, ``name``, ``score``, ``difference`` (the score of ``oof`` less
    this one) and ``interval`` of the difference (paired bootstrap over groups, 95 %).
    """
    differences = paired_differences(
        metric,
        row_truth(context, oof.ids),
        oof.values,
        [predictions.select(oof.ids).values for _, _, predictions in rivals],
        groups=groups,
        seed=INTERVAL_SEED,
    )
    return [
        {
            "what": what,
            "name": name,
            "score": found.score,
            "difference": found.difference,
            "interval": None if found.interval is None else list(found.interval),
        }
        for (what, name, _), found in zip(rivals, differences, strict=True)
    ]


def tell(context: Context, result: dict[str, Any], on_event: OnEvent) -> None:
    """Say the score, and what it does not know."""
    for doubt in _doubts(context, result):
        on_event(Event("warning", "ensemble", doubt))
    low, high = result["interval"]
    text = (
        f"{result['metric']} {result['score']:.4f} (95 %: {low:.4f} to {high:.4f}), out of fold"
    )
    if "groups" in result:
        text += f"; {result['groups']['metric']} of its groups {result['groups']['score']:.4f}"
    on_event(Event("message", "ensemble", text))


def _doubts(context: Context, result: dict[str, Any]) -> list[str]:
    doubts = []
    form = context.competition.submission
    has_unknown = result.get("unknown", {}).get("num_rows", 0) > 0
    if (
        form is not None
        and form.unknown_label not in (None, *context.tables.classes)
        and not has_unknown
    ):
        doubts.append(
            f"the out-of-fold score knows labels of the train table only: on a test set where "
            f"{form.unknown_label} is right it says nothing, and the score there may be lower; "
            "split.unknown_share holds individuals out, to see it"
        )
    if result["num_rows_unscored"]:
        doubts.append(
            f"{result['num_rows_unscored']} train rows have no out-of-fold prediction and are "
            "not in the score"
        )
    return doubts
