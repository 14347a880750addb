"""Words on screen: nothing in a name can steer a terminal; times and sizes read well."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.cli.text import (
    clock,
    count,
    count_of,
    duration,
    interval,
    parse_budget,
    safe,
    safe_line,
    score,
    size,
)
from gorae.errors import ConfigError


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = safe(text)
    assert all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") for c in shown)
    assert not any("\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" for c in shown)
    assert "\n" not in safe_line(text)
    shown.encode("utf-8")


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "S"])))
def test_letters_of_any_script_stay(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\rb\tc", r"a\rb\tc"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("bad\udcff.jpg", r"bad\udcff.jpg"),
        ("고래 사진.jpg", "고래 사진.jpg"),
        ("👨‍👩‍👧.png", "👨‍👩‍👧.png"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_hostile_names_are_shown_as_codes(name: str, shown: str) -> None:
    assert safe(name) == shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("2h", 7200),
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 1H 5S", 3605),
    ],
)
def test_budgets(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "0m", "30", "m", "-5m", "1m2h", "30 min", "inf", "½h"])
def test_a_budget_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no time\. Write hours, minutes and seconds"):
        parse_budget(text)


def test_times_and_sizes() -> None:
    assert [duration(s) for s in (0, 9.94, 9.96, 59.4)] == ["0.0 s", "9.9 s", "10 s", "59 s"]
    assert [duration(s) for s in (59.6, 3599)] == ["1 min 00 s", "59 min 59 s"]
    assert [duration(s) for s in (3600, 9000)] == ["1 h 00 min", "2 h 30 min"]
    assert [clock(s) for s in (-1, 0, 42.4, 61, 3723)] == [
        "0:00",
        "0:00",
        "0:42",
        "1:01",
        "1:02:03",
    ]
    assert [size(b) for b in (0, 999, 1000, 999_949, 999_950, 13_400_000, 10**16)] == [
        "0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "13.4 MB", "10000.0 TB"
    ]  # fmt: skip


def test_scores_and_counts() -> None:
    assert score(0.98765) == "0.9877"
    assert score(None) == interval(None) == "-"
    assert interval((0.5, 1)) == "0.5000 to 1.0000"
    assert count(1, "run") == "1 run"
    assert count(1200, "run") == "1,200 runs"
    assert count_of(412, 910) == "412 of 910 (45 %)"
    assert count_of(999, 1000) == "999 of 1,000 (99 %)"
    assert count_of(7, 0) == "7"
