"""Metadata of pictures that a finished run is shown for the first time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.csv_text import read_csv_text
from gorae.data.sources import META_PREFIX
from gorae.errors import DataError, UserError
from gorae.events import Event, OnEvent
from gorae.pipeline.metadata import metadata_of_new
from gorae.tabular.metadata import MetadataCode, code_of
from gorae.workspace import RunFolder


@dataclass(frozen=True)
class MetadataReader:
    """What a run wants to know of new pictures, and the table that may say it."""

    code: MetadataCode
    table: pd.DataFrame | None
    """As written, one line per picture; None: nothing is known."""
    on_event: OnEvent

    def read(self, names: Sequence[str], sizes_bytes: Sequence[int]) -> NDArray[np.float32]:
        """What is known of pictures, (N, M).

        Args:
            names: Their paths, or numbers of pictures in memory.
            sizes_bytes: Of their files; 0 in memory.

        Raises:
            DataError: No column of the table names the pictures, one is named twice, or a
                column that the run looks at is not there.
        """
        if self.table is None:
            self._warn(
                "this run looks at metadata "
                f"({', '.join(_columns(self.code))}), and the pictures come without: it counts "
                "as missing, and the predictions are worse than the run's score says. Name a "
                "CSV file with these columns by --table"
            )
            return metadata_of_new(self.code, None, sizes_bytes)
        lines = self._lines_of(names)
        is_absent = lines < 0
        if is_absent.any():
            self._warn(
                f"{int(is_absent.sum())} of {len(names)} pictures have no line in the table, "
                f"first {names[int(np.flatnonzero(is_absent)[0])]}: their metadata is missing"
            )
        cells = self.table.rename(columns=lambda name: META_PREFIX + str(name))
        found = cells.reset_index(drop=True).reindex(lines.tolist()).reset_index(drop=True)
        return metadata_of_new(self.code, found, sizes_bytes)

    def _warn(self, text: str) -> None:
        self.on_event(Event("warning", "predict", text))

    def _lines_of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The line of each picture, by the column that names most of them; -1: none."""
        assert self.table is not None
        lacking = [name for name in _columns(self.code) if name not in self.table.columns]
        if lacking:
            raise DataError(
                f"The table lacks {', '.join(lacking)}, which this run looks at. Its columns: "
                f"{', '.join(map(str, self.table.columns))}."
            )
        spellings = [
            (name, PurePosixPath(name).name, PurePosixPath(name).stem) for name in names
        ]
        best = np.full(len(names), -1, dtype=np.int64)
        named = ""
        for column in self.table.columns:
            texts = [str(cell).strip() for cell in self.table[column]]
            line_of = {text: line for line, text in enumerate(texts)}
            found = np.array(
                [next((line_of[s] for s in each if s in line_of), -1) for each in spellings],
                dtype=np.int64,
            )
            if (found >= 0).sum() > (best >= 0).sum():
                best, named = found, str(column)
        if not named:
            raise DataError(
                "No column of the table names the pictures by path, file name, or file name "
                f"without ending; the first picture is {names[0]}."
            )
        cells = self.table[named].astype("str").str.strip()
        twice = cells[cells.duplicated() & cells.isin(cells.iloc[best[best >= 0]])]
        if len(twice):
            raise DataError(
                f"Column {named} of the table names {twice.nunique()} pictures more than once, "
                f"first {twice.iloc[0]}. Leave one line of each."
            )
        return best


def metadata_reader(
    run: RunFolder, table: Path | pd.DataFrame | None, on_event: OnEvent
) -> MetadataReader | None:
    """What is asked of new pictures; None for a run that looks at pictures alone.

    Raises:
        UserError: A table is given, and the run looks at none.
    """
    record = run.read_settings()["choices"].get("metadata")
    if record is None:
        if table is not None:
            raise UserError(
                f"{run.run_id} looks at pictures alone: a table of metadata has no effect. "
                "Leave it out, or predict with a run of model.metadata."
            )
        return None
    read = read_csv_text(table) if isinstance(table, Path) else table
    return MetadataReader(code_of(record), read, on_event)


def _columns(code: MetadataCode) -> list[str]:
    return [each.column.removeprefix(META_PREFIX) for each in code.columns]
