"""Metadata as numbers, by codes that are fitted to the train part of a fold and no more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gorae.data.sources import META_PREFIX
from gorae.eda.cells import (
    days_since_1970,
    is_missing,
    read_age,
    read_date,
    read_flag,
    read_number,
    tidy_text,
)
from gorae.eda.column_cleaning import Kind, clean_column
from gorae.tabular.features import Features

# What has an order, and what has names; ids, texts and columns of one value tell nothing.
_NUMERIC: frozenset[Kind] = frozenset(("number", "age", "date", "flag"))
_NAMED: frozenset[Kind] = frozenset(("category", "ambiguous_date"))


@dataclass(frozen=True)
class ColumnCode:
    """How the cells of one column become numbers."""

    column: str
    kind: Kind
    levels: Mapping[str, float]
    """Code of each category, by its text without case and spaces; empty for numbers."""
    is_day_first: bool
    """Whether 01/02/2020 is in February, of dates that leave it open."""


def fit_columns(train: pd.DataFrame) -> tuple[ColumnCode, ...]:
    """Find out what each text column is, and number its categories.

    Args:
        train: The train part of a fold alone, so that nothing of what validates decides.

    Returns:
        A code for each column of numbers, ages, dates, flags or categories. Columns of ids,
        sentences or one value have none.
    """
    codes = []
    for column in train.columns:
        cells = [str(cell) for cell in train[column].fillna("")]
        kind = clean_column(str(column), cells, day_first=None).kind
        if kind in _NUMERIC:
            codes.append(ColumnCode(str(column), kind, {}, _is_day_first(kind, cells)))
        elif kind in _NAMED:
            texts = sorted({_bare(text) for cell in cells if (text := _known(cell))})
            levels = {text: float(code) for code, text in enumerate(texts)}
            codes.append(ColumnCode(str(column), kind, levels, is_day_first=False))
    return tuple(codes)


def encode_columns(table: pd.DataFrame, codes: Sequence[ColumnCode]) -> Features:
    """The cells of any images as numbers.

    A cell that is empty, says that nothing is known, cannot be read as its column's kind, or
    names a category that the train part lacks is NaN.

    Args:
        table: Text columns, N lines; must have every column of ``codes``.
        codes: From ``fit_columns``.
    """
    values = np.full((len(table), len(codes)), np.nan)
    for place, code in enumerate(codes):
        distinct, texts = pd.factorize(table[code.column].fillna("").astype("str"))
        meanings = [_meaning(code, str(text)) for text in texts]
        if meanings:
            values[:, place] = np.array(meanings, np.float64)[distinct]
    return Features(
        tuple(code.column.removeprefix(META_PREFIX) for code in codes),
        values,
        np.array([code.kind in _NAMED for code in codes], bool),
    )


def _known(cell: str) -> str:
    """A tidy text; "" where it says that nothing is known."""
    text = tidy_text(cell)
    return "" if is_missing(text) else text


def _bare(text: str) -> str:
    """Equal for texts that differ in case and spaces only."""
    return text.casefold().replace(" ", "")


def _is_day_first(kind: Kind, cells: Sequence[str]) -> bool:
    """As the dates with a number above 12 say; without any the kind is no date."""
    if kind != "date":
        return False
    dates = [read_date(tidy_text(cell)) for cell in dict.fromkeys(cells)]
    orders = {date.order for date in dates if date is not None}
    return "day_first" in orders and "month_first" not in orders


def _meaning(code: ColumnCode, cell: str) -> float:
    text = _known(cell)
    if code.kind in _NAMED:
        return code.levels.get(_bare(text), np.nan)
    found = _READERS[code.kind](text, code) if text else None
    return np.nan if found is None else float(found)


def _read_age(text: str, code: ColumnCode) -> float | None:
    age = read_age(text)
    return read_number(text) if age is None else age


def _read_days(text: str, code: ColumnCode) -> float | None:
    date = read_date(text)
    return None if date is None else days_since_1970(date, day_first=code.is_day_first)


_READERS: dict[Kind, Callable[[str, ColumnCode], float | bool | None]] = {
    "number": lambda text, code: read_number(text),
    "age": _read_age,
    "date": _read_days,
    "flag": lambda text, code: read_flag(text),
}
