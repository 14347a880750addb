"""Which frames of the files of a source are samples: one of each file, or all of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gorae.data.decoded import DecodePolicy
from gorae.data.dicom_peek import count_frames
from gorae.data.lines import Lines
from gorae.data.listing import may_be_dicom
from gorae.data.pixels import read_arguments, write_arguments


def with_frames(lines: Lines, folder: Path) -> tuple[Lines, NDArray[np.int64]]:
    """The lines with what decoding must be told, one per frame where all are wanted.

    Only files that may be DICOM by their name are looked into; a file of one frame stays as
    it is. The headers are read, not the pixels (``dicom_peek``).

    Args:
        lines: Lines of a source, one per file; its ``frames`` says what is wanted.
        folder: The competition's folder.

    Returns:
        The lines, and for each the position of the line it comes from.
    """
    rule = lines.source.frames
    if rule == "first":
        return lines, np.arange(len(lines))
    may_have = [may_be_dicom(name) for name in lines.files]
    if rule != "all":
        told = write_arguments({"frame": rule})
        arguments = [told if may else "" for may in may_have]
        return replace(lines, arguments=tuple(arguments)), np.arange(len(lines))
    policy = DecodePolicy()
    counts = [
        count_frames(lines.pictures.path(name), root=folder, policy=policy) if may else 1
        for name, may in zip(lines.files, may_have, strict=True)
    ]
    rows = np.repeat(np.arange(len(lines)), counts)
    arguments = [
        write_arguments({"frame": number} if count > 1 else {})
        for count in counts
        for number in range(count)
    ]
    return replace(lines.select(rows), arguments=tuple(arguments)), rows


def frame_suffix(argument: str) -> str:
    """What an image id ends with where a file is several images."""
    frame = read_arguments(argument).get("frame")
    return f"#frame={frame}" if isinstance(frame, int) else ""
