"""One command from start to end: signals, progress, the result, or the reason there is none."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from gorae.cli.launched import is_spokesman
from gorae.cli.screen import Screen, live_screen, plain_screen
from gorae.cli.stops import (
    DISK,
    INTERRUPTED,
    TERMINATED,
    Failure,
    explain,
    stop_of,
    stop_signals,
)
from gorae.cli.text import safe
from gorae.pipeline.launch import NeedsProcesses


class Result(Protocol):
    """What every step returns."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        ...


ResultT = TypeVar("ResultT", bound=Result)


def perform(
    step: Callable[[Screen], ResultT],
    *,
    folder: Path,
    as_json: bool,
    is_debug: bool,
    draw: Callable[[Console, ResultT], None],
) -> ResultT:
    """Do ``step``, show its progress on standard error and its result on standard output.

    Args:
        step: The work.
        folder: The competition, where the details of a bug of ours are kept.
        as_json: The result, or the failure, is one JSON object.
        is_debug: The traceback of a bug is shown.
        draw: How the result looks to a person.

    Raises:
        typer.Exit: The step failed; its message is on the screen.
    """
    with stop_signals() as (seen, stopping):
        try:
            with clean_stdout(is_needed=as_json), _screen(as_json) as screen:
                result = step(replace(screen, stopping=stopping))
            try:
                if as_json:
                    print_json(result.to_json())
                else:
                    draw(Output(highlight=False), result)
                sys.stdout.flush()
            except BrokenPipeError:
                # The work is done, and its reader has heard enough.
                discard_stdout()
                raise typer.Exit(DISK) from None
        except BaseException as error:
            if isinstance(error, typer.Exit | NeedsProcesses):
                raise
            # What breaks while stopping is part of the stop.
            cause = stop_of(seen[0]) if seen else error
            failure = explain(cause, folder=folder, is_debug=is_debug)
            show_failure(failure, as_json=as_json)
            raise typer.Exit(failure.exit_code) from error
    return result


class Output(Console):
    """Standard output; a reader that went away (`gorae board | head`) is an ordinary error."""

    def on_broken_pipe(self) -> None:
        """Not rich's own way: it would end the process as if that were a mistake of ours."""
        raise BrokenPipeError


def _screen(as_json: bool) -> Any:
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        return plain_screen(lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    can_ask = sys.stdin is not None and sys.stdin.isatty() and not as_json
    return live_screen(console, can_ask=can_ask)


@contextmanager
def clean_stdout(*, is_needed: bool) -> Iterator[None]:
    """Send what others print (libraries, a user's own module, child processes) to stderr."""
    if not is_needed:
        yield
        return
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # a stream that the caller has closed
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output, in ASCII, so that any locale can carry it."""
    print(json.dumps(value, indent=2, allow_nan=False))  # noqa: T201 - the layer that prints


def show_failure(failure: Failure, *, as_json: bool) -> None:
    """The message on standard error and, for programs, the same as JSON on standard output."""
    is_stop = failure.exit_code in (INTERRUPTED, TERMINATED)
    label = ("Stopped: ", "yellow") if is_stop else ("Error: ", "bold red")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if is_spokesman():
        console.print(Text.assemble(label, safe(failure.message)))
    if as_json:
        try:
            print_json(failure.to_json())
            sys.stdout.flush()
        except BrokenPipeError:
            discard_stdout()


def discard_stdout() -> None:
    """Let nothing more be written to a reader that went away."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
