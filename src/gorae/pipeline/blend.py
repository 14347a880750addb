"""Several runs, or one run by another vote, as a new run of their own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gorae.ensemble import (
    CHOOSERS,
    MOST_SUBSET_MEMBERS,
    NestedVote,
    nested_vote,
)
from gorae.errors import ConfigError, DataError, UserError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import content_key, exclusive_lock, sha256_file, write_json
from gorae.metrics import Metric
from gorae.pipeline.context import Context, labels_key, open_context
from gorae.pipeline.ensemble import (
    EnsembleResult,
    Joined,
    compared,
    other_votes,
    tell,
    vote_over_members,
    write_joined,
)
from gorae.pipeline.open_set import open_sets_of, scored_context
from gorae.pipeline.part_target import (
    as_target,
    group_score,
    require_one_target,
    target_of,
)
from gorae.pipeline.runs import environment, recorded
from gorae.pipeline.scores import competition_metric, metric_key, row_truth
from gorae.pipeline.voters import (
    join,
    read_contract,
    require_fitting,
    row_groups,
    score_of,
    scored,
)
from gorae.predictions import Predictions
from gorae.workspace import RunFolder, next_number, read_predictions

# Parts for choosing and scoring where the split has only one.
NUM_PARTS = 5

RUN_NAME = re.compile(r"[\w.-]+")

# What runs must share, and what it is called.
_SHARED = {"split": "folds", "labels": "labels", "metric": "metric"}


@dataclass(frozen=True)
class Blend:
    """What is to be joined, and how."""

    how: str = "arithmetic"
    """A name of ``gorae.ensemble.VOTE_NAMES``."""
    weights: tuple[float, ...] = ()
    """One per run, in their order; empty: equal, or chosen."""
    select: str | None = None
    """How runs or weights are chosen by score: ``greedy``, ``best_subset``, ``fit_weights``."""
    name: str | None = None
    """Name of the new run; absent: made of the vote."""


def blend(
    folder: Path,
    *,
    runs: Sequence[str],
    plan: Blend,
    on_event: OnEvent = ignore_events,
) -> EnsembleResult:
    """Join runs into a new run with predictions, scores and a folder like any other's.

    One run is voted on anew, over its folds, checkpoints and views. Several are joined as they
    are. Weights that depend on scores are chosen without the fold that is scored with them:
    ``oof.parquet`` and the score hold no row that chose its own weights. The same request
    again gives the run that is there.

    Args:
        folder: The competition.
        runs: Ids, or beginnings of ids; none: the newest run.
        plan: What is to be done.
        on_event: Hears progress.

    Raises:
        UserError: Runs differ in folds, labels, classes or metric; all differences are listed.
        ConfigError: Vote, weights and selection do not fit each other or the competition.
    """
    context = open_context(folder)
    wanted: Sequence[str | None] = runs or [None]
    members = [context.workspace.run(run) for run in wanted]
    _require_sense(members, plan)
    require_one_target(members)
    context = as_target(context, target_of(members[0]))
    _require_alike(context, members)
    key = _key(members, plan)
    for run in context.workspace.run_folders():
        if run.read_settings().get("key") == key and (result := run.read_result()):
            on_event(Event("message", "ensemble", f"{run.run_id} is there already"))
            return EnsembleResult(run, result)
    names = ", ".join(member.run_id for member in members)
    on_event(Event("stage", "ensemble", f"joining {names} by {plan.how} vote"))
    if len(members) == 1:
        joined = vote_over_members(context, members[0], how=plan.how)
    else:
        joined = _join_runs(scored_context(context, members[0]), members, plan)
    # Only now, so that what cannot be joined leaves no folder behind.
    with exclusive_lock(context.workspace.runs / "lock", purpose="joining runs"):
        target = _make_run(context, members, plan, key)
        result = write_joined(target, joined, model=model_name(members))
    tell(context, result, recorded(target, on_event))
    return EnsembleResult(target, result)


def _require_sense(members: Sequence[RunFolder], plan: Blend) -> None:
    problems = []
    names = [member.run_id for member in members]
    if len(set(names)) < len(names):
        problems.append(f"a run is named twice: {', '.join(names)}")
    if plan.weights and len(plan.weights) != len(members):
        problems.append(f"{len(plan.weights)} weights are given for {len(members)} runs")
    if plan.weights and plan.select:
        problems.append("weights are given and to be chosen; do one of both")
    if plan.how == "weighted" and (plan.weights or plan.select):
        problems.append('vote "weighted" takes its weights from the scores; use "arithmetic"')
    if plan.how == "subtask" and (plan.weights or plan.select):
        problems.append('vote "subtask" has no weights')
    if plan.select is not None and plan.select not in CHOOSERS:
        problems.append(f"select must be one of {', '.join(CHOOSERS)}, got {plan.select!r}")
    if len(members) == 1 and (plan.weights or plan.select):
        problems.append("weights and selection are for several runs, one is named")
    if len(members) == 1 and "ensemble" in members[0].read_settings():
        problems.append(
            f"{names[0]} has no models to vote on anew: it joins other runs; name those"
        )
    if plan.select == "best_subset" and len(members) > MOST_SUBSET_MEMBERS:
        problems.append(
            f"best_subset tries every subset, of {MOST_SUBSET_MEMBERS} runs at most, "
            f"{len(members)} are named; select greedy takes any number"
        )
    if plan.name is not None and not RUN_NAME.fullmatch(plan.name):
        problems.append(f"a name is letters, digits, '.', '_' and '-', got {plan.name!r}")
    if problems:
        raise ConfigError(f"This cannot be joined:\n{list_problems(problems)}")


def _require_alike(context: Context, members: Sequence[RunFolder]) -> None:
    """Stop where predictions were made for other folds, labels, classes or scores."""
    problems = [
        f"{member.run_id} has no out-of-fold predictions yet; `gorae run` goes on with it"
        for member in members
        if not member.oof.exists()
    ]
    if problems:
        raise UserError(f"These runs cannot be joined:\n{list_problems(problems)}")
    now = {
        "labels": labels_key(context),
        "metric": metric_key(context),
    }
    first = members[0].read_settings()["keys"]
    expected = scored_context(context, members[0]).columns
    for member in members:
        keys, columns = member.read_settings()["keys"], read_predictions(member.oof).columns
        problems += [
            f"{member.run_id} has other {name} than {members[0].run_id}"
            for key, name in _SHARED.items()
            if keys[key] != first[key]
        ]
        problems += [
            f"{member.run_id} was made with other {_SHARED[key]} than competition.toml has now"
            for key, value in now.items()
            if keys[key] != value
        ]
        if columns != expected:
            problems.append(
                f"{member.run_id} predicts {', '.join(columns[:10])}, the classes are "
                f"{', '.join(expected[:10])}"
                + (f" and {expected[-1]}" if len(expected) > 10 else "")
            )
    if problems:
        raise UserError(
            f"These runs cannot be joined:\n{list_problems(problems)}\nOnly scores on the same "
            "folds and labels can be compared. Run the other recipes again in this competition "
            "with the same [split], then join those runs."
        )


def _key(members: Sequence[RunFolder], plan: Blend) -> str:
    """A hash of the request and of all it is made of."""
    made_of = [[member.run_id, sha256_file(member.oof)] for member in members]
    return content_key(["ensemble", made_of, asdict(plan)])


def _make_run(
    context: Context, members: Sequence[RunFolder], plan: Blend, key: str
) -> RunFolder:
    """A new folder with run.toml; the one of the same request that was stopped, if any."""
    workspace = context.workspace
    for run in workspace.run_folders():
        if run.read_settings().get("key") == key:
            return run
    number = next_number([path.name for path in workspace.runs.glob("*")])
    name, target = plan.name or _default_name(members, plan), target_of(members[0])
    run = RunFolder(workspace.runs / f"{number:04d}-{name}")
    write_json(run.environment, environment())
    run.write_settings(
        {
            "run_id": run.run_id,
            "key": key,
            "ensemble": {
                "runs": [member.run_id for member in members],
                "vote": plan.how,
                "weights": list(plan.weights),
                "select": plan.select or "",
                "command": _command(members, plan),
            },
            "recipe": {
                "name": name,
                "model": {
                    "name": model_name(members),
                    "use": common_value(members, "use") or "ensemble",
                    "weights": common_value(members, "weights") or "several",
                },
                # What the pictures of `keys` were prepared with.
                "preprocess": members[0].read_settings()["recipe"].get("preprocess", []),
                **({"target": target.model_dump(mode="json")} if target.part else {}),
            },
            "keys": members[0].read_settings()["keys"],
        }
    )
    return run


def common_value(members: Sequence[RunFolder], field: str) -> str | None:
    """What all members have in this field of their model; None where they differ."""
    values = {str(_model(member).get(field)) for member in members}
    return values.pop() if len(values) == 1 else None


def _default_name(members: Sequence[RunFolder], plan: Blend) -> str:
    number = members[0].run_id.partition("-")[0]
    of = number if len(members) == 1 else f"{len(members)}-runs"
    what = f"{plan.select}-{plan.how}" if plan.select else plan.how
    return f"{what}-of-{of}"


def _command(members: Sequence[RunFolder], plan: Blend) -> str:
    words = ["gorae", "ensemble", *(member.run_id for member in members), "--vote", plan.how]
    if plan.weights:
        words += ["--weights", ":".join(f"{weight:g}" for weight in plan.weights)]
    if plan.select:
        words += ["--select", plan.select]
    if plan.name:
        words += ["--name", plan.name]
    return " ".join(words)


def _model(member: RunFolder) -> Mapping[str, Any]:
    model: Mapping[str, Any] = member.read_settings()["recipe"]["model"]
    return model


def model_name(members: Sequence[RunFolder]) -> str:
    """Names of the members' networks, the first three of them."""
    names = list(dict.fromkeys(str(_model(member)["name"]) for member in members))
    return " + ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def _join_runs(context: Context, members: Sequence[RunFolder], plan: Blend) -> Joined:
    """Join what several runs say of the rows."""
    metric = competition_metric(context)
    contract = read_contract(context, members[0])
    oofs = [read_predictions(member.oof) for member in members]
    _require_same_rows(members, oofs)
    require_fitting(context, metric, plan.how, kind=oofs[0].kind)
    ids = oofs[0].ids
    groups = row_groups(context, ids, contract=contract)
    folds = row_groups(context, ids, contract=contract, column="fold")
    weights = plan.weights or (1.0,) * len(members)
    choose = "by_score" if plan.how == "weighted" else plan.select
    selection: dict[str, Any] = {}
    if choose is None:
        oof = join(context, oofs, plan.how, weights)
    else:
        chosen = nested_vote(
            oofs,
            plan.how,
            choose=choose,
            truth=row_truth(context, ids),
            metric=metric,
            parts=_parts(folds, groups),
        )
        weights, oof = chosen.weights, chosen.predictions
        selection = {"selection": _selection(choose, chosen)}
    rivals = [("run", m.run_id, each) for m, each in zip(members, oofs, strict=True)]
    rivals += _other_votes(context, metric, oofs, plan)
    results = [member.read_result() or {} for member in members]
    result = {
        **scored(context, oof, metric, groups=groups),
        **group_score(context, target_of(members[0]), oof),
        "fold_scores": scores_by_fold(context, oof, metric, folds),
        "fold_rows": [int((folds == fold).sum()) for fold in np.unique(folds)],
        "num_folds": len(np.unique(folds)),
        "vote": plan.how,
        "members": _members(members, results, weights),
        **selection,
        **open_sets_of(results),
        "compared": compared(context, metric, oof, rivals=rivals, groups=groups),
        "elapsed_s": round(sum(each.get("elapsed_s", 0.0) for each in results), 1),
    }
    if not len(context.tables.test):
        return Joined(oof, None, result)
    tests = [read_predictions(member.test) for member in members]
    lost = {row for each in results for row in each.get("fallback_rows", ())}
    result["fallback_rows"] = [row for row in tests[0].ids if row in lost]
    return Joined(oof, join(context, tests, plan.how, weights), result)


