"""TRUST 3.2, the D-list: every DICOM file seen to make trouble, each with its fixed verdict."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from gorae.data.decode import REASONS, Decoded, DecodePolicy, Undecodable, decode
from gorae.data.dicom_peek import NUM_FRAMES, PATIENT_ID, count_frames, is_dicom_file, peek
from gorae.data.scan import ScanOptions, scan

Make = Callable[..., bytes]
# File -> bytes, verdict, then the reason or what stands in the notes.
Corpus = dict[str, tuple[bytes, str, str]]

# What the package brings; its own function would fetch others.
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"

RLE, DEFLATED, BIG_ENDIAN = (
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
BASELINE, LOSSLESS, LS, J2K, HTJ2K = (
    f"1.2.840.10008.1.2.4.{number}" for number in (50, 70, 80, 90, 201)
)
RAMP = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
SMALL = (RAMP // 16).astype(np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def with_length(data: bytes, length: int) -> bytes:
    """The file with another length in the header of its pixels."""
    at = data.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
    return data[: at + 8] + struct.pack("<I", length) + data[at + 12 :]


def bomb(make: Make) -> bytes:
    """A private element of 600 MiB of nothing, in 600 KB."""
    data = make(SMALL, syntax=DEFLATED)
    meta = data[: 132 + 12 + struct.unpack_from("<I", data, 140)[0]]
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 600 << 20)
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = engine.compress(element) + engine.flush(zlib.Z_FULL_FLUSH)
    # After a full flush a block stands for itself, and may stand there many times.
    block = engine.compress(bytes(1 << 20)) + engine.flush(zlib.Z_FULL_FLUSH)
    return meta + first + block * 600 + engine.flush()


def nested(make: Make, depth: int) -> bytes:
    """Sequences in sequences, of undefined length, before the pixels."""
    data = make(SMALL)
    at = data.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
    sequence = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return data[:at] + (sequence + item) * depth + data[at:]


def packed(make: Make, syntax: str, frames: list[bytes], like: NDArray[Any]) -> bytes:
    """Compressed frames, whatever they hold, under a syntax."""
    data = pydicom.dcmread(io.BytesIO(make(like)))
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = UID(syntax)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def picture(format_name: str, pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format_name)
    return stream.getvalue()


def usable_files(make: Make) -> Corpus:
    """What gives pixels: the verdict is ok or note, never a word less than was done."""
    plain = make(SMALL)
    twelve = {"BitsStored": 12, "HighBit": 11}
    rle = pydicom.dcmread(io.BytesIO(plain))
    rle.compress(UID(RLE))
    stream = io.BytesIO()
    rle.save_as(stream)
    ybr = {"PhotometricInterpretation": "YBR_FULL"}
    half = {"PhotometricInterpretation": "YBR_FULL_422", "PixelData": bytes(16 * 16 * 2)}
    return {
        "D3.dcm": (make(SMALL, PhotometricInterpretation="MONOCHROME1"), "note", "inverted"),
        "D4-window.dcm": (make(RAMP, WindowCenter=9, WindowWidth=9), "note", "centre 9"),
        "D4-many.dcm": (
            make(RAMP, WindowCenter=[9, 8], WindowWidth=[9, 8]), "note", "the first of 2",
        ),
        "D4-zero.dcm": (make(RAMP, WindowCenter=9, WindowWidth=0), "note", "width 0"),
        "D5-1.dcm": (make(SMALL[None]), "note", "window: none"),
        "D5-3.dcm": (make(np.stack([SMALL] * 3)), "note", "frames: number 1 of 3"),
        "D5-5.dcm": (make(np.stack([SMALL] * 5)), "note", "frames: number 1 of 5"),
        "D5-100000.dcm": (make(np.zeros((100_000, 2, 2), np.uint8)), "note", "1 of 100000"),
        "D6-rgb.dcm": (make(COLOURS), "ok", ""),
        "D6-planar.dcm": (make(COLOURS, PlanarConfiguration=1), "ok", ""),
        "D6-ybr.dcm": (make(COLOURS, **ybr), "ok", ""),
        "D6-422.dcm": (make(COLOURS, **half), "ok", ""),
        "D7-rle.dcm": (stream.getvalue(), "note", "window: none"),
        "D7-deflated.dcm": (make(SMALL, syntax=DEFLATED), "note", "window: none"),
        "D7-jpeg.dcm": (packed(make, BASELINE, [picture("JPEG", SMALL)], SMALL), "note", ""),
        "D7-j2k.dcm": (packed(make, J2K, [picture("JPEG2000", SMALL)], SMALL), "note", ""),
        "D8-signed.dcm": (make(RAMP.astype(np.int16) - 9), "note", "range -9 to 4086"),
        "D8-12.dcm": (make(RAMP, **twelve), "note", "range 0 to 4095"),
        "D8-float.dcm": (make(RAMP.astype(np.float32)), "note", "range 0 to 4095"),
        "D9-headless.dcm": (plain[132:], "note", "preamble: none"),
        "D9-bare": (body_of(plain), "note", "preamble: none"),
        "D9-big.dcm": (make(RAMP, syntax=BIG_ENDIAN), "note", "range 0 to 4095"),
        "D10-shallow.dcm": (nested_closed(make, 20), "note", "window: none"),
        "D12-a.dcm": (make(SMALL, SOPInstanceUID="1.2.77"), "note", ""),
        "D12-b.dcm": (make(SMALL[::-1], SOPInstanceUID="1.2.77"), "note", ""),
        "D13-pe.dcm": (make(SMALL, preamble=b"MZ" + bytes(126)), "note", "Windows program"),
        "D13-elf.dcm": (make(SMALL, preamble=b"\x7fELF" + bytes(124)), "note", "Linux program"),
        "D14.dcm": (private(make), "note", "window: none"),
    }  # fmt: skip


def body_of(data: bytes) -> bytes:
    """The data set alone: no preamble and no file meta information."""
    return data[132 + 12 + struct.unpack_from("<I", data, 140)[0] :]


def nested_closed(make: Make, depth: int) -> bytes:
    data = make(SMALL)
    at = data.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
    opening = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
    opening += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return data[:at] + opening * depth + closing * depth + data[at:]


def private(make: Make) -> bytes:
    data = pydicom.dcmread(io.BytesIO(make(SMALL)))
    block = data.private_block(0x0009, "SOMEBODY", create=True)
    block.add_new(0x01, "LT", "SECRET")
    block.add_new(0x02, "OB", b"\xff" * 99)
    stream = io.BytesIO()
    data.save_as(stream)
    return stream.getvalue()


def refused_files(make: Make) -> Corpus:
    plain, many = make(SMALL), make(np.stack([SMALL] * 3))
    lacking = {
        name: make(SMALL, **{name: None})
        for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel")
    }
    jpeg = picture("JPEG", COLOURS)
    files = {
        "D1.dcm": (make(SMALL, PixelData=None), "not_image"),
        **{f"D2-{name}.dcm": (data, "corrupt") for name, data in lacking.items()},
        "D2-colours.dcm": (make(SMALL, PhotometricInterpretation=None), "corrupt"),
        "D5-lie.dcm": (make(SMALL, NumberOfFrames=100_000), "truncated"),
        "D5-rows.dcm": (make(SMALL, Rows=65535, Columns=65535), "too_large"),
        "D5-tall.dcm": (make(SMALL, Rows=60000), "truncated"),
        "D6-cmyk.dcm": (make(COLOURS, PhotometricInterpretation="CMYK"), "format_refused"),
        "D7-lossless.dcm": (packed(make, LOSSLESS, [jpeg], COLOURS), "decoder_missing"),
        "D7-ls.dcm": (packed(make, LS, [jpeg], COLOURS), "decoder_missing"),
        "D7-mpeg.dcm": (
            packed(make, "1.2.840.10008.1.2.4.102", [jpeg], COLOURS), "format_refused",
        ),
        "D7-cut.dcm": (
            packed(make, BASELINE, [picture("JPEG", SMALL)[:-400]], SMALL), "truncated",
        ),
        **{
            f"D9-{percent}.dcm": (plain[: len(plain) * percent // 100], "truncated")
            for percent in (50, 90, 99)
        },
        "D9-132.dcm": (plain[:132], "not_image"),
        "D9-last-frame.dcm": (many[:-10], "truncated"),
        "D9-deflated.dcm": (make(SMALL, syntax=DEFLATED)[:-20], "truncated"),
        "D10-bomb.dcm": (bomb(make), "too_large"),
        "D10-nested.dcm": (nested(make, 5000), "too_large"),
        "D10-4GB.dcm": (with_length(plain, 0xFFFFFFF0), "too_large"),
        "D10-longer.dcm": (with_length(plain, len(plain)), "truncated"),
        "jpeg.dcm": (bytes(128) + b"DICM" + jpeg, "not_image"),
    }  # fmt: skip
    return {name: (data, "quarantined", reason) for name, (data, reason) in files.items()}


def scanned(folder: Path, names: list[str], *, num_workers: int = 2) -> pd.DataFrame:
    column = pd.Series(names, dtype=object)
    return scan(
        pd.DataFrame({"image_id": column, "path": column}),
        root=folder,
        known=None,
        store=None,
        options=ScanOptions(DecodePolicy(), num_workers=num_workers),
    )


def missing_decoders(corpus: Corpus) -> Corpus:
    """What another machine decodes, because somebody installed more, is no fault there."""
    from pydicom.pixels.decoders.base import get_decoder

    there = {"D7-lossless.dcm": LOSSLESS, "D7-ls.dcm": LS}
    return {
        name: case
        for name, case in corpus.items()
        if name not in there or not get_decoder(UID(there[name])).is_available
    }


@pytest.mark.filterwarnings("ignore")
def test_every_file_gets_its_verdict_and_reason(make_dicom: Make, tmp_path: Path) -> None:
    corpus = usable_files(make_dicom) | missing_decoders(refused_files(make_dicom))
    for name, (data, _, _) in corpus.items():
        (tmp_path / name).write_bytes(data)
    rows = {row["path"]: row for row in scanned(tmp_path, list(corpus)).to_dict("records")}
    wrong = {
        name: (rows[name]["verdict"], rows[name]["reason"], rows[name]["notes"])
        for name, (_, verdict, text) in corpus.items()
        if rows[name]["verdict"] != verdict
        or text not in (rows[name]["reason"] or rows[name]["notes"])
    }
    assert wrong == {}
    for name in set(corpus) & {"D7-lossless.dcm", "D7-ls.dcm"}:
        assert "install py" in rows[name]["detail"]


def test_copies_are_seen_by_their_instance_number(make_dicom: Make) -> None:
    files = usable_files(make_dicom)
    headers = [decode(files[name][0], DecodePolicy()).header for name in files if "D12" in name]
    assert len({header["dicom.sop"] for header in headers}) == 1
    assert headers[0]["dicom.sop"]


def test_nothing_of_private_elements_is_told(make_dicom: Make) -> None:
    decoded = decode(private(make_dicom), DecodePolicy(phi=True))
    assert "SECRET" not in repr(decoded)


# Files of pydicom's own package that are no pictures, or that need more than is installed.
NO_PICTURES = (
    "DICOMDIR", "IM0000", "rtplan", "rtstruct", "reportsi", "test-SR", "waveform",
    "UN_sequence", "priv_SQ", "no_meta", "NoMeta", "empty_charset", "README", ".json", ".icc",
    ".dump", ".gz",
)  # fmt: skip
FAULTY = {
    "MR_truncated.dcm": "truncated",
    "badVR.dcm": "corrupt",
    "meta_missing_tsyntax.dcm": "corrupt",
    "nested_priv_SQ.dcm": "corrupt",
}
# Decoded or not depending on what is installed beside Pillow.
DEPENDING = ("jls", "JPEGLS", "jpeg_ls", "JPEG-lossy", "JPGExtended", "jpeg_gdcm", "GDCMJ2K")
ODD = "JPEG2000-embedded-sequence-delimiter.dcm"


def shipped() -> Iterator[Path]:
    return (path for path in sorted(SHIPPED.rglob("*")) if path.is_file())


def test_every_shipped_file_decodes_or_is_refused_with_a_reason() -> None:
    shown = 0
    for path in shipped():
        reason, decoded = verdict(path.read_bytes())
        if decoded is not None:
            shown += 1
            assert decoded.format == "DICOM"
            assert decoded.header["dicom.photometric"], path.name
            # Some of the folder for DICOMDIR hold four pixels of one value.
            assert "dicomdirtests" in path.parts or decoded.pixels.std() > 0, path.name
        elif any(part in path.name for part in (*DEPENDING, ODD)):
            assert reason in ("decoder_missing", "corrupt", "too_large"), path.name
        else:
            assert reason == FAULTY.get(path.name, "not_image"), path.name
            assert path.name in FAULTY or any(part in path.name for part in NO_PICTURES), path
    assert shown >= 60


def verdict(data: bytes) -> tuple[str, Decoded | None]:
    try:
        return "", decode(data, DecodePolicy())
    except Undecodable as error:
        return error.reason, None


@pytest.mark.filterwarnings("ignore")
def test_the_quick_look_agrees_with_the_parser() -> None:
    policy = DecodePolicy()
    for path in shipped():
        name = path.relative_to(SHIPPED)
        found = peek(name, (PATIENT_ID, NUM_FRAMES), root=SHIPPED, policy=policy)
        if not is_dicom_file(name, root=SHIPPED, policy=policy):
            assert found == {}
            continue
        dataset = pydicom.dcmread(path, force=True)
        patient = found.get(PATIENT_ID, b"").decode("latin-1").strip(" \0")
        assert patient == str(dataset.get("PatientID", None) or ""), name
        frames = str(dataset.get("NumberOfFrames", None) or "1")
        expected = int(frames) if frames.isdigit() else 1
        assert count_frames(name, root=SHIPPED, policy=policy) == expected, name


@pytest.mark.parametrize(
    ("elements", "count"),
    [({}, 3), ({"NumberOfFrames": 4}, 1), ({"NumberOfFrames": 10**9}, 1), ({"Rows": 60000}, 1)],
)
def test_frames_are_believed_only_where_they_fit(
    make_dicom: Make, tmp_path: Path, elements: dict[str, int], count: int
) -> None:
    (tmp_path / "a.dcm").write_bytes(make_dicom(np.stack([SMALL] * 3), **elements))
    assert count_frames("a.dcm", root=tmp_path, policy=DecodePolicy()) == count
    assert count_frames("b.dcm", root=tmp_path, policy=DecodePolicy()) == 1


def test_the_quick_look_ends_on_any_bytes(make_dicom: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    start = nested(make_dicom, 5000)
    for number in range(300):
        data = mutated(start if number % 2 else make_dicom(SMALL), rng)
        (tmp_path / "a.dcm").write_bytes(data)
        assert count_frames("a.dcm", root=tmp_path, policy=DecodePolicy()) >= 1


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, a part lost or doubled, or the end cut off."""
    changed = bytearray(data)
    kind = rng.integers(4)
    # Headers decide most: half of all changes fall into the first kilobyte.
    reach = len(changed) if rng.random() < 0.5 else min(len(changed), 1024)
    if kind <= 1:
        for place in rng.integers(0, reach, rng.integers(1, 9)):
            changed[place] = rng.integers(256)
    elif kind == 2:
        start, length = rng.integers(0, reach), rng.integers(1, 64)
        part = changed[start : start + length]
        changed[start : start + length] = part * int(rng.integers(0, 3))
    else:
        del changed[rng.integers(1, len(changed)) :]
    return bytes(changed)


