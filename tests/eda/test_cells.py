"""What cells mean, by hand; and that writing a value and reading it gives the value."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.eda.cells import (
    days_since_1970,
    is_missing,
    read_age,
    read_date,
    read_flag,
    read_number,
    tidy_text,
)


def days(text: str, *, day_first: bool = False) -> float | None:
    date = read_date(text)
    assert date is not None, text
    return days_since_1970(date, day_first=day_first)


def test_equal_texts_in_two_unicode_forms_and_spacings_become_one() -> None:
    assert tidy_text("  caf\u0065\u0301\u00a0 bar\t") == "caf\u00e9 bar"
    assert tidy_text("\u1112\u1161\u11ab") == "\ud55c"


@pytest.mark.parametrize(
    "text", ["", "NA", "n/a", "NaN", "NULL", "None", "Unknown", "?", "미상"]
)
def test_nothing_known_is_missing(text: str) -> None:
    assert is_missing(text)


@pytest.mark.parametrize("text", ["0", "no", "normal", "N", "namibia"])
def test_values_are_not_missing(text: str) -> None:
    assert not is_missing(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_was_written(value: float) -> None:
    assert read_number(repr(value)) == value
    if abs(value) < 1e15:
        assert read_number(f"{value:,.3f}") == float(f"{value:.3f}")


@pytest.mark.parametrize(
    "text", ["3,5", "1,23,456", "1e999", "inf", "nan", "12 mm", "1_000", ""]
)
def test_what_could_mean_something_else_is_no_number(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("045Y", 45),
        ("006M", 0.5),
        ("018W", 18 * 7 / 365.25),
        ("010D", 10 / 365.25),
        ("45 years", 45),
        ("3 months old", 0.25),
        ("1.5 yr", 1.5),
        ("45세", 45),
        ("6개월", 0.5),
    ],
)
def test_ages_with_units_are_years(text: str, years: float) -> None:
    assert read_age(text) == pytest.approx(years)


@pytest.mark.parametrize("text", ["45", "Y", "45X", "4500Y", "-3Y", "45Y6M"])
def test_other_texts_are_no_ages(text: str) -> None:
    assert read_age(text) is None


@given(st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)), st.times())
def test_dates_are_read_in_every_form(date: datetime.date, clock: datetime.time) -> None:
    moment = datetime.datetime.combine(date, clock)
    day = (moment.date() - datetime.date(1970, 1, 1)).days
    for form in ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d %B %Y", "%b %d, %Y"):
        assert days(moment.strftime(form)) == day, form
    assert days(f"{moment.year}년 {moment.month}월 {moment.day}일") == day
    time = (moment.hour * 3600 + moment.minute * 60 + moment.second) / 86400
    for form in ("%Y:%m:%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%fZ"):
        assert days(moment.strftime(form)) == pytest.approx(day + time)
    assert days(moment.strftime("%d/%m/%Y"), day_first=True) == day
    assert days(moment.strftime("%m-%d-%Y"), day_first=False) == day


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("01/02/2020", "either"),
        ("13/02/2020", "day_first"),
        ("02/13/2020", "month_first"),
        ("30.02.2020", None),
        ("03/03/2020", "sure"),
        ("2020-01-02", "sure"),
    ],
)
def test_day_and_month_are_told_only_by_what_is_written(text: str, order: str | None) -> None:
    date = read_date(text)
    assert (date and date.order) == order


@pytest.mark.parametrize(
    "text", ["2020-13-01", "20201301", "31/02/2020", "1/2/20", "2020-01-01 25:00", "5 foo 2020"]
)
def test_what_no_calendar_has_is_no_date(text: str) -> None:
    assert read_date(text) is None


def test_flags() -> None:
    assert [read_flag(text) for text in ("Yes", "TRUE", "1", "예")] == [True] * 4
    assert [read_flag(text) for text in ("no", "F", "0", "아니오")] == [False] * 4
    assert [read_flag(text) for text in ("M", "2", "")] == [None] * 3
