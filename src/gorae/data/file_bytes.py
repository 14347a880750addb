"""The bytes of picture files: regular files inside the data folder, and nothing else."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gorae.data.decoded import DecodePolicy, Undecodable


def read_image_bytes(path: str | Path, *, root: Path, policy: DecodePolicy) -> bytes:
    """The bytes of a picture file, refused where it is no regular file inside ``root``.

    Args:
        path: The file, absolute or relative to ``root``; links are resolved first.
        root: The folder that holds all data.
        policy: Size cap, and whether links may lead outside.

    Raises:
        Undecodable: The file is not there, not a file, outside, too large or empty.
    """
    with (
        open_image(path, root=root, policy=policy) as descriptor,
        open(descriptor, "rb", closefd=False) as handle,
    ):
        data = handle.read(os.fstat(descriptor).st_size + 1)
    if not data:
        raise Undecodable("empty", "0 bytes")
    return data


@contextlib.contextmanager
def open_image(path: str | Path, *, root: Path, policy: DecodePolicy) -> Iterator[int]:
    """A descriptor of a regular file inside ``root``; arguments and errors as above."""
    named = os.path.join(root, path)
    try:
        resolved = os.path.realpath(named, strict=True)
    except OSError as error:
        raise _refusal(error, named) from error
    except ValueError as error:
        raise Undecodable("missing", f"no name of a file ({error})") from error
    home = os.path.realpath(root)
    if not policy.follow_links and os.path.commonpath([resolved, home]) != home:
        raise Undecodable("outside", f"it leads to {resolved}, outside {home}")
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        # Looked at before it is opened, as opening alone can wake a device, and once more
        # afterwards, as the name may have been given to something else meanwhile.
        _require_regular(os.stat(resolved), policy)
        descriptor = os.open(resolved, flags)
        try:
            _require_regular(os.fstat(descriptor), policy)
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refusal(error, resolved) from error


def require_file_size(size_bytes: int, policy: DecodePolicy) -> None:
    """Refuse more bytes than allowed.

    Raises:
        Undecodable: There are more.
    """
    if size_bytes > policy.max_file_bytes:
        raise Undecodable(
            "too_large",
            f"{size_bytes / 1e6:,.1f} MB, at most {policy.max_file_bytes / 1e6:,.1f} MB are "
            "taken",
        )


def _require_regular(status: os.stat_result, policy: DecodePolicy) -> None:
    kinds = (
        (stat.S_ISDIR, "directory"),
        (stat.S_ISFIFO, "fifo"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    )
    for is_kind, reason in kinds:
        if is_kind(status.st_mode):
            raise Undecodable(reason, "not a regular file")
    require_file_size(status.st_size, policy)


def _refusal(error: OSError, path: str) -> Undecodable:
    reasons = {
        errno.ENOENT: "dangling_link" if os.path.islink(path) else "missing",
        errno.ENOTDIR: "missing",
        errno.ENAMETOOLONG: "missing",
        errno.ELOOP: "link_loop",
        errno.EACCES: "no_permission",
        errno.EPERM: "no_permission",
    }
    reason = reasons.get(error.errno or 0, "unreadable")
    return Undecodable(reason, error.strerror or str(error))
