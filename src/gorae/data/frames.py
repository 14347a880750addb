"""Which frames of the files of a source are samples: one of each file, or all of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gorae.data.decoded import DecodePolicy
from gorae.data.dicom_peek import count_frames
from gorae.data.lines import Lines
from gorae.data.listing import may_be_dicom
from gorae.data.pixels import read_arguments, write_arguments

Frames = Literal["first", "middle", "max", "all"]


def frame_samples(
    names: Sequence[str], rule: Frames, *, places: Sequence[str], root: Path
) -> list[list[str]]:
    """What decoding is told for each sample of each file; most files are one sample.

    Only files that may be DICOM by their name are looked into; a file of one frame stays as
    it is. The headers are read, not the pixels (``dicom_peek``).

    Args:
        names: Files, by the names that say what they may be.
        rule: One frame of each file, or all of them.
        places: Where they lie, absolute or below ``root``.
        root: Folder that holds all data.

    Returns:
        For each file a list of ``data.pixels.write_arguments``, "" for nothing.
    """
    if rule == "first":
        return [[""]] * len(names)
    may_have = [may_be_dicom(name) for name in names]
    if rule != "all":
        told = write_arguments({"frame": rule})
        return [[told if may else ""] for may in may_have]
    policy = DecodePolicy()
    counts = [
        count_frames(place, root=root, policy=policy) if may else 1
        for place, may in zip(places, may_have, strict=True)
    ]
    return [
        [write_arguments({"frame": number} if count > 1 else {}) for number in range(count)]
        for count in counts
    ]


def with_frames(lines: Lines, folder: Path) -> tuple[Lines, NDArray[np.int64]]:
    """The lines with what decoding must be told, one per frame where all are wanted.

    Args:
        lines: Lines of a source, one per file; its ``frames`` says what is wanted.
        folder: The competition's folder.

    Returns:
        The lines, and for each the position of the line it comes from.
    """
    rule = lines.source.frames
    if rule == "first":
        return lines, np.arange(len(lines))
    places = [lines.pictures.path(name) for name in lines.files]
    samples = frame_samples(lines.files, rule, places=places, root=folder)
    rows = np.repeat(np.arange(len(lines)), [len(told) for told in samples])
    arguments = tuple(text for told in samples for text in told)
    return replace(lines.select(rows), arguments=arguments), rows


def frame_suffix(argument: str) -> str:
    """What an image id ends with where a file is several images."""
    frame = read_arguments(argument).get("frame")
    return f"#frame={frame}" if isinstance(frame, int) else ""
