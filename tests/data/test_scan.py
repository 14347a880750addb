"""The scan: known files are left alone, and no file can harm it."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from gorae.data import decode_child, decode_pool
from gorae.data import scan as scan_module
from gorae.data.decode import DecodePolicy
from gorae.data.scan import ScanOptions, changed_files, scan, scan_errors
from gorae.data.store import PixelStore, create_store, open_store
from gorae.errors import ResourceError


def draw(folder: Path, names: list[str], *, side: int = 40) -> pd.DataFrame:
    """Different pictures of these names, and their table."""
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(
            0, 256, (side, side + seed % 5, 3), np.uint8
        )
        Image.fromarray(pixels).save(folder / name)
    return pd.DataFrame({"image_id": names, "path": names})


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 45 million pixels: its child takes a second and over 300 MB."""
    path = tmp_path_factory.mktemp("slow") / "slow.png"
    side = 6_700
    pixels = zlib.compress(bytes(side * (1 + 3 * side)), 1)
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")):
        parts += [struct.pack(">I", len(data)), kind, data]
        parts += [struct.pack(">I", zlib.crc32(kind + data))]
    path.write_bytes(b"".join(parts))
    return path


def scanned(
    images: pd.DataFrame,
    root: Path,
    *,
    known: pd.DataFrame | None = None,
    store: PixelStore | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    policy: DecodePolicy | None = None,
    **options: float,
) -> pd.DataFrame:
    return scan(
        images,
        root=root,
        known=known,
        store=store,
        options=ScanOptions(policy or DecodePolicy(), 32, **options),  # type: ignore[arg-type]  # ints and floats
        on_progress=on_progress,
    )


def decoding_child() -> psutil.Process | None:
    """A child of ours that is in the middle of the slow picture."""
    for child in psutil.Process().children():
        try:
            # Before it is our decoder, a child shows the memory of this process as its own.
            is_decoder = "decode_child" in " ".join(child.cmdline())
            if is_decoder and child.memory_info().rss > 150_000_000:
                return child
        except psutil.NoSuchProcess:
            continue
    return None


def signal_decoding_child(number: int, *, times: int) -> threading.Thread:
    """Sends a signal to ``times`` children, one after another, once they decode."""

    def work() -> None:
        sent: set[int] = set()
        end = time.monotonic() + 60
        while len(sent) < times and time.monotonic() < end:
            child = decoding_child()
            if child is not None and child.pid not in sent:
                child.send_signal(number)
                sent.add(child.pid)
            time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    images = draw(tmp_path, [f"{i}.png" for i in range(40)])
    (tmp_path / "7.png").write_bytes(b"")
    seen: list[tuple[int, int]] = []
    stores, results = [], []
    for num_workers in (1, 3):
        store = create_store(tmp_path / f"store-{num_workers}")
        result = scanned(
            images,
            tmp_path,
            store=store,
            num_workers=num_workers,
            on_progress=lambda done, total: seen.append((done, total)),
        )
        stores.append(store)
        results.append(result)
    pd.testing.assert_frame_equal(results[0], results[1])
    assert seen == [(done, 40) for done in range(41)] * 2
    assert results[0]["image_id"].tolist() == images["image_id"].tolist()
    assert stores[0].sizes == stores[1].sizes
    assert len(stores[0]) == 39
    for sha256 in stores[0].sizes:
        np.testing.assert_array_equal(stores[0].read(sha256), stores[1].read(sha256))
        assert stores[0].read(sha256).shape[0] == 32


def test_stored_pixels_and_columns_are_what_decoding_here_gives(tmp_path: Path) -> None:
    images = draw(tmp_path, ["가.png", "나.png"])
    sizes = {"가.png": (40, 40), "나.png": (41, 40)}
    store = create_store(tmp_path / "store")
    result = scanned(images, tmp_path, store=store)
    for row in result.to_dict("records"):
        facts, pixels, _ = decode_child.examine(
            os.fsencode(row["path"]),
            root=tmp_path,
            policy=DecodePolicy(),
            short_side=32,
            interpolation="bicubic",
        )
        np.testing.assert_array_equal(store.read(row["sha256"]), pixels)
        assert facts["pixel_sha256"] == row["pixel_sha256"]
        assert (row["width_px"], row["height_px"]) == sizes[row["path"]]


