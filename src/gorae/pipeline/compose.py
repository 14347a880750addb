"""Runs of the single parts of a label, joined into a run that predicts its classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gorae.config.target import TargetSettings
from gorae.ensemble.composed import compose_predictions
from gorae.errors import ConfigError, UserError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import content_key, exclusive_lock, sha256_file, write_json
from gorae.pipeline.blend import RUN_NAME, model_name, scores_by_fold
from gorae.pipeline.context import Context, labels_key, open_context
from gorae.pipeline.ensemble import EnsembleResult, Joined, tell, write_joined
from gorae.pipeline.part_target import as_groups, as_target, target_of
from gorae.pipeline.runs import environment, recorded
from gorae.pipeline.scores import competition_metric, metric_key
from gorae.pipeline.voters import read_contract, row_groups, scored
from gorae.predictions import Predictions
from gorae.workspace import RunFolder, next_number, read_predictions

VOTE = "compose"
"""What stands as ``vote`` in result.json."""


def compose_runs(
    folder: Path,
    *,
    runs: Sequence[str],
    name: str | None = None,
    on_event: OnEvent = ignore_events,
) -> EnsembleResult:
    """Make classes of one run per part of the label: products of the parts' probabilities.

    The new run is scored out of fold by the competition's metric and can be submitted, and
    joined with runs that learned classes. The same request again gives the run that is there.

    Args:
        folder: The competition.
        runs: Ids, or beginnings of ids, of a run for each part, in any order; ensembles of
            runs of one part too.
        name: Name of the new run.
        on_event: Hears progress.

    Raises:
        UserError: A part has no run or several, or runs differ in folds or labels.
    """
    if name is not None and not RUN_NAME.fullmatch(name):
        raise ConfigError(f"A name is letters, digits, '.', '_' and '-', got {name!r}.")
    context = open_context(folder)
    members = [context.workspace.run(run) for run in runs]
    by_part = _by_part(context, members)
    _require_alike(context, members)
    made_of = [[run.run_id, sha256_file(run.oof)] for run in by_part.values()]
    key = content_key([VOTE, made_of, name])
    for run in context.workspace.run_folders():
        if run.read_settings().get("key") == key and (result := run.read_result()):
            on_event(Event("message", "ensemble", f"{run.run_id} is there already"))
            return EnsembleResult(run, result)
    shown = ", ".join(f"{run.run_id} ({part})" for part, run in by_part.items())
    on_event(Event("stage", "ensemble", f"composing classes of {shown}"))
    joined = _compose(context, by_part)
    ordered = list(by_part.values())
    with exclusive_lock(context.workspace.runs / "lock", purpose="joining runs"):
        target = _make_run(context, ordered, name or f"compose-of-{len(ordered)}-runs", key)
        result = write_joined(target, joined, model=model_name(ordered))
    tell(context, result, recorded(target, on_event))
    return EnsembleResult(target, result)


def _by_part(context: Context, members: Sequence[RunFolder]) -> dict[str, RunFolder]:
    """The run of each part, in the order of competition.toml."""
    parts = [part.name for part in context.competition.train.compose]
    if not parts:
        raise ConfigError(
            "competition.toml composes the label of no parts ([[train.compose]]): there is "
            "nothing to compose."
        )
    learned = {run.run_id: target_of(run).part for run in members}
    problems = [f"{run_id} learned classes" for run_id, part in learned.items() if part is None]
    for part in parts:
        found = [run_id for run_id, own in learned.items() if own == part]
        if len(found) != 1:
            problems.append(f"part {part}: {', '.join(found) or 'no run'}, one is needed")
    if problems:
        raise UserError(
            f"Classes are composed of one run per part ({', '.join(parts)}):\n"
            f"{list_problems(problems)}\nTrain a part alone with `--set target.part=PART`; "
            "average several runs of one part by `gorae ensemble` first."
        )
    own = {learned[run.run_id]: run for run in members}
    return {part: own[part] for part in parts}


def _require_alike(context: Context, members: Sequence[RunFolder]) -> None:
    problems = [
        f"{run.run_id} has no out-of-fold predictions yet; `gorae run` goes on with it"
        for run in members
        if not run.oof.exists()
    ]
    first = members[0].read_settings()["keys"]
    for run in members:
        keys = run.read_settings()["keys"]
        if keys["split"] != first["split"]:
            problems.append(f"{run.run_id} has other folds than {members[0].run_id}")
        if keys["labels"] != labels_key(as_target(context, target_of(run))):
            problems.append(f"{run.run_id} was made with other labels than there are now")
    if problems:
        raise UserError(
            f"These runs cannot be composed:\n{list_problems(problems)}\nTrain the parts on "
            "the same labels with the same [split]."
        )


def _compose(context: Context, by_part: dict[str, RunFolder]) -> Joined:
    metric = competition_metric(context)
    members = list(by_part.values())
    contract = read_contract(context, members[0])
    targets = {part: target_of(run) for part, run in by_part.items()}
    oof = _composed(context, targets, {p: read_predictions(r.oof) for p, r in by_part.items()})
    groups = row_groups(context, oof.ids, contract=contract)
    folds = row_groups(context, oof.ids, contract=contract, column="fold")
    results = {part: run.read_result() or {} for part, run in by_part.items()}
    result = {
        **scored(context, oof, metric, groups=groups),
        "fold_scores": scores_by_fold(context, oof, metric, folds),
        "fold_rows": [int((folds == fold).sum()) for fold in np.unique(folds)],
        "num_folds": len(np.unique(folds)),
        "vote": VOTE,
        "members": [_member(part, run, results[part]) for part, run in by_part.items()],
        "compared": [],
        "elapsed_s": round(sum(each.get("elapsed_s", 0.0) for each in results.values()), 1),
    }
    if not len(context.tables.test):
        return Joined(oof, None, result)
    tests = {part: read_predictions(run.test) for part, run in by_part.items()}
    lost = {row for each in results.values() for row in each.get("fallback_rows", ())}
    test = _composed(context, targets, tests)
    result["fallback_rows"] = [row for row in test.ids if row in lost]
    return Joined(oof, test, result)


def _composed(
    context: Context,
    targets: dict[str, TargetSettings],
    predictions: dict[str, Predictions],
) -> Predictions:
    parts = context.competition.train.compose
    return compose_predictions(
        {
            part.name: as_groups(predictions[part.name], part, targets[part.name])
            for part in parts
        },
        parts=parts,
        classes=context.tables.classes,
    )


def _member(part: str, run: RunFolder, result: dict[str, Any]) -> dict[str, Any]:
    # Each counts whole: its probabilities are a factor of the product.
    kept: dict[str, Any] = {
        name: result[name] for name in ("metric", "groups") if name in result
    }
    score = result.get("score")
    return {"run_id": run.run_id, "part": part, "weight": 1.0, "score": score, **kept}


def _make_run(context: Context, members: Sequence[RunFolder], name: str, key: str) -> RunFolder:
    """A new folder with run.toml; the one of the same request that was stopped, if any."""
    workspace = context.workspace
    for run in workspace.run_folders():
        if run.read_settings().get("key") == key:
            return run
    number = next_number([path.name for path in workspace.runs.glob("*")])
    run = RunFolder(workspace.runs / f"{number:04d}-{name}")
    names = [member.run_id for member in members]
    first = members[0].read_settings()
    write_json(run.environment, environment())
    run.write_settings(
        {
            "run_id": run.run_id,
            "key": key,
            "ensemble": {
                "runs": names,
                "vote": VOTE,
                "weights": [],
                "select": "",
                "command": " ".join(["gorae ensemble --compose", *names]),
            },
            "recipe": {
                "name": name,
                "model": {"name": model_name(members), "use": "ensemble", "weights": "several"},
                # What the pictures of `keys` were prepared with.
                "preprocess": first["recipe"].get("preprocess", []),
            },
            # Labels and metric are the competition's again: it stands beside runs of classes.
            "keys": {
                **first["keys"],
                "labels": labels_key(context),
                "metric": metric_key(context),
            },
        }
    )
    return run
