"""One column of a metadata table: what it is, what its cells mean, what had to be changed."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import META_PREFIX
from gorae.eda.cells import (
    Date,
    days_since_1970,
    is_missing,
    read_age,
    read_date,
    read_flag,
    read_number,
    tidy_text,
)

Kind = Literal[
    "number",
    "age",
    "date",
    "flag",
    "category",
    "ambiguous_date",
    "id",
    "text",
    "constant",
    "empty",
]
"""What a column is. Float64 after cleaning: number, age (years), date (days since 1970) and
flag (0 or 1); all others stay text."""

NUMERIC: frozenset[Kind] = frozenset(("number", "age", "date", "flag"))

ACTIONS: dict[str, str] = {
    "kept": "cells with a value after cleaning",
    "missing": "cells that say that nothing is known, made missing",
    "tidied": "cells with other spaces or another Unicode form, made equal",
    "merged": "cells that differed from a more frequent one in case or spaces, made equal",
    "not_readable": "cells that are not of the column's kind, made missing",
    "implausible": "ages below 0 or above 120, dates outside 1900 to 2100, made missing",
    "sentinel": "numbers such as -999 far from all others, made missing",
    "extreme": "numbers far from all others, left as they are",
    "day_month_settled": "dates whose day and month are told by other dates or as asked",
    "day_month_unknown": "dates whose day and month could be exchanged, made missing",
    "day_month_open": "dates that could be read in two ways; the column stays text",
    "unseen_in_test": "test cells with a category that train does not have",
    "shared_with_test": "ids that stand in train and in test",
    "absent_in_test": "the test table has no such column",
    "absent_in_train": "the train table has no such column; it is left out",
}
"""Every ``action`` of the record and what its ``count`` counts."""

# A column is what nearly all of its cells are; a few slips do not make numbers categories.
_MOST = 0.95
# Beyond these a column names its rows instead of describing them.
_DISTINCT_SHARE, _FEWEST_IDS = 0.9, 20
# Texts longer than this on average are sentences.
_SENTENCE = 40

_AGES = (0.0, 120.0)
_YEARS = (1900, 2100)
_SENTINELS = frozenset((-9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0))
# Interquartile ranges from the median: a normal distribution never comes so far.
_EXTREME = 20.0

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[가-힣]+")
_ID_WORDS = frozenset(("id", "ids", "uid", "uuid", "guid", "key", "번호", "아이디"))
_SUBJECT_WORDS = frozenset(
    (
        *("patient", "person", "subject", "individual", "participant", "animal", "people"),
        *("환자", "사람", "개체", "피험자"),
    )
)
_AGE_WORDS = frozenset(("age", "ages", "나이", "연령"))


def name_words(column: str) -> tuple[str, ...]:
    """The words of a column's name: ``meta.PatientAge`` gives patient, age."""
    return tuple(word.casefold() for word in _WORD.findall(column.removeprefix(META_PREFIX)))


Line = tuple[str, int, str]
"""Action, count and example."""


@dataclass(frozen=True)
class CleanColumn:
    """One column: what it is, its values and what was done."""

    kind: Kind
    """What it is."""
    values: NDArray[np.generic]
    """Float64 where the kind is numeric (NaN is missing), else text (None is missing)."""
    lines: tuple[Line, ...]
    """What was done; a count of 0 says that it was not needed."""


def names_ids(column: str) -> bool:
    """Whether a column's name says that it names things: patient_id, PatientID, person."""
    words = name_words(column)
    last = words[-1].removesuffix("id") if words else ""
    return bool(_ID_WORDS.intersection(words)) or last in _SUBJECT_WORDS


