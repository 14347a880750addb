"""The prepared store: decoded pixels of every picture, written once, read by memory map.

A store is a folder with ``shard-00000.bin``, ``shard-00001.bin`` ... (pixels, one picture
after another) and ``index.bin``: a header, then one record of fixed size per picture with a
checksum of its own. Both only grow. Pixels are synced before their records are added, so a
whole record never points to missing pixels; what an interrupted append left behind is cut
off by the next one. One new picture costs its pixels and one record.
"""

import mmap
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gorae.errors import StorageError
from gorae.files import exclusive_lock, storage_error, write_bytes

_HEADER = b"gorae pixels 1\n\n"

_RECORD = np.dtype(
    [
        ("sha256", "S64"),  # of the picture file, hexadecimal
        ("shard", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("pixel_crc32", "<u4"),
        ("offset", "<u8"),
        ("crc32", "<u4"),  # of the record up to here
    ]
)
_CHECKED_BYTES = _RECORD.itemsize - 4

# A new shard begins behind this size, so that a map stays small against an address space.
_SHARD_BYTES = 256 << 20

# How much an interruption may cost: less than a second of decoding.
_COMMIT_BYTES = 64 << 20
_COMMIT_PICTURES = 512

# A map holds an open file; 1024 of them are what systems allow by default.
_MAX_MAPS = 128


class PixelStore:
    """Reads a prepared store. Can be pickled; each process opens the files for itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: NDArray[np.void] | None = None
        self._maps: dict[int, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]  # maps do not travel

    def __len__(self) -> int:
        return len(self._index())

    def __contains__(self, sha256: object) -> bool:
        return isinstance(sha256, str) and self._find(sha256) is not None

    def read(self, sha256: str) -> NDArray[np.uint8]:
        """The pixels of the picture file with this hash: RGB, (H, W, 3), read-only.

        Raises:
            StorageError: The store does not hold it.
        """
        record = self._find(sha256)
        if record is None:
            raise StorageError(
                f"The prepared pictures in {self.folder} do not hold file {sha256[:12]}.... "
                "Run `gorae preprocess` to add what is missing."
            )
        height, width = int(record["height"]), int(record["width"])
        pixels = np.frombuffer(
            self._map(int(record["shard"])),
            np.uint8,
            count=height * width * 3,
            offset=int(record["offset"]),
        )
        return pixels.reshape(height, width, 3)

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of every picture, by the hash of its file."""
        return {
            _text(record): (int(record["height"]), int(record["width"]))
            for record in self._index()
        }

    def reload(self) -> None:
        """Look again at what the store holds, after something was appended."""
        self._records = None
        self._maps = {}

    def verify(self) -> list[str]:
        """The file hashes of pictures whose pixels have changed on disk; reads everything."""
        return [
            sha256
            for record in self._index()
            if zlib.crc32(self.read(sha256 := _text(record)).data) != record["pixel_crc32"]
        ]

    def _index(self) -> NDArray[np.void]:
        """All records, ordered by hash; read and checked on first use."""
        if self._records is None:
            records = _read_index(self.folder)
            _check_shards(self.folder, records)
            # Of equal hashes the first stays: the sort is stable.
            _, first = np.unique(records["sha256"], return_index=True)
            self._records = records[first]
        return self._records

    def _find(self, sha256: str) -> np.void | None:
        records = self._index()
        key = np.bytes_(sha256.encode("ascii", "replace"))
        position = int(np.searchsorted(records["sha256"], key))
        if position == len(records) or records["sha256"][position] != key:
            return None
        record: np.void = records[position]
        return record

    def _map(self, shard: int) -> mmap.mmap:
        found = self._maps.get(shard)
        if found is None:
            if len(self._maps) >= _MAX_MAPS:
                # Arrays that still look into it keep the map itself alive.
                self._maps.pop(next(iter(self._maps)))
            with _shard_path(self.folder, shard).open("rb") as handle:
                found = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            self._maps[shard] = found
        return found


def _text(record: np.void) -> str:
    return bytes(record["sha256"]).decode("ascii")


def open_store(folder: Path) -> PixelStore:
    """The prepared store in ``folder``, its index and shard sizes checked.

    Raises:
        StorageError: There is none, or it is damaged.
    """
    store = PixelStore(folder)
    store._index()
    return store


def create_store(folder: Path) -> PixelStore:
    """The store in ``folder``; an empty one is made where there is none."""
    if not _index_path(folder).exists():
        write_bytes(_index_path(folder), _HEADER)
    return open_store(folder)


class StoreWriter:
    """Adds pictures to a store; made by ``append_to``, which holds the lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        records = _read_index(folder)
        lengths = _check_shards(folder, records)
        _discard_uncommitted(folder, len(records), lengths)
        self._known: set[bytes] = set(records["sha256"].tolist())
        self._shard = max(lengths, default=0)
        self._length = lengths.get(self._shard, 0)
        self._new: list[bytes] = []
        self._new_bytes = 0
        self._index = _index_path(folder).open("ab", buffering=0)
        self._pixels = _shard_path(folder, self._shard).open("ab", buffering=0)
        _sync(folder)

    def add(
        self,
        sha256: str,
        pixels: memoryview,
        *,
        shape: tuple[int, int],
        pixel_crc32: int,
    ) -> None:
        """Add the pixels of one picture file; a file that is there already is passed over.

        Args:
            sha256: Hash of the file, 64 hexadecimal digits.
            pixels: RGB bytes, H x W x 3.
            shape: Height and width.
            pixel_crc32: CRC-32 of the pixels.
        """
        key = sha256.encode("ascii")
        if key in self._known:
            return
        height, width = shape
        assert len(pixels) == height * width * 3
        if self._length >= _SHARD_BYTES:
            self._begin_shard()
        _write_all(self._pixels, pixels)
        record = np.array(
            (key, self._shard, height, width, pixel_crc32, self._length, 0), _RECORD
        ).tobytes()
        checked = record[:_CHECKED_BYTES]
        self._new.append(checked + zlib.crc32(checked).to_bytes(4, "little"))
        self._known.add(key)
        self._length += len(pixels)
        self._new_bytes += len(pixels)
        if self._new_bytes >= _COMMIT_BYTES or len(self._new) >= _COMMIT_PICTURES:
            self.commit()

    def commit(self) -> None:
        """Make all pictures added so far durable."""
        if self._new:
            os.fsync(self._pixels.fileno())
            _write_all(self._index, memoryview(b"".join(self._new)))
            os.fsync(self._index.fileno())
            self._new = []
            self._new_bytes = 0

    def close(self) -> None:
        """Close the files; what was not committed is cut off by the next append."""
        self._pixels.close()
        self._index.close()

    def _begin_shard(self) -> None:
        self.commit()
        self._pixels.close()
        self._shard += 1
        self._length = 0
        self._pixels = _shard_path(self._folder, self._shard).open("ab", buffering=0)
        _sync(self._folder)


@contextmanager
def append_to(store: PixelStore) -> Iterator[StoreWriter]:
    """A writer on the store, alone; what it added is committed when the block ends well.

    Raises:
        UserError: Another process is adding to this store.
        StorageError: The disk is full or not writable, or the store is damaged.
    """
    folder = store.folder
    with exclusive_lock(folder / "append.lock", purpose="preparing pictures"):
        try:
            writer = StoreWriter(folder)
            try:
                yield writer
                writer.commit()
            finally:
                writer.close()
                store.reload()
        except OSError as error:
            raise storage_error(error, folder) from error


def _index_path(folder: Path) -> Path:
    return folder / "index.bin"


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:05d}.bin"


def _damaged(folder: Path, what: str) -> StorageError:
    return StorageError(
        f"The prepared pictures in {folder} are damaged: {what}. Remove that folder and run "
        "`gorae preprocess`; they are made again from the picture files."
    )


def _read_index(folder: Path) -> NDArray[np.void]:
    """All committed records in the order they were added."""
    try:
        data = _index_path(folder).read_bytes()
    except OSError as error:
        raise StorageError(
            f"There are no prepared pictures in {folder} ({error.strerror}). Run "
            "`gorae preprocess` to make them."
        ) from error
    if not data.startswith(_HEADER):
        raise _damaged(folder, "index.bin does not begin as it should")
    body = memoryview(data)[len(_HEADER) :]
    count = len(body) // _RECORD.itemsize
    records = np.frombuffer(body, _RECORD, count=count)
    starts = range(0, count * _RECORD.itemsize, _RECORD.itemsize)
    sums = [zlib.crc32(body[start : start + _CHECKED_BYTES]) for start in starts]
    wrong = np.flatnonzero(records["crc32"] != np.array(sums, np.uint32))
    if len(wrong) == 0:
        return records
    # An interrupted append spoils the end of the index only.
    if len(wrong) < count - wrong[0]:
        raise _damaged(folder, f"record {wrong[0]} of index.bin has changed")
    return records[: wrong[0]]


def _check_shards(folder: Path, records: NDArray[np.void]) -> dict[int, int]:
    """Committed length of every shard, in bytes, after a look at the length of its file."""
    pixel_bytes = records["height"].astype(np.uint64) * records["width"] * 3
    ends = records["offset"] + pixel_bytes
    lengths = {
        int(shard): int(ends[records["shard"] == shard].max())
        for shard in np.unique(records["shard"])
    }
    problems = []
    for shard, length in lengths.items():
        path = _shard_path(folder, shard)
        size_bytes = path.stat().st_size if path.exists() else 0
        if size_bytes < length:
            problems.append(f"{path.name} has {size_bytes:,} of {length:,} bytes")
    if problems:
        raise _damaged(folder, ", ".join(problems[:5]))
    return lengths


def _discard_uncommitted(folder: Path, num_records: int, lengths: dict[int, int]) -> None:
    """Cut off what an interrupted append left behind the committed bytes."""
    os.truncate(_index_path(folder), len(_HEADER) + num_records * _RECORD.itemsize)
    for path in folder.glob("shard-*.bin"):
        committed = lengths.get(int(path.stem.removeprefix("shard-")), 0)
        if committed == 0:
            path.unlink()
        elif path.stat().st_size > committed:
            os.truncate(path, committed)


def _write_all(handle: FileIO, data: memoryview) -> None:
    written = 0
    while written < len(data):
        written += handle.write(data[written:])


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
