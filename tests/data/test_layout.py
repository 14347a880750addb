"""Every layout as a small drawn folder: recognised, then read back as tables."""

import csv
import io
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gorae.config import Competition
from gorae.data.layout import Recognised, recognise
from gorae.data.sources import SampleSource, Tables
from gorae.data.tables import read_tables
from gorae.errors import DataError, UserError


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (30, 60, 90)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()


def draw(folder: Path, names: Sequence[str]) -> None:
    """Write a tiny picture under each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)


def table(folder: Path, name: str, rows: Sequence[Sequence[object]], **options: Any) -> None:
    """Write a CSV; the first row is the header."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=options.pop("encoding", "utf-8"), newline="") as handle:
        csv.writer(handle, **options).writerows(rows)


def read(folder: Path, settings: Mapping[str, Any]) -> Tables:
    """Read the tables that recognised settings describe, through the checked settings."""
    competition = Competition.model_validate(settings)
    form = competition.submission
    sample = None
    if form is not None and form.sample is not None:
        sample = SampleSource(
            table=form.sample,
            id_column=form.id_column,
            encoding=form.encoding,
            delimiter=form.delimiter,
        )
    return read_tables(
        folder,
        task=competition.task,
        classes=competition.classes,
        train=competition.train,
        holdout=competition.holdout,
        extra=competition.extra,
        test=competition.test,
        submission_sample=sample,
    )


def settle(folder: Path, **answers: str) -> tuple[dict[str, Any], Tables, Recognised]:
    """Recognise with answers, then read."""
    found = recognise(folder, answers=answers)
    assert not found.questions
    return found.settings, read(folder, found.settings), found


def test_class_folders_with_validation_and_test(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{c}/{i}.png" for c in ("고양이", "개") for i in range(3)])
    draw(tmp_path, ["valid/고양이/10.png", "valid/개/11.png", "train/stray.png"])
    draw(tmp_path, ["test/20.png", "test/21.png"])
    # One unlabelled picture in seven would be too many to believe in class folders.
    draw(tmp_path, [f"train/개/{i}.png" for i in range(30, 40)])
    settings, tables, found = settle(tmp_path)
    assert settings["holdout"]["images"] == "valid"
    assert settings["metric"] == "macro_f1"
    assert tables.classes == ("개", "고양이")
    assert tables.train["role"].value_counts().to_dict() == {"train": 16, "holdout": 2}
    assert tables.train.loc[0, "image_id"] == "train/개/0.png"
    assert tables.test["row_id"].tolist() == ["20.png", "21.png"]
    assert settings["submission"]["kind"] == "label"
    assert any("1 of 17 pictures in train match no label" in note for note in found.notes)
    assert any("1 pictures in train belong to no line" in note for note in tables.notes)


def test_bare_class_folders(tmp_path: Path) -> None:
    draw(tmp_path, [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(3)])
    settings, tables, _ = settle(tmp_path)
    assert settings["metric"] == "accuracy"
    assert "test" not in settings
    assert "submission" not in settings
    assert tables.classes == ("cat", "dog")
    assert len(tables.test) == 0


def test_bare_class_folders_beside_test_leave_test_alone(tmp_path: Path) -> None:
    draw(tmp_path, [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(3)])
    draw(tmp_path, ["test/x.png"])
    _, tables, _ = settle(tmp_path)
    assert tables.classes == ("cat", "dog")
    assert tables.test["image_id"].tolist() == ["test/x.png"]


@pytest.mark.parametrize(("answer", "roles"), [("validation", 2), ("predict", 1)])
def test_labelled_test_folder_is_asked_about(tmp_path: Path, answer: str, roles: int) -> None:
    draw(tmp_path, [f"{p}/{c}/{i}.png" for p in ("train", "test") for c in "ab" for i in "12"])
    question = recognise(tmp_path).questions[0]
    assert question.key == "test_folder"
    settings, tables, _ = settle(tmp_path, test_folder=answer)
    assert tables.train["role"].nunique() == roles
    assert ("test" in settings) == (answer == "predict")


def test_class_named_train_is_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, [f"{c}/{i}.png" for c in ("bus", "car", "train") for i in range(3)])
    assert recognise(tmp_path).questions[0].key == "train_folder"
    _, tables, _ = settle(tmp_path, train_folder="one class")
    assert tables.classes == ("bus", "car", "train")