def test_only_new_and_changed_files_are_read(tmp_path: Path) -> None:
    images = draw(tmp_path, [f"{i}.png" for i in range(6)])
    store = create_store(tmp_path / "store")
    first = scanned(images, tmp_path, store=store)
    read: list[int] = []

    def again(known: pd.DataFrame, table: pd.DataFrame, **options: object) -> pd.DataFrame:
        read.clear()
        return scanned(
            table,
            tmp_path,
            known=known,
            store=store,
            on_progress=lambda done, total: read.append(done),
            **options,  # type: ignore[arg-type]  # a policy
        )

    pd.testing.assert_frame_equal(again(first, images), first)
    assert read == [6]

    Image.new("RGB", (5, 5), "red").save(tmp_path / "2.png")
    more = draw(tmp_path, ["new.png"], side=33)
    table = pd.concat([more, images], ignore_index=True)
    second = again(first, table)
    assert read == [5, 6, 7]
    assert second["path"].tolist() == table["path"].tolist()
    same = second["path"].isin([f"{i}.png" for i in (0, 1, 3, 4, 5)])
    pd.testing.assert_frame_equal(
        second[same].reset_index(drop=True), first.drop(index=2).reset_index(drop=True)
    )
    assert len(store) == 8

    again(second, table, policy=DecodePolicy(max_pixels=30))
    assert read[0] == 0  # another policy judges anew
    other = create_store(tmp_path / "other")
    scanned(table, tmp_path, known=second, store=other)
    assert len(other) == 7


def test_a_time_that_differs_by_a_nanosecond_is_another_time(tmp_path: Path) -> None:
    images = draw(tmp_path, ["0.png", "1.png"])
    first = scanned(images, tmp_path)
    time_ns = int(first["mtime_ns"][0]) + 1
    os.utime(tmp_path / "0.png", ns=(time_ns, time_ns))
    counts: list[int] = []
    more = pd.concat([images, pd.DataFrame({"image_id": ["x"], "path": ["gone.png"]})])
    second = scanned(
        more, tmp_path, known=first, on_progress=lambda done, total: counts.append(done)
    )
    assert counts == [1, 2, 3]
    assert second["mtime_ns"].tolist()[0] == time_ns
    assert second["reason"].tolist() == ["", "", "missing"]
    assert scan_errors(second) == ["x: missing (No such file or directory)"]


