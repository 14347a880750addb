"""Prepared pixels: made once, resumed after a kill, told when they cannot be made."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae import files
from gorae.data import scan as scan_module
from gorae.data import store as store_module
from gorae.data.decode import DecodePolicy
from gorae.data.pixels import Interpolation, pixel_key, write_arguments
from gorae.data.store import open_store
from gorae.data.thumbnail import thumbnail
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
    steps: Sequence[Mapping[str, Any]] = (),
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
        steps=steps,
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


CROP: list[dict[str, Any]] = [{"step": "crop_box", "margin": 0.0, "aspect": None}]


def with_boxes(images: pd.DataFrame, side: int) -> pd.DataFrame:
    text = write_arguments({"box": [2, 3, 2 + side, 3 + side]})
    return images.assign(arguments=pd.Series([text] * len(images), dtype="str"))


def test_steps_and_boxes_have_pixels_of_their_own(tmp_path: Path) -> None:
    images = draw(tmp_path, 4)
    plain = prepared(images, tmp_path)
    assert plain.keys == tuple(plain.scan["sha256"])
    cut = prepared(with_boxes(images, 20), tmp_path, steps=CROP)
    assert cut.pixels.folder != plain.pixels.folder
    assert cut.thumbnails.folder == plain.thumbnails.folder
    assert set(cut.pixels.sizes.values()) == {(20, 20)}
    raw = np.asarray(Image.open(tmp_path / "그림 0.png"))
    assert np.array_equal(cut.pixels.read(cut.keys[0]), raw[3:23, 2:22])
    changed = with_boxes(images, 20)
    changed.loc[2, "arguments"] = write_arguments({"box": [2, 3, 50, 50]})
    progress: list[tuple[int, int]] = []
    again = prepared(changed, tmp_path, steps=CROP, progress=progress)
    assert progress == [(3, 4), (4, 4)]
    assert [bool(note) for note in again.step_notes] == [False, False, True, False]
    assert again.step_notes[2].startswith("box_cut: the border of the picture leaves")
    pd.testing.assert_frame_equal(again.scan, plain.scan)


def test_thumbnails_are_of_the_decoded_picture_and_made_where_they_are_missing(
    tmp_path: Path,
) -> None:
    images = draw(tmp_path, 3)
    first = prepared(with_boxes(images, 20), tmp_path, steps=CROP)
    raw = np.asarray(Image.open(tmp_path / "그림 1.png"))
    small = first.thumbnails.read(str(first.scan["sha256"][1]))
    assert np.array_equal(small, thumbnail(raw))
    for path in first.thumbnails.folder.iterdir():
        path.unlink()
    progress: list[tuple[int, int]] = []
    second = prepared(with_boxes(images, 20), tmp_path, steps=CROP, progress=progress)
    assert progress[0] == (0, 3)
    assert len(second.thumbnails) == 3


def test_notes_that_a_kill_kept_from_being_written_are_made_again(tmp_path: Path) -> None:
    images = draw(tmp_path, 3)
    boxes = images.assign(arguments=write_arguments({"box": [30, 30, 60, 60]}))
    first = prepared(boxes, tmp_path, steps=CROP)
    assert all(first.step_notes)
    # As after a kill between the pixels and their notes, while the scan knows the files.
    (first.pixels.folder / "steps.parquet").unlink()
    second = prepared(boxes, tmp_path, steps=CROP)
    assert second.step_notes == first.step_notes
    assert len(second.pixels) == 3


def test_keys_of_pixels_are_the_hash_of_the_file_or_of_file_and_arguments() -> None:
    sha256 = "a" * 64
    assert pixel_key(sha256, "") == sha256
    texts = [write_arguments(v) for v in ({"frame": 1}, {"frame": 2}, {"frame": 1, "box": [1]})]
    assert len({pixel_key(sha256, text) for text in texts}) == 3
    assert write_arguments({"box": [1], "frame": 1}) == texts[2]


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


def photographs(folder: Path, count: int) -> pd.DataFrame:
    """JPEGs with a header each, and boxes of which some reach over the border."""
    folder.mkdir()
    names = [f"{number:03d}.jpg" for number in range(count)]
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 44, 3), np.uint8)
        exif = Image.Exif()
        exif[0x0131] = f"program {seed}"
        Image.fromarray(pixels).save(folder / name, exif=exif)
    boxes = [write_arguments({"box": [2, 3, 22 + n % 30, 23]}) for n in range(count)]
    return pd.DataFrame({"image_id": names, "path": names, "arguments": boxes})


def prepared_in(
    state: Path, images: pd.DataFrame, root: Path, steps: Sequence[Mapping[str, Any]]
) -> Prepared:
    """As ``prepared``, with all that is written elsewhere than the pictures."""
    return ensure_prepared(
        images if steps else images[["image_id", "path"]],
        root=root,
        prepared_root=state / "prepared",
        scan_path=state / "scan.parquet",
        short_side=16,
        interpolation="bicubic",
        policy=DecodePolicy(),
        num_workers=2,
        steps=steps,
    )


def prepare_often(*arguments: Any) -> None:
    """The same, in a process that is killed; writes down often."""
    scan_module._CHECKPOINT_S, store_module._COMMIT_PICTURES = 0.02, 5
    prepared_in(*arguments)


def everything(found: Prepared, state: Path) -> dict[str, Any]:
    """All that preparing leaves, whatever the order of its making."""
    notes = state / "prepared" / found.pixels.folder.name / "steps.parquet"
    return {
        "scan": found.scan.to_csv(),
        "kept": pd.read_parquet(state / "scan.parquet").to_csv(),
        "keys": found.keys,
        "notes": found.step_notes,
        "headers": pd.read_parquet(state / "headers.parquet").to_csv(),
        "steps": pd.read_parquet(notes).to_csv() if notes.exists() else None,
        **{
            what: {key: store.read(key).tobytes() for key in sorted(store.sizes)}
            for what, store in (("pixels", found.pixels), ("small", found.thumbnails))
        },
        "faults": [found.pixels.verify(), found.thumbnails.verify()],
        "files": sorted(
            path.relative_to(state).as_posix() for path in state.rglob("*") if path.is_file()
        ),
    }


def has_stored(state: Path) -> bool:
    """Whether a shard holds bytes; its folder may come into being meanwhile."""
    return any(path.stat().st_size for path in state.rglob("shard-*.bin"))


@pytest.mark.parametrize("steps", [[], CROP], ids=["thumbnails", "steps"])
def test_killed_at_random_moments_all_that_is_kept_ends_the_same(
    tmp_path: Path, steps: list[dict[str, Any]]
) -> None:
    root, fork = tmp_path / "pictures", multiprocessing.get_context("fork")
    images = photographs(root, 120)
    started = time.monotonic()
    calm = prepared_in(tmp_path / "calm", images, root, steps)
    whole_s = time.monotonic() - started
    expected = everything(calm, tmp_path / "calm")
    assert expected["faults"] == [[], []]
    assert len(calm.thumbnails) == len(calm.pixels) == 120
    assert any(calm.step_notes) == bool(steps)
    in_the_middle = 0
    for seed in range(5):
        state, rng = tmp_path / f"killed-{seed}", np.random.default_rng(seed)
        process = fork.Process(target=prepare_often, args=(state, images, root, steps))
        process.start()
        if seed % 2:
            process.join(rng.uniform(0.4, 1) * whole_s)
        else:
            # However slow the machine is: something is stored, and more to come.
            while process.is_alive() and not has_stored(state):
                process.join(0.01)
            process.join(rng.uniform(0, 0.2) * whole_s)
        process.kill()
        process.join()
        in_the_middle += has_stored(state) and process.exitcode != 0
        again = prepared_in(state, images, root, steps)
        assert everything(again, state) == expected, f"seed {seed}"
    assert in_the_middle >= 1


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