def test_answer_must_be_an_option(tmp_path: Path) -> None:
    draw(tmp_path, [f"{c}/{i}.png" for c in ("bus", "car", "train") for i in range(3)])
    with pytest.raises(UserError, match=r"'maybe' is no answer to 'train_folder'.*one class"):
        recognise(tmp_path, answers={"train_folder": "maybe"})


@pytest.mark.parametrize("root", ["train", "data/train/train"])
def test_dogs_vs_cats(tmp_path: Path, root: str) -> None:
    draw(tmp_path, [f"{root}/{c}.{i}.jpg" for c in ("cat", "dog") for i in range(5)])
    test_root = root.replace("train", "test1")
    draw(tmp_path, [f"{test_root}/{i}.jpg" for i in (1, 2, 10)])
    table(tmp_path, "sampleSubmission.csv", [["id", "label"], [10, 0], [2, 0], [1, 0]])
    settings, tables, _ = settle(tmp_path)
    assert settings["submission"] == {
        "sample": "sampleSubmission.csv",
        "id_column": "id",
        "columns": ["label"],
        "kind": "label",
        "written": {"cat": "0", "dog": "1"},
    }
    assert settings["metric"] == "accuracy"
    assert tables.classes == ("cat", "dog")
    assert tables.test["row_id"].tolist() == ["10", "2", "1"]
    assert tables.test["path"].tolist() == [f"{test_root}/{i}.jpg" for i in (10, 2, 1)]


def test_redux_sample_asks_for_the_probability_of_dog(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{c}.{i}.jpg" for c in ("cat", "dog") for i in range(5)])
    draw(tmp_path, ["test/1.jpg"])
    table(tmp_path, "sample_submission.csv", [["id", "label"], [1, 0.5]])
    settings, _, _ = settle(tmp_path)
    assert settings["submission"]["column_classes"] == {"label": "dog"}
    assert settings["metric"] == "roc_auc"


def test_numbers_for_other_names_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i:03d}_{c}.png" for c in ("낮", "밤") for i in range(5)])
    draw(tmp_path, ["test/1.png"])
    table(tmp_path, "sample_submission.csv", [["id", "label"], [1, 0]])
    question = recognise(tmp_path).questions[0]
    assert question.key == "written"
    assert "낮=0, 밤=1" in question.options
    settings, tables, _ = settle(tmp_path, written="밤=0, 낮=1")
    assert settings["submission"]["written"] == {"밤": "0", "낮": "1"}
    assert tables.classes == ("낮", "밤")


def tabular(folder: Path, *, extension: str = ".jpg", inside: str = "") -> None:
    """Pictures with train.csv, test.csv and a sample; ids without extension unless given."""
    draw(folder, [f"train/{inside}{i:05d}.jpg" for i in range(8)])
    draw(folder, [f"test/{inside}{i:05d}.jpg" for i in range(50, 54)])
    header = ["image", "label", "age", "patient"]
    rows = [[f"{i:05d}{extension}", "xy"[i % 2], 30 + i, f"p{i // 2}"] for i in range(8)]
    table(folder, "train.csv", [header, *rows])
    ids = [f"{i:05d}{extension}" for i in (53, 51, 50, 52)]
    table(
        folder, "test.csv", [["image", "age", "patient"], *([i, 40, "q"] for i in sorted(ids))]
    )
    table(folder, "sample_submission.csv", [["image", "label"], *([i, "x"] for i in ids)])


@pytest.mark.parametrize("extension", [".jpg", "", ".JPG"])
@pytest.mark.parametrize("inside", ["", "a/b/"])
def test_train_test_and_sample_tables(tmp_path: Path, extension: str, inside: str) -> None:
    tabular(tmp_path, extension=extension, inside=inside)
    settings, tables, _ = settle(tmp_path)
    assert settings["train"]["label_columns"] == ["label"]
    assert tables.group_columns == ("meta.patient",)
    assert tables.train.columns.tolist() == [
        "image_id", "path", "arguments", "row_id", "label", "role", "fold",
            "meta.age", "meta.patient",
    ]  # fmt: skip
    assert tables.train["path"].map(lambda path: (tmp_path / path).is_file()).all()
    assert tables.test["row_id"].tolist() == [f"000{i}{extension}" for i in (53, 51, 50, 52)]
    assert [path[-9:-4] for path in tables.test["path"]] == ["00053", "00051", "00050", "00052"]


