"""What a step tells its caller while it works; the command line draws it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Event:
    """One thing that happened inside a step.

    ``stage`` opens a stage with a line of ``text``; the one before it is then done.
    ``progress`` says that ``done`` of ``total`` units of the whole stage are behind us (so
    that its time left can be told) and, in ``text``, where it stands ("fold 2 of 5").
    ``message`` and ``warning`` are a line to read; a warning also belongs into the result.
    Texts may hold names of files and classes as they are: who draws them makes them safe.
    """

    kind: Literal["stage", "progress", "message", "warning"]
    stage: str
    """The stage's short name, one word: scan, prepare, features, split, train, predict ..."""
    text: str = ""
    done: int = 0
    total: int = 0
    """Units of the stage, 0 where they are not known."""


OnEvent = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """The listener of a caller who only wants the result."""
