"""The CSV files of the mask competition's source, from a run that is trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gorae.config import Recipe
from gorae.config.reading import validated
from gorae.errors import ConfigError, UserError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import sha256_bytes, sha256_file
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.mask_flags import MODELS, TASKS, VOTES
from gorae.pipeline.part_target import refuse_part, target_of
from gorae.pipeline.sample import expected_ids, read_sample
from gorae.pipeline.scores import competition_metric
from gorae.pipeline.voters import (
    FoldPredictions,
    TestVoter,
    Voting,
    fold_scores,
    join_oof,
    join_test,
    read_contract,
    read_folds,
    require_fitting,
    score_of,
    weigh_test,
)
from gorae.predictions import Predictions
from gorae.submission import build_submission, submission_bytes, write_submission
from gorae.workspace import RunFolder, Workspace

# Votes of the source by its file names.
FILES = {
    "arithmetic": "submission_ens_arithmetic.csv",
    "geometric": "submission_ens_geometric.csv",
    "weighted": "submission_ens_weighted_avg.csv",
    "hard": "submission_ens_hardvoting.csv",
}


@dataclass(frozen=True)
class MaskFiles:
    """What was written."""

    run_id: str
    metric: str
    files: tuple[dict[str, Any], ...]
    """``what`` (a vote or a checkpoint), ``path`` and ``score`` (on rows held out)."""

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {"run_id": self.run_id, "metric": self.metric, "files": list(self.files)}


def submit_singular(
    folder: Path, *, flags: Mapping[str, str], on_event: OnEvent = ignore_events
) -> MaskFiles:
    """Write one CSV of one checkpoint: the one named, or the best of its run.

    Args:
        folder: The competition.
        flags: From ``mask_flags``: root, load_state_dict, save_path, tta, task, model_type.
        on_event: Hears messages.

    Raises:
        UserError: There is no such run or checkpoint, or it learned something else.
    """
    context = open_context(folder)
    named = flags.get("load_state_dict")
    run, member, checkpoint = _named_checkpoint(context.workspace, named, flags.get("root"))
    voting, folds = _folds(context, run, flags, "arithmetic")
    views = _views(folds, flags)
    member = member or _best_member(voting, run, folds, view=views[0])
    record = run.member(member).read_record()
    names = record["used_checkpoints"]
    checkpoint = checkpoint or names[0]
    if checkpoint not in names:
        raise UserError(
            f"{member} of {run.run_id} has no predictions of {checkpoint}; its best "
            f"checkpoints are {', '.join(names)}."
        )
    rank = names.index(checkpoint) + 1
    held = [
        replace(fold, voters={(rank, view): fold.voters[rank, view] for view in views})
        for fold in folds
        if _place(record) == (fold.repeat, fold.fold)
    ]
    # A refit holds nothing out.
    score = fold_scores(voting, held)[0] if held else None
    voters = [TestVoter(member, checkpoint, view, 1 / len(views)) for view in views]
    scored_ids = context.tables.train["row_id"].drop_duplicates().tolist()
    test, _ = join_test(voting, run, voters, scored_ids=scored_ids)
    path = Path(flags["save_path"]) / f"submission_{run.run_id}_{member}_{checkpoint}.csv"
    _write(context, test, path, on_event)
    line = {"what": f"{member}, {checkpoint}", "path": str(path), "score": score}
    return MaskFiles(run.run_id, voting.metric.name, (line,))


def submit_ensemble(
    folder: Path, *, flags: Mapping[str, str], on_event: OnEvent = ignore_events
) -> MaskFiles:
    """Write the votes of a run's folds x best checkpoints x views, each in a CSV of its own.

    Args:
        folder: The competition.
        flags: From ``mask_flags``: root, save_path, top_k, tta, method, task, model_type.
        on_event: Hears messages.

    Raises:
        UserError: There is no such run, or it learned something else.
        ConfigError: More checkpoints or views are asked for than the run predicted with.
    """
    context = open_context(folder)
    run, _, _ = _named_checkpoint(context.workspace, None, flags.get("root"))
    found = []
    for how in VOTES[flags["method"]]:
        voting, folds = _folds(context, run, flags, how)
        views, ranks = _views(folds, flags), _ranks(folds, flags)
        kept = [
            replace(
                f, voters={v: p for v, p in f.voters.items() if v[0] in ranks and v[1] in views}
            )
            for f in folds
        ]
        oof = join_oof(voting, kept)
        voters = _test_voters(voting, run, folds, ranks=ranks, views=views)
        test, _ = join_test(voting, run, voters, scored_ids=oof.ids)
        path = Path(flags["save_path"]) / FILES[how]
        _write(context, test, path, on_event)
        score = score_of(context, oof, voting.metric)
        found.append({"what": how, "path": str(path), "score": score})
    return MaskFiles(run.run_id, competition_metric(context).name, tuple(found))


def _best_member(
    voting: Voting, run: RunFolder, folds: Sequence[FoldPredictions], *, view: str
) -> str:
    """The fold whose best checkpoint has the best score on what it held out."""
    alone = [replace(fold, voters={(1, view): fold.voters[1, view]}) for fold in folds]
    sign = 1 if voting.metric.greater_is_better else -1
    scores = {
        (fold.repeat, fold.fold): sign * score
        for fold, score in zip(folds, fold_scores(voting, alone), strict=True)
        if score is not None
    }
    places = {member.name: _place(member.read_record()) for member in run.members()}
    folds_of = {name: place for name, place in places.items() if place is not None}
    return max(folds_of, key=lambda name: scores.get(folds_of[name], float("-inf")))


def _place(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """Repeat and fold of a member; None of a refit."""
    return (record["repeat"], record["fold"]) if "fold" in record else None


def _named_checkpoint(
    workspace: Workspace, named: str | None, root: str | None
) -> tuple[RunFolder, str | None, str | None]:
    """Run, member and checkpoint of ``RUN/fold-0``, ``RUN`` or a checkpoint's file."""
    if named is None:
        return _run(workspace, root), None, None
    parts = Path(named).parts
    if Path(named).suffix == ".safetensors" and len(parts) >= 4:
        return workspace.run(parts[-4]), parts[-3], Path(named).stem
    member = parts[-1] if len(parts) > 1 else None
    run = workspace.run(parts[-2] if member else parts[-1])
    known = [each.name for each in run.members()]
    if member is not None and member not in known:
        raise UserError(
            f"{run.run_id} has no {member}; its trained models are {', '.join(known)}."
        )
    return run, member, None