def test_ids_in_sub_folders_as_paths(tmp_path: Path) -> None:
    draw(tmp_path, ["images/a/1.png", "images/b/1.png", "images/c/9.png", "images/c/8.png"])
    table(tmp_path, "train.csv", [["file", "label"], ["a/1.png", "x"], ["b/1.png", "y"]])
    table(tmp_path, "sample_submission.csv", [["file", "label"], ["c/9", "x"], ["c/8", "x"]])
    settings, tables, _ = settle(tmp_path)
    assert settings["train"]["images"] == "images"
    assert tables.train["label"].tolist() == ["x", "y"]
    assert tables.test["path"].tolist() == ["images/c/9.png", "images/c/8.png"]


def test_korean_table_in_cp949_and_nfd_files(tmp_path: Path) -> None:
    names = [f"학습/사진{i}.png" for i in range(4)]
    draw(tmp_path, [unicodedata.normalize("NFD", name) for name in names])
    draw(tmp_path, ["시험/그림.png"])
    rows = [["사진", "라벨"], *([f"사진{i}", ("맑음", "흐림")[i % 2]] for i in range(4))]
    table(tmp_path, "train.csv", rows, encoding="cp949")
    table(tmp_path, "sample_submission.csv", [["사진", "라벨"], ["그림", "맑음"]])
    with pytest.raises(DataError, match="pass `--encoding cp949`"):
        recognise(tmp_path)
    found = recognise(tmp_path, encoding="cp949")
    assert found.settings["train"]["encoding"] == "cp949"
    assert "encoding" not in found.settings["submission"]
    tables = read(tmp_path, found.settings)
    assert tables.classes == ("맑음", "흐림")
    assert len(tables.train) == 4
    assert tables.test["row_id"].tolist() == ["그림"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_delimiter_is_recognised(tmp_path: Path, delimiter: str) -> None:
    draw(tmp_path, [f"train/{i}.png" for i in range(4)])
    body = [[i, "ab"[i % 2]] for i in range(4)]
    table(tmp_path, "train.csv", [["id", "label"], *body], delimiter=delimiter)
    settings, tables, _ = settle(tmp_path)
    assert settings["train"]["delimiter"] == delimiter
    assert tables.classes == ("a", "b")


def test_one_hot_columns_are_one_label(tmp_path: Path) -> None:
    draw(tmp_path, [f"images/Train_{i}.jpg" for i in range(6)])
    draw(tmp_path, [f"images/Test_{i}.jpg" for i in range(2)])
    names = ["healthy", "rust", "scab"]
    rows = [[f"Train_{i}", *(int(i % 3 == k) for k in range(3))] for i in range(6)]
    table(tmp_path, "train.csv", [["image_id", *names], *rows])
    table(tmp_path, "test.csv", [["image_id"], ["Test_0"], ["Test_1"]])
    sample = [[f"Test_{i}", 0.25, 0.25, 0.25] for i in range(2)]
    table(tmp_path, "sample_submission.csv", [["image_id", *names], *sample])
    settings, tables, _ = settle(tmp_path)
    assert settings["task"] == "multiclass"
    assert settings["metric"] == "log_loss"
    assert settings["submission"]["kind"] == "probability"
    assert tables.train["label"].tolist() == names * 2


def test_several_flags_are_multilabel(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)] + ["test/9.jpg"])
    table(tmp_path, "train.csv", [["id", "a", "b"], [0, 1, 1], [1, 0, 0], [2, 1, 0], [3, 0, 1]])
    table(tmp_path, "sample_submission.csv", [["id", "a", "b"], [9, 0, 0]])
    settings, tables, _ = settle(tmp_path)
    assert settings["task"] == "multilabel"
    assert settings["metric"] == "roc_auc_macro"
    assert tables.train["label"].tolist() == [("a", "b"), (), ("a",), ("b",)]


@pytest.mark.parametrize("mark", [" ", "|", ","])
def test_delimited_labels_are_multilabel(tmp_path: Path, mark: str) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)] + ["test/9.jpg"])
    labels = [f"rust{mark}scab", "rust", "scab", f"mildew{mark}rust"]
    table(tmp_path, "train.csv", [["id", "labels"], *enumerate(labels)])
    table(tmp_path, "sample_submission.csv", [["id", "labels"], [9, f"rust{mark}scab"]])
    settings, tables, _ = settle(tmp_path)
    assert settings["task"] == "multilabel"
    assert settings["metric"] == "micro_f1"
    assert settings["train"]["label_delimiter"] == mark
    assert settings["submission"]["separator"] == mark
    assert tables.classes == ("mildew", "rust", "scab")
    assert tables.train["label"].iloc[0] == ("rust", "scab")


