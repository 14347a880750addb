"""The headers of picture files, joined to the tables as metadata and as groups."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from gorae.data.crossing import shared_groups
from gorae.data.csv_text import at_rows
from gorae.data.dicom_header import HEADER_COLUMNS, PHI_COLUMNS
from gorae.data.exif import EXIF_COLUMNS
from gorae.data.sources import META_PREFIX, Tables
from gorae.errors import DataError, list_problems

_INSTANCE = f"{META_PREFIX}dicom.sop"


def join_headers(
    tables: Tables, headers: pd.DataFrame | None, *, groups: Sequence[str] = ()
) -> Tables:
    """The tables with a column ``meta.dicom.NAME`` or ``meta.exif.NAME`` per field.

    Only fields that some header fills become columns.

    Args:
        tables: As read.
        headers: Columns ``image_id`` and fields of headers; None where none was read. Personal
            fields are joined where they were read, which needs ``phi``.
        groups: Columns of HEADER_COLUMNS whose equal values must share a fold. A picture
            whose header has none is a group of its own.

    Raises:
        DataError: A group is in train and in the given validation set.
    """
    if headers is None:
        return tables
    by_image = headers.set_index("image_id")
    train, test = tables.train.copy(), tables.test.copy()
    for name in (*HEADER_COLUMNS, *PHI_COLUMNS, *EXIF_COLUMNS):
        if name not in by_image:
            continue
        both = [table["image_id"].map(by_image[name]).fillna("") for table in (train, test)]
        if name in groups or any((values != "").any() for values in both):
            for table, values in zip((train, test), both, strict=True):
                table[META_PREFIX + name] = values.astype("str")
    notes = [*tables.notes, *_repeated_instances(train, test)]
    columns = [META_PREFIX + name for name in groups if META_PREFIX + name in train]
    for column in columns:
        is_empty = train[column] == ""
        if is_empty.any():
            notes.append(
                f"{int(is_empty.sum()):,} pictures have no {column} in their header; each is "
                "a group of its own"
            )
            # The row, not the picture: the frames of one file stay together.
            train[column] = train[column].where(~is_empty, "=" + train["row_id"]).astype("str")
    problems = shared_groups(train, columns)
    if problems:
        raise DataError(f"The tables cannot be used as they are:\n{list_problems(problems)}")
    every = tuple(dict.fromkeys((*tables.group_columns, *columns)))
    return replace(tables, train=train, test=test, group_columns=every, notes=tuple(notes))


def _repeated_instances(train: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Files that carry the instance number of another: copies, whatever their bytes."""
    if _INSTANCE not in train:
        return []
    files = pd.concat([train[["path", _INSTANCE]], test[["path", _INSTANCE]]])
    files = files[files[_INSTANCE] != ""].drop_duplicates("path")
    twice = files["path"][files[_INSTANCE].duplicated(keep=False)].tolist()
    if not twice:
        return []
    return [
        f"{len(twice):,} DICOM files share their SOPInstanceUID with another file, so they "
        f"are the same picture: {at_rows(twice)}"
    ]