def seeds(make: Make) -> list[bytes]:
    """What is mutated: pictures of every format, and DICOM files of every syntax."""
    photo = np.asarray(Image.fromarray(COLOURS).resize((48, 40)))
    formats = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
    files = [picture(name, photo) for name in formats]
    files += [data for data, _, _ in usable_files(make).values() if len(data) < 50_000]
    files += [path.read_bytes() for path in shipped() if path.stat().st_size < 20_000]
    return files


def fuzz(make: Make, folder: Path, *, count: int, seed: int) -> int:
    """Scan mutated files; the number refused, each with a known reason."""
    rng = np.random.default_rng(seed)
    sources = seeds(make)
    names = [f"{number:05d}" for number in range(count)]
    for name in names:
        data = mutated(sources[rng.integers(len(sources))], rng)
        (folder / name).write_bytes(data)
    result = scanned(folder, names)
    assert result["path"].tolist() == names
    refused = result[result["verdict"] == "quarantined"]
    assert set(refused["reason"]) <= set(REASONS)
    assert set(result["verdict"]) <= {"ok", "note", "quarantined"}
    assert (refused["detail"] != "").all()
    return len(refused)


@pytest.mark.filterwarnings("ignore")
def test_mutated_files_are_shown_or_refused(make_dicom: Make, tmp_path: Path) -> None:
    assert 200 < fuzz(make_dicom, tmp_path, count=2000, seed=0) < 1900


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_hundred_thousand_mutated_files(make_dicom: Make, tmp_path: Path, seed: int) -> None:
    assert fuzz(make_dicom, tmp_path, count=10_000, seed=seed) > 1000