def test_class_names_with_spaces_are_single_labels(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)])
    names = ["golden retriever", "german shepherd", "golden retriever", "german shepherd"]
    table(tmp_path, "train.csv", [["id", "breed"], *enumerate(names)])
    settings, tables, _ = settle(tmp_path)
    assert settings["task"] == "multiclass"
    assert tables.classes == ("german shepherd", "golden retriever")


def test_labels_that_may_be_several_are_asked_about(tmp_path: Path) -> None:
    names = [f"{a} {b}" for a in ("red", "green", "blue") for b in ("car", "bus", "van")]
    draw(tmp_path, [f"train/{i}.jpg" for i in range(len(names))])
    table(tmp_path, "train.csv", [["id", "label"], *enumerate(names)])
    question = recognise(tmp_path).questions[0]
    assert question.key == "label_delimiter"
    assert settle(tmp_path, label_delimiter="one name")[0]["task"] == "multiclass"
    assert settle(tmp_path, label_delimiter="several labels")[0]["task"] == "multilabel"


def person_folders(folder: Path, *, ans: bool) -> None:
    people: list[tuple[str, str, int]] = [
        ("000001", "female", 45),
        ("000002", "male", 29),
        ("003", "male", 60),
    ]
    rows: list[list[object]] = []
    for id_, gender, age in people:
        name = f"{id_}_{gender}_Asian_{age}"
        rows.append([id_, gender, "Asian", age, name])
        stems = [f"mask{i}" for i in range(1, 6)] + ["incorrect_mask", "normal"]
        draw(folder, [f"train/images/{name}/{stem}.jpg" for stem in stems])
    header = ["id", "gender", "race", "age", "path"]
    table(folder, "train/train.csv", [header, *rows])
    draw(folder, ["eval/images/b.jpg", "eval/images/a.jpg"])
    asked: list[list[object]] = [["ImageID", "ans"], ["b.jpg", 0], ["a.jpg", 0]]
    table(folder, "eval/info.csv", [row if ans else row[:1] for row in asked])


@pytest.mark.parametrize("ans", [True, False])
def test_person_folders_of_the_mask_competition(tmp_path: Path, ans: bool) -> None:
    person_folders(tmp_path, ans=ans)
    settings, tables, _ = settle(tmp_path)
    assert settings["submission"]["columns"] == ["ans"]
    assert settings["submission"]["id_column"] == "ImageID"
    assert tables.classes == tuple(str(index) for index in range(18))
    assert tables.group_columns == ("meta.id",)
    assert len(tables.train) == 21
    labels = dict(zip(tables.train["image_id"], tables.train["label"], strict=True))
    # FACTS H: wear female 30-59 is 4; worn male <30 is 0; bare male >=60 is 14.
    assert labels["train/images/000001_female_Asian_45/mask3.jpg"] == "4"
    assert labels["train/images/000001_female_Asian_45/incorrect_mask.jpg"] == "10"
    assert labels["train/images/000002_male_Asian_29/mask1.jpg"] == "0"
    assert labels["train/images/003_male_Asian_60/normal.jpg"] == "14"
    assert tables.test["row_id"].tolist() == ["b.jpg", "a.jpg"]