def clean_column(name: str, cells: Sequence[str], *, day_first: bool | None) -> CleanColumn:
    """Find out what a column is and clean it; everything is decided on its distinct cells.

    Args:
        name: Its name, which may say that it holds ids or ages.
        cells: As they stand in the table.
        day_first: Whether 01/02/2020 is in February; None: as other dates tell.
    """
    codes, found = pd.factorize(np.array(cells, object))
    distinct = [str(text) for text in found]
    counts = np.bincount(codes, minlength=len(distinct))
    texts = [tidy_text(text) for text in distinct]
    is_tidied = np.array([a != b for a, b in zip(distinct, texts, strict=True)], bool)
    lines = [_line("tidied", distinct, texts, counts, is_tidied)]
    is_known = np.array([not is_missing(text) for text in texts], bool)
    lines.append(_line("missing", distinct, None, counts, ~is_known))
    known: Counter[str] = Counter()
    for text, count, kept in zip(texts, counts.tolist(), is_known, strict=True):
        if kept:
            known[text] += count
    kind = _kind(name, known)
    if kind == "date" and _day_month(known, day_first) == "open":
        kind = "ambiguous_date"
    if kind in NUMERIC:
        meanings, more = _NUMERIC_READERS[kind](known, day_first)
        of_text: NDArray[np.generic] = np.array([meanings.get(text, np.nan) for text in texts])
        kept_count = int(counts[~np.isnan(of_text.astype(np.float64))].sum())
    else:
        names, more = _texts(known, kind)
        of_text = np.array([names.get(text) for text in texts], object)
        kept_count = int(counts[is_known].sum())
    values = of_text[codes] if len(cells) else of_text[:0]
    return CleanColumn(kind, values, (("kept", kept_count, ""), *lines, *more))


def _line(
    action: str,
    before: Sequence[str],
    after: Sequence[str] | None,
    counts: NDArray[np.int64],
    is_changed: NDArray[np.bool_],
) -> Line:
    """A line with the most frequent changed cell as its example."""
    if not is_changed.any():
        return action, 0, ""
    at = int(np.flatnonzero(is_changed)[counts[is_changed].argmax()])
    shown = repr(before[at]) if after is None else f"{before[at]!r} -> {after[at]!r}"
    return action, int(counts[is_changed].sum()), shown


def _kind(name: str, known: Counter[str]) -> Kind:
    """What nearly all cells of a column are."""
    if len(known) < 2:
        return "constant" if known else "empty"
    total = known.total()
    is_id = names_ids(name) and len(known) >= _FEWEST_IDS

    def is_most(read: Callable[[str], object]) -> bool:
        return (
            sum(count for text, count in known.items() if read(text) is not None)
            >= _MOST * total
        )

    if is_most(read_flag):
        return "flag"
    if _AGE_WORDS.intersection(name_words(name)) and is_most(_age_or_number):
        return "age"
    if is_most(read_age):
        return "age"
    if not is_id and is_most(read_date):
        return "date"
    if is_id:
        return "id"
    # 007 is a code and site 3 a name: neither is an amount.
    is_code = names_ids(name) or any(re.fullmatch(r"0\d+", text) for text in known)
    if is_most(read_number) and not is_code:
        return "number"
    if sum(len(text) * count for text, count in known.items()) > _SENTENCE * total:
        return "text"
    is_distinct = len(known) > _DISTINCT_SHARE * total and total >= _FEWEST_IDS
    return "id" if is_distinct else "category"


def _age_or_number(text: str) -> float | None:
    age = read_age(text)
    return read_number(text) if age is None else age


_Read = tuple[dict[str, float], list[Line]]


def _lost(action: str, known: Counter[str], texts: Sequence[str]) -> Line:
    """A line of cells made missing."""
    most = max(texts, key=lambda text: known[text], default="")
    return action, sum(known[text] for text in texts), repr(most) if texts else ""


def _numbers(known: Counter[str], day_first: bool | None) -> _Read:
    values = {t: v for t in known if (v := read_number(t)) is not None}
    lines = [_lost("not_readable", known, [text for text in known if text not in values])]
    others = [value for value in values.values() if value not in _SENTINELS]
    sentinels: list[str] = []
    if others:
        low, high = min(others), max(others)
        gap = max(high - low, 1.0)
        sentinels = [t for t, v in values.items() if v < low - gap or v > high + gap]
        sentinels = [text for text in sentinels if values[text] in _SENTINELS]
    lines.append(_lost("sentinel", known, sentinels))
    values = {text: value for text, value in values.items() if text not in sentinels}
    weights = [known[text] for text in values]
    spread = np.repeat(list(values.values()), weights)
    low, median, high = np.quantile(spread, (0.25, 0.5, 0.75)) if len(spread) else (0, 0, 0)
    far = _EXTREME * (high - low)
    extreme = [text for text, value in values.items() if far and abs(value - median) > far]
    return values, [*lines, _lost("extreme", known, extreme)]


