"""The files of a competition: listed once, then found by whatever a table calls them."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from gorae.data.archives import locate, unsafe_reason
from gorae.data.decoded import DecodePolicy
from gorae.data.dicom_peek import is_dicom_file

# The formats of TRUST R1 by their usual names; a file of another name counts when a table
# names it exactly.
IMAGE_EXTENSIONS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff",
    ".dcm", ".dicom",
))  # fmt: skip
_SAME_EXTENSION = {
    ".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".tiff": ".tif", ".dicom": ".dcm",
}  # fmt: skip

# Folders gorae and others keep for themselves.
_SKIPPED_FOLDERS = frozenset(("__MACOSX", "__pycache__"))


def nfc(text: str) -> str:
    """``text`` in the one Unicode form in which equal names compare equal."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_solution(path: str) -> bool:
    """Whether a file is a kept-back solution, which gorae never opens; pictures are none."""
    return "solution" in path.casefold() and not is_picture(path)


def split_extension(name: str) -> tuple[str, str]:
    """Path without its picture extension, and that extension in one spelling; else ``""``."""
    stem, dot, suffix = name.rpartition(".")
    extension = f".{suffix.lower()}"
    if not dot or not stem or extension not in IMAGE_EXTENSIONS:
        return name, ""
    return stem, _SAME_EXTENSION.get(extension, extension)


def is_picture(name: str) -> bool:
    """Whether the name has the extension of a picture."""
    return split_extension(name)[1] != ""


def may_be_dicom(name: str) -> bool:
    """Whether the name leaves it open, or says, that the file is DICOM."""
    return split_extension(name)[1] in ("", ".dcm")


def has_no_extension(name: str) -> bool:
    """Whether a file is named as scanners do: ``IM000001``, or a UID such as ``1.2.840.7``."""
    base = name.rpartition("/")[2]
    _, dot, suffix = base.rpartition(".")
    return base.upper() != "DICOMDIR" and (not dot or suffix.isdigit())


def find_nameless_dicom(places: Mapping[str, str], root: Path) -> frozenset[str]:
    """The files without an extension that are DICOM by their content.

    Args:
        places: Name of each file, and where it lies, absolute or below ``root``.
        root: The folder that holds them all.
    """
    policy = DecodePolicy()
    return frozenset(
        name
        for name, place in places.items()
        if has_no_extension(name) and is_dicom_file(place, root=root, policy=policy)
    )


def walk_files(root: Path) -> Iterator[str]:
    """Paths of all files below ``root`` in sorted order, with ``/``; hidden ones left out.

    Links to files, pipes and the like are listed: the decoder gives its verdict on each. Links
    to folders are not followed. Solutions are left out, as are names that are not text.
    """
    return (path for path in _walk(root) if _is_text(path) and not is_solution(path))


def count_unnameable(root: Path) -> int:
    """Number of files below ``root`` whose name is not valid UTF-8."""
    return sum(not _is_text(path) for path in _walk(root))


def _walk(root: Path) -> Iterator[str]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".") and name not in _SKIPPED_FOLDERS
        )
        inside = Path(folder).relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        yield from (prefix + name for name in sorted(names) if not name.startswith("."))


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class PictureFolder:
    """The files of one source, and the ways in which a table may name them."""

    images: str
    """The source's ``images``: a folder or zip path below the competition's folder."""
    real: str
    """Where that folder lies, relative to the competition's folder."""
    files: tuple[str, ...]
    """All files in it, relative to it."""
    nameless: frozenset[str] = frozenset()
    """Those without an extension that are DICOM by their content."""

    @cached_property
    def pictures(self) -> list[str]:
        """The files with the extension of a picture, and DICOM files without one."""
        return [name for name in self.files if is_picture(name) or name in self.nameless]

    def image_id(self, name: str) -> str:
        """The unique name of a file of this folder: its path below the competition's folder."""
        return name if self.images == "." else f"{self.images}/{name}"

    def path(self, name: str) -> str:
        """Where a file of this folder lies below the competition's folder."""
        return name if self.real == "." else f"{self.real}/{name}"

    def find(self, name: str) -> list[str]:
        """The files that ``name`` of a table may mean: none, one, or several when ambiguous.

        Tried in this order: the exact path; the path with its extension in other case, or
        without one; the same for the base name in any sub-folder; a sub-folder, which means
        the pictures in it.
        """
        wanted = nfc(name).replace("\\", "/").removeprefix("./")
        inner = wanted.removeprefix(self._own_name)
        for spelling in (wanted,) if inner == wanted else (wanted, inner):
            found = (
                self._paths.get(spelling)
                or self._stems.get("".join(split_extension(spelling)))
                or self._folders.get(spelling.strip("/"))
            )
            if found:
                break
        else:
            if "/" in wanted:
                return []
            found = (
                self._bases.get(wanted)
                or self._base_stems.get("".join(split_extension(wanted)))
                or self._base_folders.get(wanted)
                or []
            )
        return [name] if name in found else found

    @cached_property
    def _own_name(self) -> str:
        return f"{PurePosixPath(self.images).name}/"

    # Each index is built when the one before does not know a name: usually one is enough.
    @cached_property
    def _paths(self) -> dict[str, list[str]]:
        return _gather((nfc(name), name) for name in self.files)

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        return _gather(
            (spelling, name)
            for name in self.pictures
            for spelling in _without_extension(nfc(name))
        )

    @cached_property
    def _bases(self) -> dict[str, list[str]]:
        return _gather((nfc(name).rpartition("/")[2], name) for name in self.files)

    @cached_property
    def _base_stems(self) -> dict[str, list[str]]:
        return _gather(
            (spelling, name)
            for name in self.pictures
            for spelling in _without_extension(nfc(name).rpartition("/")[2])
        )

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        return _gather(
            (parent, name) for name in self.pictures for parent in _parents(nfc(name))
        )

    @cached_property
    def _base_folders(self) -> dict[str, list[str]]:
        return _gather(
            (PurePosixPath(folder).name, name)
            for folder, names in self._folders.items()
            for name in names
        )


def _parents(name: str) -> list[str]:
    """The folders above a path, without the top."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _without_extension(name: str) -> tuple[str, str]:
    """How a table may call a picture: without extension, or with the usual spelling of it."""
    stem, extension = split_extension(name)
    return stem, stem + extension


def _gather(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    gathered: dict[str, list[str]] = defaultdict(list)
    for key, name in pairs:
        gathered[key].append(name)
    return dict(gathered)


def list_pictures(folder: Path, images: str, *, extracted_root: Path) -> PictureFolder:
    """List the folder or zip ``images`` of the competition in ``folder``.

    Raises:
        DataError: ``images`` does not exist, leaves the folder, or is a zip that is refused.
    """
    root = locate(folder, images, extracted_root=extracted_root)
    files = tuple(walk_files(root)) if root.is_dir() else ()
    real = Path(os.path.relpath(root, folder)).as_posix()
    return PictureFolder(
        images, real, files, find_nameless_dicom({name: name for name in files}, root)
    )


def id_problem(name: str) -> str | None:
    """Why a table's name of a picture is refused; None where it may be looked up."""
    return "it is blank" if not name.strip() else unsafe_reason(name)