def test_folders_of_pictures_are_rows(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/case{i}/{v}.png" for i in range(3) for v in ("front", "side")])
    draw(tmp_path, [f"test/case{i}/{v}.png" for i in (7, 8) for v in ("front", "side")])
    table(
        tmp_path,
        "train.csv",
        [["study", "label"], *([f"case{i}", "ab"[i % 2]] for i in range(3))],
    )
    table(
        tmp_path, "sample_submission.csv", [["study", "label"], ["case8", "a"], ["case7", "a"]]
    )
    settings, tables, _ = settle(tmp_path)
    assert settings["train"]["row_column"] == "study"
    assert tables.train["row_id"].tolist() == [
        "case0",
        "case0",
        "case1",
        "case1",
        "case2",
        "case2",
    ]
    assert tables.test["row_id"].tolist() == ["case8", "case8", "case7", "case7"]


def test_row_id_repeats_over_pictures(tmp_path: Path) -> None:
    draw(
        tmp_path,
        [f"train/{i}.png" for i in range(6)] + [f"test/{i}.png" for i in range(10, 14)],
    )
    train = [[f"r{i // 2}", f"{i}.png", "ab"[i // 2 % 2]] for i in range(6)]
    table(tmp_path, "train.csv", [["id", "file", "label"], *train])
    test = [[f"t{i // 2}", f"{i}.png"] for i in range(10, 14)]
    table(tmp_path, "test.csv", [["id", "file"], *test])
    table(tmp_path, "sample_submission.csv", [["id", "label"], ["t6", "a"], ["t5", "a"]])
    settings, tables, _ = settle(tmp_path)
    assert settings["test"]["row_column"] == "id"
    assert tables.train["row_id"].tolist() == ["r0", "r0", "r1", "r1", "r2", "r2"]
    assert tables.test["row_id"].tolist() == ["t6", "t6", "t5", "t5"]
    assert tables.test["image_id"].tolist() == [f"test/{i}.png" for i in (12, 13, 10, 11)]


def test_whale_layout_is_ranked(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(6)] + ["test/9.jpg"])
    table(
        tmp_path,
        "train.csv",
        [["Image", "Id"], *([f"{i}.jpg", f"w_{i % 4}"] for i in range(6))],
    )
    guess = "new_whale w_0 w_1 w_2 w_3"
    table(tmp_path, "sample_submission.csv", [["Image", "Id"], ["9.jpg", guess]])
    settings, tables, _ = settle(tmp_path)
    assert settings["metric"] == "map_at_k"
    assert settings["metric_params"] == {"k": 5}
    assert settings["submission"]["unknown_label"] == "new_whale"
    assert tables.classes == ("w_0", "w_1", "w_2", "w_3")


def test_regression_by_fractions_and_by_answer(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(40)] + ["test/90.jpg"])
    table(tmp_path, "train.csv", [["id", "score"], *((i, i / 7) for i in range(40))])
    table(tmp_path, "sample_submission.csv", [["id", "score"], [90, 0]])
    settings, tables, _ = settle(tmp_path)
    assert (settings["task"], settings["metric"]) == ("regression", "rmse")
    assert tables.train["label"].iloc[7] == 1.0
    assert settings["submission"]["kind"] == "value"
    table(tmp_path, "train.csv", [["id", "score"], *((i, i) for i in range(40))])
    assert recognise(tmp_path).questions[0].key == "task"
    assert settle(tmp_path, task="multiclass")[0]["task"] == "multiclass"
    assert settle(tmp_path, task="regression")[0]["metric"] == "rmse"


def test_grades_are_classes_with_a_note(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(10)])
    table(tmp_path, "train.csv", [["id", "diagnosis"], *((i, i % 5) for i in range(10))])
    settings, _, found = settle(tmp_path)
    assert settings["task"] == "multiclass"
    assert any('task = "ordinal"' in note for note in found.notes)


def test_probability_of_an_unnamed_class_is_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)] + ["test/9.jpg"])
    table(
        tmp_path, "train.csv", [["id", "kind"], *((i, ("ok", "bad")[i % 2]) for i in range(4))]
    )
    table(tmp_path, "sample_submission.csv", [["id", "target"], [9, 0.5]])
    assert recognise(tmp_path).questions[0].key == "positive_class"
    settings, _, _ = settle(tmp_path, positive_class="bad")
    assert settings["submission"]["column_classes"] == {"target": "bad"}


def test_binary_numbers_with_fractions_are_probabilities_of_one(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)] + ["test/9.jpg"])
    table(
        tmp_path, "train.csv", [["id", "has_cactus"], *((f"{i}.jpg", i % 2) for i in range(4))]
    )
    table(tmp_path, "sample_submission.csv", [["id", "has_cactus"], ["9.jpg", 0.5]])
    settings, _, _ = settle(tmp_path)
    assert settings["submission"]["column_classes"] == {"has_cactus": "1"}
    assert settings["metric"] == "roc_auc"


def test_columns_of_the_sample_are_classes_of_a_column(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(6)] + ["test/9.jpg"])
    names = ["affenpinscher", "beagle", "chow"]
    table(tmp_path, "labels.csv", [["id", "breed"], *((i, names[i % 3]) for i in range(6))])
    table(tmp_path, "sample_submission.csv", [["id", *names], [9, 0.3, 0.3, 0.4]])
    settings, tables, _ = settle(tmp_path)
    assert settings["train"]["label_columns"] == ["breed"]
    assert settings["metric"] == "log_loss"
    assert settings["submission"]["column_classes"] == {name: name for name in names}
    assert tables.classes == tuple(names)


