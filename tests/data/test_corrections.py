"""What a person writes beside suspect labels is done exactly, or refused line by line."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.data.corrections import (
    apply_corrections,
    label_text,
    read_corrections,
    rule_corrections,
    suspect_table,
)
from gorae.data.sources import Tables, Task
from gorae.errors import DataError


def tables_of(
    labels: list[Any], classes: tuple[str, ...], rows: list[str] | None = None
) -> Tables:
    ids = [f"train/{number}.jpg" for number in range(len(labels))]
    column = pd.Series(index=range(len(labels)), dtype=object)
    for place, label in enumerate(labels):
        column.iat[place] = label
    train = pd.DataFrame(
        {
            "image_id": pd.Series(ids, dtype="str"),
            "path": pd.Series(ids, dtype="str"),
            "row_id": pd.Series(rows or ids, dtype="str"),
            "label": column,
            "role": "train",
            "fold": -1,
        }
    )
    test = pd.DataFrame({"image_id": [], "path": [], "row_id": []}, dtype="str")
    return Tables(train, test, classes, (), ("a note",))


def written(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, "utf-8")
    return path


PETS: list[Any] = ["cat", "dog", "cat", "dog"]


def test_a_table_that_nobody_filled_in_changes_nothing(tmp_path: Path) -> None:
    tables = tables_of(PETS, ("cat", "dog"))
    ids = tables.train["image_id"].tolist()
    table = suspect_table(ids, given=PETS, suggested=PETS[::-1], scores=[0.9, 0.5, 0.2, 0.1])
    table.to_csv(tmp_path / "labels.csv", index=False)

    changed, weights = apply_corrections(
        tables, read_corrections(tmp_path / "labels.csv"), task="multiclass"
    )

    assert table.columns.tolist() == [
        "image_id", "given", "suggested", "score", "label", "weight", "note",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(changed.train, tables.train)
    assert changed.notes == ("a note",)
    assert (weights == 1).all()


def test_written_labels_and_weights_are_taken_and_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "image_id,given,suggested,score,label,weight,note\n"
        "train/0.jpg,cat,dog,0.9,dog,,it barks\n"
        "train/1.jpg,dog,cat,0.8,,0,blurred\n"
        "train/2.jpg,cat,dog,0.7,cat,0.5,\n"
        "train/3.jpg,dog,cat,0.6,,,\n",
    )
    before = tables_of(PETS, ("cat", "dog"))

    changed, weights = apply_corrections(before, read_corrections(path), task="multiclass")

    assert changed.train["label"].tolist() == ["dog", "dog", "cat", "dog"]
    assert before.train["label"].tolist() == PETS
    assert weights.to_dict() == {
        "train/0.jpg": 1, "train/1.jpg": 0, "train/2.jpg": 0.5, "train/3.jpg": 1,
    }  # fmt: skip
    assert changed.notes[-1] == (
        "labels.csv: 1 labels corrected, 1 pictures do not train, 1 pictures train with less "
        "weight"
    )


def test_several_labels_and_none_are_written_in_one_cell(tmp_path: Path) -> None:
    labels: list[Any] = [("b",), ("a", "b"), ("a", "c"), ("c",)]
    path = written(
        tmp_path, "image_id,label\ntrain/0.jpg,c|a\ntrain/1.jpg,b|a\ntrain/2.jpg,-\n"
    )

    changed, _ = apply_corrections(
        tables_of(labels, ("a", "b", "c")), read_corrections(path), task="multilabel"
    )

    assert changed.train["label"].tolist() == [("a", "c"), ("a", "b"), (), ("c",)]
    assert changed.notes[-1] == "labels.csv: 2 labels corrected"


def test_numbers_come_back_as_they_were_written(tmp_path: Path) -> None:
    values: list[Any] = [0.1, 2.0, 1e-7]
    path = written(
        tmp_path, f"image_id;label\ntrain/0.jpg;-3.25\ntrain/2.jpg;{label_text(1e-7)}\n"
    )

    changed, _ = apply_corrections(
        tables_of(values, ()), read_corrections(path), task="regression"
    )

    assert changed.train["label"].tolist() == [-3.25, 2.0, 1e-7]
    assert changed.notes[-1] == "labels.csv: 1 labels corrected"


def test_a_file_saved_by_korean_windows_is_read_when_said_so(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("image_id,label,note\ntrain/0.jpg,강아지,확인함\n".encode("cp949"))
    tables = tables_of(["고양이", "강아지", "고양이"], ("강아지", "고양이"))

    corrections = read_corrections(path, encoding="cp949")
    changed, _ = apply_corrections(tables, corrections, task="multiclass")

    assert changed.train["label"].tolist() == ["강아지", "강아지", "고양이"]
    with pytest.raises(DataError, match="reads as cp949"):
        read_corrections(path)


def test_all_faults_of_the_file_are_told_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "image_id,label,weight\na,dog,2\na,,\nb,,heavy\nc,,nan\nd,,-0.1\ne,,１\n",
    )
    with pytest.raises(DataError) as caught:
        read_corrections(path)
    assert "1 lines name a picture that an earlier line names: row 3" in str(caught.value)
    assert "5 weights are not numbers from 0 to 1 (first '2'): rows 2, 4, 5, 6, 7" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("task", "labels", "classes", "line", "match"),
    [
        (
            "multiclass",
            PETS,
            ("cat", "dog"),
            "train/0.jpg,wolf",
            "1 labels are not among the 2",
        ),
        (
            "multiclass",
            PETS,
            ("cat", "dog"),
            "other.jpg,cat",
            "1 image_id are not in the train",
        ),
        ("ordinal", ["0", "1", "2"], ("0", "1", "2"), "train/0.jpg,3", "known are 0, 1, 2"),
        ("multilabel", [("a",), ("a",)], ("a",), "train/0.jpg,a|b", "several: a|b, none: -"),
        ("regression", [1.0, 2.0], (), "train/0.jpg,nan", "finite numbers up to 1e12"),
        ("multiclass", ["cat", "dog"], ("cat", "dog"), "train/0.jpg,dog", "'cat'"),
    ],
)
def test_labels_that_cannot_be_are_refused(
    tmp_path: Path,
    task: Task,
    labels: list[Any],
    classes: tuple[str, ...],
    line: str,
    match: str,
) -> None:
    corrections = read_corrections(written(tmp_path, f"image_id,label\n{line}\n"))
    with pytest.raises(DataError) as caught:
        apply_corrections(tables_of(labels, classes), corrections, task=task)
    assert match in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_unknown_pictures_and_labels_are_told_together(tmp_path: Path) -> None:
    corrections = read_corrections(
        written(tmp_path, "image_id,label,weight\nx,cat,\ny,,0\ntrain/1.jpg,wolf,\n")
    )
    with pytest.raises(DataError) as caught:
        apply_corrections(tables_of(PETS, ("cat", "dog")), corrections, task="multiclass")
    assert "2 image_id are not in the train table: x, y" in str(caught.value)
    assert "train/1.jpg -> 'wolf'" in str(caught.value)


def test_pictures_of_one_row_must_keep_one_label(tmp_path: Path) -> None:
    corrections = read_corrections(written(tmp_path, "image_id,label\ntrain/0.jpg,dog\n"))
    labels: list[Any] = ["cat", "cat", "dog", "cat"]
    tables = tables_of(labels, ("cat", "dog"), rows=["r1", "r1", "r2", "r3"])
    with pytest.raises(DataError, match=r"1 rows would have pictures .*: r1"):
        apply_corrections(tables, corrections, task="multiclass")


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs the columns image_id and label or weight"):
        read_corrections(written(tmp_path, "id,label\n1,cat\n"))


def test_a_rule_takes_far_grades_out_of_training_only(tmp_path: Path) -> None:
    labels: list[Any] = ["0", "3", "1", "5"]
    tables = tables_of(labels, ("0", "1", "2", "3", "4", "5"))
    distances = np.array([0.2, 1.7, 1.6, 4.0])
    table = rule_corrections(
        tables.train["image_id"].tolist(),
        given=labels,
        suggested=[0.2, 1.3, 2.6, 1.0],
        distances=distances,
        threshold=1.6,
    )
    table.to_csv(tmp_path / "rule.csv", index=False)

    changed, weights = apply_corrections(
        tables, read_corrections(tmp_path / "rule.csv"), task="ordinal"
    )

    assert table["image_id"].tolist() == ["train/3.jpg", "train/1.jpg"]
    assert table["suggested"].tolist() == ["1.0", "1.3"]
    assert weights.tolist() == [1, 0, 1, 0]
    assert changed.train["label"].tolist() == labels
    assert changed.notes[-1] == "rule.csv: 2 pictures do not train"