def _selection(choose: str, chosen: NestedVote) -> dict[str, Any]:
    return {
        "how": choose,
        "score_where_chosen": chosen.chosen_score,
        "weights_per_part": [list(shares) for shares in chosen.part_weights],
    }


def _members(
    members: Sequence[RunFolder], results: Sequence[dict[str, Any]], weights: Sequence[float]
) -> list[dict[str, Any]]:
    total = sum(weights)
    return [
        {"run_id": member.run_id, "weight": weight / total, "score": result.get("score")}
        for member, result, weight in zip(members, results, weights, strict=True)
    ]


def _require_same_rows(members: Sequence[RunFolder], oofs: Sequence[Predictions]) -> None:
    wanted = set(oofs[0].ids)
    problems = [
        f"{member.run_id} predicts {len(oof.ids)} rows out of fold, {members[0].run_id} "
        f"{len(wanted)}"
        for member, oof in zip(members, oofs, strict=True)
        if set(oof.ids) != wanted
    ]
    if problems:
        raise DataError(
            f"These runs cannot be joined:\n{list_problems(problems)}\nFinish all their folds "
            "with `gorae run`."
        )


def _other_votes(
    context: Context, metric: Metric, oofs: Sequence[Predictions], plan: Blend
) -> list[tuple[str, str, Predictions]]:
    """Votes with equal weights that were not asked for."""
    names = other_votes(context, metric, plan.how, kind=oofs[0].kind)
    if plan.weights or plan.select:
        names.insert(0, plan.how)
    equal = (1.0,) * len(oofs)
    # By score would need its own nested choice; that is a run of its own.
    return [
        ("equal weights", how, join(context, oofs, how, equal))
        for how in names
        if how != "weighted"
    ]


def _parts(folds: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The folds as parts for choosing and scoring; whole groups where there is one fold."""
    if len(np.unique(folds)) > 1:
        return folds
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise UserError(
            "Weights cannot be chosen from rows of one group: nothing is left to score them "
            "on. Give --weights, or none."
        )
    order = np.random.default_rng(0).permutation(len(names))
    found: NDArray[np.int64] = order[place] % NUM_PARTS
    return found


def scores_by_fold(
    context: Context, oof: Predictions, metric: Metric, folds: NDArray[np.int64]
) -> list[float | None]:
    """The score of the rows of each fold, in the order of the folds."""
    scores = []
    for fold in np.unique(folds):
        inside = [id_ for id_, place in zip(oof.ids, folds, strict=True) if place == fold]
        scores.append(score_of(context, oof.select(inside), metric))
    return scores
