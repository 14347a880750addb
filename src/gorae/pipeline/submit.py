"""Step ``submit``: a run's test predictions as a checked CSV, and its line in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from gorae.errors import ConfigError, UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import exclusive_lock, sha256_bytes, sha256_file
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.open_set import scored_context
from gorae.pipeline.part_target import refuse_part
from gorae.pipeline.sample import expected_ids, read_sample
from gorae.pipeline.scores import competition_metric
from gorae.predictions import Predictions
from gorae.submission import (
    Finding,
    build_submission,
    check_submission,
    compare_with_oof,
    submission_bytes,
    write_submission,
)
from gorae.workspace import (
    RunFolder,
    Workspace,
    append_line,
    next_number,
    read_lines,
    read_predictions,
)


@dataclass(frozen=True)
class SubmitResult:
    """The CSV that was written."""

    path: Path
    num_rows: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "submission": str(self.path),
            "num_rows": self.num_rows,
            "warnings": list(self.warnings),
        }


def submit(
    folder: Path, *, run: str | None = None, on_event: OnEvent = ignore_events
) -> SubmitResult:
    """Write ``.gorae/submissions/submission-NNNN.csv`` from a run.

    The same answers are written once: a second call names the file of the first.

    Raises:
        ConfigError: The competition has no form of a submission.
        SubmissionError: The file would break a rule of the sample; nothing is written.
    """
    context = open_context(folder)
    target = context.workspace.run(run)
    form = context.competition.submission
    if form is None:
        raise ConfigError(
            "competition.toml has no [submission]: say its id_column, columns and kind there."
        )
    refuse_part(context, target)
    if not target.test.exists():
        raise UserError(f"Run {target.run_id} has no test predictions; run `gorae ensemble`.")
    on_event(Event("stage", "submit", f"writing the submission of {target.run_id}"))
    test = read_predictions(target.test)
    sample = read_sample(context.workspace.folder, form)
    result = target.read_result() or {}
    task, shown = context.competition.task, form
    if "unknown" in result:
        # It stands at the place of its own score, as the classes do.
        context, shown = scored_context(context, target), replace(form, unknown_label=None)
    classes, answers = context.tables.classes, _as_answers(context, test)
    table = build_submission(answers, form=shown, sample=sample, classes=classes, task=task)
    ids = expected_ids(context, sample, form)
    with exclusive_lock(context.workspace.submissions / "lock", purpose="writing submissions"):
        path, findings = _write(context, target, table, ids=ids)
    findings += compare_with_oof(
        test,
        read_predictions(target.oof),
        threshold=form.threshold,
        fallback_ids=result.get("fallback_rows", ()),
    )
    warnings = tuple(str(finding) for finding in findings)
    for warning in warnings:
        on_event(Event("warning", "submit", warning))
    on_event(Event("message", "submit", f"{path}: {len(table)} rows, checked"))
    return SubmitResult(path, len(table), warnings)


def _as_answers(context: Context, test: Predictions) -> Predictions:
    """Ranks as numbers from 0 to 1 for each class, where only their order is scored."""
    form = context.competition.submission
    if test.kind != "score" or competition_metric(context).needs != "ranked":
        return test
    if form is not None and form.kind == "ranked":
        # Places are all that is sent.
        return test
    return Predictions(test.ids, test.columns, test.values, "multilabel")


def _write(
    context: Context, run: RunFolder, table: pd.DataFrame, *, ids: Sequence[str]
) -> tuple[Path, list[Finding]]:
    """The file with these answers of this run, written now or found; and what is doubtful."""
    workspace, form = context.workspace, context.competition.submission
    assert form is not None
    rules: dict[str, Any] = {
        "form": form,
        "ids": ids,
        "classes": context.tables.classes,
        "task": context.competition.task,
    }
    digest = sha256_bytes(submission_bytes(table, delimiter=form.delimiter))
    for line in read_lines(workspace.ledger):
        earlier = workspace.folder / line["path"]
        is_same = line["run_id"] == run.run_id and line["sha256"] == digest
        if is_same and earlier.exists() and sha256_file(earlier) == digest:
            return earlier, check_submission(earlier, **rules)
    path = workspace.submissions / f"submission-{_number(workspace):04d}.csv"
    findings = write_submission(path, table, **rules)
    append_line(
        workspace.ledger,
        {
            "path": str(path.relative_to(workspace.folder)),
            "run_id": run.run_id,
            "sha256": digest,
            "num_rows": len(table),
        },
    )
    return path, findings


def _number(workspace: Workspace) -> int:
    """One more than any number that was given, also to files that are gone."""
    there = [path.name for path in workspace.submissions.glob("submission-*.csv")]
    return next_number(
        there + [Path(line["path"]).name for line in read_lines(workspace.ledger)]
    )
