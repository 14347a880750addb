"""Boxes from a detector: no detector sees what it finds, and nothing is cropped silently."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from gorae.cli import main
from gorae.config import Recipe, resolve_recipe
from gorae.config.detect import DetectSettings
from gorae.data.store import PixelStore
from gorae.errors import ConfigError, DataError, UserError
from gorae.pipeline.context import open_context
from gorae.pipeline.contract import Split
from gorae.pipeline.detect import DetectResult, detect
from gorae.pipeline.detect import step as detect_module
from gorae.pipeline.detect.folds import detector_folds
from gorae.pipeline.detect.job import SIDES, DetectJob, train_fold
from gorae.pipeline.detect.quality import box_quality
from gorae.pipeline.detect.step import prepare_pictures
from gorae.pipeline.detect.table import crop_step, read_box_table
from gorae.pipeline.init import init
from gorae.pipeline.roi import find_regions
from gorae.pipeline.run import run
from gorae.training.plan import Interrupted
from gorae.workspace import Workspace

SIDE_PX = 96

SETTINGS = (
    "detect.model=centre/test_efficientnet",
    "detect.weights=none",
    f"detect.size={SIDE_PX}",
    "detect.epochs=12",
    "detect.batch_size=4",
    "detect.lr=3e-3",
    "detect.hflip=0",
    "detect.confidence=0.1",
    "detect.area_min=0.02",
    "split.num_folds=2",
    "split.near_duplicates=false",
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "head.strengths=[1.0]",
)


def recipe(*changes: str) -> Recipe:
    names = {change.split("=")[0] for change in changes}
    kept = [each for each in SETTINGS if each.split("=")[0] not in names]
    return resolve_recipe(preset="quick", overrides=(*kept, *changes))


def draw(digit: NDArray[Any], rng: np.random.Generator) -> tuple[Image.Image, list[int]]:
    """A digit somewhere on noise, and the box around it."""
    canvas = rng.integers(0, 110, (SIDE_PX, SIDE_PX + 16, 3), dtype=np.uint8)
    side = int(rng.integers(32, 56))
    left, top = (int(rng.integers(0, room - side)) for room in (SIDE_PX + 16, SIDE_PX))
    drawn = Image.fromarray((digit * 15.9).astype(np.uint8)).resize((side, side))
    part = canvas[top : top + side, left : left + side]
    part[:] = np.maximum(part, np.asarray(drawn)[..., None])
    return Image.fromarray(canvas), [left, top, left + side, top + side]


def write_digits(folder: Path, *, num_train: int = 36, num_test: int = 4) -> pd.DataFrame:
    """A competition of digits on noise, and the box of each train picture."""
    rng, images = np.random.default_rng(0), load_digits()
    lines, boxes, sample = ["id,label"], [], ["id,label"]
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
    for number in range(num_train + num_test):
        part, name = (
            ("train", f"{number:03d}") if number < num_train else ("test", f"t{number}")
        )
        picture, box = draw(images.images[number], rng)
        picture.save(folder / part / f"{name}.png")
        if part == "train":
            lines.append(f"{name},{'even' if images.target[number] % 2 == 0 else 'odd'}")
            boxes.append([name, *box])
        else:
            sample.append(f"{name},even")
    (folder / "train.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "sample_submission.csv").write_text("\n".join(sample) + "\n", "utf-8")
    table = pd.DataFrame(boxes, columns=["image_id", *SIDES])
    table.to_csv(folder / "true.csv", index=False)
    return table


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DetectResult, pd.DataFrame]:
    """A competition, what was found in it, and the true boxes."""
    folder = tmp_path_factory.mktemp("roi") / "digits"
    true = write_digits(folder)
    # Only a part of the pictures has boxes, as is usual.
    true.iloc[:30].to_csv(folder / "true.csv", index=False)
    result = find_regions(
        folder, recipe=recipe(), boxes=folder / "true.csv", out=folder / "roi.csv"
    )
    return folder, result, true


def open_job(folder: Path, settings: Recipe) -> DetectJob:
    context = open_context(folder)
    prepared = prepare_pictures(context, settings)
    pictures = detect_module._pictures(context, prepared)
    true = detect_module._true_boxes(context, settings, pictures, folder / "true.csv")
    loaded = detect_module._load(context, settings)
    return detect_module._open_job(context, settings, loaded, pictures, prepared.pixels, true)


def test_every_picture_gets_a_box_inside_it(
    found: tuple[Path, DetectResult, pd.DataFrame],
) -> None:
    folder, result, _ = found
    lines = pd.read_csv(folder / "roi.csv", dtype={"image_id": str}).set_index("image_id")
    assert len(lines) == 40
    assert (lines["left"] >= 0).all()
    assert (lines["top"] >= 0).all()
    assert (lines["right"] <= SIDE_PX + 16).all()
    assert (lines["bottom"] <= SIDE_PX).all()
    assert (lines["right"] > lines["left"]).all()
    assert (lines["bottom"] > lines["top"]).all()
    assert set(lines["origin"]) <= {"fold-0", "fold-1", "fused", "none"}
    assert set(lines.loc[[f"test/t{n}.png" for n in range(36, 40)], "origin"]) <= {
        "fused",
        "none",
    }
    assert result.boxes == folder / "roi.csv"
    assert sum(result.origins.values()) == 40


def test_found_boxes_fit_better_than_whole_pictures(
    found: tuple[Path, DetectResult, pd.DataFrame],
) -> None:
    quality = found[1].quality
    assert quality.num_true == 30
    assert quality.iou_mean is not None
    assert quality.whole_iou_mean is not None
    assert quality.iou_mean > quality.whole_iou_mean + 0.1
    record = json.loads((found[1].folder / "record.json").read_text("utf-8"))
    assert record["quality"] == quality.to_json()
    assert (found[1].folder / "sheet.png").stat().st_size > 1000


class Watched(PixelStore):
    """A store that remembers which pictures were read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: list[str] = []

    def read(self, sha256: str) -> NDArray[np.uint8]:
        self.seen.append(sha256)
        return super().read(sha256)


