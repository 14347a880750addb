"""What runs inside a decode child: one picture after another, under limits.

The parent (``decode_pool``) starts an interpreter that calls ``main``, and talks through two
pipes. Everything here and below is light to import: no pandas, no torch. Messages,
little-endian lengths first:

    parent -> child    u32 length, u32 length, text in bytes, arguments in UTF-8: the settings
                       as JSON, then path and arguments of each file
    child -> parent    u32 length, u64 length, JSON object, pixels (none for the greeting)

Pixels are those of the picture, and those of the thumbnail behind them. Where they fit, they
go through shared memory (``decode_slots``) instead, and ``shared`` is their length.
"""

import ctypes
import hashlib
import json
import os
import resource
import signal
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gorae.data.decode import (
    DecodePolicy,
    Undecodable,
    decode,
    read_image_bytes,
    resize_short_side,
)
from gorae.data.decode_slots import NUM_SLOTS, map_slots
from gorae.data.pixels import Interpolation, read_arguments
from gorae.data.thumbnail import thumbnail

REQUEST = struct.Struct("<II")
ANSWER = struct.Struct("<IQ")

# TRUST R1: what decoding may take beyond what the process holds before its first picture, and
# steps as much again: some hold their input, a copy and a map of labels.
EXTRA_MEMORY_BYTES = 1 << 30

Steps = Sequence[Mapping[str, Any]]

_PR_SET_PDEATHSIG = 1

_EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "DICOM": (".dcm", ".dicom", ""),
}


def examine(
    path: bytes,
    arguments: str = "",
    *,
    root: Path,
    policy: DecodePolicy,
    short_side: int | None,
    interpolation: Interpolation,
    steps: Steps = (),
    has_thumbnail: bool = False,
) -> tuple[dict[str, Any], NDArray[np.uint8], NDArray[np.uint8]]:
    """Read and decode one file.

    Args:
        path: The file as the system names it, absolute or relative to ``root``.
        arguments: Frame, box and points of this picture (``data.pixels.write_arguments``).
        root: Folder of all data.
        policy: Caps and background.
        short_side: Length to which the short side of the returned pixels is shrunk; None
            returns no pixels.
        interpolation: Filter of that.
        steps: What is done to the pixels before (``gorae.preprocess.steps``).
        has_thumbnail: Whether a thumbnail of the decoded picture is wanted too.

    Returns:
        What is known of the file (columns of a scan; ``header`` and ``steps`` where there is
        something to tell; ``crc32`` of the returned pixels), the pixels, and the thumbnail,
        each (H, W, 3) or empty.
    """
    nothing = np.empty((0, 0, 3), np.uint8)
    small = nothing
    facts: dict[str, Any] = {"sha256": "", "reason": "", "detail": ""}
    given = read_arguments(arguments)
    try:
        data = read_image_bytes(os.fsdecode(path), root=root, policy=policy)
        facts["sha256"] = hashlib.sha256(data).hexdigest()
        chosen = {"frame": given["frame"]} if "frame" in given else {}
        decoded = decode(data, policy, **chosen)
        facts |= _describe(path, decoded.format, decoded.notes)
        height, width = decoded.pixels.shape[:2]
        facts |= {
            "pixel_sha256": pixel_hash(decoded.pixels),
            "mode": decoded.mode,
            "orientation": decoded.orientation,
            "width_px": width,
            "height_px": height,
        }
        if decoded.header:
            facts["header"] = dict(decoded.header)
        if has_thumbnail:
            small = thumbnail(decoded.pixels)
        if short_side is None:
            return facts, nothing, small
        pixels = decoded.pixels
        if steps:
            pixels, facts["steps"] = _stepped(pixels, steps, given)
        pixels = resize_short_side(pixels, short_side=short_side, interpolation=interpolation)
    except Undecodable as error:
        return _refused(facts, error.reason, error.detail), nothing, nothing
    except MemoryError:
        return _refused(facts, "memory", "not enough memory to decode it"), nothing, nothing
    pixels = np.ascontiguousarray(pixels)
    facts["crc32"] = zlib.crc32(pixels.data)
    return facts, pixels, small