def _run(workspace: Workspace, root: str | None) -> RunFolder:
    """The run of ``--root``; absent, the newest that was trained on classes."""
    if root is not None:
        return workspace.run(Path(root).name)
    trained = [
        run
        for run in workspace.run_folders()
        if "ensemble" not in run.read_settings() and target_of(run).part is None
    ]
    if not trained:
        raise UserError(
            f"There is no run in {workspace.runs} that learned the classes yet. Make one with "
            "`gorae mask train`."
        )
    return trained[-1]


def _folds(
    context: Context, run: RunFolder, flags: Mapping[str, str], how: str
) -> tuple[Voting, list[FoldPredictions]]:
    """How a run's models are joined, and what they say of what they held out."""
    if "ensemble" in run.read_settings():
        raise UserError(
            f"{run.run_id} joins other runs: `gorae submit {run.run_id}` writes its submission."
        )
    refuse_part(context, run)
    _require_same(run, flags)
    metric = competition_metric(context)
    members = [member for member in run.members() if "fold" in member.read_record()]
    if not members:
        raise UserError(
            f"Run {run.run_id} has no finished fold yet; `gorae run` goes on with it."
        )
    folds = read_folds(members, contract=read_contract(context, run))
    kind = next(iter(folds[0].voters.values())).kind
    require_fitting(context, metric, how, kind=kind)
    return Voting(context, metric, how), folds


