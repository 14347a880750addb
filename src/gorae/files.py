"""Durable writes, content hashes and locks: how gorae touches the disk."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gorae.errors import StorageError, UserError

TEMPORARY_SUFFIX = ".gorae-tmp"

# Ours, and what the safetensors library leaves behind: it writes beside the path it is given.
_LEFTOVERS = (f".*{TEMPORARY_SUFFIX}", ".tmp??????")

# TRUST R8: what must stay free beside the file that is written.
FREE_SPACE_MARGIN_BYTES = 500_000_000


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it, durably, when the block ends well.

    A reader sees the old file or the new one, never a part: the bytes are synced before
    the rename and the folder after it. On an error the old file stays.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """The message for a failed write to ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"The disk is full: {path} could not be written. Free some space and run the "
            "same command again; it goes on where it stopped."
        )
    return StorageError(
        f"Cannot write {path}: {error.strerror or error}. Make the folder writable or "
        "work on a copy of the competition in another place."
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically and durably."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 ``text`` to ``path`` atomically and durably, line ends as given."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON; NaN and infinity are refused."""
    write_text(
        path, json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)
    )


def read_json(path: Path) -> Any:
    """The JSON value in ``path``.

    Raises:
        StorageError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error


def sha256_bytes(data: bytes | memoryview) -> str:
    """The SHA-256 of ``data``, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_key(value: Any) -> str:
    """A short name for ``value`` (JSON-able): equal values, equal names; 16 hex digits."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
    return sha256_bytes(text.encode("utf-8"))[:16]


def sweep_temporaries(folder: Path) -> list[Path]:
    """Remove what interrupted writes left below ``folder``; call it under the lock."""
    leftovers = sorted(path for pattern in _LEFTOVERS for path in folder.rglob(pattern))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return leftovers


def require_free_space(folder: Path, needed_bytes: int, *, purpose: str) -> None:
    """Stop before a write that cannot fit.

    Raises:
        StorageError: Less than ``needed_bytes`` and a margin is free on the disk.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes + FREE_SPACE_MARGIN_BYTES:
        raise StorageError(
            f"Too little disk for {purpose}: it needs {needed_bytes / 1e6:,.0f} MB and "
            f"{FREE_SPACE_MARGIN_BYTES / 1e6:,.0f} MB to spare, {free_bytes / 1e6:,.0f} MB "
            f"are free at {existing}. Free some space (`gorae clean` shows what can go)."
        )


@contextmanager
def exclusive_lock(path: Path, *, purpose: str) -> Iterator[None]:
    """Hold ``path`` so that no second process does ``purpose`` at the same time.

    The system drops the lock when the process ends, however it ends.

    Raises:
        UserError: Another process holds it; the message names its pid and host.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            raise UserError(
                f"Another gorae is already {purpose} here ({holder or 'unknown process'}). "
                "Wait for it to end, or stop it."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(descriptor)
