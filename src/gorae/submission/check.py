"""The check of a submission: all that is wrong with it, at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from gorae.data.sources import Task
from gorae.submission.answers import answer_findings
from gorae.submission.findings import Finding, cell_finding, shown
from gorae.submission.form import SubmissionFormat, require_form
from gorae.submission.slips import Slip, explain
from gorae.submission.text import read_submission


def check_submission(
    submission: pd.DataFrame | Path,
    *,
    form: SubmissionFormat,
    ids: Sequence[str],
    classes: Sequence[str],
    task: Task,
) -> list[Finding]:
    """Everything that is wrong with a submission, errors and warnings.

    Args:
        submission: A CSV file, or a table of text whose index is the row number in the file.
        form: What the CSV must look like.
        ids: Every id that must be answered once, in the order of the sample.
        classes: Class names.
        task: What a label is.

    Raises:
        ConfigError: The form itself does not fit the task.
    """
    require_form(form, classes=classes, task=task)
    findings: list[Finding] = []
    table: pd.DataFrame | None
    if isinstance(submission, Path):
        table, findings = read_submission(submission, delimiter=form.delimiter)
    else:
        table = submission
    if table is None:
        return findings
    table, of_header = _check_header(table, form=form, ids=ids)
    findings += of_header
    if table is not None:
        findings += _check_ids(table[form.id_column], ids)
        findings += answer_findings(table, form=form, classes=classes, task=task)
    return findings


def _check_header(
    table: pd.DataFrame, *, form: SubmissionFormat, ids: Sequence[str]
) -> tuple[pd.DataFrame | None, list[Finding]]:
    """The table with the right column names; None where columns are missing."""
    needed = [form.id_column, *form.columns]
    got = [str(column) for column in table.columns]
    wanted = ", ".join(needed)
    if set(got) & set(ids) and not set(got) & set(needed):
        fix = f"Write the header {wanted} first."
        text = "The first row is not a header but an answer"
        return None, [_header_error("no_header", text, fix, got, wanted)]
    slips = explain(set(got) - set(needed), set(needed) - set(got))
    findings = [
        Finding(
            level="error",
            code=f"header_{slip.code}",
            message=f"A column name differs from the sample: names {slip.happened}",
            fix="Use the names of the sample submission.",
            got=shown(name),
            expected=shown(meant),
        )
        for name, (slip, meant) in slips.items()
    ]
    table = table.rename(columns={name: meant for name, (_, meant) in slips.items()})
    got = [str(column) for column in table.columns]
    missing = [name for name in needed if name not in got]
    extra = [name for name in got if name not in needed]
    if extra and extra[0] == got[0] and extra[0] in ("column_1", "Unnamed: 0", "index"):
        fix = "Write it without the row numbers (`to_csv(..., index=False)`)."
        text = "The first column is the index of a table"
        findings.append(_header_error("index_column", text, fix, got, wanted))
        extra = extra[1:]
    if missing or extra:
        said = f"{len(missing)} columns are missing, {len(extra)} are not asked for"
        fix = "The columns must be those of the sample submission."
        findings.append(_header_error("columns", said, fix, got, wanted))
    elif [name for name in got if name in form.columns] != list(form.columns):
        fix = "Put header and answers into the order of the sample; check both moved together."
        text = "The answer columns are in another order than in the sample"
        findings.append(_header_error("column_order", text, fix, got, wanted))
    return (None if missing else table), findings


def _header_error(code: str, message: str, fix: str, got: list[str], wanted: str) -> Finding:
    return Finding(
        level="error",
        code=code,
        message=message,
        fix=fix,
        rows=(1,),
        count=1,
        got=", ".join(got)[:200],
        expected=wanted[:200],
    )


def _check_ids(column: pd.Series, ids: Sequence[str]) -> Iterator[Finding]:
    # Python strings: a look-up of 100,000 ids in arrow's strings takes a second.
    column, expected = column.astype(object), set(ids)
    if len(column) == 1 < len(ids):
        yield Finding(
            level="error",
            code="one_row",
            message=f"The file has one row, {len(ids):,} are needed",
            fix="Check that the file was written to its end, with one row per id.",
        )
    repeated = column[column.duplicated(keep=False) & column.isin(expected)]
    if len(repeated):
        message = f"{repeated.nunique():,} ids stand in more than one row"
        fix = "Keep one row per id."
        yield cell_finding(repeated, code="duplicate_ids", message=message, fix=fix)
    unknown = column[~column.isin(expected)]
    present = set(column)
    absent = [id_ for id_ in ids if id_ not in present]
    slips = explain(set(unknown), absent)
    yield from _slipped_ids(unknown, slips)
    explained = {meant for _, meant in slips.values()}
    absent = [id_ for id_ in absent if id_ not in explained]
    if absent:
        yield Finding(
            level="error",
            code="missing_ids",
            message=f"{len(absent):,} of {len(ids):,} ids have no row",
            fix="Add them; every id of the sample submission is answered once.",
            count=len(absent),
            column=str(column.name),
            expected=", ".join(shown(id_) for id_ in absent[:5]),
        )
    extra = unknown[~unknown.isin(set(slips))]
    if len(extra):
        message = "the id is not asked for"
        fix = "Remove them, or correct the ids."
        yield cell_finding(extra, code="extra_ids", message=message, fix=fix)
    if not len(unknown) and not absent and not len(repeated) and list(column) != list(ids):
        yield Finding(
            level="warning",
            code="row_order",
            message="The rows are in another order than in the sample",
            fix="They are matched by id; an organiser who reads by position would not do so.",
        )


def _slipped_ids(
    unknown: pd.Series, slips: Mapping[str, tuple[Slip, str]]
) -> Iterator[Finding]:
    codes = unknown.map({id_: slip.code for id_, (slip, _) in slips.items()})
    for code in codes.dropna().unique():
        rows = unknown[codes == code]
        slip, meant = slips[rows.iloc[0]]
        message = f"ids {slip.happened}"
        yield cell_finding(
            rows, code=f"id_{code}", message=message, fix=slip.fix, expected=shown(meant)
        )