def _ages(known: Counter[str], day_first: bool | None) -> _Read:
    values = {t: v for t in known if (v := _age_or_number(t)) is not None}
    lines = [_lost("not_readable", known, [text for text in known if text not in values])]
    wrong = [text for text, age in values.items() if not _AGES[0] <= age <= _AGES[1]]
    lines.append(_lost("implausible", known, wrong))
    return {text: age for text, age in values.items() if text not in wrong}, lines


def _flags(known: Counter[str], day_first: bool | None) -> _Read:
    values = {t: float(v) for t in known if (v := read_flag(t)) is not None}
    return values, [
        _lost("not_readable", known, [text for text in known if text not in values])
    ]


def _day_month(
    known: Counter[str], day_first: bool | None
) -> Literal["day_first", "month_first", "mixed", "open"]:
    """Whether the day comes first: as asked, else as the dates above 12 say."""
    if day_first is not None:
        return "day_first" if day_first else "month_first"
    orders = {date.order for text in known if (date := read_date(text)) is not None}
    if "either" not in orders:
        return "mixed"
    if {"day_first", "month_first"} <= orders:
        return "mixed"
    return next((o for o in ("day_first", "month_first") if o in orders), "open")


def _dates(known: Counter[str], day_first: bool | None) -> _Read:
    order = _day_month(known, day_first)
    dates = {t: d for t in known if (d := read_date(t)) is not None}
    lines = [_lost("not_readable", known, [text for text in known if text not in dates])]
    either = [text for text, date in dates.items() if date.order == "either"]
    is_settled = order in ("day_first", "month_first")
    lines.append(
        _lost("day_month_settled" if is_settled else "day_month_unknown", known, either)
    )
    wrong = [t for t, date in dates.items() if not _YEARS[0] <= date.year <= _YEARS[1]]
    lines.append(_lost("implausible", known, wrong))
    lost = set(wrong) | (set() if is_settled else set(either))
    values = {
        text: _days(date, order == "day_first")
        for text, date in dates.items()
        if text not in lost
    }
    return values, lines


def _days(date: Date, is_day_first: bool) -> float:
    if date.order != "either":
        is_day_first = date.order == "day_first"
    days = days_since_1970(date, day_first=is_day_first)
    assert days is not None, "read_date gives dates that exist in the order they say"
    return days


_NUMERIC_READERS: dict[Kind, Callable[[Counter[str], bool | None], _Read]] = {
    "number": _numbers,
    "age": _ages,
    "date": _dates,
    "flag": _flags,
}


def _texts(known: Counter[str], kind: Kind) -> tuple[dict[str, str], list[Line]]:
    """Text columns; variants of a category become its most frequent one."""
    if kind == "ambiguous_date":
        either = [t for t in known if (d := read_date(t)) is None or d.order == "either"]
        return {text: text for text in known}, [_lost("day_month_open", known, either)]
    if kind != "category":
        return {text: text for text in known}, []
    best: dict[str, str] = {}
    for text in sorted(known, key=lambda text: (-known[text], text)):
        best.setdefault(_bare(text), text)
    names = {text: best[_bare(text)] for text in known}
    changed = [text for text in known if names[text] != text]
    action, count, example = _lost("merged", known, changed)
    most = max(changed, key=lambda text: known[text], default="")
    return names, [(action, count, f"{example} -> {names[most]!r}" if changed else "")]


def _bare(text: str) -> str:
    """Equal for texts that differ in case and spaces only."""
    return text.casefold().replace(" ", "")