def test_a_detector_never_learns_from_a_picture_of_its_fold(
    found: tuple[Path, DetectResult, pd.DataFrame], tmp_path: Path
) -> None:
    job = open_job(found[0], recipe("detect.epochs=1"))
    assert job.folds.names == [0, 1]
    train = job.pictures[~job.pictures["is_test"]]
    for fold in job.folds.names:
        assert isinstance(job.pixels, PixelStore)
        store = Watched(job.pixels.folder)
        train_fold(replace(job, pixels=store, folder=tmp_path), fold, place=0)
        own = set(train["key"][job.folds.folds == fold])
        boxed = set(train["key"][train["image_id"].isin(list(job.boxes))])
        learned = store.seen[: len(boxed - own)]
        # One epoch of training comes first, then each picture of the fold and of test once.
        assert set(learned) == boxed - own
        assert set(store.seen[len(learned) :]) == own | set(job.pictures["key"][36:])


def split_of(folds: list[int], groups: list[int], roles: list[str] | None = None) -> Split:
    frame = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(len(folds))],
            "role": roles or ["train"] * len(folds),
            "group": groups,
            "repeat": 0,
            "fold": folds,
        }
    )
    return Split("key", frame, {"repeats": 1})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_folds", [1, 2, 5])
def test_no_detector_learns_from_the_group_of_a_picture_it_finds(
    seed: int, num_folds: int
) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 25, 80)
    fold_of_group = rng.integers(-1, num_folds, 25)
    fold_of_group[:num_folds] = range(num_folds)
    # Copies of a validating picture may be marked as never validating.
    folds = np.where(rng.random(80) < 0.1, -1, fold_of_group[groups])
    groups[:num_folds], folds[:num_folds] = range(num_folds), range(num_folds)
    split = split_of(folds.tolist(), groups.tolist())
    made = detector_folds(split, split.folds["image_id"].tolist())
    for fold in made.names:
        trains = made.training(fold)
        assert not set(groups[trains]) & set(groups[made.folds == fold])
    assert (made.folds >= 0).all()
    held = folds >= 0
    np.testing.assert_array_equal(made.folds[held], folds[held])
    if num_folds == 1:
        for fold in made.names:
            assert not made.training(fold)[folds == 0].any()


