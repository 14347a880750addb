"""The test table: the rows that a submission must answer, in the order of its sample."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gorae.data.csv_text import at_rows
from gorae.data.frames import frame_suffix, with_frames
from gorae.data.lines import Lines, missing_pictures, read_lines, read_source_table
from gorae.data.listing import nfc, split_extension
from gorae.data.sources import SampleSource, TableSource
from gorae.errors import DataError

TEST_COLUMNS = ("image_id", "path", "arguments", "row_id")


def read_test(
    folder: Path, test: TableSource, sample: SampleSource | None, *, extracted_root: Path
) -> tuple[pd.DataFrame, Lines, list[str], list[str]]:
    """The test table, its lines, and (notes, problems).

    The rows come from the test table where there is one, else from the sample submission, else
    from the pictures of the folder. ``row_id`` is spelled as the sample spells it and the order
    is the sample's. A picture that is missing leaves ``path`` empty.
    """
    asked = None if sample is None else _read_sample(folder, sample, extracted_root)
    ids = asked if test.table is None else None
    if ids is not None and sample is not None:
        test = _named_by(test, sample)
    lines = read_lines(folder, test, extracted_root=extracted_root, ids=ids)
    notes, problems = missing_pictures(lines)
    problems = [f"{lines.name}: {problem}" for problem in lines.problems] + problems
    if not len(lines):
        problems.append(f"{test.images} holds no pictures to predict")
    row_ids = _row_ids(lines)
    if asked is not None and sample is not None:
        wanted = asked[sample.id_column].tolist()
        problems += _repeated_ids(wanted, asked.index.tolist(), sample.table)
        if not problems:
            row_ids, faults = _match_ids(row_ids, wanted, lines.name, sample.table)
            problems += faults
        if not problems:
            position = {id_: place for place, id_ in enumerate(wanted)}
            order = np.argsort([position[id_] for id_ in row_ids], kind="stable")
            lines = lines.select(order)
            row_ids = [row_ids[row] for row in order]
    lines, rows = with_frames(lines, folder)
    row_ids = [row_ids[row] for row in rows]
    table = _build_table(lines, row_ids)
    if not problems:
        problems = _repeated_pictures(table, lines)
    return table, lines, notes, problems


def _named_by(test: TableSource, sample: SampleSource) -> TableSource:
    """The same source, its pictures named by the ids of the sample."""
    column = sample.id_column
    return replace(test, table=sample.table, image_column=column, row_column=column)


def _read_sample(folder: Path, sample: SampleSource, extracted_root: Path) -> pd.DataFrame:
    table = read_source_table(folder, sample, extracted_root=extracted_root)
    if sample.id_column not in table.columns:
        raise DataError(
            f"{sample.table} lacks the id column {sample.id_column!r}. It has: "
            f"{', '.join(map(str, table.columns))}. Correct `id_column` in competition.toml."
        )
    return table[[sample.id_column]]


def _row_ids(lines: Lines) -> list[str]:
    """The id of each line: the row column, else the table's name of the picture, else its own.

    A line that names a folder is as many rows as it has pictures unless a row column joins
    them. Ids stand as the table spells them: an organiser may compare bytes.
    """
    source = lines.source
    if source.row_column is not None:
        spelled: dict[str, str] = {}
        return [spelled.setdefault(nfc(id_), id_) for id_ in lines.column(source.row_column)]
    if source.image_column is None:
        return [nfc(file) for file in lines.files]
    names = lines.column(source.image_column)
    counts = Counter(lines.places)
    return [
        names[row] if counts[place] == 1 else nfc(lines.files[row])
        for row, place in enumerate(lines.places)
    ]


def _repeated_ids(ids: Sequence[str], numbers: Sequence[int], table: str) -> list[str]:
    seen = Counter(map(nfc, ids))
    rows = [number for id_, number in zip(ids, numbers, strict=True) if seen[nfc(id_)] > 1]
    if not rows:
        return []
    return [f"{table}: {len(rows)} rows share an id with another row: {at_rows(rows)}"]


def _match_ids(
    row_ids: list[str], wanted: list[str], table: str, sample: str
) -> tuple[list[str], list[str]]:
    """``row_ids`` in the spelling of the sample (Unicode form, extension), and problems."""
    spelled = {nfc(id_): id_ for id_ in wanted}
    names = [nfc(id_) for id_ in row_ids]
    asked, given = set(spelled), set(names)
    if asked == given:
        return [spelled[name] for name in names], []
    by_stem = {split_extension(name)[0]: id_ for name, id_ in spelled.items()}
    by_base = {stem.rpartition("/")[2]: id_ for stem, id_ in by_stem.items()}
    for spellings, short in ((by_stem, False), (by_base, True)):
        keys = [split_extension(name)[0] for name in names]
        keys = [key.rpartition("/")[2] if short else key for key in keys]
        if set(keys) == set(spellings) and len(spellings) == len(asked) == len(given):
            return [spellings[key] for key in keys], []
    lacking, extra = sorted(asked - given), sorted(given - asked)
    parts = []
    if lacking:
        parts.append(
            f"{len(lacking):,} of {len(asked):,} ids of {sample} are not in {table} "
            f"(first {lacking[0]!r})"
        )
    if extra:
        parts.append(
            f"{len(extra):,} of {len(given):,} ids of {table} are not in {sample} "
            f"(first {extra[0]!r})"
        )
    return row_ids, ["; ".join(parts) + ". Correct one of the two, or `row_column`"]


def _build_table(lines: Lines, row_ids: Sequence[str]) -> pd.DataFrame:
    pictures, files = lines.pictures, lines.files
    names = [file or row for file, row in zip(files, row_ids, strict=True)]
    columns: dict[str, list[str]] = {
        "image_id": [
            pictures.image_id(name) + frame_suffix(argument)
            for name, argument in zip(names, lines.arguments, strict=True)
        ],
        "path": [pictures.path(file) if file else "" for file in files],
        "arguments": list(lines.arguments),
        "row_id": list(row_ids),
    }
    return pd.DataFrame({**columns, **lines.metadata()}, dtype="str")


def _repeated_pictures(table: pd.DataFrame, lines: Lines) -> list[str]:
    rows = np.flatnonzero(table["image_id"].duplicated(keep=False).to_numpy(bool))
    if not len(rows):
        return []
    return [
        f"{lines.name}: {len(rows)} lines name a picture that another line names too: "
        f"{lines.at(rows)}"
    ]