def test_fold_and_box_columns(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(6)])
    header = ["id", "label", "fold", "x1", "y1", "x2", "y2"]
    table(
        tmp_path,
        "train.csv",
        [header, *([i, "ab"[i % 2], i % 3, 0, 0, 2, 2] for i in range(6))],
    )
    settings, tables, _ = settle(tmp_path)
    assert settings["train"]["fold_column"] == "fold"
    assert settings["train"]["box_format"] == "xyxy"
    assert tables.train["fold"].tolist() == [0, 1, 2, 0, 1, 2]
    assert tables.train["meta.x2"].tolist() == ["2"] * 6


def test_box_in_one_column_is_asked_about_unless_it_tells(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)])
    rows = [[i, "ab"[i % 2], "[1, 1, 3, 3]"] for i in range(4)]
    table(tmp_path, "train.csv", [["id", "label", "bbox"], *rows])
    assert recognise(tmp_path).questions[0].key == "box_format"
    assert settle(tmp_path, box_format="xyxy")[0]["train"]["box_columns"] == ["bbox"]
    rows[2][2] = "[2, 2, 1, 1]"
    table(tmp_path, "train.csv", [["id", "label", "bbox"], *rows])
    assert settle(tmp_path)[0]["train"]["box_format"] == "xywh"


def test_group_found_by_what_test_does_not_share(tmp_path: Path) -> None:
    draw(
        tmp_path,
        [f"train/{i}.jpg" for i in range(40)] + [f"test/{i}.jpg" for i in range(50, 90)],
    )
    rows = [[i, "ab"[i % 2], f"s{i // 2}", "MF"[i % 2]] for i in range(40)]
    table(tmp_path, "train.csv", [["id", "label", "site_no", "sex"], *rows])
    test = [[i, f"s{i // 2}", "MF"[i % 2]] for i in range(50, 90)]
    table(tmp_path, "test.csv", [["id", "site_no", "sex"], *test])
    settings, _, found = settle(tmp_path)
    assert settings["train"]["group_columns"] == ["site_no"]
    assert any("test shares 0 of its 20 values" in line for line in found.evidence)


def test_validation_and_extra_tables(tmp_path: Path) -> None:
    for part, start in (("train", 0), ("valid", 10), ("extra", 20)):
        draw(tmp_path, [f"{part}/{start + i}.jpg" for i in range(4)])
        rows = [[f"{start + i}.jpg", "ab"[i % 2]] for i in range(4)]
        table(tmp_path, f"{part}.csv", [["file", "label"], *rows])
    settings, tables, _ = settle(tmp_path)
    assert settings["holdout"]["table"] == "valid.csv"
    assert settings["extra"][0]["images"] == "extra"
    assert tables.train["role"].tolist() == ["train"] * 4 + ["holdout"] * 4 + ["extra"] * 4


def test_zip_files_are_read(tmp_path: Path) -> None:
    for part, names in (
        ("train", [f"{c}.{i}.jpg" for c in ("cat", "dog") for i in range(4)]),
        ("test", ["1.jpg", "2.jpg"]),
    ):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            for name in names:
                archive.writestr(f"{part}/{name}", PNG)
    table(tmp_path, "sample_submission.csv", [["id", "label"], [2, 0], [1, 0]])
    settings, tables, _ = settle(tmp_path)
    assert settings["train"]["images"] == "train.zip/train"
    assert tables.train.loc[0, "image_id"] == "train.zip/train/cat.0.jpg"
    assert tables.train["path"].str.startswith(".gorae/extracted/").all()
    assert all(
        (tmp_path / path).is_file() for path in [*tables.train["path"], *tables.test["path"]]
    )


def test_zipped_table_is_read(tmp_path: Path) -> None:
    tabular(tmp_path)
    with zipfile.ZipFile(tmp_path / "train.csv.zip", "w") as archive:
        archive.write(tmp_path / "train.csv", "train.csv")
    (tmp_path / "train.csv").unlink()
    settings, tables, _ = settle(tmp_path)
    assert settings["train"]["table"] == "train.csv.zip/train.csv"
    assert len(tables.train) == 8


