"""A finished run on new pictures."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gorae
from gorae.errors import DataError, UserError
from gorae.workspace import Workspace, read_predictions

Make = Callable[..., Path]
Run = Callable[..., Any]
Cli = Callable[..., Any]


def new_pictures(folder: Path) -> Path:
    """Pictures of a competition's test set elsewhere, and some that are none."""
    images = folder.parent / "새 사진"
    shutil.copytree(folder / "test", images / "안쪽")
    (images / "안쪽" / "t2.png").write_bytes(b"")
    (images / "깨진: 그림, 둘.png").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (images / "읽어.txt").write_text("no picture", "utf-8")
    os.mkfifo(images / "관.png")
    return images


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return {line["image"]: line for line in csv.DictReader(handle)}


def test_every_picture_is_predicted_or_named_with_its_problem(
    make_competition: Make, run_quick: Run, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    result = run_quick(folder)
    images = new_pictures(folder)
    said = gorae_cli("predict", "0001", "--images", images, "--folder", folder, "--json")
    assert said.code == 0, said.err
    target = Workspace(folder).run(result.run_id)
    path = target.path / "predictions-새 사진.csv"
    assert said.json["predictions"] == str(path)
    assert said.json["num_images"] == 3
    rows = rows_of(path)
    assert set(rows) == {"안쪽/t0.png", "안쪽/t1.png", "안쪽/t2.png", "안쪽/t3.png",
                         "깨진: 그림, 둘.png", "관.png"}  # fmt: skip
    kept = read_predictions(target.test)
    for name in ("t0", "t1", "t3"):
        row = rows[f"안쪽/{name}.png"]
        values = [float(row[column]) for column in kept.columns]
        np.testing.assert_allclose(values, kept.select([name]).values[0], atol=1e-6)
        assert row["label"] == kept.columns[int(np.argmax(values))]
        assert row["problem"] == ""
    assert rows["안쪽/t2.png"]["problem"] == "empty (0 bytes)"
    assert rows["깨진: 그림, 둘.png"]["problem"].startswith(("truncated", "corrupt"))
    assert rows["관.png"]["problem"].startswith("fifo")
    assert rows["관.png"]["label"] == rows["관.png"]["원"] == ""
    assert len(said.json["failed"]) == 3
    # Never written over.
    said = gorae_cli("predict", "0001", "--images", images, "--folder", folder)
    assert said.code == 64
    assert "is there already. Name another file with --output" in said.err
    other = folder.parent / "답.csv"
    said = gorae_cli(
        "predict", "0001", "--images", images, "--folder", folder, "--output", other
    )
    assert said.code == 0, said.err
    assert other.read_bytes() == path.read_bytes()


def test_a_class_may_be_called_like_a_column_of_the_file(
    make_competition: Make, run_quick: Run, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    for name in ("train.csv", "sample_submission.csv"):
        text = (folder / name).read_text("utf-8")
        text = text.replace(",원", ",label").replace(",상자", ",problem")
        (folder / name).write_text(text, "utf-8")
    run_quick(folder)
    images = new_pictures(folder)
    said = gorae_cli("predict", "0001", "--images", images, "--folder", folder, "--json")
    assert said.code == 0, said.err
    row = rows_of(Path(said.json["predictions"]))["안쪽/t0.png"]
    assert set(row) == {"image", "label", "class label", "class problem", "problem"}
    assert row["label"] in ("label", "problem")


def test_numbers_are_predicted_as_numbers(make_competition: Make, run_quick: Run) -> None:
    folder = make_competition(12, 4)
    table = pd.read_csv(folder / "train.csv", dtype=str)
    table["label"] = [f"{20 + i / 7:.3f}" for i in range(len(table))]
    table.to_csv(folder / "train.csv", index=False)
    sample = pd.read_csv(folder / "sample_submission.csv", dtype=str).assign(label="0.5")
    sample.to_csv(folder / "sample_submission.csv", index=False)
    run_quick(folder)
    from gorae.pipeline.predict import predict

    found = predict(folder, images=folder / "test")
    rows = rows_of(found.path)
    assert all(set(row) == {"image", "value"} for row in rows.values())
    assert all(10 < float(row["value"]) < 35 for row in rows.values())


def test_what_cannot_be_predicted_says_so(
    make_competition: Make, run_quick: Run, gorae_cli: Cli, tmp_path: Path
) -> None:
    folder = make_competition(12, 4)
    said = gorae_cli("predict", "0001", "--images", folder / "test", "--folder", folder)
    assert said.code == 64
    assert "There is no run in" in said.err
    result = run_quick(folder)
    at = Workspace(folder).run(result.run_id).path
    for arguments, code, words in (
        (["9999"], 64, "'9999' is no run here. Runs: 0001-quick-lenet5"),
        (["0001", "--images", tmp_path / "없음"], 64, "There is no folder"),
        (["0001", "--images", at], 65, "There are no pictures in"),
    ):
        images = [] if "--images" in arguments else ["--images", folder / "test"]
        said = gorae_cli("predict", *arguments, *images, "--folder", folder)
        assert said.code == code
        assert words in said.err
    loaded = gorae.load_run(at)
    picture = folder / "test" / "t0.png"
    broken = tmp_path / "깨짐.png"
    broken.write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)1 pictures cannot be read.*깨짐\.png: empty"):
        loaded.predict([picture, broken])
    with pytest.raises(DataError, match="None of the pictures can be read"):
        loaded.predict([broken])
    with pytest.raises(DataError, match="A path is listed twice"):
        loaded.predict([picture, picture])
    with pytest.raises(DataError, match="Picture 0 is float64"):
        loaded.predict([np.zeros((4, 4, 3))])  # type: ignore[list-item]  # the wrong type is meant
    with pytest.raises(UserError, match="There is no finished run in"):
        gorae.load_run(folder)


def test_no_pictures_at_all_is_an_error(make_competition: Make, run_quick: Run) -> None:
    folder = make_competition(12, 4)
    result = run_quick(folder)
    loaded = gorae.load_run(Workspace(folder).run(result.run_id).path)
    with pytest.raises(DataError, match="no pictures"):
        loaded.predict([])


def test_paths_from_another_folder_keep_their_names(
    make_competition: Make, run_quick: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_competition(12, 4)
    result = run_quick(folder)
    loaded = gorae.load_run(Workspace(folder).run(result.run_id).path)
    monkeypatch.chdir(folder / "test")
    Image.open("t0.png").convert("L").save("회색.jpg")
    found = loaded.predict(["t0.png", "../train/000_0.png", "회색.jpg"])
    assert found.ids == ("t0.png", "../train/000_0.png", "회색.jpg")
