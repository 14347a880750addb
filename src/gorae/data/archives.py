"""Zip files of a competition, unpacked once, safely, beside the other things gorae makes."""

import lzma
import os
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gorae.errors import DataError, list_problems
from gorae.files import require_free_space, sha256_file, storage_error

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may become; TRUST W7 with sizes for data sets instead of uploads."""

    max_files: int = 2_000_000
    max_total_bytes: int = 200_000_000_000
    max_ratio: float = 200.0
    """Unpacked size divided by packed size, of the whole archive."""
    ratio_floor_bytes: int = 1_000_000_000
    """Below this unpacked size the ratio does not matter: drawn pictures compress well."""


def extract_zip(
    path: Path, destination_root: Path, *, limits: ArchiveLimits | None = None
) -> Path:
    """Unpack ``path`` into ``destination_root/<first 16 digits of its SHA-256>``.

    An archive that is there already is not unpacked again; the folder appears whole or not at
    all. Only regular files inside the root are written: absolute paths, ``..``, drive letters,
    links and devices are refused. Names are UTF-8 where the archive says so, else UTF-8 or
    cp949 where they read as such.

    Raises:
        DataError: The archive is damaged, encrypted, unsafe, or beyond the limits.
        StorageError: There is too little disk.
    """
    limits = limits or ArchiveLimits()
    try:
        target = destination_root / sha256_file(path)[:16]
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    if target.is_dir():
        return target
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked_members(archive, path.name, limits)
            total_bytes = sum(info.file_size for info, _ in members)
            require_free_space(destination_root, total_bytes, purpose=f"unpacking {path.name}")
            _write_members(archive, members, target, path.name)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
    ) as error:
        raise DataError(
            f"{path.name} is damaged or not a zip file that can be read ({error}). Download "
            "it again, or unpack it yourself beside it and remove the zip."
        ) from error
    return target


def locate(folder: Path, relative: str, *, extracted_root: Path) -> Path:
    """Where ``relative`` (a path in ``folder`` that may lead into zip files) lies on the disk.

    ``train.zip`` and ``train.zip/images`` are unpacked when first asked for.

    Raises:
        DataError: The path leaves the folder, does not exist, or its zip cannot be unpacked.
    """
    problem = unsafe_reason(relative)
    if problem:
        raise DataError(f"Path {relative!r} of competition.toml is not allowed: {problem}.")
    place = folder
    for part in PurePosixPath(relative).parts:
        place = _child(place, part)
        if part.lower().endswith(".zip") and place.is_file():
            place = extract_zip(place, extracted_root)
    if not place.exists():
        raise DataError(
            f"{relative} does not exist in {folder}. Put it there, or correct its name in "
            "competition.toml."
        )
    return place


def _child(place: Path, part: str) -> Path:
    """``place/part``, also where the disk spells the name in another Unicode form."""
    if (place / part).exists() or not place.is_dir():
        return place / part
    wanted = unicodedata.normalize("NFC", part)
    twins = [
        child for child in place.iterdir() if unicodedata.normalize("NFC", child.name) == wanted
    ]
    return twins[0] if len(twins) == 1 else place / part


def unsafe_reason(relative: str) -> str | None:
    """Why ``relative`` must not be joined to a folder; None where it may be."""
    if "\0" in relative:
        return "it holds a NUL character"
    slashed = relative.replace("\\", "/")
    has_drive = slashed[1:2] == ":" and slashed[:1].isalpha()
    if slashed.startswith("/") or has_drive:
        return "it is absolute"
    if ".." in slashed.split("/"):
        return "it leaves the folder"
    return None


def _checked_members(
    archive: zipfile.ZipFile, name: str, limits: ArchiveLimits
) -> list[tuple[zipfile.ZipInfo, str]]:
    """The regular files of the archive with their decoded names; any fault refuses it all."""
    infos = archive.infolist()
    if len(infos) > limits.max_files:
        raise DataError(
            f"{name} holds {len(infos):,} entries, at most {limits.max_files:,} are unpacked. "
            "Unpack it yourself if you trust it."
        )
    members: list[tuple[zipfile.ZipInfo, str]] = []
    problems: list[str] = []
    seen: set[str] = set()
    for info in infos:
        member = _decoded_name(info).replace("\\", "/")
        kind = info.external_attr >> 16
        reason = unsafe_reason(member)
        if stat.S_IFMT(kind) not in (0, stat.S_IFREG, stat.S_IFDIR):
            reason = "it is a link or a device"
        elif info.flag_bits & 0x1:
            reason = "it is encrypted; unpack it with its password yourself"
        elif str(PurePosixPath(member)) in seen and not info.is_dir():
            reason = "its name stands twice"
        seen.add(str(PurePosixPath(member)))
        if reason:
            problems.append(f"{member!r}: {reason}")
        elif not (info.is_dir() or stat.S_ISDIR(kind) or _is_clutter(member)):
            members.append((info, member))
    if problems:
        raise DataError(
            f"{name} was not unpacked, {len(problems)} of its {len(infos)} entries are not "
            f"allowed:\n{list_problems(problems)}\nUnpack it yourself if you trust it."
        )
    _check_size(members, name, limits)
    return members


def _check_size(
    members: list[tuple[zipfile.ZipInfo, str]], name: str, limits: ArchiveLimits
) -> None:
    total_bytes = sum(info.file_size for info, _ in members)
    packed_bytes = sum(info.compress_size for info, _ in members)
    ratio = total_bytes / max(packed_bytes, 1)
    if total_bytes > limits.max_total_bytes:
        raise DataError(
            f"{name} unpacks to {total_bytes / 1e9:,.1f} GB, at most "
            f"{limits.max_total_bytes / 1e9:,.0f} GB are unpacked."
        )
    if total_bytes > limits.ratio_floor_bytes and ratio > limits.max_ratio:
        raise DataError(
            f"{name} unpacks to {ratio:,.0f} times its size ({total_bytes / 1e9:,.1f} GB); "
            f"above {limits.max_ratio:.0f} times it is taken for a zip bomb. Unpack it "
            "yourself if you trust it."
        )


def _decoded_name(info: zipfile.ZipInfo) -> str:
    """The member's name: Python read cp437 where the UTF-8 flag is absent; mend that."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        raw = info.orig_filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for encoding in ("utf-8", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _is_clutter(member: str) -> bool:
    return member.startswith("__MACOSX/") or PurePosixPath(member).name in (
        ".DS_Store",
        "Thumbs.db",
    )


def _write_members(
    archive: zipfile.ZipFile,
    members: list[tuple[zipfile.ZipInfo, str]],
    target: Path,
    name: str,
) -> None:
    """Write all members into a folder beside ``target``, then rename it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            for info, member in members:
                _write_member(archive, info, temporary / member, name)
            _publish(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise storage_error(error, target) from error


def _write_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, name: str
) -> None:
    """Copy one member; its header must not have lied about its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = info.file_size
    with archive.open(info) as source, path.open("xb") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise DataError(
                    f"{name} was not unpacked: {info.filename!r} is larger than it says."
                )
            sink.write(chunk)


def _publish(temporary: Path, target: Path) -> None:
    """Rename the whole folder; another process may have been first with the same bytes."""
    os.sync()
    temporary.chmod(0o755)
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():
            raise
