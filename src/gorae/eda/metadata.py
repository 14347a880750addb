"""Metadata tables made fit for models, with a record of every change."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.eda.column_cleaning import NUMERIC, Kind, Line, clean_column

RECORD_COLUMNS = ("column", "kind", "action", "count", "example")


@dataclass(frozen=True)
class CleanTable:
    """Metadata of train and test after cleaning; lines in the order they came in."""

    train: pd.DataFrame
    """Float64 (NaN is missing) or text columns, by kind."""
    test: pd.DataFrame
    """The same columns; missing throughout where the test table lacks one."""
    kinds: Mapping[str, Kind]
    """Kind of each column."""
    levels: Mapping[str, tuple[str, ...]]
    """Sorted values that train has, of columns whose values are categories."""


@dataclass(frozen=True)
class EncodedMetadata:
    """Metadata as numbers, for models that take missing values."""

    names: tuple[str, ...]
    """Name of each feature, (F,)."""
    train: NDArray[np.float64]
    """(N, F); NaN is missing."""
    test: NDArray[np.float64]
    """(M, F); a category that train does not have is NaN."""
    is_category: NDArray[np.bool_]
    """Whether a feature is the code of a category, (F,): its order means nothing."""


def clean_metadata(
    train: pd.DataFrame, test: pd.DataFrame, *, day_first: bool | None = None
) -> tuple[CleanTable, pd.DataFrame]:
    """Find out what each text column is, clean it, and record what was done.

    Train and test are read together, so that a value means the same in both; labels are not
    looked at.

    Args:
        train: Text columns, one line per image.
        test: The same of the test images; may lack columns.
        day_first: Whether 01/02/2020 is in February; None: only where other dates of the
            column settle it, else the column stays text.

    Returns:
        The table, and RECORD_COLUMNS with one line per column and action (``ACTIONS``);
        ``example`` shows one changed cell.
    """
    columns: dict[str, NDArray[np.generic]] = {}
    kinds: dict[str, Kind] = {}
    levels: dict[str, tuple[str, ...]] = {}
    record: list[tuple[str, str, str, int, str]] = []
    for name in train.columns:
        cells = [str(cell) for cell in train[name].fillna("")]
        if name in test.columns:
            cells += [str(cell) for cell in test[name].fillna("")]
        found = clean_column(name, cells, day_first=day_first)
        values = found.values[: len(train)]
        test_values = found.values[len(train) :]
        lines = list(found.lines)
        if name not in test.columns:
            lines.append(("absent_in_test", len(test), ""))
            empty: float | None = np.nan if found.kind in NUMERIC else None
            test_values = np.array([empty] * len(test), found.values.dtype)
        if found.kind in ("category", "ambiguous_date"):
            levels[name] = tuple(sorted({str(v) for v in values if v is not None}))
            lines += _unseen(test_values, levels[name])
        if found.kind == "id":
            lines += _shared(values, test_values)
        columns[name] = np.concatenate([values, test_values])
        kinds[name] = found.kind
        record += [(name, found.kind, *line) for line in lines if line[1]]
    only_test = [name for name in test.columns if name not in train.columns]
    record += [(name, "empty", "absent_in_train", len(test), "") for name in only_test]
    table = pd.DataFrame(
        {
            name: pd.Series(values, dtype="float64" if kinds[name] in NUMERIC else "str")
            for name, values in columns.items()
        },
        index=range(len(train) + len(test)),
    )
    clean = CleanTable(
        train=table.iloc[: len(train)].reset_index(drop=True),
        test=table.iloc[len(train) :].reset_index(drop=True),
        kinds=kinds,
        levels=levels,
    )
    return clean, pd.DataFrame(record, columns=list(RECORD_COLUMNS))


def _unseen(values: NDArray[np.generic], levels: Sequence[str]) -> list[Line]:
    seen = set(levels)
    new = Counter(str(value) for value in values if value is not None and value not in seen)
    return [("unseen_in_test", new.total(), repr(new.most_common(1)[0][0]))] if new else []


def _shared(train: NDArray[np.generic], test: NDArray[np.generic]) -> list[Line]:
    both = sorted({str(v) for v in train if v is not None} & {str(v) for v in test})
    return [("shared_with_test", len(both), repr(both[0]))] if both else []


def encode_metadata(clean: CleanTable, *, with_ids: bool = False) -> EncodedMetadata:
    """Cleaned columns as numbers; constant, empty and text columns are left out.

    Args:
        clean: From ``clean_metadata``.
        with_ids: Whether ids take part, as the last number in them: their order may tell
            the label, which a leak test wants to know and a model must not use.
    """
    names: list[str] = []
    features: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    is_category: list[bool] = []
    for name, kind in clean.kinds.items():
        parts = (clean.train[name], clean.test[name])
        if kind in NUMERIC:
            encoded = tuple(part.to_numpy(np.float64) for part in parts)
        elif name in clean.levels:
            codes = {level: float(at) for at, level in enumerate(clean.levels[name])}
            encoded = tuple(part.map(codes).to_numpy(np.float64) for part in parts)
        elif kind == "id" and with_ids:
            encoded = tuple(_last_numbers(part) for part in parts)
        else:
            continue
        names.append(name)
        features.append((encoded[0], encoded[1]))
        is_category.append(name in clean.levels)
    sizes = (len(clean.train), len(clean.test))
    train, test = (
        np.column_stack([pair[at] for pair in features]) if names else np.zeros((size, 0))
        for at, size in enumerate(sizes)
    )
    return EncodedMetadata(tuple(names), train, test, np.array(is_category, bool))


def _last_numbers(ids: pd.Series) -> NDArray[np.float64]:
    return ids.str.extract(r"(\d+)\D*$")[0].to_numpy(np.float64, na_value=np.nan)
