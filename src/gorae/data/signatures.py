"""What the first bytes of a file say it is, and whether its container is whole."""

import struct
import zlib
from dataclasses import dataclass

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"

# Formats that Pillow or others could open but that are no pictures of a competition: some
# start another program (EPS), the rest hold tables, layers or video codecs.
_REFUSED = (
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"8BPS", "PSD"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (4, b"ftyp", "HEIC, AVIF or a video"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\x00\x00\x01\x00", "ICO"),
)

# What the first elements of a DICOM data set hold: lengths, identifiers, dates, short texts.
_SHORT_VRS = frozenset((b"UL", b"UI", b"CS", b"DA", b"TM", b"SH", b"LO", b"AE", b"DT", b"IS"))
_LONGEST_FIRST_VALUE = 1024


@dataclass(frozen=True)
class Fault:
    """What is wrong with the bytes of a file: a reason code and a plain detail."""

    reason: str
    detail: str


def refused_format(data: bytes) -> Fault | None:
    """The refusal of a file whose first bytes name a format that is not taken."""
    for offset, signature, name in _REFUSED:
        if data.startswith(signature, offset):
            return Fault("format_refused", f"the content is {name}")
    return None


def known_format(data: bytes) -> str | None:
    """The accepted format that the first bytes name, None for anything else."""
    if is_dicom(data):
        return "DICOM"
    if data.startswith(_PNG):
        return "PNG"
    if data.startswith(_JPEG):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    return None


def is_dicom(data: bytes) -> bool:
    """Whether the first bytes are those of a DICOM file, with its preamble or without.

    A file without one must begin with an element of the groups that come first (file
    meta, identification), and go on with a later one of these.
    """
    if data[128:132] == b"DICM":
        return True
    return any(_begins_with_elements(data, order) for order in ("<", ">"))


def _begins_with_elements(data: bytes, order: str) -> bool:
    position, last = 0, -1
    for _ in range(2):
        if len(data) < position + 12:
            return False
        group, element, length = struct.unpack_from(f"{order}HHI", data, position)
        vr = data[position + 4 : position + 6]
        if vr in _SHORT_VRS:
            (length,) = struct.unpack_from(f"{order}H", data, position + 6)
        elif vr == b"OB":
            (length,) = struct.unpack_from(f"{order}I", data, position + 8)
            length += 4
        elif order == ">":
            return False
        tag = group << 16 | element
        if group not in (0x0002, 0x0008) or tag <= last or length > _LONGEST_FIRST_VALUE:
            return False
        position, last = position + 8 + length, tag
    return True


def program_preamble(data: bytes) -> str | None:
    """The kind of program whose header stands in the free preamble of a DICOM file."""
    if data[128:132] != b"DICM":
        return None
    kinds = ((b"MZ", "Windows program"), (b"\x7fELF", "Linux program"), (b"#!", "script"))
    return next((kind for magic, kind in kinds if data.startswith(magic)), None)


def describe_content(data: bytes) -> str:
    """What a file that is no picture looks like, for a message."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "the content is a web page (HTML)"
    if head.startswith((b"<svg", b"<?xml")):
        return "the content is XML or SVG"
    if head.startswith(b"%pdf"):
        return "the content is a PDF document"
    if head.startswith(b"pk\x03\x04"):
        return "the content is a zip archive"
    if b"\0" not in head:
        return "the content is text"
    return "the content is no known picture format"


def png_fault(data: bytes) -> Fault | None:
    """What is wrong with the chunks of a PNG; None when all are whole, up to IEND.

    Pillow skips the checksums of image data, so that a flipped bit could pass.
    """
    position = len(_PNG)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if not kind.isalpha():
            return Fault("corrupt", f"no PNG chunk at byte {position}")
        end = position + 12 + length
        if end > len(data):
            break
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != stored:
            return Fault("corrupt", f"wrong checksum of PNG chunk {kind.decode('ascii')}")
        if kind == b"IEND":
            return None
        position = end
    return Fault("truncated", f"the PNG ends early, after {len(data)} bytes")


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that the extended header of a WEBP claims, None without one.

    Pillow allocates the whole canvas before it tells its size.
    """
    if data[12:16] != b"VP8X" or len(data) < 30:
        return None
    width = int.from_bytes(data[24:27], "little") + 1
    height = int.from_bytes(data[27:30], "little") + 1
    return width, height


def failure_fault(data: bytes, error: Exception) -> Fault:
    """Why a file of an accepted format could not be decoded: truncated, or corrupt.

    Args:
        data: The whole file.
        error: What the decoder raised.
    """
    format_name = known_format(data)
    if format_name is None:
        return Fault("not_image", describe_content(data))
    text = f"{type(error).__name__}: {error}"
    if "truncated" in text.lower() or _ends_early(format_name, data):
        return Fault("truncated", f"the {format_name} ends early, after {len(data)} bytes")
    return Fault("corrupt", f"the {format_name} cannot be decoded ({text})")


def _ends_early(format_name: str, data: bytes) -> bool:
    if format_name == "JPEG":
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    if format_name == "WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if format_name == "BMP":
        return len(data) < int.from_bytes(data[2:6], "little")
    if format_name == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    return False
