"""The prepared store: what was committed is read back, whatever happened since."""

import contextlib
import hashlib
import os
import pickle
import random
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gorae.data import store as store_module
from gorae.data.store import PixelStore, StoreWriter, append_to, create_store, open_store
from gorae.errors import StorageError, UserError

Pixels = NDArray[np.uint8]


def picture(seed: int, height: int = 8, width: int = 9) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def name(seed: int) -> str:
    return hashlib.sha256(str(seed).encode()).hexdigest()


def add(writer: StoreWriter, sha256: str, pixels: Pixels) -> None:
    writer.add(
        sha256,
        pixels.reshape(-1).data,
        shape=pixels.shape[:2],
        pixel_crc32=zlib.crc32(pixels.data),
    )


def filled(folder: Path, seeds: range) -> PixelStore:
    store = create_store(folder)
    with append_to(store) as writer:
        for seed in seeds:
            add(writer, name(seed), picture(seed))
    return store


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=30),
    shard_bytes=st.integers(1, 6000),
    commit_bytes=st.integers(1, 6000),
    splits=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_what_is_added_is_read_back(
    sizes: list[tuple[int, int]],
    shard_bytes: int,
    commit_bytes: int,
    splits: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("store")
    pictures = {name(i): picture(i, *size) for i, size in enumerate(sizes)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_SHARD_BYTES", shard_bytes)
        patch.setattr(store_module, "_COMMIT_BYTES", commit_bytes)
        patch.setattr(store_module, "_MAX_MAPS", 3)
        store = create_store(folder)
        for part in range(splits):
            with append_to(store) as writer:
                for sha256 in list(pictures)[part::splits]:
                    add(writer, sha256, pictures[sha256])
        reopened = open_store(folder)
        assert len(reopened) == len(store) == len(pictures)
        assert reopened.sizes == {key: value.shape[:2] for key, value in pictures.items()}
        for sha256, pixels in pictures.items():
            assert sha256 in reopened
            np.testing.assert_array_equal(reopened.read(sha256), pixels)
            np.testing.assert_array_equal(store.read(sha256), pixels)
        assert reopened.verify() == []
    assert name(999) not in reopened


def test_pixels_are_read_only_maps_and_the_store_travels_by_its_folder(tmp_path: Path) -> None:
    store = filled(tmp_path, range(3))
    pixels = store.read(name(1))
    assert not pixels.flags.writeable
    assert not pixels.flags.owndata
    travelled = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(travelled.read(name(1)), pixels)
    assert len(pickle.dumps(store)) < 500


def test_one_picture_costs_its_pixels_and_one_record(tmp_path: Path) -> None:
    store = filled(tmp_path, range(20))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.bin")}
    with append_to(store) as writer:
        add(writer, name(20), picture(20))
        add(writer, name(3), picture(3))  # it is there already
    after = {path.name: path.read_bytes() for path in tmp_path.glob("*.bin")}
    assert after.keys() == before.keys()
    assert all(after[key].startswith(before[key]) for key in before)
    grown = {key: len(after[key]) - len(before[key]) for key in before}
    assert grown == {"shard-00000.bin": 8 * 9 * 3, "index.bin": store_module._RECORD.itemsize}


def test_an_append_that_fails_leaves_the_committed_pictures(tmp_path: Path) -> None:
    store = filled(tmp_path, range(5))
    with contextlib.suppress(KeyboardInterrupt), append_to(store) as writer:
        add(writer, name(5), picture(5))
        writer.commit()
        add(writer, name(6), picture(6))
        raise KeyboardInterrupt
    assert len(store) == len(open_store(tmp_path)) == 6
    filled(tmp_path, range(9))
    assert open_store(tmp_path).verify() == []
    assert len(open_store(tmp_path)) == 9


def test_an_index_cut_anywhere_loses_only_its_end(tmp_path: Path) -> None:
    filled(tmp_path, range(4))
    index = tmp_path / "index.bin"
    whole = index.read_bytes()
    header, record = len(store_module._HEADER), store_module._RECORD.itemsize
    for length in range(header, len(whole)):
        index.write_bytes(whole[:length])
        store = open_store(tmp_path)
        assert len(store) == (length - header) // record
        assert store.verify() == []
    filled(tmp_path, range(4))
    assert open_store(tmp_path).verify() == []
    assert len(open_store(tmp_path)) == 4
    # The last pictures were cut off and added again: nothing is there twice.
    assert (tmp_path / "shard-00000.bin").stat().st_size == 4 * 8 * 9 * 3


def test_garbage_behind_the_committed_bytes_is_cut_off(tmp_path: Path) -> None:
    filled(tmp_path, range(3))
    for file_name in ("shard-00000.bin", "index.bin", "shard-00001.bin"):
        with (tmp_path / file_name).open("ab") as handle:
            handle.write(b"\xaa" * 150)
    assert len(open_store(tmp_path)) == 3
    store = filled(tmp_path, range(5))
    assert len(store) == 5
    assert store.verify() == []
    assert not (tmp_path / "shard-00001.bin").exists()


def test_damage_is_told_with_what_to_do(tmp_path: Path) -> None:
    filled(tmp_path, range(6))
    shard, index = tmp_path / "shard-00000.bin", tmp_path / "index.bin"
    pixels, records = shard.read_bytes(), index.read_bytes()

    shard.write_bytes(pixels[:-1])
    with pytest.raises(StorageError, match=r"shard-00000.bin has 1,295 of 1,296 bytes.*Remove"):
        open_store(tmp_path)
    with pytest.raises(StorageError, match="are damaged"), append_to(PixelStore(tmp_path)):
        pass
    shard.unlink()
    with pytest.raises(StorageError, match="has 0 of 1,296 bytes"):
        open_store(tmp_path)

    shard.write_bytes(pixels)
    changed = bytearray(records)
    changed[len(store_module._HEADER) + store_module._RECORD.itemsize + 5] ^= 1
    index.write_bytes(changed)
    with pytest.raises(StorageError, match=r"record 1 of index.bin has changed.*preprocess"):
        open_store(tmp_path)
    index.write_bytes(b"other" + records)
    with pytest.raises(StorageError, match="does not begin as it should"):
        open_store(tmp_path)
    index.unlink()
    with pytest.raises(StorageError, match="There are no prepared pictures"):
        open_store(tmp_path)


def test_verify_names_the_picture_whose_pixels_changed(tmp_path: Path) -> None:
    filled(tmp_path, range(6))
    shard = tmp_path / "shard-00000.bin"
    changed = bytearray(shard.read_bytes())
    changed[2 * 8 * 9 * 3 + 7] ^= 1
    shard.write_bytes(changed)
    assert open_store(tmp_path).verify() == [name(2)]


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=f"do not hold file {name(7)[:12]}.*gorae preprocess"
    ):
        filled(tmp_path, range(2)).read(name(7))


def test_two_writers_exclude_each_other(tmp_path: Path) -> None:
    store = filled(tmp_path, range(2))
    with (
        append_to(store),
        pytest.raises(UserError, match="already preparing pictures"),
        append_to(PixelStore(tmp_path)),
    ):
        pass


FILL = """
import hashlib, sys, zlib
from pathlib import Path
import numpy as np
from gorae.data import store as store_module
store_module._SHARD_BYTES, store_module._COMMIT_PICTURES = 20_000, 7
store = store_module.create_store(Path(sys.argv[1]))
with store_module.append_to(store) as writer:
    for seed in range(len(store), 100_000):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        sha256 = hashlib.sha256(str(seed).encode()).hexdigest()
        writer.add(
            sha256,
            pixels.reshape(-1).data,
            shape=(8, 9),
            pixel_crc32=zlib.crc32(pixels.data),
        )
        if not writer._new:
            print(seed + 1, flush=True)
"""


def test_killed_at_any_moment_nothing_committed_is_lost(tmp_path: Path) -> None:
    rng = random.Random(3)
    command = [sys.executable, "-c", FILL, str(tmp_path)]
    committed = 0
    for _ in range(6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first
            time.sleep(rng.uniform(0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
            said = [first, *process.stdout.read().splitlines(keepends=True)]
        whole = [int(line) for line in said if line.endswith("\n")]
        store = open_store(tmp_path)
        assert len(store) >= max(whole) > committed
        assert store.verify() == []
        committed = len(store)
    np.testing.assert_array_equal(store.read(name(committed - 1)), picture(committed - 1))


FULL_DISK = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
import numpy as np
import test_store
from gorae.errors import StorageError
store = test_store.filled(Path(sys.argv[1]), range(4))
try:
    with test_store.append_to(store) as writer:
        for seed in range(4, 40):
            test_store.add(writer, test_store.name(seed), test_store.picture(seed, 300, 300))
except StorageError as error:
    print(error)
again = test_store.open_store(Path(sys.argv[1]))
print(len(again), again.verify())
"""


def test_a_full_disk_is_said_and_costs_nothing_that_was_there(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=2m none {tmp_path} && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, "-c", FULL_DISK]
    command += [str(tmp_path), str(Path(__file__).parent)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in result.stderr or "mount" in result.stderr:
        pytest.skip("this machine mounts no file system for a test")
    assert "The disk is full" in result.stdout, result.stderr
    assert result.stdout.endswith("4 []\n")
