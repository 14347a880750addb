"""How a command ends early: signals, exit codes and the message of each failure."""

import errno
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import typer

from gorae.cli.text import safe
from gorae.errors import ResourceError, StorageError, UserError
from gorae.files import storage_error, write_text
from gorae.stopping import Stopping, never_stopped

# Stable, for scripts (TRUST): users and programs may rely on them.
DONE, USAGE, DATA, BUG, MEMORY, DISK, INTERRUPTED, TERMINATED = 0, 64, 65, 70, 71, 74, 130, 143

# Parent of every complaint about the command line; typer gives it no public name.
_UsageError = cast(type[Exception], typer.BadParameter.__base__)


_ONCE_MORE = b"\nStopping after this step. Once more: at once, without what it did.\n"


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: steps treat it like Ctrl-C, that is they save and leave."""


def stop_of(number: int) -> KeyboardInterrupt:
    """The exception for a stop signal."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated()


@dataclass(frozen=True)
class Failure:
    """Why a command ended without a result."""

    type: str
    message: str
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """The object that programs get instead of a result."""
        return {
            "error": {"type": self.type, "message": self.message, "exit_code": self.exit_code}
        }


@contextmanager
def stop_signals() -> Iterator[tuple[list[int], Stopping]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into an exception, the next one into an exit.

    A step that catches ``KeyboardInterrupt`` can so finish what it must, and one that opens
    the ``stopping`` is asked instead of interrupted; who insists is obeyed at once, and no
    child stays behind (TRUST R7). Yields the signals seen so far, and that ``stopping``.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen, never_stopped
        return
    main_pid = os.getpid()
    is_asked = False

    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        nonlocal is_asked
        is_asked = True
        try:
            yield lambda: bool(seen)
        finally:
            is_asked = False
        if seen:
            raise stop_of(seen[0])

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != main_pid:  # a forked child keeps the plain meaning
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        seen.append(number)
        if len(seen) > 1:
            _end_children()
            os._exit(INTERRUPTED if number == signal.SIGINT else TERMINATED)
        if is_asked:
            # Not through the screen, which may be in the midst of a line of its own.
            os.write(2, _ONCE_MORE)
            return
        # A signal to the whole group ends workers, too: torch would raise over our saving.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise stop_of(number)

    # An ignored signal (nohup, a background job) stays ignored.
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield seen, stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_children() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            continue


def explain(error: BaseException, *, folder: Path | None, is_debug: bool) -> Failure:
    """The message and exit code for ``error``; a bug of ours leaves its traceback in a file.

    Args:
        error: What ended the command.
        folder: The competition, where the traceback of a bug is kept.
        is_debug: The traceback goes to the screen instead.
    """
    name = type(error).__name__
    if isinstance(error, UserError):
        return Failure(name, str(error), error.exit_code)
    if isinstance(error, _UsageError):
        return Failure("UsageError", _usage_message(error), USAGE)
    if isinstance(error, Terminated):
        return Failure("Terminated", _stopped("by a signal"), TERMINATED)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Failure("Interrupted", _stopped("on request"), INTERRUPTED)
    if _is_out_of_memory(error):
        return Failure(ResourceError.__name__, _MEMORY_MESSAGE, MEMORY)
    if isinstance(error, BrokenPipeError):
        return Failure(StorageError.__name__, "The reader of the output went away.", DISK)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        place = Path(str(error.filename or folder or Path.cwd()))
        return Failure(StorageError.__name__, str(storage_error(error, place)), DISK)
    return _bug(error, folder=folder, is_debug=is_debug)


def _stopped(how: str) -> str:
    return f"Ended {how}. What is finished is kept: the same command goes on from there."


_MEMORY_MESSAGE = (
    "Not enough memory. Use a smaller batch (--set train.batch_size=8), a smaller input "
    "(--set pixels.input_size=160) or a smaller model, or close other programs. "
    "`gorae doctor` shows what this machine has."
)


def _usage_message(error: Exception) -> str:
    format_message = getattr(error, "format_message", error.__str__)
    context = getattr(error, "ctx", None)
    hint = f" See `{context.command_path} --help`." if context is not None else ""
    # typer leaves the words of its validator in front and often no stop at the end.
    return str(format_message()).replace("Value error, ", "").rstrip(".") + "." + hint


def _is_out_of_memory(error: BaseException) -> bool:
    # torch's own class by its name, as importing torch here would cost seconds.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def _bug(error: BaseException, *, folder: Path | None, is_debug: bool) -> Failure:
    details = "".join(traceback.format_exception(error))
    message = f"This is a bug of gorae, not yours: {type(error).__name__}: {error}."
    if is_debug:
        print(safe(details), file=sys.stderr)  # noqa: T201 - the layer that prints
        return Failure(type(error).__name__, message, BUG)
    place = _write_details(details, folder)
    message += f" The details are in {place}; please send them with a report."
    return Failure(type(error).__name__, message, BUG)


def _write_details(details: str, folder: Path | None) -> Path:
    home = folder / ".gorae" if folder is not None else None
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    text = f"{sys.argv!r}\nPython {sys.version}\n\n{details}"
    for place in (home, Path(tempfile.gettempdir())):
        if place is None or not place.is_dir():
            continue
        try:
            write_text(place / name, text)
        except (StorageError, UnicodeEncodeError):
            continue
        return place / name
    return Path("(no place to write them)")
