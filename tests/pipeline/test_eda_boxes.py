"""Boxes of the tables are shown where they lie; faces are looked for when asked."""

import io
import tomllib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tomli_w
from PIL import Image

from gorae.cli import main
from gorae.config import resolve_recipe
from gorae.eda.faces import build_face_finder
from gorae.events import ignore_events
from gorae.pipeline.eda import eda
from gorae.pipeline.eda.boxes import MAX_SHOWN, box_shares, boxes_section, faces_section
from gorae.pipeline.eda.look import Look, open_look
from gorae.pipeline.init import init

Make = Callable[..., Path]

RECIPE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
)
WIDTH, HEIGHT = 160, 120


def write_boxed(folder: Path, boxes: dict[str, str], *, box_format: str = "xyxy") -> Path:
    """Dark pictures, each with a bright rectangle where its box is; box texts by name."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    for name, text in boxes.items():
        pixels = rng.integers(0, 40, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        left, top, right, bottom = corners(text, box_format)
        pixels[max(0, top) : bottom, max(0, left) : right] = 230
        Image.fromarray(pixels).save(folder / "train" / f"{name}.png")
    lines = [
        f'{name},{("a", "b")[at % 2]},"{text}"' for at, (name, text) in enumerate(boxes.items())
    ]
    (folder / "train.csv").write_text("\n".join(["id,label,bbox", *lines]) + "\n")
    init(folder, ask=lambda question: box_format)
    toml = folder / "competition.toml"
    settings = tomllib.loads(toml.read_text("utf-8"))
    settings["train"] |= {"box_columns": ["bbox"], "box_format": box_format}
    toml.write_text(tomli_w.dumps(settings), "utf-8")
    return folder


def corners(text: str, box_format: str) -> tuple[int, int, int, int]:
    try:
        left, top, right, bottom = (int(number) for number in text.split())
    except ValueError:
        return 0, 0, 1, 1
    if box_format == "xywh":
        return left, top, left + right, top + bottom
    return left, top, right, bottom


def look_at(folder: Path, *changes: str) -> Look:
    recipe = resolve_recipe(preset="quick", overrides=(*RECIPE, *changes))
    return open_look(folder, recipe, on_event=ignore_events)


@pytest.mark.parametrize("box_format", ["xyxy", "xywh"])
@pytest.mark.parametrize("steps", [(), ('preprocess=[{ step = "pad_square" }]',)])
def test_the_box_lies_on_what_it_is_around_whatever_is_stored(
    tmp_path: Path, box_format: str, steps: tuple[str, ...]
) -> None:
    texts = {f"p{n}": f"{20 + n} {10 + n} {60 + 3 * n} {50 + 2 * n}" for n in range(10)}
    folder = write_boxed(tmp_path / "boxed", texts, box_format=box_format)
    look = look_at(folder, *steps)
    found = boxes_section(look)
    assert found is not None
    assert (found.num_images, found.num_with, found.num_outside) == (10, 10, 0)
    assert look.read(0).shape[0] < HEIGHT
    for boxed in found.pictures:
        assert boxed.size_px == (WIDTH, HEIGHT)
        with Image.open(io.BytesIO(boxed.picture.data)) as image:
            grey = np.asarray(image.convert("L"), np.float64)
        is_inside = np.zeros(grey.shape, bool)
        scale = grey.shape[1] / WIDTH
        left, top, right, bottom = (round(side * scale) for side in boxed.boxes[0])
        is_inside[top:bottom, left:right] = True
        assert (grey[is_inside] > 128).mean() > 0.97
        assert (grey[~is_inside] < 128).mean() > 0.97
    shares = box_shares(look)
    assert shares is not None
    assert shares.shape == (10, 4)
    left, top, *_ = corners(texts["p0"], box_format)
    np.testing.assert_allclose(shares[0, :2], [left / WIDTH, top / HEIGHT])


def test_boxes_outside_come_first_and_faulty_ones_are_named(tmp_path: Path) -> None:
    texts = {f"p{n:02d}": "10 10 60 60" for n in range(40)}
    # Off by one is a way to count, not a fault.
    texts |= {"p03": "120 20 161 90", "p05": "120 20 190 90", "p07": "-9 0 50 50"}
    texts |= {"p11": "", "p12": "60 60 10 10", "p13": "none"}
    folder = write_boxed(tmp_path / "boxed", texts)
    found = boxes_section(look_at(folder))
    assert found is not None
    assert (found.num_with, found.num_outside) == (37, 2)
    assert len(found.pictures) == MAX_SHOWN
    assert [boxed.picture.name for boxed in found.pictures[:2]] == [
        "train/p05.png",
        "train/p07.png",
    ]
    assert len(found.faults) == 2
    assert "train/p12.png" in found.faults[0]
    recipe = resolve_recipe(preset="quick", overrides=RECIPE)
    result = eda(folder, recipe=recipe, has_map=False)
    [told] = result.record["boxes"]
    assert (told["with"], told["outside"], len(told["faults"])) == (37, 2, 2)
    texts_of = [f.what.en for f in result.findings if f.section == "boxes"]
    assert texts_of == ["2 boxes cannot be used.", "2 boxes reach outside the picture."]


def test_without_boxes_there_is_nothing_to_show(make_competition: Make) -> None:
    folder = make_competition()
    init(folder)
    look = look_at(folder)
    assert boxes_section(look) is None
    assert box_shares(look) is None


def test_faces_are_looked_for_when_asked(
    make_competition: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_competition()
    init(folder)
    changes = [part for change in RECIPE for part in ("--set", change)]
    assert main(["eda", str(folder), "--faces", "--json", *changes]) == 0
    assert '"kind": "faces"' in capsys.readouterr().out
    assert "얼굴" in (folder / ".gorae" / "eda" / "eda.html").read_text("utf-8")


def test_what_the_finder_finds_is_shown_in_stored_pixels(make_competition: Make) -> None:
    folder = make_competition()
    init(folder)
    look = look_at(folder)
    told: list[int] = []

    def finder(pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        is_first = len(told) % 2 == 0
        return np.array([[0, 0, width, height]] * is_first, np.int64).reshape(-1, 4)

    found = faces_section(look, finder, on_progress=lambda done, _: told.append(done))
    assert (found.num_images, found.num_with) == (48, 24)
    assert told == list(range(1, 49))
    assert all(boxed.boxes == ((0, 0, *boxed.size_px),) for boxed in found.pictures)


@pytest.mark.shared
def test_the_cascade_of_cats_finds_cats(shared: Path) -> None:
    cascade = Path(cv2.__file__).parent / "data" / "haarcascade_frontalcatface.xml"
    find = build_face_finder(cascade)
    counts = dict.fromkeys(("cat", "dog"), 0)
    folder = shared / "data" / "cats-and-dogs" / "train"
    for kind in counts:
        for path in sorted(folder.glob(f"{kind}.*"))[:60]:
            with Image.open(path) as image:
                counts[kind] += len(find(np.array(image.convert("RGB")))) > 0
    assert counts["cat"] > 2 * counts["dog"], pd.Series(counts)


def test_listed_and_lost_files_are_told_as_lists(make_competition: Make) -> None:
    folder = make_competition()
    (folder / "train" / "003_1.png").unlink()
    table = pd.read_csv(folder / "train.csv")
    table[table["id"] != "005_0"].to_csv(folder / "train.csv", index=False)
    init(folder)
    result = eda(folder, recipe=resolve_recipe(preset="quick", overrides=RECIPE), has_map=False)
    files = result.record["files"]
    assert files["missing"] == [{"picture": "003_1", "source": "train.csv"}]
    assert files["unlisted"] == ["train/005_0.png"]
    assert files["unreadable"] == 0
    told = [f.what.en for f in result.findings if f.section == "integrity"]
    assert told == [
        "1 listed picture is not on disk.",
        "1 picture on disk belongs to no row.",
    ]
