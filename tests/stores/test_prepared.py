"""Prepared pixels: made once, resumed after a kill, told when they cannot be made."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae import files
from gorae.data.decode import DecodePolicy
from gorae.data.pixels import Interpolation
from gorae.data.store import open_store
from gorae.errors import StorageError, UserError
from gorae.files import exclusive_lock
from gorae.stores.prepared import Prepared, ensure_prepared, prepared_key


def draw(folder: Path, count: int, *, first: int = 0) -> pd.DataFrame:
    names = [f"그림 {i}.png" for i in range(first, first + count)]
    for seed, name in enumerate(names, start=first):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 44, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return pd.DataFrame({"image_id": names, "path": names})


def prepared(
    images: pd.DataFrame,
    root: Path,
    *,
    progress: list[tuple[int, int]] | None = None,
    short_side: int = 32,
    interpolation: Interpolation = "bicubic",
) -> Prepared:
    return ensure_prepared(
        images,
        root=root,
        prepared_root=root / ".gorae" / "prepared",
        scan_path=root / ".gorae" / "scan.parquet",
        short_side=short_side,
        interpolation=interpolation,
        policy=DecodePolicy(),
        num_workers=2,
        on_progress=None
        if progress is None
        else lambda done, total: progress.append((done, total)),
    )


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and bytes of every file."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_the_second_call_reads_and_writes_nothing(tmp_path: Path) -> None:
    images = draw(tmp_path, 12)
    (tmp_path / "그림 5.png").write_bytes(b"no picture")
    first = prepared(images, tmp_path)
    assert (first.scan["verdict"] == "ok").sum() == len(first.pixels) == 11
    before = contents(tmp_path)
    progress: list[tuple[int, int]] = []
    second = prepared(images, tmp_path, progress=progress)
    assert progress == [(12, 12)]
    assert contents(tmp_path) == before
    pd.testing.assert_frame_equal(second.scan, first.scan)
    assert second.pixels.sizes == first.pixels.sizes
    # A part of the images, in another order, changes nothing either.
    part = prepared(images.iloc[[7, 2]], tmp_path, progress=progress)
    assert part.scan["image_id"].tolist() == ["그림 7.png", "그림 2.png"]
    assert contents(tmp_path) == before


def test_one_new_image_costs_one_image(tmp_path: Path) -> None:
    images = draw(tmp_path, 10)
    prepared(images, tmp_path)
    store = next((tmp_path / ".gorae" / "prepared").iterdir())
    before = {path.name: path.read_bytes() for path in store.glob("*.bin")}
    progress: list[tuple[int, int]] = []
    result = prepared(
        pd.concat([draw(tmp_path, 1, first=10), images]), tmp_path, progress=progress
    )
    assert progress == [(10, 11), (11, 11)]
    assert result.scan["image_id"].tolist()[0] == "그림 10.png"
    for path in store.glob("*.bin"):
        old = before[path.name]
        assert path.read_bytes().startswith(old)
        assert path.stat().st_size - len(old) == (
            len(old) // 10 if "shard" in path.name else 92
        )


def test_other_settings_have_a_store_of_their_own(tmp_path: Path) -> None:
    images = draw(tmp_path, 3)
    small, large = (prepared(images, tmp_path, short_side=side) for side in (16, 32))
    soft = prepared(images, tmp_path, interpolation="bilinear")
    folders = {str(each.pixels.folder) for each in (small, large, soft)}
    assert len(folders) == 3
    key = prepared_key(DecodePolicy(), short_side=16, interpolation="bicubic")
    assert small.pixels.folder.name == key
    assert {size[0] for size in small.pixels.sizes.values()} == {16}
    assert files.read_json(small.pixels.folder / "settings.json")["short_side"] == 16
    pd.testing.assert_frame_equal(small.scan, large.scan)


PREPARE = """
import sys
from pathlib import Path
import pandas as pd
from gorae.data import scan, store
from gorae.data.decode import DecodePolicy
from gorae.stores.prepared import ensure_prepared
scan._CHECKPOINT_S, store._COMMIT_PICTURES = 0.1, 10
root = Path(sys.argv[1])
names = sorted(path.name for path in root.glob("*.png"))
ensure_prepared(
    pd.DataFrame({"image_id": names, "path": names}), root=root,
    prepared_root=root / ".gorae" / "prepared", scan_path=root / ".gorae" / "scan.parquet",
    short_side=32, interpolation="bicubic", policy=DecodePolicy(), num_workers=2,
    on_progress=lambda done, total: print(done, flush=True),
)
"""


def test_killed_at_any_moment_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "calm").mkdir()
    images = draw(tmp_path / "killed", 160)
    command = [sys.executable, "-c", PREPARE, str(tmp_path / "killed")]
    starts = []
    for lines in (60, 30):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            starts.append(int(process.stdout.readline()))
            for _ in range(lines):
                process.stdout.readline()
            process.kill()
    assert starts[0] == 0
    assert starts[1] > 0
    progress: list[tuple[int, int]] = []
    resumed = prepared(images, tmp_path / "killed", progress=progress)
    assert progress[0][0] >= starts[1]
    draw(tmp_path / "calm", 160)
    calm = prepared(images, tmp_path / "calm")
    times = ["mtime_ns"]
    pd.testing.assert_frame_equal(
        resumed.scan.drop(columns=times), calm.scan.drop(columns=times)
    )
    assert resumed.pixels.sizes == calm.pixels.sizes
    assert open_store(resumed.pixels.folder).verify() == []
    assert not list((tmp_path / "killed").rglob("*.gorae-tmp"))


def test_too_little_disk_is_told_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = draw(tmp_path, 3)
    monkeypatch.setattr(files, "FREE_SPACE_MARGIN_BYTES", 10**18)
    with pytest.raises(StorageError, match="Too little disk for the prepared pictures"):
        prepared(images, tmp_path)
    assert not (tmp_path / ".gorae" / "scan.parquet").exists()


def test_damaged_files_of_ours_are_told(tmp_path: Path) -> None:
    images = draw(tmp_path, 3)
    folder = prepared(images, tmp_path).pixels.folder
    shard = folder / "shard-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(StorageError, match="are damaged"):
        prepared(images, tmp_path)
    shard.unlink()
    (folder / "index.bin").unlink()
    assert len(prepared(images, tmp_path).pixels) == 3
    (tmp_path / ".gorae" / "scan.parquet").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"Cannot read .*scan.parquet"):
        prepared(images, tmp_path)


def test_two_at_a_time_exclude_each_other(tmp_path: Path) -> None:
    images = draw(tmp_path, 1)
    lock = tmp_path / ".gorae" / "scan.lock"
    with (
        exclusive_lock(lock, purpose="preparing pictures"),
        pytest.raises(UserError, match="already preparing pictures"),
    ):
        prepared(images, tmp_path)


@pytest.mark.shared
def test_ten_thousand_known_files_take_less_than_a_second(tmp_path: Path) -> None:
    draw(tmp_path, 1)
    names = [f"{i}.png" for i in range(10_000)]
    for name in names:
        (tmp_path / name).hardlink_to(tmp_path / "그림 0.png")
    images = pd.DataFrame({"image_id": names, "path": names})
    prepared(images, tmp_path)
    start = time.perf_counter()
    prepared(images, tmp_path)
    assert time.perf_counter() - start < 1
