"""What runs inside a decode child: one picture after another, under limits.

The parent (``decode_pool``) starts an interpreter that calls ``main``, and talks through two
pipes. Everything here and below is light to import: no pandas, no torch. Messages,
little-endian lengths first:

    parent -> child    u32 length, settings as JSON; then per file: u32 length, path in bytes
    child -> parent    u32 length, u64 length, JSON object, pixels (empty for the greeting)
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
from gorae.data.pixels import Interpolation

REQUEST = struct.Struct("<I")
ANSWER = struct.Struct("<IQ")

# TRUST R1: what decoding may take beyond what the process holds before its first picture.
EXTRA_MEMORY_BYTES = 1 << 30

_PR_SET_PDEATHSIG = 1

_EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}


def examine(
    path: bytes,
    *,
    root: Path,
    policy: DecodePolicy,
    short_side: int | None,
    interpolation: Interpolation,
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Read and decode one file.

    Args:
        path: The file as the system names it, absolute or relative to ``root``.
        root: Folder of all data.
        policy: Caps and background.
        short_side: Length to which the short side of the returned pixels is shrunk; None
            returns no pixels.
        interpolation: Filter of that.

    Returns:
        What is known of the file (columns of a scan), and the pixels, (H, W, 3) or empty.
    """
    nothing = np.empty((0, 0, 3), np.uint8)
    facts: dict[str, Any] = {"sha256": "", "reason": "", "detail": ""}
    try:
        data = read_image_bytes(os.fsdecode(path), root=root, policy=policy)
        facts["sha256"] = hashlib.sha256(data).hexdigest()
        decoded = decode(data, policy)
        facts |= _describe(path, decoded.format, decoded.notes)
        height, width = decoded.pixels.shape[:2]
        facts |= {
            "pixel_sha256": pixel_hash(decoded.pixels),
            "mode": decoded.mode,
            "orientation": decoded.orientation,
            "width_px": width,
            "height_px": height,
        }
        if short_side is None:
            return facts, nothing
        pixels = resize_short_side(
            decoded.pixels, short_side=short_side, interpolation=interpolation
        )
    except Undecodable as error:
        return _refused(facts, error.reason, error.detail), nothing
    except MemoryError:
        return _refused(facts, "memory", "not enough memory to decode it"), nothing
    return facts, np.ascontiguousarray(pixels)


def _describe(path: bytes, format_name: str, notes: tuple[str, ...]) -> dict[str, Any]:
    extension = os.path.splitext(os.fsdecode(path))[1]
    if extension not in _EXTENSIONS[format_name]:
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
    settings = json.loads(_read_request(requests) or b"{}")
    _die_with_parent(settings["parent_pid"])
    _limit_memory()
    # What libraries print from here on would mix with nothing, but could fill a disk.
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    _answer(answers, {}, memoryview(b""))
    policy = DecodePolicy(
        **settings["policy"] | {"background": tuple(settings["policy"]["background"])}
    )
    # The policy's cap is checked before anything is decoded; Pillow's own would hide it.
    Image.MAX_IMAGE_PIXELS = None
    root = Path(os.fsdecode(bytes.fromhex(settings["root"])))
    while (path := _read_request(requests)) is not None:
        facts, pixels = examine(
            path,
            root=root,
            policy=policy,
            short_side=settings["short_side"],
            interpolation=settings["interpolation"],
        )
        facts["shape"] = pixels.shape[:2]
        payload = pixels.reshape(-1).data
        facts["crc32"] = zlib.crc32(payload)
        _answer(answers, facts, payload)


def _read_request(stream: BinaryIO) -> bytes | None:
    header = stream.read(REQUEST.size)
    if len(header) < REQUEST.size:
        return None
    return stream.read(REQUEST.unpack(header)[0])


def _answer(descriptor: int, facts: dict[str, Any], payload: memoryview) -> None:
    text = json.dumps(facts).encode("utf-8")
    head = memoryview(ANSWER.pack(len(text), len(payload)) + text)
    # In one call, so that the parent wakes once.
    while len(head) + len(payload):
        sent = os.writev(descriptor, [head, payload])
        payload = payload[max(0, sent - len(head)) :]
        head = head[sent:]


def _die_with_parent(parent_pid: int) -> None:
    # Ctrl-C reaches the whole group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as handle:
            base_bytes = int(handle.read().split()[0]) * resource.getpagesize()
        limit = base_bytes + EXTRA_MEMORY_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