def test_changed_files_are_named(tmp_path: Path) -> None:
    images = draw(tmp_path, [f"{i}.png" for i in range(5)])
    (tmp_path / "4.png").write_bytes(b"")
    result = scanned(images, tmp_path)
    assert changed_files(result, root=tmp_path, policy=DecodePolicy()).empty
    data = (tmp_path / "1.png").read_bytes()
    status = (tmp_path / "1.png").stat()
    (tmp_path / "1.png").write_bytes(data[:-1] + b"x")
    os.utime(tmp_path / "1.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "3.png").unlink()
    changed = changed_files(result, root=tmp_path, policy=DecodePolicy())
    assert changed.to_dict("records") == [
        {
            "image_id": "1.png",
            "path": "1.png",
            "problem": "has other bytes than when it was scanned",
        },
        {"image_id": "3.png", "path": "3.png", "problem": "does not exist"},
    ]


def test_no_images_give_an_empty_scan_and_start_nothing(tmp_path: Path, slow: Path) -> None:
    images = pd.DataFrame({"image_id": [], "path": []}, dtype=str)
    result = scanned(images, tmp_path, store=create_store(tmp_path / "store"))
    assert len(result) == 0
    assert list(result.columns) == list(scan_module.SCAN_COLUMNS)


def test_a_child_killed_once_changes_nothing(tmp_path: Path, slow: Path) -> None:
    images = draw(tmp_path, [f"{i}.png" for i in range(8)])
    shutil.copy(slow, tmp_path / "3.png")
    calm = scanned(images, tmp_path, timeout_s=60)
    assert calm["verdict"].tolist() == ["ok"] * 8
    killer = signal_decoding_child(signal.SIGKILL, times=1)
    result = scanned(images, tmp_path, num_workers=2, timeout_s=60)
    killer.join()
    pd.testing.assert_frame_equal(result, calm)


def test_a_file_whose_decoder_dies_twice_is_named_and_the_rest_is_done(
    tmp_path: Path, slow: Path
) -> None:
    images = draw(tmp_path, [f"{i}.png" for i in range(8)])
    shutil.copy(slow, tmp_path / "3.png")
    killer = signal_decoding_child(signal.SIGSEGV, times=2)
    result = scanned(images, tmp_path, num_workers=2, timeout_s=60)
    killer.join()
    assert scan_errors(result) == ["3.png: crashed (the decoder ended by SIGSEGV, 2 times)"]
    assert (result["verdict"] == "ok").sum() == 7


def test_a_child_that_hangs_is_replaced(tmp_path: Path, slow: Path) -> None:
    images = draw(tmp_path, [f"{i}.png" for i in range(4)])
    shutil.copy(slow, tmp_path / "1.png")
    stopper = signal_decoding_child(signal.SIGSTOP, times=1)
    result = scanned(images, tmp_path, timeout_s=5)
    stopper.join()
    assert result["verdict"].tolist() == ["ok"] * 4


def test_a_slow_file_is_named_and_the_rest_is_done(tmp_path: Path, slow: Path) -> None:
    images = draw(tmp_path, [f"{i}.png" for i in range(4)])
    shutil.copy(slow, tmp_path / "1.png")
    result = scanned(images, tmp_path, num_workers=2, timeout_s=0.3)
    assert scan_errors(result) == ["1.png: too_slow (not done after 0.3 s, 2 times)"]
    assert psutil.Process().children() == []


def test_a_file_that_needs_too_much_memory_is_named(tmp_path: Path) -> None:
    images = draw(tmp_path, [f"{i}.png" for i in range(3)])
    Image.new("1", (20_000, 20_000)).save(tmp_path / "1.png")
    policy = DecodePolicy(max_pixels=10**9)
    result = scanned(images, tmp_path, policy=policy, timeout_s=60)
    assert result["reason"].tolist() == ["", "memory", ""]
    assert result["sha256"][1] != ""


def test_children_die_with_their_parent(tmp_path: Path, slow: Path) -> None:
    images = draw(tmp_path, ["0.png", "1.png"])
    for name in images["path"]:
        shutil.copy(slow, tmp_path / name)
    code = """
import sys
from pathlib import Path
import pandas as pd
from gorae.data.scan import ScanOptions, scan
images = pd.DataFrame({"image_id": ["a", "b"], "path": ["0.png", "1.png"]})
options = ScanOptions(num_workers=2)
while True:
    scan(images, root=Path(sys.argv[1]), known=None, store=None, options=options)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as parent:
        children: list[psutil.Process] = []
        while len(children) < 2:
            time.sleep(0.05)
            children = psutil.Process(parent.pid).children()
        time.sleep(0.5)
        children = psutil.Process(parent.pid).children()
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=6)
    assert not alive


def test_children_that_cannot_start_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = draw(tmp_path, ["0.png"])
    monkeypatch.setattr(decode_pool, "_CHILD_COMMAND", "raise MemoryError('no room')")
    with pytest.raises(ResourceError, match=r"could not start: MemoryError: no room"):
        scanned(images, tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(ResourceError, match="Cannot start a process to decode pictures"):
        scanned(images, tmp_path)


def test_children_import_nothing_from_the_data_folder_and_no_heavy_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = draw(tmp_path, ["0.png"])
    for name in ("json.py", "numpy.py", "PIL.py"):
        (tmp_path / name).write_text("raise SystemExit('from the data folder')")
    monkeypatch.chdir(tmp_path)
    assert scanned(images, tmp_path)["verdict"].tolist() == ["ok"]
    code = "import sys, gorae.data.decode_child; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "pandas", "pyarrow", "pydantic", "scipy"} & set(modules)


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    names = [f"{i}.bmp" for i in range(150)]
    images = draw(tmp_path, names, side=200)  # 120 kB of pixels each
    peaks = []
    for count in (50, 150):
        store = create_store(tmp_path / f"store-{count}")
        tracemalloc.start()
        scan(
            images[:count],
            root=tmp_path,
            known=None,
            store=store,
            options=ScanOptions(short_side=200, num_workers=2),
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(open_store(tmp_path / "store-150")) == 150
    # 100 more pictures have 12 MB of pixels.
    assert peaks[1] - peaks[0] < 2_000_000