def test_solution_is_never_opened(tmp_path: Path) -> None:
    tabular(tmp_path)
    # Not text in any encoding, and a folder: opening either would fail.
    (tmp_path / "Solution.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "train_solution.csv").mkdir()
    draw(tmp_path, ["train/solution/1.png"])
    settings, tables, found = settle(tmp_path)
    assert not any("olution" in line for line in (*found.evidence, *found.notes))
    assert any("1 pictures in train belong" in note for note in tables.notes)
    (tmp_path / "Solution.csv").write_bytes((tmp_path / "train.csv").read_bytes())
    settings["train"]["table"] = "Solution.csv"
    with pytest.raises(
        DataError, match=r"Solution\.csv is called a solution and is never read"
    ):
        read(tmp_path, settings)


def test_two_train_tables_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)])
    for name in ("train_a.csv", "train_b.csv"):
        table(tmp_path, name, [["id", "label"], *((i, "ab"[i % 2]) for i in range(4))])
    question = recognise(tmp_path).questions[0]
    assert (question.key, question.options) == ("train_table", ("train_a.csv", "train_b.csv"))
    assert settle(tmp_path, train_table="train_b.csv")[0]["train"]["table"] == "train_b.csv"


def test_two_label_columns_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)])
    rows = [(i, "ab"[i % 2], "cd"[i // 2]) for i in range(4)]
    table(tmp_path, "train.csv", [["id", "colour", "shape"], *rows])
    assert recognise(tmp_path).questions[0].options == ("colour", "shape")
    assert settle(tmp_path, label_column="shape")[1].classes == ("c", "d")


def test_two_folders_that_fit_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{size}/{i}.jpg" for size in ("big", "small") for i in range(4)])
    table(tmp_path, "train.csv", [["id", "label"], *((i, "ab"[i % 2]) for i in range(4))])
    assert recognise(tmp_path).questions[0].options == ("train/big", "train/small")
    settings, tables, _ = settle(tmp_path, train_images="train/big")
    assert settings["train"]["images"] == "train/big"
    assert len(tables.train) == 4


def test_nothing_recognised_lists_what_was_found(tmp_path: Path) -> None:
    draw(tmp_path, ["a/IMG_1.png", "a/IMG_2.png"])
    table(tmp_path, "notes.csv", [["x", "y"], [1, 2]])
    with pytest.raises(
        DataError, match=r"No layout.*2 pictures in a; table notes.csv \(x, y\)"
    ):
        recognise(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        recognise(tmp_path / "nowhere")


def test_sample_without_pictures_is_named(tmp_path: Path) -> None:
    draw(tmp_path, [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(3)])
    table(tmp_path, "sample_submission.csv", [["id", "label"], ["q1", "cat"]])
    with pytest.raises(DataError, match=r"ids of sample_submission.csv \(first 'q1'\) name no"):
        recognise(tmp_path)


def test_columns_that_fit_no_class_are_named(tmp_path: Path) -> None:
    draw(tmp_path, [f"train/{i}.jpg" for i in range(4)] + ["test/9.jpg"])
    table(tmp_path, "train.csv", [["id", "label"], *((i, "ab"[i % 2]) for i in range(4))])
    table(tmp_path, "sample_submission.csv", [["id", "x", "y", "z"], [9, 0.1, 0.2, 0.7]])
    with pytest.raises(DataError, match=r"3 answer columns \(x, y, z\), train has 2 classes"):
        recognise(tmp_path)


EXPECTED: dict[str, dict[str, Any]] = {
    "cats-and-dogs": {"metric": "accuracy", "rows": (1137, 262), "classes": 2, "groups": ()},
    "sign-digits": {
        "metric": "accuracy",
        "rows": (1546, 516),
        "classes": 10,
        "groups": ("meta.person",),
    },
    "chest-xray": {
        "metric": "roc_auc",
        "rows": (754, 246),
        "classes": 2,
        "groups": ("meta.patient_id",),
    },
    "cattle-faces": {"metric": "map_at_k", "rows": (329, 605), "classes": 37, "groups": ()},
}


@pytest.mark.shared
@pytest.mark.parametrize("name", EXPECTED)
def test_real_sets_are_recognised_and_read(shared: Path, name: str) -> None:
    settings, tables, found = settle(shared / "data" / name)
    expected = EXPECTED[name]
    assert settings["metric"] == expected["metric"]
    assert (len(tables.train), len(tables.test)) == expected["rows"]
    assert len(tables.classes) == expected["classes"]
    assert tables.group_columns == expected["groups"]
    assert not tables.notes
    assert found.evidence
