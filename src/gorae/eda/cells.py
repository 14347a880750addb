"""What one cell of a metadata table means: nothing, a number, an age, a date, yes or no."""

import datetime
import math
import re
import unicodedata
from typing import Literal, NamedTuple

from gorae.data.labels import MISSING_TEXTS

# As tables, questionnaires and DICOM files write that nothing is known.
_MISSING = frozenset(text.casefold() for text in MISSING_TEXTS) | frozenset(
    (
        *("unknown", "unk", "missing", "not available", "not known", "not specified"),
        *("unspecified", "undefined", "nil", "void", "-", "--", "?", ".", "n.a.", "#na"),
        *("#value!", "#ref!", "#div/0!", "미상", "모름", "알 수 없음", "알수없음", "불명"),
    )
)

_TRUE = frozenset(("yes", "y", "true", "t", "1", "예", "네"))
_FALSE = frozenset(("no", "n", "false", "f", "0", "아니오", "아니요"))

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
# Commas between threes of digits; "1,234" alone could also be a decimal comma.
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_AGE = re.compile(
    r"(\d{1,3}(?:\.\d+)?)\s*(y|yr|yrs|year|years|m|mo|mos|month|months|w|wk|wks|week|weeks|"
    r"d|day|days|세|살|개월|주|일)\.?(?:\s*old)?"
)
_DAYS_PER_YEAR = 365.25
_YEARS = {"y": 1.0, "m": 1 / 12, "w": 7 / _DAYS_PER_YEAR, "d": 1 / _DAYS_PER_YEAR}
_YEARS |= {"세": 1.0, "살": 1.0, "개": 1 / 12, "주": _YEARS["w"], "일": _YEARS["d"]}

_TIME = r"(?:[t ]+([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.\d+)?)?z?)?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.:])(\d{{1,2}})\2(\d{{1,2}})\.?{_TIME}")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_TIME}")
_DAY_WORD = re.compile(rf"(\d{{1,2}})[ -]+([a-z]{{3,9}})\.?,?[ -]+(\d{{4}}){_TIME}")
_WORD_DAY = re.compile(rf"([a-z]{{3,9}})\.? +(\d{{1,2}}),? +(\d{{4}}){_TIME}")
_KOREAN = re.compile(rf"(\d{{4}})년 ?(\d{{1,2}})월 ?(\d{{1,2}})일{_TIME}")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - tables write local times

DayOrder = Literal["sure", "day_first", "month_first", "either"]


class Date(NamedTuple):
    """A date as written; day and month may be exchangeable."""

    year: int
    first: int
    """Month where ``order`` is sure, else the number written first."""
    second: int
    """Day where ``order`` is sure, else the number written second."""
    order: DayOrder
    """Which is which: said by the form, by a number above 12, or not at all."""
    seconds: int
    """Since midnight."""


def tidy_text(text: str) -> str:
    """In the one Unicode form, with single spaces between words and none around."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_missing(text: str) -> bool:
    """Whether a tidy text says that nothing is known."""
    return text.casefold() in _MISSING


def read_number(text: str) -> float | None:
    """A finite number in plain, scientific or 1,234.5 form; None of anything else.

    A decimal comma (``3,5``) is none: where commas are decimals cannot be told from a cell.
    """
    if _NUMBER.fullmatch(text) is None:
        if _THOUSANDS.fullmatch(text) is None:
            return None
        text = text.replace(",", "")
    value = float(text)
    return value if math.isfinite(value) else None


def read_flag(text: str) -> bool | None:
    """Yes or no, true or false, 1 or 0; None of anything else."""
    folded = text.casefold()
    return True if folded in _TRUE else False if folded in _FALSE else None


def read_age(text: str) -> float | None:
    """An age with its unit in years: ``045Y``, ``006M``, ``018W``, ``3 months``, ``45세``."""
    found = _AGE.fullmatch(text.casefold())
    return None if found is None else float(found[1]) * _YEARS[found[2][0]]


def read_date(text: str) -> Date | None:
    """A date with a four-digit year, with or without a time; None of anything else.

    Read are 2020-01-31 (also with / . : as in EXIF, and 20200131), 31.01.2020 and 01/31/2020,
    31 January 2020, Jan 31, 2020 and 2020년 1월 31일.
    """
    folded = text.casefold()
    if found := _YEAR_FIRST.fullmatch(folded):
        year, first, second, time = found[1], found[3], found[4], found.groups()[4:]
    elif found := _COMPACT.fullmatch(folded) or _KOREAN.fullmatch(folded):
        year, first, second, time = found[1], found[2], found[3], found.groups()[3:]
    elif found := _YEAR_LAST.fullmatch(folded):
        return _year_last(found)
    elif found := _DAY_WORD.fullmatch(folded):
        month = _month(found[2])
        year, first, second, time = found[3], month, found[1], found.groups()[3:]
    elif found := _WORD_DAY.fullmatch(folded):
        year, first, second, time = found[3], _month(found[1]), found[2], found.groups()[3:]
    else:
        return None
    date = Date(int(year), int(first), int(second), "sure", _seconds(time))
    return date if days_since_1970(date, day_first=False) is not None else None


def _year_last(found: re.Match[str]) -> Date | None:
    first, second = int(found[1]), int(found[3])
    date = Date(int(found[4]), first, second, "either", _seconds(found.groups()[4:]))
    can_be_day_first = days_since_1970(date, day_first=True) is not None
    can_be_month_first = days_since_1970(date, day_first=False) is not None
    if not can_be_day_first and not can_be_month_first:
        return None
    if first == second:
        return date._replace(order="sure")
    if can_be_day_first and can_be_month_first:
        return date
    return date._replace(order="day_first" if can_be_day_first else "month_first")


def days_since_1970(date: Date, *, day_first: bool) -> float | None:
    """Days, with the time as a fraction; None where the calendar has no such day.

    Args:
        date: As written.
        day_first: Whether the first number is the day; without effect where it is sure.
    """
    month, day = date.first, date.second
    if day_first and date.order != "sure":
        month, day = day, month
    try:
        midnight = datetime.datetime(date.year, month, day)  # noqa: DTZ001
    except ValueError:
        return None
    return (midnight - _EPOCH).days + date.seconds / 86400


def _month(word: str) -> int:
    """1 to 12; 0 of a word that is no month."""
    names = (at for at, name in enumerate(_MONTHS, 1) if name.startswith(word[:3]))
    at = next(names, 0)
    return at if at and (_MONTHS[at - 1].startswith(word) or word == "sept") else 0


def _seconds(time: tuple[str | None, ...]) -> int:
    hours, minutes, seconds = (int(part or 0) for part in (*time, None, None, None)[:3])
    return 3600 * hours + 60 * minutes + seconds
