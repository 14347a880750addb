"""Progress of a step on standard error: a live line on a terminal, plain lines in a pipe."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gorae.cli.text import clock, count_of, duration, safe, safe_line
from gorae.events import Event, OnEvent
from gorae.stopping import Stopping, never_stopped

if TYPE_CHECKING:
    from gorae.data.layout import Question

# Time left follows the speed of the last half minute: resumed work comes at another one.
_SPEED_WINDOW_S = 30.0
_REDRAW_S = 0.1
_PLAIN_INTERVAL_S = 10.0
_SHOWN_LINES = 6
_INDENT = 13


@dataclass(frozen=True)
class Screen:
    """What a step may do with the user: tell, ask where somebody can answer, be stopped."""

    on_event: OnEvent
    choose: Callable[[str, Sequence[str]], str] | None
    """Shows a question with its options, returns the answer; None where nobody can answer."""
    stopping: Stopping = never_stopped
    """Opened by work that stops at a moment of its own choice."""

    @property
    def ask(self) -> "Callable[[Question], str] | None":
        """``choose`` for the questions of a step."""
        choose = self.choose
        return (
            None if choose is None else lambda question: choose(question.text, question.options)
        )


@dataclass
class _Stage:
    """The stage that is drawn; it changes with every event."""

    name: str
    text: str
    started_s: float
    done: int = 0
    total: int = 0
    place: str = ""
    lines: list[RenderableType] = field(default_factory=list)
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, event: Event, now_s: float) -> None:
        self.done, self.total, self.place = event.done, event.total, event.text
        self.samples.append((now_s, event.done))
        while len(self.samples) > 2 and now_s - self.samples[0][0] > _SPEED_WINDOW_S:
            self.samples.popleft()


def seconds_left(samples: deque[tuple[float, int]], total: int) -> float | None:
    """Time until ``total`` at the speed of the samples (time, done); None while unknown."""
    if len(samples) < 2:
        return None
    (first_s, first_done), (last_s, last_done) = samples[0], samples[-1]
    if last_done <= first_done or last_s <= first_s:
        return None
    return (total - last_done) * (last_s - first_s) / (last_done - first_done)


@contextmanager
def live_screen(console: Console, *, can_ask: bool) -> Iterator[Screen]:
    """Finished stages as lines, the present one with bar and time left below them.

    It is redrawn by events only: a drawing thread and forked workers do not go together.
    """
    stage: _Stage | None = None
    drawn_s = 0.0
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def draw(*, at_once: bool) -> None:
            nonlocal drawn_s
            now_s = time.monotonic()
            if stage is not None and (at_once or now_s - drawn_s >= _REDRAW_S):
                drawn_s = now_s
                live.update(_live_lines(stage, now_s), refresh=True)

        def close(mark: str, style: str) -> None:
            nonlocal stage
            if stage is not None:
                live.update(Text(""), refresh=True)
                console.print(_closed_line(stage, mark, style), *stage.lines, sep="\n")
            stage = None

        def on_event(event: Event) -> None:
            nonlocal stage
            now_s = time.monotonic()
            if stage is None or _opens_stage(event, stage):
                close("✓", "green")
                stage = _Stage(event.stage, event.text if event.kind == "stage" else "", now_s)
            if event.kind == "progress":
                stage.advance(event, now_s)
            elif event.kind != "stage":
                stage.lines.append(_note(event))
            draw(at_once=event.kind != "progress" or event.done == event.total)

        def choose(question: str, options: Sequence[str]) -> str:
            live.stop()
            try:
                return ask_user(console, question, options)
            finally:
                live.start()

        try:
            yield Screen(on_event, choose if can_ask else None)
        except BaseException:
            close("✗", "red")
            raise
        close("✓", "green")


def _opens_stage(event: Event, stage: _Stage) -> bool:
    return event.kind == "stage" or (event.kind == "progress" and event.stage != stage.name)


def _live_lines(stage: _Stage, now_s: float) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(width=10, no_wrap=True)
    if stage.total > 0:
        left_s = seconds_left(stage.samples, stage.total)
        left = f"{clock(left_s)} left" if left_s is not None else clock(now_s - stage.started_s)
        bar = ProgressBar(
            total=stage.total, completed=stage.done, width=24, complete_style="cyan"
        )
        place = Text(safe_line(stage.place), style="dim", no_wrap=True, overflow="ellipsis")
        counted = Text(count_of(stage.done, stage.total))
        grid.add_row("●", stage.name, bar, counted, Text(left, style="bold"), place)
    else:
        grid.add_row(
            "●", stage.name, Text(safe_line(stage.text), no_wrap=True, overflow="ellipsis")
        )
    return Group(grid, *stage.lines[-_SHOWN_LINES:])


def _closed_line(stage: _Stage, mark: str, style: str) -> RenderableType:
    elapsed = duration(time.monotonic() - stage.started_s)
    what = safe_line(stage.text or stage.place)
    if mark == "✗" and stage.total > 0:
        what = f"{what}, stopped at {count_of(stage.done, stage.total)}".removeprefix(", ")
    line = Text.assemble((mark, style), " ", f"{stage.name:<10} ", what, "  ", (elapsed, "dim"))
    line.no_wrap, line.overflow = False, "fold"
    return line


def _note(event: Event) -> RenderableType:
    mark, style = ("! ", "yellow") if event.kind == "warning" else ("", "dim")
    return Padding(Text(mark + safe(event.text), style=style), (0, 0, 0, _INDENT))


@contextmanager
def plain_screen(write: Callable[[str], object]) -> Iterator[Screen]:
    """One line per stage, message and warning, and for progress one every ten seconds."""
    stage: _Stage | None = None
    written_s = 0.0

    def on_event(event: Event) -> None:
        nonlocal stage, written_s
        now_s = time.monotonic()
        if event.kind == "progress":
            if stage is None or stage.name != event.stage:
                stage, written_s = _Stage(event.stage, "", now_s), now_s
            stage.advance(event, now_s)
            if now_s - written_s >= _PLAIN_INTERVAL_S or event.done == event.total > 0:
                written_s = now_s
                write(_plain_progress(stage))
            return
        if event.kind == "stage":
            stage, written_s = _Stage(event.stage, event.text, now_s), now_s
        label = "warning: " if event.kind == "warning" else ""
        write(f"{event.stage}: {label}{safe(event.text)}")

    yield Screen(on_event, None)


def _plain_progress(stage: _Stage) -> str:
    parts = [f"{stage.name}: {count_of(stage.done, stage.total)}", safe_line(stage.place)]
    left_s = seconds_left(stage.samples, stage.total)
    if left_s is not None and stage.done < stage.total:
        parts.append(f"{duration(left_s)} left")
    return ", ".join(part for part in parts if part)


def ask_user(console: Console, question: str, options: Sequence[str]) -> str:
    """The answer typed on the terminal: one of the options, by name or number."""
    console.print(Text(safe(question), style="bold"))
    for number, option in enumerate(options, start=1):
        console.print(Text(f"  {number}  {safe_line(option)}"))
    while True:
        console.print(Text("> ", style="bold"), end="")
        answer = input().strip()
        if answer in options or (answer and not options):
            return answer
        if answer.isdecimal() and 1 <= int(answer) <= len(options):
            return options[int(answer) - 1]
        hint = f"Type a number from 1 to {len(options)}." if options else "Type an answer."
        console.print(Text(hint, style="yellow"))