def _stepped(
    pixels: NDArray[np.uint8], steps: Steps, given: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], str]:
    """The pixels after all steps, and their notes."""
    # OpenCV takes half a second to load, and a scan without steps needs none of it.
    from gorae.preprocess.steps import apply_steps

    found = apply_steps(pixels, steps, box=given.get("box"), points=given.get("points", ()))
    return found.pixels, "; ".join(found.notes)


def _describe(path: bytes, format_name: str, notes: tuple[str, ...]) -> dict[str, Any]:
    extension = os.path.splitext(os.fsdecode(path))[1]
    if extension not in _EXTENSIONS.get(format_name, (extension,)):
        notes = (f"extension: the content is {format_name}", *notes)
    return {
        "format": format_name,
        "verdict": "note" if notes else "ok",
        "notes": "; ".join(notes),
    }


def _refused(facts: dict[str, Any], reason: str, detail: str) -> dict[str, Any]:
    return {
        "sha256": facts["sha256"],
        "verdict": "quarantined",
        "reason": reason,
        "detail": detail,
    }


def pixel_hash(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 over the shape and the pixels: equal for the same picture in any encoding."""
    digest = hashlib.sha256(struct.pack("<3Q", *pixels.shape))
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def main() -> None:
    """Answer requests from standard input until it ends."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.dup(1)
    first = _read_request(requests)
    settings = json.loads(first[0] if first else b"{}")
    _die_with_parent(settings["parent_pid"])
    slots = map_slots(settings["slots"], is_writable=True)
    if settings["steps"]:
        _load_steps()
    _limit_memory(EXTRA_MEMORY_BYTES * (2 if settings["steps"] else 1))
    # What libraries print from here on would mix with nothing, but could fill a disk.
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    _answer(answers, {}, [])
    policy = DecodePolicy(
        **settings["policy"] | {"background": tuple(settings["policy"]["background"])}
    )
    # The policy's cap is checked before anything is decoded; Pillow's own would hide it.
    Image.MAX_IMAGE_PIXELS = None
    root = Path(os.fsdecode(bytes.fromhex(settings["root"])))
    for number in count():
        if (request := _read_request(requests)) is None:
            return
        facts, pixels, small = examine(
            request[0],
            request[1].decode("utf-8"),
            root=root,
            policy=policy,
            short_side=settings["short_side"],
            interpolation=settings["interpolation"],
            steps=settings["steps"],
            has_thumbnail=settings["has_thumbnails"],
        )
        facts["shape"] = pixels.shape[:2]
        parts = [pixels.reshape(-1).data, small.reshape(-1).data]
        facts["shared"] = _share(parts, slots[number % NUM_SLOTS])
        _answer(answers, facts, [] if facts["shared"] else parts)


def _share(parts: Sequence[memoryview], slot: memoryview) -> int:
    """Write all parts into the slot; their length, 0 where they do not fit."""
    num_bytes = sum(map(len, parts))
    if num_bytes > len(slot):
        return 0
    start = 0
    for part in parts:
        slot[start : start + len(part)] = part
        start += len(part)
    return num_bytes


def _read_request(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    header = stream.read(REQUEST.size)
    if len(header) < REQUEST.size:
        return None
    first, second = REQUEST.unpack(header)
    return stream.read(first), stream.read(second)


def _answer(descriptor: int, facts: dict[str, Any], payload: Sequence[memoryview]) -> None:
    text = json.dumps(facts).encode("utf-8")
    head = ANSWER.pack(len(text), sum(map(len, payload))) + text
    # In one call, so that the parent wakes once.
    parts = [memoryview(head), *payload]
    while parts:
        sent = os.writev(descriptor, parts)
        while parts and sent >= len(parts[0]):
            sent -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][sent:]


def _load_steps() -> None:
    import cv2

    # One thread per child: the children are as many as the cores.
    cv2.setNumThreads(1)
    import gorae.preprocess.steps  # noqa: F401 - loaded before memory is limited


def _die_with_parent(parent_pid: int) -> None:
    # Ctrl-C reaches the whole group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def _limit_memory(extra_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as handle:
            base_bytes = int(handle.read().split()[0]) * resource.getpagesize()
        limit = base_bytes + extra_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
