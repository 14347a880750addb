"""Every picture file that was ever seen to make trouble, each with its fixed verdict."""

import io
import os
import socket
import stat
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageChops

from gorae.data.decode import DecodePolicy, decode
from gorae.data.scan import SCAN_COLUMNS, ScanOptions, scan, scan_errors

# File -> verdict, then the reason or the beginning of the notes.
Corpus = dict[str, tuple[str, str]]


def drawn(seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return small.resize((60, 50), Image.Resampling.BICUBIC)


def encoded(
    image: Image.Image | NDArray[np.generic], format_name: str, **options: object
) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )


def one_bit_png(width: int, height: int, *, before: bytes = b"") -> bytes:
    """Black where small; a lie about its size where large."""
    rows = zlib.compress(bytes(min(height * (1 + (width + 7) // 8), 13 << 20)), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    end = chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + before + end


def broken_files(folder: Path) -> Corpus:
    """I1 to I11 and I25: nothing, half a file, damage, other content."""
    jpeg, png = encoded(drawn(), "JPEG"), encoded(drawn(), "PNG")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 4
    files = {
        "I01.jpg": (b"", "empty"),
        **{
            f"I02-{p}.jpg": (jpeg[: len(jpeg) * p // 100], "truncated")
            for p in (10, 50, 90, 99)
        },
        **{f"I06-{p}.png": (png[: len(png) * p // 100], "truncated") for p in (10, 50, 99)},
        "I09.png": (bytes(flipped), "corrupt"),
        "I11-html.jpg": (b"<!doctype html><title>404</title>", "not_image"),
        "I11-svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_image"),
        "I11-pdf.jpg": (b"%PDF-1.4\n", "not_image"),
        "I11-text.jpg": ("그림이 아니다".encode(), "not_image"),
        "I25-eps.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "format_refused"),
        "I25-psd.jpg": (b"8BPS\0\1" + bytes(60), "format_refused"),
        "I25-fits.jpg": (b"SIMPLE  =                    T", "format_refused"),
        "I25-hdf5.jpg": (b"\x89HDF\r\n\x1a\n" + bytes(60), "format_refused"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: ("quarantined", reason) for name, (_, reason) in files.items()}


def deep_picture() -> NDArray[np.uint16]:
    """RGB of 16 bits, which Pillow reads and does not write."""
    row = np.arange(60, dtype=np.uint16) * 1000
    return np.stack(
        [np.tile(row, (50, 1)), np.tile(row[::-1], (50, 1)), np.full((50, 60), 999)], 2
    )


def deep_png(pixels: NDArray[np.uint16]) -> bytes:
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + end


def deep_tiff(pixels: NDArray[np.uint16]) -> bytes:
    """One strip behind a directory of ten entries: (tag, type, count, value)."""
    height, width, _ = pixels.shape
    start = 8 + 2 + 10 * 12 + 4
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, start), (259, 3, 1, 1),
        (262, 3, 1, 2), (273, 4, 1, start + 6), (277, 3, 1, 3), (278, 4, 1, height),
        (279, 4, 1, pixels.nbytes), (284, 3, 1, 1),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    return head + struct.pack("<3H", 16, 16, 16) + pixels.astype("<u2").tobytes()


def ycck_jpeg(cmyk: Image.Image) -> bytes:
    """The same inks as YCCK: Adobe's transform 2, made of a file with transform 0."""
    *inks, black = cmyk.split()
    # Pillow stores inks inverted, as Adobe does, and the decoder inverts colours again.
    colours = Image.merge("RGB", inks).convert("YCbCr").split()
    stored = [ImageChops.invert(band) for band in colours]
    data = encoded(Image.merge("CMYK", [*stored, black]), "JPEG", quality=98)
    place = data.index(b"Adobe") + 11
    assert data[place] == 0
    return data[:place] + b"\2" + data[place + 1 :]


def unusual_files(folder: Path) -> Corpus:
    """I12 to I19 and I21: usable, and what was done is noted."""
    many = {"save_all": True, "append_images": [drawn(1), drawn(2)]}
    ramp = np.arange(3000, dtype=np.uint16).reshape(50, 60) * 21
    hidden = Image.new("RGBA", (60, 50), (200, 10, 10, 0))
    palette = drawn().quantize(16)
    files = {
        "I12.jpg": (encoded(drawn(), "PNG"), "extension: the content is PNG"),
        "I13.JPG": (encoded(drawn(), "JPEG"), "extension: the content is JPEG"),
        "I13.picture": (encoded(drawn(), "JPEG"), "extension"),
        "I13": (encoded(drawn(), "JPEG"), "extension"),
        "I14.jpg": (encoded(drawn().convert("CMYK"), "JPEG", quality=98), "cmyk"),
        "I14-ycck.jpg": (ycck_jpeg(drawn().convert("CMYK")), "cmyk"),
        "I15-rgb16.png": (deep_png(deep_picture()), "16_bit: the high byte"),
        "I15-rgb16.tif": (deep_tiff(deep_picture()), "16_bit: the high byte"),
        "I15-gray16.png": (encoded(ramp, "PNG"), "16_bit"),
        "I15-int.tif": (encoded(ramp.astype(np.int32), "TIFF"), "range: I"),
        "I15-float.tif": (encoded(ramp.astype(np.float32) / 65535, "TIFF"), "range: F"),
        "I15-bit.png": (encoded(drawn().convert("1"), "PNG"), "1_bit"),
        "I16-palette.png": (encoded(palette, "PNG", transparency=3), "alpha"),
        "I16-la.png": (encoded(hidden.convert("LA"), "PNG"), "alpha"),
        "I16-rgba.png": (encoded(hidden, "PNG"), "alpha"),
        "I17.gif": (encoded(drawn(), "GIF", **many), "frames"),
        "I17.webp": (encoded(drawn(), "WEBP", **many), "frames"),
        "I17.png": (encoded(drawn(), "PNG", **many), "frames"),
        "I17.tif": (encoded(drawn(), "TIFF", **many), "frames"),
        "I19.jpg": (encoded(drawn(), "JPEG", icc_profile=b"Adobe RGB" * 20), "icc_profile"),
        "I21-1x1.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "shape: 1 x 1"),
        "I21-1x5000.png": (encoded(Image.new("RGB", (1, 5000)), "PNG"), "shape: 1 x 5000"),
        "I21-wide.png": (encoded(Image.new("RGB", (65500, 1)), "PNG"), "shape: 65500 x 1"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: ("note", note) for name, (_, note) in files.items()}


def bomb_files(folder: Path) -> Corpus:
    """I20: small files that claim or become large ones."""
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200 << 20), 1))
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(200 << 20), 1))
    exif = chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\3\xff\xff\xff\xff" * 9)
    frame = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    screen = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
    files = {
        **{
            f"I20-{side}.png": (one_bit_png(side, side), ("quarantined", "too_large"))
            for side in (10_000, 13_342, 20_000, 40_000, 2**31 - 1)
        },
        "I20-lie.png": (one_bit_png(7_999, 7_999)[:-4000], ("quarantined", "truncated")),
        "I20-ztxt.png": (one_bit_png(8, 8, before=text), ("quarantined", "too_large")),
        "I20-iccp.png": (one_bit_png(8, 8, before=profile), ("quarantined", "too_large")),
        "I20-exif.png": (one_bit_png(8, 8, before=exif), ("note", "1_bit")),
        "I20-frames.gif": (screen + frame * 100_000 + b";", ("note", "frames")),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: expected for name, (_, expected) in files.items()}


def odd_places(folder: Path) -> Corpus:
    """I22: names behind which there is no picture file of ours."""
    outside = folder.parent / "outside.png"
    outside.write_bytes(encoded(drawn(), "PNG"))
    (folder / "I22-out.png").symlink_to(outside)
    (folder / "I22-device.png").symlink_to("/dev/zero")
    (folder / "I22-loop.png").symlink_to(folder / "I22-loop.png")
    (folder / "I22-dangling.png").symlink_to(folder / "nothing.png")
    (folder / "I22-folder.png").mkdir()
    os.mkfifo(folder / "I22-pipe.png")
    with (folder / "I22-sparse.png").open("wb") as handle:
        handle.truncate(10 << 30)
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(folder)  # the system allows a socket's path 107 bytes
        server.bind("I22-socket.png")
        os.chdir(here)
    reasons = {
        "I22-out.png": "outside",
        "I22-device.png": "outside",
        "I22-loop.png": "link_loop",
        "I22-dangling.png": "dangling_link",
        "I22-folder.png": "directory",
        "I22-pipe.png": "fifo",
        "I22-sparse.png": "too_large",
        "I22-socket.png": "socket",
        "I22-missing.png": "missing",
    }
    try:
        os.mknod(folder / "I22-tape.png", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        reasons["I22-tape.png"] = "device"
    except PermissionError:
        pass
    if os.geteuid() != 0:
        (folder / "I22-closed.png").write_bytes(encoded(drawn(), "PNG"))
        (folder / "I22-closed.png").chmod(0)
        reasons["I22-closed.png"] = "no_permission"
    return {name: ("quarantined", reason) for name, reason in reasons.items()}


def good_files(folder: Path) -> Corpus:
    """I10, I18, I23, I24: nothing to say about these."""
    photo = encoded(drawn(), "JPEG", quality=95)
    flipped = bytearray(photo)
    flipped[len(photo) * 3 // 4] ^= 1  # inside the scan: other pixels, no error
    (folder / "I10.jpg").write_bytes(flipped)
    for tag in (*range(1, 9), 99):
        exif = Image.Exif()
        exif[0x0112] = tag
        (folder / f"I18-{tag}.png").write_bytes(encoded(drawn(), "PNG", exif=exif))
    names = [
        unicodedata.normalize("NFC", "고래.jpg"),
        unicodedata.normalize("NFD", "고래.jpg"),
        "🐋 \"quoted\" 'name'.jpg",
        "line\nbreak\ttab.jpg",
        "x" * 251 + ".jpg",
        os.fsdecode(b"not-utf8-\xff\xfe.jpg"),
        "con.jpg",
        "-rf.jpg",
        "=1+1.jpg",
        "I24-copy.jpg",
    ]
    for name in names:
        (folder / name).write_bytes(photo)
    (folder / "I24-pixels.png").write_bytes(encoded(Image.open(io.BytesIO(photo)), "PNG"))
    good = ["I10.jpg", "I24-pixels.png", *names, *(f"I18-{t}.png" for t in (*range(1, 9), 99))]
    return dict.fromkeys(good, ("ok", ""))


def scanned(folder: Path, names: list[str], *, num_workers: int) -> pd.DataFrame:
    column = pd.Series(names, dtype=object)
    return scan(
        pd.DataFrame({"image_id": column, "path": column}),
        root=folder,
        known=None,
        store=None,
        options=ScanOptions(DecodePolicy(), num_workers=num_workers),
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corpus]:
    folder = tmp_path_factory.mktemp("corpus") / "data"
    folder.mkdir()
    makers = (broken_files, unusual_files, bomb_files, odd_places, good_files)
    return folder, {name: verdict for make in makers for name, verdict in make(folder).items()}


def test_every_file_gets_its_verdict_and_reason(corpus: tuple[Path, Corpus]) -> None:
    folder, expected = corpus
    result = scanned(folder, list(expected), num_workers=2)
    assert list(result.columns) == list(SCAN_COLUMNS)
    rows = {row["path"]: row for row in result.to_dict("records")}
    found = {
        name: (row["verdict"], row["reason"] or row["notes"]) for name, row in rows.items()
    }
    for name, (verdict, text) in expected.items():
        assert found[name][0] == verdict, (name, found[name])
        assert found[name][1].startswith(text), (name, found[name])
    assert len(scan_errors(result)) == sum(v == "quarantined" for v, _ in expected.values())
    pd.testing.assert_frame_equal(scanned(folder, list(expected), num_workers=1), result)

    # Equal files, and equal pixels in another encoding, are seen as such.
    assert rows["con.jpg"]["sha256"] == rows["I24-copy.jpg"]["sha256"]
    assert rows["con.jpg"]["pixel_sha256"] == rows["I24-pixels.png"]["pixel_sha256"]
    assert rows["con.jpg"]["sha256"] != rows["I24-pixels.png"]["sha256"]
    assert rows["I10.jpg"]["sha256"] != rows["con.jpg"]["sha256"]
    turned = [rows[f"I18-{tag}.png"] for tag in range(1, 9)]
    assert [row["orientation"] for row in turned] == list(range(1, 9))
    assert [row["width_px"] for row in turned] == [60] * 4 + [50] * 4
    assert rows["I18-99.png"]["pixel_sha256"] == rows["I18-1.png"]["pixel_sha256"]


def test_i14_ycck_shows_the_colours_of_its_cmyk_twin() -> None:
    inks = drawn().convert("CMYK")
    twins = [ycck_jpeg(inks), encoded(inks, "JPEG", quality=98)]
    ycck, cmyk = (decode(data, DecodePolicy()) for data in twins)
    assert ycck.mode == cmyk.mode == "CMYK"
    assert np.abs(ycck.pixels.astype(int) - cmyk.pixels.astype(int)).max() <= 12
    assert np.abs(ycck.pixels.astype(int) - np.asarray(drawn())).mean() < 3


@pytest.mark.parametrize("write", [deep_png, deep_tiff])
def test_i15_rgb_of_16_bits_keeps_the_high_byte(
    write: Callable[[NDArray[np.uint16]], bytes],
) -> None:
    found = decode(write(deep_picture()), DecodePolicy())
    np.testing.assert_array_equal(found.pixels, deep_picture() >> 8)
