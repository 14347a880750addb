"""The feature cache: computed once, added to, never wrong."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.errors import UserError
from gorae.files import exclusive_lock, read_json
from gorae.stores.features import PART_SIZE, ensure_features

KEY = {"weights": "abc", "view": "identity", "kwargs": {"pad_type": "same"}}
DIMENSIONS = 3


def _hashes(count: int, start: int = 0) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in range(start, start + count)]


def _features_of(sha256: str) -> list[float]:
    return [int(sha256[at : at + 4], 16) / 7 for at in (0, 4, 8)]


class Counting:
    """Features that follow from the hash, and a record of what was asked for."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[list[str]] = []
        self.stop_after = stop_after

    def __call__(self, hashes: list[str]) -> NDArray[np.float32]:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(hashes)
        return np.array([_features_of(each) for each in hashes], dtype=np.float32)


def _expected(hashes: list[str]) -> NDArray[np.float32]:
    return np.array([_features_of(each) for each in hashes], dtype=np.float32)


def test_features_are_computed_once_and_kept_in_any_order(tmp_path: Path) -> None:
    hashes = _hashes(5)
    first, again = Counting(), Counting()
    wanted = [hashes[2], *hashes, hashes[2]]
    got = ensure_features(wanted, key_parts=KEY, features_root=tmp_path, compute=first)
    np.testing.assert_array_equal(got, _expected(wanted))
    assert first.asked == [[hashes[2], hashes[0], hashes[1], hashes[3], hashes[4]]]
    got = ensure_features(hashes[::-1], key_parts=KEY, features_root=tmp_path, compute=again)
    np.testing.assert_array_equal(got, _expected(hashes[::-1]))
    assert got.dtype == np.float32
    assert again.asked == []


def test_one_new_image_costs_one_image(tmp_path: Path) -> None:
    ensure_features(_hashes(5), key_parts=KEY, features_root=tmp_path, compute=Counting())
    more = Counting()
    got = ensure_features(_hashes(6), key_parts=KEY, features_root=tmp_path, compute=more)
    assert more.asked == [_hashes(1, start=5)]
    np.testing.assert_array_equal(got, _expected(_hashes(6)))


@pytest.mark.parametrize(
    "other",
    [
        {**KEY, "view": "hflip"},
        {**KEY, "kwargs": {"pad_type": ""}},
        {**KEY, "precision": "bf16"},
    ],
)
def test_another_key_shares_nothing(tmp_path: Path, other: Mapping[str, Any]) -> None:
    ensure_features(_hashes(3), key_parts=KEY, features_root=tmp_path, compute=Counting())
    compute = Counting()
    ensure_features(_hashes(3), key_parts=other, features_root=tmp_path, compute=compute)
    assert compute.asked == [_hashes(3)]
    assert sorted(read_json(path)["view"] for path in tmp_path.glob("*/key.json")) == sorted(
        [KEY["view"], other["view"]]
    )


def test_what_was_computed_before_an_interruption_is_kept(tmp_path: Path) -> None:
    hashes = _hashes(2 * PART_SIZE + 10)
    with pytest.raises(KeyboardInterrupt):
        ensure_features(
            hashes, key_parts=KEY, features_root=tmp_path, compute=Counting(stop_after=1)
        )
    rest = Counting()
    got = ensure_features(hashes, key_parts=KEY, features_root=tmp_path, compute=rest)
    assert rest.asked == [hashes[PART_SIZE : 2 * PART_SIZE], hashes[2 * PART_SIZE :]]
    np.testing.assert_array_equal(got, _expected(hashes))


@pytest.mark.parametrize("damage", ["empty", "truncated", "bit flip", "exchanged"])
def test_a_damaged_part_is_reported_and_computed_again(tmp_path: Path, damage: str) -> None:
    ensure_features(_hashes(4), key_parts=KEY, features_root=tmp_path, compute=Counting())
    ensure_features(_hashes(6), key_parts=KEY, features_root=tmp_path, compute=Counting())
    part = next(
        path
        for path in tmp_path.rglob("part-*")
        if path.stat().st_size
        == max(other.stat().st_size for other in tmp_path.rglob("part-*"))
    )
    data = bytearray(part.read_bytes())
    if damage == "bit flip":
        data[-1] ^= 1
    elif damage == "exchanged":
        data = bytearray(next(p for p in tmp_path.rglob("part-*") if p != part).read_bytes())
    part.write_bytes(b"" if damage == "empty" else data[:-3] if damage == "truncated" else data)
    again, events = Counting(), list[Mapping[str, Any]]()
    got = ensure_features(
        _hashes(6), key_parts=KEY, features_root=tmp_path, compute=again, on_event=events.append
    )
    np.testing.assert_array_equal(got, _expected(_hashes(6)))
    assert again.asked == [_hashes(4)]
    assert events[0] == {"event": "features_damaged", "path": str(part)}
    silent = Counting()
    ensure_features(_hashes(6), key_parts=KEY, features_root=tmp_path, compute=silent)
    assert silent.asked == []


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    ensure_features(_hashes(1), key_parts=KEY, features_root=tmp_path, compute=Counting())
    folder = next(tmp_path.iterdir())
    leftover = folder / ".part-0.safetensors.1.gorae-tmp"
    leftover.write_bytes(b"half")
    ensure_features(_hashes(2), key_parts=KEY, features_root=tmp_path, compute=Counting())
    assert not leftover.exists()


def test_a_second_process_is_refused_only_where_something_is_missing(tmp_path: Path) -> None:
    ensure_features(_hashes(2), key_parts=KEY, features_root=tmp_path, compute=Counting())
    folder = next(tmp_path.iterdir())
    with exclusive_lock(folder / "lock", purpose="computing features"):
        ensure_features(_hashes(2), key_parts=KEY, features_root=tmp_path, compute=Counting())
        with pytest.raises(UserError, match="already computing features here"):
            ensure_features(
                _hashes(3), key_parts=KEY, features_root=tmp_path, compute=Counting()
            )


def test_no_images_have_no_features(tmp_path: Path) -> None:
    got = ensure_features([], key_parts=KEY, features_root=tmp_path, compute=Counting())
    assert got.shape == (0, 0)
    assert not list(tmp_path.iterdir())
