"""Decode in child processes that may die, hang or run out of memory without harm.

A child is a fresh interpreter (``subprocess``), not a fork: a fork copies the locks of the
parent's threads (torch has some) in whatever state they are, and ``multiprocessing``'s spawn
runs the user's main script again. It holds a few files, so it never waits for work, and the
first of them is the one to blame when it dies or is silent for too long.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from gorae.data.decode import DecodePolicy
from gorae.data.decode_child import ANSWER, REQUEST
from gorae.data.decode_slots import NUM_SLOTS, create_slots, map_slots
from gorae.data.pixels import Interpolation
from gorae.data.thumbnail import THUMBNAIL_SIDE
from gorae.errors import ResourceError

# One more try in a fresh child: the machine may have been short of memory or time.
_ATTEMPTS = 2

# A child is ready in 0.3 s on an idle machine.
_START_LIMIT_S = 60.0

# A large answer (``decode_slots`` holds the others) takes fewer turns through a large pipe.
_PIPE_BYTES = 1 << 20

_USUAL_ANSWER_BYTES = 1 << 16
_LARGEST_FACTS_BYTES = 1 << 20
_THUMBNAIL_BYTES = THUMBNAIL_SIDE**2 * 3

_CHILD_COMMAND = "from gorae.data.decode_child import main; main()"


@dataclass(frozen=True)
class ChildSettings:
    """What every child does with a file, and for how long."""

    root: Path
    policy: DecodePolicy
    short_side: int | None
    interpolation: Interpolation
    timeout_s: float
    steps: tuple[Mapping[str, Any], ...] = ()
    """What is done to decoded pixels (``gorae.preprocess.steps``)."""
    has_thumbnails: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of one file."""

    index: int
    """Position of the file among the paths."""
    facts: dict[str, Any]
    """Columns of the scan; with pixels also their ``shape`` (H, W) and ``crc32``."""
    pixels: memoryview
    """RGB bytes of that shape, empty where there are none; valid until the next answer."""
    thumbnail: memoryview
    """RGB bytes of the thumbnail, empty where there is none; valid until the next answer."""