def test_a_finished_detector_is_not_trained_again(
    found: tuple[Path, DetectResult, pd.DataFrame],
) -> None:
    folder, result, _ = found
    times = {path: path.stat().st_mtime_ns for path in result.folder.glob("fold-*")}
    heard: list[str] = []
    changes = ("detect.confidence=0.9", "detect.area_min=0.3", "detect.keep_table=true")
    again = detect(
        folder,
        recipe=recipe(*changes),
        boxes=folder / "true.csv",
        on_event=lambda event: heard.append(event.text),
    )
    assert again.folder == result.folder
    assert {path: path.stat().st_mtime_ns for path in result.folder.glob("fold-*")} == times
    # Asked for more, fewer are found; they are counted, named, and whole.
    assert again.origins["table"] == 30
    assert again.missing
    assert again.origins["none"] == len(again.missing)
    assert any(f"nothing is found in {len(again.missing)} pictures" in text for text in heard)
    assert any("smaller than detect.area_min" in text for text in heard)
    lines = pd.read_csv(again.boxes, dtype={"image_id": str}).set_index("image_id")
    whole = lines.loc[list(again.missing), SIDES].to_numpy()
    assert (whole == [0, 0, SIDE_PX + 16, SIDE_PX]).all()
    true = pd.read_csv(folder / "true.csv", dtype={"image_id": str}).set_index("image_id")
    kept = lines.loc[[f"train/{name}.png" for name in true.index], SIDES]
    np.testing.assert_array_equal(kept.to_numpy(), true.to_numpy(np.float64))


def test_an_interrupted_search_goes_on_with_the_detector_at_hand(tmp_path: Path) -> None:
    from collections.abc import Iterator
    from contextlib import contextmanager

    folder = tmp_path / "digits"
    write_digits(folder, num_train=24, num_test=2)
    settings = recipe("detect.epochs=1")
    opened = 0

    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        nonlocal opened
        opened += 1
        yield lambda: opened > 1

    with pytest.raises(Interrupted):
        find_regions(folder, recipe=settings, boxes=folder / "true.csv", stopping=stopping)
    (home,) = (folder / ".gorae" / "boxes").iterdir()
    assert sorted(path.name for path in home.glob("fold-*")) == [
        "fold-0.json",
        "fold-0.parquet",
    ]
    stopped = find_regions(folder, recipe=settings, boxes=folder / "true.csv")
    first = stopped.boxes.read_bytes()
    for path in home.iterdir():
        path.unlink()
    whole = find_regions(folder, recipe=settings, boxes=folder / "true.csv")
    assert whole.boxes.read_bytes() == first


def test_the_crops_can_be_trained_on(found: tuple[Path, DetectResult, pd.DataFrame]) -> None:
    folder = found[0]
    step = "\n".join(crop_step("roi.csv"))
    path = folder / "crops.toml"
    path.write_text(f'preset = "quick"\n{step}\n', "utf-8")
    changes = [change for change in SETTINGS if not change.startswith("detect.")]
    result = run(folder, recipe=path, overrides=changes, looks=False)
    assert result.submission is not None
    settings = Workspace(folder).run(result.run_id).read_settings()
    assert settings["recipe"]["preprocess"][0]["annotations"] == "roi.csv"
    assert "detect" not in settings["recipe"]


def test_a_file_that_is_there_is_not_written_over(
    found: tuple[Path, DetectResult, pd.DataFrame], tmp_path: Path
) -> None:
    folder = found[0]
    out = tmp_path / "mine.csv"
    out.write_text("precious\n", "utf-8")
    with pytest.raises(UserError, match="is there and holds something else"):
        detect(folder, recipe=recipe(), boxes=folder / "true.csv", out=out)
    assert out.read_text("utf-8") == "precious\n"
    # The same boxes again are no other content.
    detect(folder, recipe=recipe(), boxes=folder / "true.csv", out=folder / "roi.csv")


