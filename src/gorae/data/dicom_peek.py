"""Single elements of a DICOM header, read without a parser: safe on any bytes, and quick.

Tables must know how many frames a file has before anything is decoded, in the main process.
So this walks over the elements by their lengths and reads nothing else: some 40 short reads
of a usual file, no recursion, no allocation by a length that the file claims, a fixed number
of steps at most. pydicom, which decodes, agrees on every file of its own (a test holds it
to that).
"""

import os
import struct
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

from gorae.data.decoded import DecodePolicy, Undecodable
from gorae.data.file_bytes import open_image
from gorae.data.signatures import is_dicom

NUM_FRAMES = 0x00280008
PATIENT_ID = 0x00100020

_ROWS, _COLUMNS, _BITS_ALLOCATED, _SAMPLES = 0x00280010, 0x00280011, 0x00280100, 0x00280002
_SYNTAX = 0x00020010
_PIXEL_GROUP = 0x7FE0

Read = Callable[[int, int], bytes]
"""``read(position, count)``: so many bytes from there, fewer at the end."""

_MAX_STEPS = 20_000
_LONGEST_VALUE = 256
_HEAD_BYTES = 512
_INFLATED_BYTES = 1 << 20
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_ITEMS, _ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

_IMPLICIT, _BIG_ENDIAN, _DEFLATED = (
    b"1.2.840.10008.1.2",
    b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.1.99",
)
_NATIVE = (b"", _IMPLICIT, b"1.2.840.10008.1.2.1", _BIG_ENDIAN)

# An encapsulated frame takes an item with a header and an even number of bytes.
_LEAST_FRAME_BYTES = 10


def is_dicom_file(path: str | Path, *, root: Path, policy: DecodePolicy) -> bool:
    """Whether the content is DICOM; False for what cannot be read."""
    try:
        with open_image(path, root=root, policy=policy) as descriptor:
            return is_dicom(os.pread(descriptor, _HEAD_BYTES, 0))
    except Undecodable:
        return False


def count_frames(path: str | Path, *, root: Path, policy: DecodePolicy) -> int:
    """How many frames a file has; 1 for a file that has one, is no DICOM, or is broken.

    A number that the file is too small for is not believed: the decoder says what is wrong.
    """
    wanted = (NUM_FRAMES, _SAMPLES, _ROWS, _COLUMNS, _BITS_ALLOCATED)
    found = peek(path, wanted, root=root, policy=policy)
    try:
        count = int(found[NUM_FRAMES].strip(b" \0"))
        size_bytes = os.stat(os.path.join(root, path)).st_size
    except (KeyError, ValueError, OSError):
        return 1
    frame_bytes = _LEAST_FRAME_BYTES
    if found[_SYNTAX] in _NATIVE:
        order = ">" if found[_SYNTAX] == _BIG_ENDIAN else "<"
        samples, rows, columns, bits = (
            struct.unpack(f"{order}H", value)[0]
            if len(value := found.get(tag, b"")) == 2
            else 1
            for tag in wanted[1:]
        )
        frame_bytes = max(1, samples * rows * columns * bits // 8)
    elif found[_SYNTAX] == _DEFLATED:
        size_bytes, frame_bytes = _INFLATED_BYTES, 1
    return count if 1 <= count <= size_bytes // frame_bytes else 1


def peek(
    path: str | Path, tags: Collection[int], *, root: Path, policy: DecodePolicy
) -> dict[int, bytes]:
    """The raw values of top-level elements of a file, and its transfer syntax.

    Values longer than 256 bytes are cut; what is missing is left out. Empty for a file that
    is no DICOM or cannot be read.
    """
    try:
        with open_image(path, root=root, policy=policy) as descriptor:
            return _peek(lambda start, count: os.pread(descriptor, count, start), tags)
    except (Undecodable, struct.error, zlib.error):
        return {}


def _peek(read: Read, tags: Collection[int]) -> dict[int, bytes]:
    head = read(0, _HEAD_BYTES)
    if not is_dicom(head):
        return {}
    start = 132 if head[128:132] == b"DICM" else 0
    meta: dict[int, bytes] = {}
    is_big, is_implicit = head[:1] == b"\0" and start == 0, False
    if head[start : start + 2] == b"\x02\0":
        meta, start = _walk(read, (_SYNTAX,), start, is_implicit=False, order="<", group=2)
    syntax = meta.get(_SYNTAX, b"").strip(b" \0")
    if syntax == _DEFLATED:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(
            read(start, _INFLATED_BYTES), _INFLATED_BYTES
        )
        read, start = lambda at, count: inflated[at : at + count], 0
    elif syntax:
        is_big, is_implicit = syntax == _BIG_ENDIAN, syntax == _IMPLICIT
    else:
        is_implicit = not read(start + 4, 2).isalpha()
    found, _ = _walk(
        read, tags, start, is_implicit=is_implicit, order=">" if is_big else "<", group=None
    )
    return {**found, _SYNTAX: syntax}


def _walk(
    read: Read,
    tags: Collection[int],
    position: int,
    *,
    is_implicit: bool,
    order: str,
    group: int | None,
) -> tuple[dict[int, bytes], int]:
    """Values of ``tags`` and where the walk ended: behind them, or at another ``group``."""
    found: dict[int, bytes] = {}
    last = max(tags)
    # One entry per open sequence or item of undefined length: whether it is implicit.
    opened = [is_implicit]
    for _ in range(_MAX_STEPS):
        head = read(position, 12)
        if len(head) < 8:
            break
        high, low = struct.unpack_from(f"{order}HH", head)
        tag = high << 16 | low
        vr, value, length = _extent(head, position, opened[-1] or high == _ITEMS, order)
        if len(opened) == 1 and high != _ITEMS:
            if group is not None and high != group:
                break
            if group is None and (tag > last or high >= _PIXEL_GROUP):
                break
            if tag in tags:
                found[tag] = read(value, min(length, _LONGEST_VALUE))
        position = value
        if tag in (_ITEM_END, _SEQUENCE_END):
            if len(opened) > 1:
                opened.pop()
        elif length == _UNDEFINED:
            # The content of an unknown element of undefined length is implicit (PS3.5 6.2.2).
            opened.append(opened[-1] or vr == b"UN")
        else:
            position += length
    return found, position


def _extent(
    head: bytes, position: int, is_implicit: bool, order: str
) -> tuple[bytes, int, int]:
    """Type, start and length of the value of an element whose header begins with ``head``."""
    vr = b"" if is_implicit else head[4:6]
    if is_implicit or not vr.isalpha():
        (length,) = struct.unpack_from(f"{order}I", head, 4)
        return vr, position + 8, length
    if vr in _LONG_VRS:
        length = struct.unpack_from(f"{order}I", head, 8)[0] if len(head) == 12 else 0
        return vr, position + 12, length
    (length,) = struct.unpack_from(f"{order}H", head, 6)
    return vr, position + 8, length