@dataclass(slots=True)
class _Task:
    index: int
    path: bytes
    arguments: bytes
    failures: int = 0


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    slots: list[memoryview]
    """Where it puts the pixels of its answers, in turn."""
    num_answers: int = 0
    tasks: deque[_Task] = field(default_factory=deque)
    is_ready: bool = False
    since: float = field(default_factory=time.monotonic)
    """When it began with its first task, or was started."""
    buffer: bytearray = field(default_factory=lambda: bytearray(_USUAL_ANSWER_BYTES))
    """Holds the message that is being received; kept, as fresh memory is slow to touch."""
    expected: int = ANSWER.size
    """Bytes of the part of the message that is being received."""
    filled: int = 0
    facts_bytes: int | None = None
    """Length of the facts in the message that is being received, None before its header."""

    @property
    def output(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()


class _ChildError(Exception):
    """A child died, was silent for too long, or ran out of memory."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason, detail)


def examine_files(
    paths: Sequence[bytes],
    settings: ChildSettings,
    *,
    num_children: int,
    arguments: Sequence[str] | None = None,
) -> Generator[Answer, None, None]:
    """Examine files in child processes; answers come as they are ready, one per path.

    The order differs from call to call, the answers do not. Memory holds one answer per
    child, however many files there are.

    Args:
        paths: Files as the system names them, absolute or relative to the root.
        settings: What is done with each.
        num_children: Processes, at least 1.
        arguments: Frame, box and points of each (``data.pixels.write_arguments``).

    Raises:
        ResourceError: A child cannot be started.
    """
    texts = arguments if arguments is not None else [""] * len(paths)
    pending = deque(
        _Task(index, path, text.encode("utf-8"))
        for index, (path, text) in enumerate(zip(paths, texts, strict=True))
    )
    children: list[_Child] = []
    try:
        # One by one, so that those that were started are stopped when the next cannot be.
        children.extend(_start_child(settings) for _ in range(min(num_children, len(pending))))
        while pending or any(child.tasks for child in children):
            _hand_out(children, pending)
            # Taken before the wait: a child counts as silent only if it had nothing to
            # say after its time was over, however long our caller took meanwhile.
            now = time.monotonic()
            ready = _wait(children, settings.timeout_s)
            for position, child in enumerate(children):
                try:
                    is_talking = child.output in ready
                    answer = _receive(child, settings) if is_talking else None
                    if not is_talking:
                        _require_alive(child, now, settings.timeout_s)
                except _ChildError as failure:
                    _require_started(child, failure)
                    _stop(child)
                    children[position] = _start_child(settings)
                    answer = _blame(child, failure, pending)
                if answer is not None:
                    yield answer
    finally:
        for child in children:
            _stop(child)


def _hand_out(children: list[_Child], pending: deque[_Task]) -> None:
    # Only here, where nobody uses the pixels of an earlier answer any more.
    for length in range(NUM_SLOTS):
        for child in children:
            if pending and len(child.tasks) == length:
                _send(child, pending.popleft())


def _send(child: _Child, task: _Task) -> None:
    if not child.tasks and child.is_ready:
        child.since = time.monotonic()
    child.tasks.append(task)
    _write(child, task.path, task.arguments)


def _write(child: _Child, message: bytes, arguments: bytes = b"") -> None:
    assert child.process.stdin is not None
    head = REQUEST.pack(len(message), len(arguments))
    try:
        child.process.stdin.write(head + message + arguments)
    except BrokenPipeError:
        # It has died; the end of its answers says so too and is handled there.
        return


def _wait(children: list[_Child], timeout_s: float) -> set[int]:
    """Descriptors with something to read, waiting for one until the next time limit."""
    poll = select.poll()
    for child in children:
        poll.register(child.output, select.POLLIN)
    # An idle child has no time limit; there is always one that works.
    limits = [
        child.since + (timeout_s if child.is_ready else _START_LIMIT_S)
        for child in children
        if child.tasks
    ]
    left_s = max(0.0, min(limits) - time.monotonic())
    return {descriptor for descriptor, _ in poll.poll(left_s * 1000 + 1)}


def _require_alive(child: _Child, now: float, timeout_s: float) -> None:
    limit_s = timeout_s if child.is_ready else _START_LIMIT_S
    if child.tasks and now > child.since + limit_s:
        raise _ChildError("too_slow", f"not done after {limit_s:g} s")


def _receive(child: _Child, settings: ChildSettings) -> Answer | None:
    """Read what has come; an answer when it is whole."""
    while True:
        message = _receive_message(child, settings)
        if message is None:
            return None
        child.since = time.monotonic()
        if child.is_ready:
            break
        child.is_ready = True
    facts, piped = message
    try:
        pixels, small = _split_pixels(child, facts, piped)
        is_short_of_memory = facts["reason"] == "memory"
    except (ValueError, TypeError, KeyError) as error:
        raise _ChildError("crashed", "its answer is broken") from error
    if is_short_of_memory and child.tasks[0].failures + 1 < _ATTEMPTS:
        raise _ChildError("memory", facts["detail"])
    child.num_answers += 1
    return Answer(child.tasks.popleft().index, facts, pixels, small)


def _split_pixels(
    child: _Child, facts: dict[str, Any], piped: memoryview
) -> tuple[memoryview, memoryview]:
    """Pixels of the picture and of its thumbnail, from the pipe or from the child's slot."""
    slot = child.slots[child.num_answers % NUM_SLOTS]
    pixels = slot[: facts["shared"]] if facts["shared"] else piped
    height, width = facts["shape"]
    split = height * width * 3
    if min(height, width) < 0 or len(pixels) - split not in (0, _THUMBNAIL_BYTES):
        raise ValueError(f"{len(pixels)} bytes are not {height} x {width} pixels")
    return pixels[:split], pixels[split:]


def _receive_message(
    child: _Child, settings: ChildSettings
) -> tuple[dict[str, Any], memoryview] | None:
    while True:
        while child.filled < child.expected:
            try:
                target = memoryview(child.buffer)[child.filled : child.expected]
                count = os.readv(child.output, [target])
            except BlockingIOError:
                return None
            if count == 0:
                raise _ChildError("crashed", "")
            child.filled += count
        whole, child.filled = memoryview(child.buffer)[: child.expected], 0
        if child.facts_bytes is None:
            facts_bytes, pixel_bytes = ANSWER.unpack(whole)
            # A child whose memory a hostile file has overwritten may send anything.
            if (
                facts_bytes > _LARGEST_FACTS_BYTES
                or pixel_bytes > 3 * settings.policy.max_pixels + _THUMBNAIL_BYTES
            ):
                raise _ChildError("crashed", "its answer is broken")
            child.facts_bytes = facts_bytes
            child.expected = facts_bytes + pixel_bytes
            if child.expected > len(child.buffer):
                child.buffer = bytearray(child.expected)
            continue
        split, child.facts_bytes = child.facts_bytes, None
        child.expected = ANSWER.size
        try:
            return json.loads(bytes(whole[:split])), whole[split:]
        except ValueError as error:
            raise _ChildError("crashed", "its answer is broken") from error


def _blame(child: _Child, failure: _ChildError, pending: deque[_Task]) -> Answer | None:
    """Give a failed child's files back; the answer of its first when that failed again."""
    if not child.tasks:
        return None
    first = child.tasks.popleft()
    pending.extendleft(reversed(child.tasks))
    first.failures += 1
    if first.failures < _ATTEMPTS:
        pending.appendleft(first)
        return None
    detail = failure.detail or _ending(child.process.returncode)
    facts = {
        "sha256": "",
        "verdict": "quarantined",
        "reason": failure.reason,
        "detail": f"{detail}, {_ATTEMPTS} times",
    }
    return Answer(first.index, facts, memoryview(b""), memoryview(b""))


def _ending(exit_code: int) -> str:
    if exit_code < 0:
        return f"the decoder ended by {signal.Signals(-exit_code).name}"
    return f"the decoder ended with exit code {exit_code}"


def _start_child(settings: ChildSettings) -> _Child:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path),
        # NumPy's thread pools would only take address space.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
    memory = create_slots()
    slots = map_slots(memory, is_writable=False)
    try:
        # -P: a module of that name in the data folder must not be imported.
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-P", "-c", _CHILD_COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            env=environment,
            pass_fds=() if memory is None else (memory,),
        )
    except OSError as error:
        errors.close()
        raise ResourceError(
            f"Cannot start a process to decode pictures: {error}. Close other programs, or "
            "use fewer workers."
        ) from error
    finally:
        # The mapping keeps the memory.
        if memory is not None:
            os.close(memory)
    child = _Child(process, errors, slots)
    os.set_blocking(child.output, False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        # Refused where the system's limit on pipe memory is reached; any size works.
        with contextlib.suppress(OSError):
            fcntl.fcntl(child.output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    values = asdict(settings) | {
        "root": os.fsencode(settings.root).hex(),
        "parent_pid": os.getpid(),
        "slots": memory,
    }
    _write(child, json.dumps(values).encode("utf-8"))
    return child


def _require_started(child: _Child, failure: _ChildError) -> None:
    """Stop when a child failed before its first file: the next one would as well."""
    if child.is_ready:
        return
    child.errors.seek(0)
    output = child.errors.read().decode("utf-8", "replace").strip()
    last = output.splitlines()[-1] if output else failure.detail or "no message"
    raise ResourceError(
        f"A process to decode pictures could not start: {last}. Free some memory or "
        "use fewer workers; `gorae doctor` checks the installation."
    )


def _stop(child: _Child) -> None:
    """End a child at once; it holds nothing that must be saved."""
    child.process.kill()
    child.process.wait()
    assert child.process.stdin is not None
    assert child.process.stdout is not None
    for stream in (child.process.stdin, child.process.stdout, child.errors):
        stream.close()
