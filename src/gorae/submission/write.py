"""The CSV file, written only when nothing is wrong with it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gorae.data.sources import Task
from gorae.errors import SubmissionError, list_problems
from gorae.files import atomic_path
from gorae.submission.check import check_submission
from gorae.submission.findings import Finding
from gorae.submission.form import SubmissionFormat


def write_submission(
    path: Path,
    table: pd.DataFrame,
    *,
    form: SubmissionFormat,
    ids: Sequence[str],
    classes: Sequence[str],
    task: Task,
) -> list[Finding]:
    """Write ``table`` as UTF-8 without BOM, lines ended by ``\\n``, after reading it back.

    What is checked is the file itself, before it gets its name.

    Returns:
        Warnings.

    Raises:
        SubmissionError: The file exists, or has errors; all are listed and nothing is written.
    """
    if path.exists():
        raise SubmissionError(
            f"{path} exists already and a submission is never overwritten. Choose another name."
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(submission_bytes(table, delimiter=form.delimiter))
        findings = check_submission(temporary, form=form, ids=ids, classes=classes, task=task)
        errors = [str(finding) for finding in findings if finding.level == "error"]
        if errors:
            raise SubmissionError(
                f"{path.name} was not written, {len(errors)} checks failed:\n"
                f"{list_problems(errors)}"
            )
    return findings


def submission_bytes(table: pd.DataFrame, *, delimiter: str) -> bytes:
    """The CSV file of a table: UTF-8 without BOM, lines ended by ``\\n``."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.itertuples(index=False, name=None))
    return text.getvalue().encode("utf-8")
