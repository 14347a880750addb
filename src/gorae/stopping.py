"""How work is asked to stop: at a moment of its own choice, with everything in order."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Stopping = Callable[[], AbstractContextManager[Callable[[], bool]]]
"""Opened around work that looks for itself whether it should stop.

The value of the context, ``should_stop()``, says so. While it is open, a stop signal is
nothing but that answer; outside, it is an exception. A context that ends after a stop was
asked for, and not obeyed, raises that exception.
"""


@contextmanager
def never_stopped() -> Iterator[Callable[[], bool]]:
    """The stopping of a caller who does not ask: Ctrl-C is the exception it always is."""
    yield lambda: False
