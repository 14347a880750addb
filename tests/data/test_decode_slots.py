"""Pixels through shared memory: the same as through a pipe, and of no harm to the parent."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gorae.data import decode_pool
from gorae.data.decode import DecodePolicy
from gorae.data.decode_pool import ChildSettings, examine_files
from gorae.data.decode_slots import NUM_SLOTS, create_slots, map_slots
from gorae.data.thumbnail import THUMBNAIL_SIDE, thumbnail

LARGE = 900  # 2.4 MB of pixels, more than a slot holds


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, NDArray[np.uint8]]:
    """Small pictures of different sizes, every fifth one too large for a slot."""
    drawn = {}
    for number in range(23):
        side = LARGE if number % 5 == 4 else 20 + number
        pixels = np.full((side, side + number % 3, 3), number * 11, np.uint8)
        pixels[: side // 2, :, number % 3] = 255 - number
        drawn[f"{number}.bmp"] = pixels
        Image.fromarray(pixels).save(tmp_path / f"{number}.bmp")
    return drawn


def settings(root: Path) -> ChildSettings:
    return ChildSettings(
        root=root,
        policy=DecodePolicy(),
        short_side=LARGE,
        interpolation="bicubic",
        timeout_s=60,
        has_thumbnails=True,
    )


def require_same(root: Path, pictures: dict[str, NDArray[np.uint8]], *, pause_s: float) -> None:
    names = list(pictures)
    found = 0
    answers = examine_files(
        [os.fsencode(name) for name in names], settings(root), num_children=2
    )
    for answer in answers:
        # The children go on meanwhile, and must not touch what is not used up.
        time.sleep(pause_s)
        expected = pictures[names[answer.index]]
        assert tuple(answer.facts["shape"]) == expected.shape[:2]
        assert bytes(answer.pixels) == expected.tobytes()
        small = np.frombuffer(answer.thumbnail, np.uint8)
        shape = (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
        np.testing.assert_array_equal(small.reshape(shape), thumbnail(expected))
        found += 1
    assert found == len(names)


@pytest.mark.parametrize("pause_s", [0, 0.02])
def test_pixels_arrive_whole_by_slot_and_by_pipe(
    tmp_path: Path, pictures: dict[str, NDArray[np.uint8]], pause_s: float
) -> None:
    require_same(tmp_path, pictures, pause_s=pause_s)


def test_without_such_memory_all_goes_through_the_pipe(
    tmp_path: Path, pictures: dict[str, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a system that has none.
    monkeypatch.setattr(decode_pool, "create_slots", lambda: None)
    require_same(tmp_path, pictures, pause_s=0)


@pytest.mark.parametrize("shared", ["'x'", "-5", "10**12", "[1]"])
def test_a_child_that_lies_about_its_slot_is_named_as_a_crash(
    tmp_path: Path,
    pictures: dict[str, NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
    shared: str,
) -> None:
    lie = f"import gorae.data.decode_child as c; c._share = lambda *_: {shared}; c.main()"
    monkeypatch.setattr(decode_pool, "_CHILD_COMMAND", lie)
    (answer,) = examine_files([b"0.bmp"], settings(tmp_path), num_children=1)
    assert answer.facts["reason"] == "crashed"
    assert answer.facts["detail"] == "its answer is broken, 2 times"
    assert len(answer.pixels) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is Linux's")
def test_a_child_cannot_cut_the_memory_off() -> None:
    descriptor = create_slots()
    assert descriptor is not None
    theirs = map_slots(descriptor, is_writable=True)
    ours = map_slots(descriptor, is_writable=False)
    for number, slot in enumerate(theirs):
        slot[:2] = bytes([number, 9])
    assert [bytes(slot[:2]) for slot in ours] == [bytes([n, 9]) for n in range(NUM_SLOTS)]
    assert all(slot.readonly for slot in ours)
    for size in (0, 1 << 30):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)
    os.close(descriptor)
