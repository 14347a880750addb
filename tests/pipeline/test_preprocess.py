"""Steps from folder to submission: each list of steps and each box has pixels of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.config.reading import resolve_recipe
from gorae.data.decode import resize_short_side
from gorae.data.store import open_store
from gorae.errors import ConfigError, DataError, UserError
from gorae.files import sha256_file
from gorae.pipeline.init import init
from gorae.pipeline.predict import load_run, predict_images
from gorae.pipeline.preprocess import PreprocessResult, preprocess
from gorae.pipeline.run import RunResult
from gorae.preprocess.steps import apply_steps
from gorae.workspace import Workspace

from .conftest import QUICKEST

Make = Callable[..., Path]
Quick = Callable[..., RunResult]

STEPS = '[{step="pad_square"}, {step="clahe"}]'
BOXES = (
    '[{step="crop_box", annotations="boxes.csv", image_column="name", '
    'box_columns=["x", "y", "w", "h"], box_format="xywh"}]'
)


def write_boxes(folder: Path, boxes: dict[str, tuple[int, int, int, int]]) -> None:
    lines = ["name,x,y,w,h"]
    lines += [f"{name},{','.join(map(str, box))}" for name, box in boxes.items()]
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n", "utf-8")


def whole_boxes(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    names = sorted(
        path.stem for part in ("train", "test") for path in (folder / part).iterdir()
    )
    return dict.fromkeys(names, (4, 4, 32, 32))


def prepared(
    folder: Path, steps: str, *, heard: list[str] | None = None, **options: Any
) -> PreprocessResult:
    if not Workspace(folder).competition_file.exists():
        init(folder)
    recipe = resolve_recipe(preset="quick", overrides=(*QUICKEST, f"preprocess={steps}"))

    def hear(event: Any) -> None:
        if heard is not None and event.kind in ("warning", "message"):
            heard.append(event.text)

    return preprocess(folder, recipe=recipe, on_event=hear, **options)


def test_from_folder_to_submission_with_steps(make_competition: Make, run_quick: Quick) -> None:
    folder = make_competition()
    raw = {path: path.read_bytes() for path in folder.rglob("*.png")}
    result = run_quick(folder, f"preprocess={STEPS}")
    assert result.submission is not None
    assert len(pd.read_csv(result.submission)) == 8
    assert {path: path.read_bytes() for path in raw} == raw
    run = load_run(Workspace(folder).run(None).path)
    store = open_store(Workspace(folder).prepared / run.run.read_settings()["keys"]["pixels"])
    assert {height == width for height, width in store.sizes.values()} == {True}
    names = sorted((folder / "test").iterdir())[:3]
    from_files, failed = predict_images(run, names, on_event=lambda event: None)
    arrays = [np.asarray(Image.open(name).convert("RGB")) for name in names]
    from_memory, _ = predict_images(run, arrays, on_event=lambda event: None)
    assert not failed
    np.testing.assert_allclose(from_files.values, from_memory.values, atol=1e-6)


def test_from_folder_to_submission_with_boxes(make_competition: Make, run_quick: Quick) -> None:
    folder = make_competition()
    boxes = whole_boxes(folder)
    write_boxes(folder, boxes)
    first = run_quick(folder, f"preprocess={BOXES}")
    assert first.submission is not None
    assert first.report.exists()
    assert run_quick(folder, f"preprocess={BOXES}").run_id == first.run_id
    # Another box is another picture: the run is another one.
    write_boxes(folder, boxes | {"000_0": (0, 0, 20, 20)})
    assert run_quick(folder, f"preprocess={BOXES}").run_id != first.run_id
    run = load_run(Workspace(folder).run(first.run_id).path)
    with pytest.raises(UserError, match="need a box or landmarks of each picture"):
        predict_images(run, folder / "test", on_event=lambda event: None)


def test_other_steps_have_another_store_and_the_same_cost_nothing(
    make_competition: Make,
) -> None:
    folder = make_competition()
    first = prepared(folder, STEPS)
    plain = prepared(folder, "[]")
    other = prepared(folder, '[{step="pad_square"}, {step="clahe", limit=3}]')
    assert len({first.prepared, plain.prepared, other.prepared}) == 3
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert prepared(folder, STEPS) == first
    assert {path: path.read_bytes() for path in before} == before
    assert not (plain.prepared / "steps.parquet").exists()


def test_a_changed_box_costs_one_picture(make_competition: Make) -> None:
    folder = make_competition()
    boxes = whole_boxes(folder)
    write_boxes(folder, boxes)
    first = prepared(folder, BOXES)
    count = len(open_store(first.prepared))
    write_boxes(folder, boxes | {"000_0": (0, 0, 20, 10)})
    second = prepared(folder, BOXES)
    assert second.prepared == first.prepared
    sizes = open_store(second.prepared).sizes
    assert len(sizes) == count + 1
    assert (10, 20) in sizes.values()


def test_what_the_steps_met_is_told_and_kept(make_competition: Make) -> None:
    folder = make_competition()
    boxes = whole_boxes(folder)
    del boxes["000_1"]
    write_boxes(folder, boxes | {"000_0": (40, 0, 16, 20), "ghost": (0, 0, 5, 5)})
    for _ in range(2):
        heard: list[str] = []
        result = prepared(folder, BOXES, heard=heard)
        assert result.step_counts == {"box_cut": 1, "box_missing": 1}
        assert "1 pictures have a box that is cut: train/000_0.png" in heard
        assert "1 pictures have no box and stay whole: train/000_1.png" in heard
        assert any("1 names of boxes.csv are no pictures" in text for text in heard)


def test_box_columns_of_the_tables_are_used(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        lines = ["id,label,box"] if part == "train" else ["id,box"]
        for number in range(8):
            name = f"{part}{number}"
            pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / f"{name}.png")
            label = f",{number % 2}" if part == "train" else ""
            lines.append(f'{name}{label},"[5, 6, {20 + number}, 30]"')
        (tmp_path / f"{part}.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (tmp_path / "competition.toml").write_text(
        'name = "b"\ntask = "multiclass"\nmetric = "accuracy"\n'
        '[train]\nimages = "train"\ntable = "train.csv"\nimage_column = "id"\n'
        'label_columns = ["label"]\nbox_columns = ["box"]\nbox_format = "xyxy"\n'
        '[test]\nimages = "test"\ntable = "test.csv"\nimage_column = "id"\n'
        'box_columns = ["box"]\nbox_format = "xyxy"\n',
        "utf-8",
    )
    result = prepared(tmp_path, '[{step="crop_box"}]')
    sizes = sorted(open_store(result.prepared).sizes.values())
    assert sizes == sorted((24, 15 + number) for number in range(8) for _ in range(2))


def test_the_stored_picture_is_what_the_steps_give(make_competition: Make) -> None:
    folder = make_competition(num_subjects=2, num_test=1)
    result = prepared(folder, '[{step="gamma", power=2}, {step="greyscale"}]', has_preview=True)
    assert result.sheet is not None
    with Image.open(result.sheet) as sheet:
        assert min(sheet.size) > 200
    store = open_store(result.prepared)
    raw = np.asarray(Image.open(folder / "test" / "t0.png"))
    steps: list[dict[str, Any]] = [{"step": "gamma", "power": 2}, {"step": "greyscale"}]
    wanted = apply_steps(raw, steps).pixels
    stored = store.read(sha256_file(folder / "test" / "t0.png"))
    side = min(stored.shape[:2])
    small = resize_short_side(wanted, short_side=side, interpolation="bilinear")
    assert np.array_equal(stored, small)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ('[{step="crop_box"}]', "needs boxes, and the tables have none"),
        ('[{step="align", columns=["a","b","c","d"], size=[32,32]}]', "needs the columns a, b"),
        ('[{step="resize", how="short_side", side=900}]', "stored with 37"),
        ('[{step="greyscale"}, {step="saturation", factor=2}]', "greyscale leaves no colours"),
        ('[{step="outline"}, {step="fov_crop"}]', "put it before outline"),
        ('[{step="pad_square"}, {step="border_crop"}]', "what pad_square added"),
        ('[{step="min_max"}, {step="min_max"}]', "is there twice"),
        ('[{step="brightness", factor=1}]', "factor = 1 changes nothing"),
        ('[{step="crop_box", several="first"}]', "no file is named"),
        ('[{step="crop_box", annotations="b.csv"}]', "needs image_column, box_columns"),
        ('[{step="resize", how="fit", side=64}]', "takes size, and no side"),
        (
            '[{step="resize", how="stretch", size=[64, 64], fill=[1, 2, 3]}]',
            "fill has no effect",
        ),
        ('[{step="resise"}]', "does not match any of the expected tags: 'crop_box', 'align'"),
    ],
)
def test_steps_that_cannot_work_are_refused(
    make_competition: Make, steps: str, message: str
) -> None:
    folder = make_competition(num_subjects=2, num_test=1)
    with pytest.raises(ConfigError, match=message):
        prepared(folder, steps)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((1, 2, 0, 5), "has no area as xywh"),
        (("left", 2, 3, 5), "is no list of numbers"),
        ((1, 2, 3, ""), "is 3 numbers, not four"),
    ],
)
def test_boxes_that_are_none_are_refused_with_their_place(
    make_competition: Make, box: Any, message: str
) -> None:
    folder = make_competition(num_subjects=2, num_test=1)
    write_boxes(folder, whole_boxes(folder) | {"000_1": box})
    with pytest.raises(DataError, match=message) as caught:
        prepared(folder, BOXES)
    assert "train/000_1.png" in str(caught.value)


def test_boxes_for_train_alone_are_refused(make_competition: Make) -> None:
    folder = make_competition(num_subjects=2, num_test=2)
    boxes = whole_boxes(folder)
    write_boxes(folder, {name: box for name, box in boxes.items() if not name.startswith("t")})
    with pytest.raises(ConfigError, match="training would see crops"):
        prepared(folder, BOXES)


def test_several_boxes_of_a_picture(make_competition: Make) -> None:
    folder = make_competition(num_subjects=2, num_test=1)
    boxes = whole_boxes(folder)
    write_boxes(folder, boxes)
    with (folder / "boxes.csv").open("a", encoding="utf-8") as handle:
        handle.write("t0,10,20,38,20\n")
    found = {}
    for several in ("union", "largest", "first"):
        steps = BOXES.replace('"xywh"', f'"xywh", several="{several}"')
        found[several] = set(open_store(prepared(folder, steps).prepared).sizes.values())
    # All in one store: the choice is not a step, the box it gives is part of each key.
    assert found["union"] == {(32, 32), (36, 44)}
    assert found["largest"] == found["union"]
    assert found["first"] == found["union"]
