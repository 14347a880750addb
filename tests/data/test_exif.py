"""EXIF: three fields as text, nothing of places, and no harm from any bytes."""

import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from gorae.data.decode import DecodePolicy, decode
from gorae.data.exif import EXIF_COLUMNS
from gorae.data.headers import join_headers
from gorae.data.sources import Tables
from gorae.stores.prepared import ensure_prepared

MAKE, MODEL, SOFTWARE, DATE = 0x010F, 0x0110, 0x0131, 0x0132
ARTIST, OWNER, SERIAL = 0x013B, 0xA430, 0xA431
PHOTO, ORIGINAL = ExifTags.IFD.Exif, 0x9003
PLACE = "37.5665"


def block(fields: Mapping[int, str], photo: Mapping[int, str] | None = None) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in fields.items():
        exif[tag] = value
    exif.get_ifd(PHOTO).update(photo or {})
    return exif


def picture(exif: Image.Exif | bytes, format_name: str = "JPEG", *, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format_name, exif=exif)
    return stream.getvalue()


def header(data: bytes) -> dict[str, str]:
    return dict(decode(data, DecodePolicy()).header)


USUAL = {
    MAKE: "Gorae Optics",
    MODEL: "G-1",
    SOFTWARE: "darkroom 3",
    DATE: "2024:05:02 10:11:12",
}
TAKEN = "2021:03:29 09:05:00"


# Pillow writes the directory with the original date into all but TIFF.
@pytest.mark.parametrize(
    ("format_name", "taken"),
    [("JPEG", TAKEN), ("PNG", TAKEN), ("WEBP", TAKEN), ("TIFF", USUAL[DATE])],
)
def test_the_three_fields_are_read_of_every_format(format_name: str, taken: str) -> None:
    found = header(picture(block(USUAL, {ORIGINAL: TAKEN}), format_name))
    assert found == {
        "exif.camera": "Gorae Optics G-1",
        "exif.software": "darkroom 3",
        "exif.taken": taken,
    }
    assert list(found) == list(EXIF_COLUMNS)


def test_the_date_of_the_file_stands_in_and_what_is_missing_is_left_out() -> None:
    assert header(picture(block({DATE: USUAL[DATE]}))) == {"exif.taken": USUAL[DATE]}
    assert header(picture(block({MODEL: "G-1"}))) == {"exif.camera": "G-1"}
    assert header(picture(block({SOFTWARE: "  \0 "}))) == {}
    assert header(picture(b"")) == {}


def test_places_people_and_serial_numbers_are_not_read() -> None:
    exif = block(USUAL | {ARTIST: "SECRET artist"}, {OWNER: "SECRET owner", SERIAL: "SECRET-9"})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (37.0, 33.0, 59.4), 29: "SECRET:GPS"})
    data = picture(exif)
    assert b"SECRET:GPS" in data
    decoded = decode(data, DecodePolicy(phi=True))
    assert set(decoded.header) <= set(EXIF_COLUMNS)
    assert "SECRET" not in repr((decoded.header, decoded.notes))
    assert "37" not in repr((decoded.header, decoded.notes))


def test_long_texts_are_cut_and_control_characters_are_dropped() -> None:
    wild = "\x1b[31mred\x1b[0m\nline\ttab\x07"
    found = header(picture(block({SOFTWARE: wild, MODEL: "x" * 60_000})))
    assert found["exif.software"] == "[31mred[0mlinetab"
    assert found["exif.camera"] == "x" * 100
    assert all(text.isprintable() for text in found.values())


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x0f\0\2\xff\xff\xff\xff\0\0\0\x10",
        # A directory that is its own photo directory.
        b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", PHOTO, 4, 1, 8) + bytes(4),
        # A number where a text belongs.
        b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", MODEL, 4, 1, 7) + bytes(4),
        b"nothing of the kind",
    ],
)
def test_a_broken_block_gives_no_field_and_whole_pixels(exif: bytes) -> None:
    whole = decode(picture(b""), DecodePolicy()).pixels
    decoded = decode(picture(exif), DecodePolicy())
    assert decoded.header == {}
    np.testing.assert_array_equal(decoded.pixels, whole)


@given(place=st.integers(0, 1000), value=st.binary(min_size=1, max_size=8))
def test_any_change_of_the_block_leaves_short_printable_fields(
    place: int, value: bytes
) -> None:
    data = bytearray(picture(block(USUAL, {ORIGINAL: TAKEN})))
    start = data.index(b"Exif\0\0") + 6
    end = start - 8 + int.from_bytes(data[start - 8 : start - 6], "big")
    changed = start + place % (end - start - len(value))
    data[changed : changed + len(value)] = value
    found = header(bytes(data))
    assert set(found) <= set(EXIF_COLUMNS)
    assert all(0 < len(t) <= 201 and t.isprintable() for t in found.values())


def test_fields_reach_the_tables_as_metadata(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(4)]
    for number, name in enumerate(names):
        # The second has no header at all.
        fields = USUAL | {MODEL: f"G-{number}"} if number != 1 else {}
        (tmp_path / name).write_bytes(picture(block(fields), seed=number))
    images = pd.DataFrame({"image_id": names, "path": names})
    state = tmp_path / ".gorae"
    ensure_prepared(
        images,
        root=tmp_path,
        prepared_root=state / "prepared",
        scan_path=state / "scan.parquet",
        short_side=16,
        interpolation="bicubic",
        policy=DecodePolicy(),
        num_workers=1,
    )
    headers = pd.read_parquet(state / "headers.parquet")
    table = images.assign(row_id=names, label="a", role="train")
    tables = Tables(table[:3], table[3:], ("a",), (), ())
    joined = join_headers(tables, headers)
    cameras = ["Gorae Optics G-0", "", "Gorae Optics G-2"]
    assert joined.train["meta.exif.camera"].tolist() == cameras
    assert joined.test["meta.exif.camera"].tolist() == ["Gorae Optics G-3"]
    assert joined.train["meta.exif.taken"].tolist() == [USUAL[DATE], "", USUAL[DATE]]
    assert joined.group_columns == ()