def _require_same(run: RunFolder, flags: Mapping[str, str]) -> None:
    """Stop where a flag names another task or model than the run has."""
    recipe = validated(Recipe, run.read_settings()["recipe"], origin=str(run.settings))
    problems = []
    if "task" in flags and TASKS[flags["task"]]:
        problems.append(f"--task {flags['task']}: the run learned the classes, --task main")
    if "model_type" in flags:
        wanted = MODELS[flags["model_type"]]
        problems += [
            f"--model_type {flags['model_type']} has model.{name} = {value!r}, the run "
            f"{getattr(recipe.model, name)!r}"
            for name, value in wanted.items()
            if getattr(recipe.model, name) != value
        ]
    if problems:
        raise ConfigError(
            f"Run {run.run_id} is not what is asked for:\n{list_problems(problems)}\nName "
            "another run by --root, or leave the flags out."
        )


def _views(folds: Sequence[FoldPredictions], flags: Mapping[str, str]) -> list[str]:
    """The first views of the run, as many as --tta says."""
    known = list(dict.fromkeys(view for fold in folds for _, view in fold.voters))
    return known[: _at_most(flags, "tta", len(known), "views")]


def _ranks(folds: Sequence[FoldPredictions], flags: Mapping[str, str]) -> list[int]:
    """The best checkpoints of a fold, as many as --top_k says."""
    known = sorted({rank for fold in folds for rank, _ in fold.voters})
    return known[: _at_most(flags, "top_k", len(known), "checkpoints per fold")]


def _at_most(flags: Mapping[str, str], name: str, most: int, what: str) -> int:
    text = flags.get(name)
    if text is None:
        return most
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= most:
        raise ConfigError(
            f"--{name} {text}: the run predicted with {most} {what}, so 1 to {most}. More are "
            f"a training with that --{name}."
        )
    return number


def _test_voters(
    voting: Voting,
    run: RunFolder,
    folds: Sequence[FoldPredictions],
    *,
    ranks: Sequence[int],
    views: Sequence[str],
) -> list[TestVoter]:
    """The voices on the test set of these checkpoints and views, weights summing to 1."""
    place = {
        (member.name, name): rank
        for member in run.members()
        for rank, name in enumerate(member.read_record()["used_checkpoints"], start=1)
    }
    every = weigh_test(voting, run.members(), folds)
    kept = [v for v in every if place[v.member, v.checkpoint] in ranks and v.view in views]
    # A model counts the same with one checkpoint as with three.
    before, after = Counter(v.member for v in every), Counter(v.member for v in kept)
    weights = [v.weight * before[v.member] / after[v.member] for v in kept]
    return [
        replace(voter, weight=weight / sum(weights))
        for voter, weight in zip(kept, weights, strict=True)
    ]


def _write(context: Context, test: Predictions, path: Path, on_event: OnEvent) -> None:
    """A checked CSV; one that is there with the same answers stays."""
    form = context.competition.submission
    if form is None:
        raise ConfigError(
            "competition.toml has no [submission]: say its id_column, columns and kind there."
        )
    sample = read_sample(context.workspace.folder, form)
    rules: dict[str, Any] = {
        "form": form,
        "classes": context.tables.classes,
        "task": context.competition.task,
    }
    table = build_submission(test, sample=sample, **rules)
    digest = sha256_bytes(submission_bytes(table, delimiter=form.delimiter))
    if not (path.exists() and sha256_file(path) == digest):
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = expected_ids(context, sample, form)
        for finding in write_submission(path, table, ids=ids, **rules):
            on_event(Event("warning", "submit", str(finding)))
    on_event(Event("message", "submit", f"{path}: {len(table)} rows, checked"))
