"""The sample submission and the ids it asks for: shared by the steps that write and check."""

from pathlib import Path

import pandas as pd

from gorae.data.archives import locate
from gorae.data.tables import read_csv_text
from gorae.pipeline.context import Context
from gorae.submission import SubmissionFormat
from gorae.workspace import Workspace


def read_sample(folder: Path, form: SubmissionFormat) -> pd.DataFrame | None:
    """The sample submission as text; None where the competition gives none."""
    if form.sample is None:
        return None
    path = locate(folder, form.sample, extracted_root=Workspace(folder).extracted)
    return read_csv_text(path, encoding=form.encoding, delimiter=form.delimiter)


def expected_ids(
    context: Context, sample: pd.DataFrame | None, form: SubmissionFormat
) -> list[str]:
    """Every id that must be answered once, in order."""
    if sample is not None:
        return [str(id_) for id_ in sample[form.id_column]]
    return list(dict.fromkeys(context.tables.test["row_id"]))