def test_bad_lines_of_a_box_table_are_all_named_at_once(tmp_path: Path) -> None:
    lines = [
        "image_id,left,top,right,bottom",
        "a,1,1,20,20",
        "b,-9,0,10,10",
        "c,0,0,90,10",
        "d,10,0,5,10",
        "e,x,0,5,10",
        "ghost,0,0,5,5",
        "f,0,0,5,5",
        "f,1,1,5,5",
        "g,,,,",
    ]
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    sizes = dict.fromkeys("abcdefg", (40, 30))
    with pytest.raises(DataError) as caught:
        read_box_table(path, DetectSettings(), sizes)
    text = str(caught.value)
    assert "6 lines of boxes.csv cannot be used" in text
    assert "row 3, b: -9, 0, 10, 10 reaches out of the picture, which is 40 x 30" in text
    assert "row 4, c: 0, 0, 90, 10 reaches out" in text
    assert "row 5, d: 10, 0, 5, 10 has no area" in text
    assert "row 6, e: x, 0, 5, 10 is no list of numbers" in text
    assert "row 7: 'ghost' is no picture that can be used" in text
    assert "f has several boxes, rows 8, 9" in text


def test_columns_and_format_of_a_box_table_are_settings(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("file,x,y,w,h\nsub/a.png,2,3,10,20.5\n", "utf-8")
    settings = DetectSettings(
        image_column="file", box_columns=("x", "y", "w", "h"), box_format="xywh"
    )
    assert read_box_table(path, settings, {"sub/a.png": (40, 30)}) == {
        "sub/a.png": (2.0, 3.0, 12.0, 23.5)
    }
    with pytest.raises(ConfigError, match="lacks the columns image_id, left, top"):
        read_box_table(path, DetectSettings(), {"a": (40, 30)})


def test_boxes_may_be_columns_of_the_train_table(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    true = write_digits(folder, num_train=24, num_test=2)
    table = pd.read_csv(folder / "train.csv", dtype=str)
    table.join(true[SIDES].astype(str)).to_csv(folder / "train.csv", index=False)
    (folder / "true.csv").unlink()
    init(folder)
    text = (folder / "competition.toml").read_text("utf-8")
    if "box_columns" not in text:
        head, found, tail = text.partition("[train]\n")
        assert found
        named = 'box_columns = ["left", "top", "right", "bottom"]\nbox_format = "xyxy"\n'
        (folder / "competition.toml").write_text(head + found + named + tail, "utf-8")
    result = find_regions(folder, recipe=recipe("detect.epochs=1"))
    assert result.quality.num_true == 24


def test_too_few_boxes_and_no_boxes_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    true = write_digits(folder, num_train=24, num_test=2)
    with pytest.raises(
        ConfigError, match=r"no boxes to learn from\. Give a table with --boxes"
    ):
        find_regions(folder, recipe=recipe())
    true.iloc[:9].to_csv(folder / "true.csv", index=False)
    with pytest.raises(DataError, match=r"has \d pictures with boxes to learn from, and 8"):
        find_regions(folder, recipe=recipe(), boxes=folder / "true.csv")


def test_quality_of_boxes_worked_by_hand() -> None:
    true = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], float)
    found = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [5, 0, 15, 10], [np.nan] * 4], float)
    quality = box_quality(found, true, np.full((4, 2), 20))
    assert (quality.num_true, quality.num_found) == (4, 3)
    assert quality.iou_mean == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    # An overlap of exactly a half is not above it.
    assert quality.hit_share == pytest.approx(1 / 3)
    assert quality.recall == pytest.approx(1 / 4)
    assert quality.whole_iou_mean == pytest.approx(1 / 4)
    assert quality.cover_mean == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)


def test_the_command_prints_figures_and_the_step(
    found: tuple[Path, DetectResult, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = found[0]
    settings = [part for change in SETTINGS for part in ("--set", change)]
    given = [str(folder), "--boxes", str(folder / "true.csv"), *settings]
    assert main(["detect", *given, "--out", str(folder / "roi.csv")]) == 0
    shown = capsys.readouterr().out
    assert "mean IoU" in shown
    assert 'annotations = "roi.csv"' in shown
    assert main(["detect", *given, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["quality"]["num_true"] == 30


def test_unknown_detectors_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="known are fasterrcnn_mobilenet_v3_large_320_fpn"):
        recipe("detect.model=yolo")
    with pytest.raises(ConfigError, match=r"detect\.kwargs has no effect here"):
        recipe("detect.model=retinanet_resnet50_fpn_v2", 'detect.kwargs={pad_type="same"}')
