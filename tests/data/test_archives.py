"""Zip files: whole or not at all, inside the root, regular files only (TRUST W7)."""

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gorae.data.archives import ArchiveLimits, extract_zip, locate
from gorae.errors import DataError, StorageError


def pack(path: Path, members: dict[str, bytes], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", options.get("compression", zipfile.ZIP_STORED)) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_extracts_once_into_a_folder_named_by_content(tmp_path: Path) -> None:
    members = {"train/a.png": b"1", "train/b/c.png": b"22", "train/empty.png": b""}
    archive = pack(tmp_path / "train.zip", {**members, "__MACOSX/._a.png": b"x"})
    root = tmp_path / ".gorae" / "extracted"
    folder = extract_zip(archive, root)
    assert folder.parent == root
    assert len(folder.name) == 16
    assert tree(folder) == members
    before = folder.stat().st_mtime_ns
    assert extract_zip(archive, root) == folder
    assert folder.stat().st_mtime_ns == before
    assert [path.name for path in root.iterdir()] == [folder.name]


def raw_name(path: Path, raw: bytes) -> Path:
    """An archive whose member's name is ``raw``, without the UTF-8 flag."""
    placeholder = "x" * len(raw)
    pack(path, {placeholder: b"data"})
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), raw))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_korean_names_without_the_utf8_flag(tmp_path: Path, encoding: str) -> None:
    archive = raw_name(tmp_path / "a.zip", "사진/고양이.png".encode(encoding))
    assert tree(extract_zip(archive, tmp_path / "out")) == {"사진/고양이.png": b"data"}


def test_korean_names_with_the_utf8_flag(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"고양이.png": b"1"})
    assert tree(extract_zip(archive, tmp_path / "out")) == {"고양이.png": b"1"}


def _link(path: Path) -> Path:
    info = zipfile.ZipInfo("link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return path


def _device(path: Path) -> Path:
    info = zipfile.ZipInfo("pipe")
    info.external_attr = (stat.S_IFIFO | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "")
    return path


def _encrypted(path: Path) -> Path:
    data = bytearray(pack(path, {"a.png": b"1"}).read_bytes())
    data[6] |= 1
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    path.write_bytes(data)
    return path


def _cut(path: Path) -> Path:
    path.write_bytes(pack(path, {"a.png": os.urandom(1000)}).read_bytes()[:600])
    return path


def _flipped(path: Path) -> Path:
    data = bytearray(pack(path, {"a.png": b"z" * 1000}).read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    return path


def _html(path: Path) -> Path:
    path.write_text("<html>log in first</html>")
    return path


def _lies_about_its_size(path: Path) -> Path:
    data = bytearray(
        pack(path, {"a.png": b"z" * 5000}, compression=zipfile.ZIP_DEFLATED).read_bytes()
    )
    central = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 24, 10)
    path.write_bytes(data)
    return path


def _twice(path: Path) -> Path:
    pack(path, {"aaaa.png": b"1", "bbbb.png": b"2"})
    path.write_bytes(path.read_bytes().replace(b"bbbb.png", b"aaaa.png"))
    return path


REFUSED: list[tuple[Callable[[Path], Path], str]] = [
    (
        lambda path: pack(path, {"ok.png": b"", "../evil.png": b"x"}),
        r"'\.\./evil.png': it leaves",
    ),
    (lambda path: pack(path, {"a/../../evil.png": b"x"}), "it leaves the folder"),
    (lambda path: pack(path, {"/etc/evil.png": b"x"}), "'/etc/evil.png': it is absolute"),
    (lambda path: pack(path, {"C:\\evil.png": b"x"}), "it is absolute"),
    (lambda path: raw_name(path, b"..\\evil.png"), "it leaves the folder"),
    (lambda path: raw_name(path, b"a\0../evil.png"), "NUL character"),
    (_link, "'link.png': it is a link or a device"),
    (_device, "'pipe': it is a link or a device"),
    (_encrypted, "it is encrypted; unpack it with its password"),
    (_cut, "is damaged or not a zip file"),
    (_flipped, "is damaged or not a zip file.*CRC"),
    (_html, "is damaged or not a zip file"),
    (_lies_about_its_size, "damaged|larger than it says"),
    (_twice, "its name stands twice"),
]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_refused_archives_leave_nothing(
    tmp_path: Path, build: Callable[[Path], Path], message: str
) -> None:
    archive = build(tmp_path / "a.zip")
    with pytest.raises(DataError, match=message):
        extract_zip(archive, tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.zip"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ArchiveLimits(max_files=2), "holds 3 entries, at most 2 are unpacked"),
        (ArchiveLimits(max_total_bytes=1000), "unpacks to 0.0 GB, at most 0 GB"),
        (ArchiveLimits(ratio_floor_bytes=1000), r"times its size.*taken for a zip bomb"),
    ],
)
def test_limits(tmp_path: Path, limits: ArchiveLimits, message: str) -> None:
    archive = pack(
        tmp_path / "a.zip",
        {name: bytes(2_000_000) for name in "abc"},
        compression=zipfile.ZIP_DEFLATED,
    )
    with pytest.raises(DataError, match=message):
        extract_zip(archive, tmp_path / "out", limits=limits)
    assert extract_zip(archive, tmp_path / "out").is_dir()


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a": b"1", "a/b": b"2"})
    with pytest.raises(StorageError, match="Cannot write"):
        extract_zip(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_locate_leads_into_zip_files(tmp_path: Path) -> None:
    pack(tmp_path / "all.zip", {"train/1.png": b"1"})
    out = tmp_path / ".gorae"
    found = locate(tmp_path, "all.zip/train", extracted_root=out)
    assert (found / "1.png").read_bytes() == b"1"
    with pytest.raises(DataError, match=r"all\.zip/test does not exist"):
        locate(tmp_path, "all.zip/test", extracted_root=out)
    with pytest.raises(DataError, match="it is absolute"):
        locate(tmp_path, "/etc", extracted_root=out)
