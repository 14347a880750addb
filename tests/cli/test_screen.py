"""Progress: a live line on a terminal, plain lines in a pipe, and questions."""

import io
import itertools
import time
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gorae.cli.screen import ask_user, live_screen, plain_screen, seconds_left
from gorae.events import Event


@pytest.fixture
def clock_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def terminal() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=True, width=100, color_system=None), stream


@given(st.integers(1, 1000), st.integers(1, 1000), st.floats(0.01, 100))
def test_time_left_of_an_even_pace_is_exact(done: int, left: int, pace_s: float) -> None:
    samples = deque([(0.0, 0), (done * pace_s, done)])
    assert seconds_left(samples, done + left) == pytest.approx(left * pace_s)


@pytest.mark.parametrize(
    "samples", [[], [(0.0, 5)], [(0.0, 5), (1.0, 5)], [(1.0, 4), (1.0, 5)]]
)
def test_time_left_is_unknown_without_a_pace(samples: list[tuple[float, int]]) -> None:
    assert seconds_left(deque(samples), 10) is None


def test_resumed_work_does_not_count_as_speed(clock_s: list[float]) -> None:
    lines: list[str] = []
    with plain_screen(lines.append) as screen:
        for done in (900, 901, 902):
            screen.on_event(Event("progress", "train", "", done, 1000))
            clock_s[0] += 10
    # One unit takes 10 s: 98 units are left.
    assert lines[-1] == "train: 902 of 1,000 (90 %), 16 min 20 s left"


def test_time_left_follows_the_speed_of_now(clock_s: list[float]) -> None:
    lines: list[str] = []
    with plain_screen(lines.append) as screen:
        for done in range(400):
            screen.on_event(Event("progress", "train", "", done, 1000))
            clock_s[0] += 0.1 if done < 300 else 10
    # 300 units took 30 s, but now each of the 601 that are left takes 10 s.
    assert lines[-1].endswith("1 h 40 min left")


def test_a_pipe_gets_a_line_every_ten_seconds_and_the_last(clock_s: list[float]) -> None:
    lines: list[str] = []
    with plain_screen(lines.append) as screen:
        assert screen.choose is None
        assert screen.ask is None
        screen.on_event(Event("stage", "scan", "50 pictures"))
        for done in range(51):
            screen.on_event(Event("progress", "scan", "train", done, 50))
            clock_s[0] += 0.5
        screen.on_event(Event("warning", "scan", "3 are damaged: \x1b[2J"))
        screen.on_event(Event("message", "scan", "done"))
    assert lines == [
        "scan: 50 pictures",
        "scan: 20 of 50 (40 %), train, 15 s left",
        "scan: 40 of 50 (80 %), train, 5.0 s left",
        "scan: 50 of 50 (100 %), train",
        "scan: warning: 3 are damaged: \\x1b[2J",
        "scan: done",
    ]


def test_a_terminal_keeps_one_line_per_finished_stage() -> None:
    console, stream = terminal()
    with live_screen(console, can_ask=False) as screen:
        screen.on_event(Event("stage", "scan", "50 pictures"))
        for done in range(51):
            screen.on_event(Event("progress", "scan", "", done, 50))
        screen.on_event(Event("warning", "scan", "3 are damaged"))
        screen.on_event(Event("stage", "split", "folds of \x1b]0;owned\x07"))
    text = stream.getvalue()
    assert text.count("✓ scan") == text.count("✓ split") == 1
    assert "! 3 are damaged" in text
    assert "50 of 50 (100 %)" in text
    assert "folds of \\x1b]0;owned\\x07" in text
    assert "\x07" not in text


def test_a_terminal_says_where_a_stage_was_stopped() -> None:
    console, stream = terminal()

    def stop() -> None:
        with live_screen(console, can_ask=False) as screen:
            screen.on_event(Event("progress", "train", "fold 2 of 5", 30, 100))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert "✗ train      fold 2 of 5, stopped at 30 of 100 (30 %)" in stream.getvalue()


def test_questions_are_answered_by_number_or_name(monkeypatch: pytest.MonkeyPatch) -> None:
    console, stream = terminal()
    typed = itertools.chain(["3", "", "mango", "2", "kiwi"])
    monkeypatch.setattr("builtins.input", lambda: next(typed))
    with live_screen(console, can_ask=True) as screen:
        screen.on_event(Event("stage", "init", "recognising"))
        assert screen.choose is not None
        assert screen.choose("Which column?", ["apple", "kiwi"]) == "kiwi"
        assert screen.choose("Which column?", ["apple", "kiwi"]) == "kiwi"
        screen.on_event(Event("stage", "scan", "2 pictures"))
    assert stream.getvalue().count("Type a number from 1 to 2.") == 3
    assert "✓ scan" in stream.getvalue()


def test_a_question_without_options_takes_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    console, stream = terminal()
    typed = itertools.chain(["", "레이블"])
    monkeypatch.setattr("builtins.input", lambda: next(typed))
    assert ask_user(console, "Name of the column?", []) == "레이블"
    assert "Type an answer." in stream.getvalue()
