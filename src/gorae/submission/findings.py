"""What a check found: one value for the screen, programs and web pages."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from gorae.data.csv_text import at_rows

SHOWN_ROWS = 20

Level = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of fault, in all rows that have it; the example is of the first."""

    level: Level
    """An error must not be sent; a warning may be meant."""
    code: str
    """Short name for programs; it never changes."""
    message: str
    """What is wrong, without its place."""
    fix: str
    """What to do now."""
    rows: tuple[int, ...] = ()
    """Row numbers in the file, the header being row 1; the first 20."""
    count: int = 0
    """How many rows have the fault."""
    column: str | None = None
    got: str | None = None
    """The first faulty cell, control characters escaped."""
    expected: str | None = None
    """What should stand in its place."""

    @property
    def row(self) -> int | None:
        """The first row that has the fault."""
        return self.rows[0] if self.rows else None

    def __str__(self) -> str:
        places = []
        if self.rows:
            shown = at_rows(self.rows)
            more = f" and {self.count - len(self.rows):,} more" * (self.count > len(self.rows))
            places.append(shown + more)
        if self.column is not None:
            places.append(f"column {self.column!r}")
        text = self.message + (f" ({', '.join(places)})" if places else "")
        seen = [
            f"{word} {value}"
            for word, value in (("got", self.got), ("expected", self.expected))
            if value is not None
        ]
        text += f": {', '.join(seen)}" if seen else ""
        return f"{text}. {self.fix}"


def shown(cell: str) -> str:
    """A cell as it may be shown: quoted, control characters escaped, cut at 60 characters."""
    return repr(cell if len(cell) <= 60 else f"{cell[:60]}...")


def cell_finding(
    cells: pd.Series,
    *,
    code: str,
    message: str,
    fix: str,
    level: Level = "error",
    expected: str | None = None,
) -> Finding:
    """The finding about ``cells``, all faulty; their index holds the row numbers."""
    rows = list(dict.fromkeys(cells.index.tolist()))
    return Finding(
        level=level,
        code=code,
        message=f"{len(rows):,} rows: {message}",
        fix=fix,
        rows=tuple(int(row) for row in rows[:SHOWN_ROWS]),
        count=len(rows),
        column=None if cells.name is None else str(cells.name),
        got=shown(str(cells.iloc[0])),
        expected=expected,
    )
