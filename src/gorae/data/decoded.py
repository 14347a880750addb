"""What a decoded picture is, what is taken as one, and every reason for which none is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FrameRule = Literal["first", "middle", "max"]
"""Which frame of several is shown: one of them, or the maximum of each pixel over all."""

REASONS = {
    "missing": "does not exist",
    "dangling_link": "is a link that leads nowhere",
    "link_loop": "is a link that leads back to itself",
    "outside": "lies outside the data folder",
    "directory": "is a folder",
    "fifo": "is a pipe, not a file",
    "socket": "is a socket, not a file",
    "device": "is a device, not a file",
    "no_permission": "may not be read by this user",
    "unreadable": "cannot be read from the disk",
    "empty": "has no bytes",
    "too_large": "is larger than allowed",
    "not_image": "is no picture",
    "format_refused": "has a format that is not taken",
    "decoder_missing": "needs a decoder that is not installed",
    "truncated": "is cut off",
    "corrupt": "is damaged",
    "memory": "needs more memory to decode than allowed",
    "too_slow": "takes longer to decode than allowed",
    "crashed": "crashes the decoder",
}
"""Every reason for which a picture is left out, as the end of a sentence."""

# A picture this thin or small is named: it is seldom meant.
_THIN_RATIO = 10
_SMALL_SIDE_PX = 4


@dataclass(frozen=True)
class DecodePolicy:
    """What is taken as a picture, how transparency is shown, what of a header is read."""

    max_pixels: int = 64_000_000
    """Largest width times height."""
    max_file_bytes: int = 50_000_000
    """Largest file."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour behind transparent pixels."""
    follow_links: bool = False
    """Whether a link may lead out of the data folder."""
    phi: bool = False
    """Whether the personal fields of a DICOM header are read as they stand (names, dates)."""


@dataclass(frozen=True)
class Decoded:
    """A decoded picture."""

    pixels: NDArray[np.uint8]
    """Upright RGB, (H, W, 3)."""
    format: str
    """Pillow's name of the file format, or DICOM."""
    mode: str
    """Pillow's name of the stored pixel mode, before it became RGB; DICOM's own for DICOM."""
    orientation: int
    """EXIF orientation that was undone, 1 where nothing was."""
    notes: tuple[str, ...]
    """What was done to the pixels beyond decoding; each begins with a stable code."""
    header: Mapping[str, str] = field(default_factory=dict)
    """What the file says of itself: fields of ``dicom_header`` or of ``exif``."""


class Undecodable(Exception):  # noqa: N818 - a verdict on a file, not an error of the program
    """A file that gives no pixels. ``reason`` is a key of REASONS, ``detail`` a plain text."""

    def __init__(self, reason: str, detail: str) -> None:
        # Details quote file content and names: control characters would reach a terminal.
        self.reason = reason
        self.detail = "".join(c if c.isprintable() else "?" for c in detail)[:200]
        super().__init__(reason, self.detail)


def require_size(size: tuple[int, int], policy: DecodePolicy) -> None:
    """Refuse a picture of more pixels than allowed, before anything is allocated for it.

    Raises:
        Undecodable: Width times height is above the cap.
    """
    width, height = size
    if width * height > policy.max_pixels:
        raise Undecodable(
            "too_large",
            f"{width} x {height} = {width * height / 1e6:,.0f} million pixels, at most "
            f"{policy.max_pixels / 1e6:,.0f} million are taken",
        )


def shape_notes(width: int, height: int) -> tuple[str, ...]:
    """A note on a picture so small or thin that it is hardly meant."""
    if min(width, height) < _SMALL_SIDE_PX or max(width, height) > _THIN_RATIO * min(
        width, height
    ):
        return (f"shape: {width} x {height}",)
    return ()
