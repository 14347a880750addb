"""One source of a competition: the lines of its table, each joined with its picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.archives import locate
from gorae.data.csv_text import at_rows, read_csv_text
from gorae.data.dicom_header import PREFIX
from gorae.data.listing import PictureFolder, id_problem, is_solution, list_pictures, nfc
from gorae.data.sources import META_PREFIX, SampleSource, TableSource
from gorae.errors import DataError

# More missing pictures than this share mean that the folder is wrong, not the pictures.
MAX_MISSING_SHARE = 0.5


@dataclass(frozen=True)
class Lines:
    """Lines of a source; several when a line of the table names a folder of pictures."""

    source: TableSource
    pictures: PictureFolder
    cells: pd.DataFrame
    """What the table says in each line; without columns when there is no table."""
    files: tuple[str, ...]
    """Picture of each line, below ``images``; empty where it is missing."""
    places: tuple[int | str, ...]
    """Row number in the table, or name of the file, of each line."""
    arguments: tuple[str, ...]
    """What decoding each line's picture is told, as JSON; empty where nothing."""
    problems: tuple[str, ...] = ()
    """What is wrong, one text per kind of fault."""

    def __len__(self) -> int:
        return len(self.files)

    @property
    def name(self) -> str:
        """What messages call the source."""
        return self.source.table or self.source.images

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        texts: list[str] = self.cells[name].tolist()
        return texts

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> "Lines":
        """The lines at the given positions."""
        return replace(
            self,
            cells=self.cells.iloc[list(rows)].reset_index(drop=True),
            files=tuple(self.files[row] for row in rows),
            places=tuple(self.places[row] for row in rows),
            arguments=tuple(self.arguments[row] for row in rows),
        )

    def at(self, rows: Sequence[int] | NDArray[np.int64]) -> str:
        """The places of the given positions, for a message; each row of the table once."""
        return at_rows(list(dict.fromkeys(self.places[row] for row in rows)))

    def metadata(self) -> dict[str, list[str]]:
        """The columns that are neither id, picture, label nor fold, under ``meta.NAME``."""
        source = self.source
        taken = {source.image_column, source.row_column, source.fold_column}
        taken |= set(source.label_columns)
        taken -= set(source.group_columns)
        return {
            f"{META_PREFIX}{nfc(str(name))}": self.column(name)
            for name in self.cells.columns
            if name not in taken
        }


def read_lines(
    folder: Path, source: TableSource, *, extracted_root: Path, ids: pd.DataFrame | None = None
) -> Lines:
    """Read the table of a source and find its pictures; without a table list the pictures.

    Args:
        folder: The competition's folder.
        source: What to read.
        extracted_root: Where zip files are unpacked.
        ids: Lines to use instead of a table (the sample submission names the pictures).

    Raises:
        DataError: The table or the folder cannot be read, or a column is missing.
    """
    pictures = list_pictures(folder, source.images, extracted_root=extracted_root)
    if source.table is None and ids is None:
        files = tuple(pictures.pictures)
        cells = pd.DataFrame(index=range(len(files)))
        return Lines(source, pictures, cells, files, files, ("",) * len(files))
    if ids is None:
        table = read_source_table(folder, source, extracted_root=extracted_root)
        _require_columns(table, source)
    else:
        table = ids
    return _join(table, source, pictures)


def read_source_table(
    folder: Path, source: TableSource | SampleSource, *, extracted_root: Path
) -> pd.DataFrame:
    """The table of a source as text.

    Raises:
        DataError: It cannot be read, or it is called a solution: that is for scoring only.
    """
    name = str(source.table)
    if is_solution(name):
        raise DataError(
            f"{name} is called a solution and is never read. Rename it if it holds the labels "
            "of train; remove it from competition.toml if it does not."
        )
    path = locate(folder, name, extracted_root=extracted_root)
    return read_csv_text(path, encoding=source.encoding, delimiter=source.delimiter)


def _require_columns(table: pd.DataFrame, source: TableSource) -> None:
    wanted = [
        source.image_column,
        source.row_column,
        source.fold_column,
        *source.label_columns,
        *(name for name in source.group_columns if not name.startswith(PREFIX)),
        *source.box_columns,
        *(part.column for part in source.compose),
    ]
    known = set(table.columns)
    missing = sorted({name for name in wanted if name is not None and name not in known})
    if source.image_column is None:
        missing.append("image_column (not set)")
    if missing:
        raise DataError(
            f"{source.table} lacks {len(missing)} columns that competition.toml names: "
            f"{', '.join(missing)}. It has: {', '.join(map(str, table.columns))}. Correct the "
            "names, or `delimiter` if the header is one long name."
        )


def _join(table: pd.DataFrame, source: TableSource, pictures: PictureFolder) -> Lines:
    """Find the picture (or the pictures) of each line of the table."""
    names = table[source.image_column].tolist()
    found = [pictures.find(name) for name in names]
    numbers = table.index.tolist()
    is_folder = [_names_folder(name, hits) for name, hits in zip(names, found, strict=True)]
    problems: list[str] = []
    refused: dict[str, list[tuple[int | str, str]]] = {}
    ambiguous: list[int | str] = []
    example = ""
    for number, name, hits, folder in zip(numbers, names, found, is_folder, strict=True):
        reason = id_problem(name)
        if reason is not None:
            refused.setdefault(reason, []).append((number, name))
        elif len(hits) > 1 and not folder:
            ambiguous.append(number)
            example = example or f"{name!r} may be {' or '.join(hits[:3])}"
    problems += [
        f"{len(cases)} names such as {cases[0][1][:80]!r} are not allowed, {reason}: "
        f"{at_rows([number for number, _ in cases])}"
        for reason, cases in refused.items()
    ]
    if ambiguous:
        problems.append(
            f"{len(ambiguous)} names fit several pictures ({example}): {at_rows(ambiguous)}"
        )
    counts = [max(len(hits), 1) for hits in found]
    rows = np.repeat(np.arange(len(table)), counts)
    files = tuple(file for hits in found for file in (hits or [""]))
    return Lines(
        source,
        pictures,
        table.iloc[rows].reset_index(drop=True),
        files,
        tuple(numbers[row] for row in rows),
        ("",) * len(files),
        tuple(problems),
    )


def _names_folder(name: str, hits: list[str]) -> bool:
    """Whether ``name`` is a folder of which ``hits`` are the pictures."""
    last = nfc(name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return bool(hits) and all(last in nfc(hit).split("/")[:-1] for hit in hits)


def missing_pictures(lines: Lines) -> tuple[list[str], list[str]]:
    """Lines without a picture as (notes, problems): a few are noted, most are an error."""
    names = lines.files
    if lines.source.image_column is not None:
        names = tuple(lines.column(lines.source.image_column))
    lost = [
        row for row, file in enumerate(lines.files) if not file and not id_problem(names[row])
    ]
    if not lost:
        return [], []
    text = (
        f"{len(lost):,} of {len(lines):,} lines of {lines.name} have no picture in "
        f"{lines.source.images}: {lines.at(lost)}"
    )
    if len(lost) > MAX_MISSING_SHARE * len(lines):
        named = f"The first names {names[lost[0]][:80]!r}"
        return [], [f"{text}. {named}; check `images` and `image_column`"]
    return [text], []
