"""gorae.report.numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.report.numbers import (
    Count,
    chart_name,
    duration,
    number,
    percent,
    plotly_text,
    printable,
    signed,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98412, "0.984"),
        (1.0, "1.000"),
        (0.99962, "0.9996"),
        (0.9999999, "1.000000"),
        (0.0042, "0.0042"),
        (0.0, "0"),
        (6.34712, "6.347"),
        (23.4567, "23.46"),
        (1234.5, "1,234"),
        (-0.25, "-0.250"),
        (float("nan"), "–"),
    ],
)
def test_a_number_has_the_digits_worth_reading(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.5, "50%"),
        (0.123, "12.3%"),
        (1.0, "100%"),
        (0.99999, "> 99.9%"),
        (1e-6, "< 0.1%"),
        (0, "0%"),
    ],
)
def test_a_share_is_100_percent_only_when_it_is(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.26, "4.3 s"), (48, "48 s"), (185, "3 min 5 s"), (7440, "2 h 4 min")],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_cannot_be_shown_is_written_out() -> None:
    assert printable("a\x1b[31m\udcff\u202egnp.exe") == "a\\x1b[31m\\udcff\\u202egnp.exe"
    assert printable("고양이\tb\nc") == "고양이\tb\nc"


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_becomes_writable_and_keeps_no_markup(text: str) -> None:
    printable(text).encode("utf-8")
    shown = plotly_text(text)
    shown.encode("utf-8")
    assert not set(shown) & set("<>$\n")
    assert "%{" not in shown


def test_long_names_are_cut_in_charts_before_they_are_escaped() -> None:
    assert chart_name("<" * 30) == "&lt;" * 21 + "…"
    assert chart_name("마스크 착용") == "마스크 착용"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "+0.012"), (-0.0042, "−0.0042"), (0.0, "0"), (float("nan"), "–")],
)
def test_a_difference_has_its_sign(value: float, text: str) -> None:
    assert signed(value) == text


def test_a_count_takes_the_word_that_fits_it() -> None:
    assert f"{Count(1):picture|pictures}" == "1 picture"
    assert f"{Count(0):picture|pictures}" == "0 pictures"
    assert "{n:row|rows}, {n}".format(n=Count(1200)) == "1,200 rows, 1,200"
