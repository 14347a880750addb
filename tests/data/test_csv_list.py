"""TRUST 3.3, the C-list: every faulty table gets its own message, with row numbers."""

import io
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gorae.data.sources import SampleSource, Tables, TableSource, Task
from gorae.data.tables import read_tables
from gorae.errors import DataError

TRAIN = "id,label,patient\n0,cat,p0\n1,dog,p1\n2,cat,p2\n3,dog,p3\n"
SAMPLE = "id,label\n7,cat\n8,cat\n"


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()


def competition(folder: Path) -> None:
    """Four labelled pictures and two to predict."""
    for name in (*(f"train/{i}.png" for i in range(4)), "test/7.png", "test/8.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(PNG)
    (folder / "train.csv").write_text(TRAIN)
    (folder / "sample.csv").write_text(SAMPLE)


def read(
    folder: Path,
    *,
    task: Task = "multiclass",
    classes: tuple[str, ...] = (),
    encoding: str = "utf-8",
    delimiter: str = ",",
    fold_column: str | None = None,
    groups: tuple[str, ...] = ("patient",),
) -> Tables:
    return read_tables(
        folder,
        task=task,
        classes=classes,
        train=TableSource(
            images="train",
            table="train.csv",
            image_column="id",
            label_columns=("label",),
            group_columns=groups,
            fold_column=fold_column,
            encoding=encoding,
            delimiter=delimiter,
        ),
        holdout=None,
        extra=(),
        test=TableSource(images="test"),
        submission_sample=SampleSource(table="sample.csv", id_column="id"),
    )


def changed(old: str, new: str) -> bytes:
    """The train table with one text replaced."""
    assert old in TRAIN
    return TRAIN.replace(old, new).encode()


# (name of the case, train.csv, what the message says)
REFUSED: list[tuple[str, bytes, str]] = [
    ("C2-cp949", TRAIN.replace("cat", "고양이").encode("cp949"),
     r"train.csv, row 2: the text is not utf-8; it reads as cp949: pass `--encoding cp949`"),
    ("C2-utf16", TRAIN.encode("utf-16"), r"is UTF-16 text.*--encoding utf-16"),
    ("C2-neither", b"id,label,patient\n0,\x81\xff\x81,p\n",
     r"row 2: the text is not utf-8; (it reads as|save)"),
    ("C3-semicolon", TRAIN.replace(",", ";").encode(), r"lacks 3 columns.*one long name"),
    ("C3-tab", TRAIN.replace(",", "\t").encode(), r"lacks 3 columns.*one long name"),
    ("C4-nul", changed("1,dog", "1,d\0og"), r"row 3: there are 1 NUL characters"),
    ("C4-10MB-line", changed("cat,p0", "c" * 10_000_000 + ",p0"), r"row 2.* has 10.0 MB"),
    ("C4-10MB-quoted", changed("cat,p0", '"' + "c" * 10_000_000 + '",p0'), r"row 2.*limit"),
    ("C4-open-quote", changed("cat,p0", '"cat,p0'), r"cannot be read \(unexpected end of data"),
    ("C4-quote-inside", changed("cat,p0", '"ca"t,p0'), r"row 2: the row cannot be read"),
    ("C5-conflict", changed("3,dog", "0,dog"), r"2 lines give one picture.*rows 2, 5"),
    ("C6-most-missing", b"id,label,patient\n0,cat,p\n5,dog,q\n6,cat,r\n",
     r"2 of 3 lines of train.csv have no picture in train: rows 3, 4.*names '5'"),
    ("C6-ambiguous", changed("0,cat", "same,cat"), r"1 names fit several pictures.*row 2"),
    ("C7-blank", changed("0,cat", "0,"), r"1 labels \(''\) are blank: row 2"),
    ("C7-spaces", changed("0,cat", "0,  "), r"1 labels \('  '\) are blank: row 2"),
    ("C7-NA", changed("0,cat", "0,NA"), r"'NA'\) say that nothing is known.*row 2"),
    ("C7-null", changed("2,cat", "2,null"), r"'null'\) say that nothing is known.*row 4"),
    ("C7-trailing-space", changed("2,cat", "2,cat "), r"'cat' / 'cat ' look like one.*row 4"),
    ("C7-full-width", b"id,label,patient\n0,1,a\n1,\xef\xbc\x91,b\n2,2,c\n",
     r"'1' / '１' look like one class.*row 3"),
    ("C7-float", b"id,label,patient\n0,1,a\n1,1,b\n2,1.0,c\n3,01,d\n",
     r"'1' / '1.0' / '01' look like one class written in 3 ways.*rows 4, 5"),
    ("C10-missing-column", TRAIN.replace("label", "lable").encode(),
     r"train.csv lacks 1 columns.*: label. It has: id, lable, patient"),
    ("C10-duplicate-column", TRAIN.replace("patient", "label").encode(),
     r"row 1: column 'label' stands 2 times"),
    ("C10-short-row", changed("1,dog,p1", "1,dog"), r"row 3: 2 fields, the header has 3"),
    ("C10-long-rows", changed("1,dog", "1,dog,x").replace(b"3,dog", b"3,dog,x"),
     r"2 of 4 rows have another width(.|\n)*row 3: 4 fields(.|\n)*row 5: 4 fields"),
    ("C13-no-group-column", TRAIN.replace("patient", "person").encode(), r"lacks.*: patient"),
    ("C13-missing-groups", changed("p1", "").replace(b"p3", b"NaN"),
     r"2 lines have no value in group column 'meta.patient': rows 3, 5"),
    ("C14-nul", changed("0,cat", "0\0.png,cat"), r"row 2: there are 1 NUL characters"),
    ("C14-parent", changed("0,cat", "../train/0.png,cat"), r"it leaves the folder: row 2"),
    ("C14-absolute", changed("0,cat", "/etc/passwd,cat"), r"'/etc/passwd' are not.*absolute"),
    ("C14-drive", changed("0,cat", "C:\\0.png,cat"), r"it is absolute: row 2"),
    ("C14-blank-id", changed("0,cat", ",cat"), r"'' are not allowed, it is blank: row 2"),
    ("C15-empty", b"", r"train.csv is empty"),
    ("C15-bom-only", b"\xef\xbb\xbf", r"train.csv is empty"),
    ("C15-header-only", b"id,label,patient\n", r"train.csv has a header only"),
    ("one-class", TRAIN.replace("dog", "cat").encode(), r"train has 1 class \(cat\)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "message"), REFUSED, ids=[case[0] for case in REFUSED]
)
def test_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    competition(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / "train" / folder).mkdir()
        (tmp_path / "train" / folder / "same.png").write_bytes(PNG)
    (tmp_path / "train.csv").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert len(str(caught.value)) < 5000


def _numbers(values: list[str]) -> bytes:
    rows = [f"{row},{value},p{row}" for row, value in enumerate(values)]
    return "\n".join(["id,label,patient", *rows]).encode()


@pytest.mark.parametrize(
    "bad", ["nan", "inf", "-inf", "1e13", "2024-01-02", "", "x", "１", "1_0"]
)
def test_c11_number_that_is_none(tmp_path: Path, bad: str) -> None:
    competition(tmp_path)
    (tmp_path / "train.csv").write_bytes(_numbers(["1.5", bad, "-2", bad]))
    with pytest.raises(DataError, match=r"2 labels are not finite numbers.*rows 3, 5"):
        read(tmp_path, task="regression")


@pytest.mark.parametrize(
    "cells",
    [
        ("", "NaN", "1.5", ""),
        ("inf", "-inf", "1e400", "0"),
        ("12", "twelve", "１２", "0x0c"),
        ("2021-03-29", "29.03.2021", "2021-02-30", "20210329"),
    ],
    ids=["half-missing", "infinite", "mixed", "dates"],
)
def test_c11_odd_metadata_stays_as_the_table_has_it(
    tmp_path: Path, cells: tuple[str, ...]
) -> None:
    competition(tmp_path)
    lines = [f"{i},{'cat' if i % 2 else 'dog'},p{i},{cell}" for i, cell in enumerate(cells)]
    (tmp_path / "train.csv").write_text("\n".join(["id,label,patient,odd", *lines]), "utf-8")
    tables = read(tmp_path)
    assert tables.train["meta.odd"].tolist() == list(cells)
    assert tables.train["label"].tolist() == ["dog", "cat", "dog", "cat"]


def many_rows(folder: Path, count: int) -> Tables:
    """``count`` lines, the picture of every hundredth missing, in an order of their own."""
    competition(folder)
    order = np.random.default_rng(0).permutation(count).tolist()
    for number in range(4, count):
        if number % 100:
            (folder / "train" / f"{number}.png").touch()
    (folder / "train" / "0.png").unlink()
    lines = (f"{number},{'cat' if number % 2 else 'dog'},p{number // 3}" for number in order)
    (folder / "train.csv").write_text("\n".join(["id,label,patient", *lines]))
    tables = read(folder)
    there = [number for number in order if number % 100]
    assert tables.train["image_id"].tolist() == [f"train/{number}.png" for number in there]
    assert tables.train["meta.patient"].tolist() == [f"p{number // 3}" for number in there]
    assert tables.train["label"].tolist() == [("dog", "cat")[n % 2] for n in there]
    return tables


def test_c12_many_rows(tmp_path: Path) -> None:
    notes = "; ".join(many_rows(tmp_path, 100_000).notes)
    assert "1,000 of 100,000 lines of train.csv have no picture" in notes


@pytest.mark.long
@pytest.mark.timeout(900)
def test_c12_a_million_rows(tmp_path: Path) -> None:
    assert len(many_rows(tmp_path, 1_000_000).train) == 990_000


@pytest.mark.parametrize("bad", ["1.0", "-1", "low", "01"])
def test_c7_grade_that_is_no_whole_number(tmp_path: Path, bad: str) -> None:
    competition(tmp_path)
    (tmp_path / "train.csv").write_bytes(_numbers(["0", "2", "1", bad]))
    with pytest.raises(DataError, match="row 5"):
        read(tmp_path, task="ordinal")


def test_c7_label_outside_the_declared_classes(tmp_path: Path) -> None:
    competition(tmp_path)
    with pytest.raises(DataError, match=r"2 labels \('dog'\) are not among the 2.*rows 3, 5"):
        read(tmp_path, classes=("cat", "bird"))


def test_c7_declared_class_may_be_called_na(tmp_path: Path) -> None:
    competition(tmp_path)
    (tmp_path / "train.csv").write_bytes(TRAIN.replace("dog", "NA").encode())
    assert read(tmp_path, classes=("NA", "cat")).classes == ("NA", "cat")


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ("0012", ""),
        ("0013", r"every number from 0.*found: 0, 1, 3"),
        ("0000", r"at least 0 and 1; found: 0"),
        ("0a11", r"whole numbers from 0, found 'a': row 3"),
    ],
)
def test_fold_column(tmp_path: Path, folds: str, message: str) -> None:
    competition(tmp_path)
    rows = [f"{i},{'ab'[i % 2]},{fold}" for i, fold in enumerate(folds)]
    (tmp_path / "train.csv").write_text("\n".join(["id,label,fold", *rows]))
    if not message:
        tables = read(tmp_path, fold_column="fold", groups=())
        assert tables.train["fold"].tolist() == [0, 0, 1, 2]
        return
    with pytest.raises(DataError, match=message):
        read(tmp_path, fold_column="fold", groups=())


def _bom(folder: Path) -> None:
    (folder / "train.csv").write_bytes(b"\xef\xbb\xbf" + TRAIN.encode())


def _crlf(folder: Path) -> None:
    (folder / "train.csv").write_bytes(TRAIN.replace("\n", "\r\n").encode())


def _old_mac(folder: Path) -> None:
    (folder / "train.csv").write_bytes(TRAIN.replace("\n", "\r").encode())


def _quoted(folder: Path) -> None:
    (folder / "train.csv").write_text(TRAIN.replace("cat", '"cat"').replace("p3", '"p\n3,"'))


def _blank_lines(folder: Path) -> None:
    (folder / "train.csv").write_text(TRAIN.replace("2,cat", "\n\n2,cat") + "\n\n")


@pytest.mark.parametrize("write", [_bom, _crlf, _old_mac, _quoted, _blank_lines])
def test_taken_as_it_is_meant(tmp_path: Path, write: Callable[[Path], None]) -> None:
    competition(tmp_path)
    write(tmp_path)
    tables = read(tmp_path)
    assert tables.train["label"].tolist() == ["cat", "dog", "cat", "dog"]
    assert tables.notes == ()


def test_c4_newline_in_a_field_stays(tmp_path: Path) -> None:
    competition(tmp_path)
    _quoted(tmp_path)
    assert read(tmp_path).train["meta.patient"].iloc[3] == "p\n3,"


def test_c2_cp949_is_taken_when_named(tmp_path: Path) -> None:
    competition(tmp_path)
    (tmp_path / "train.csv").write_bytes(TRAIN.replace("cat", "고양이").encode("cp949"))
    assert read(tmp_path, encoding="cp949").classes == ("dog", "고양이")


def test_c5_same_label_twice_is_noted(tmp_path: Path) -> None:
    competition(tmp_path)
    (tmp_path / "train.csv").write_text(TRAIN + "0.png,cat,p0\n")
    tables = read(tmp_path)
    assert len(tables.train) == 4
    assert any(
        "1 lines of train.csv repeat a picture" in n and "row 6" in n for n in tables.notes
    )


def test_c6_missing_and_unlisted_are_noted(tmp_path: Path) -> None:
    competition(tmp_path)
    (tmp_path / "train" / "1.png").rename(tmp_path / "train" / "more.png")
    tables = read(tmp_path)
    assert len(tables.train) == 3
    assert any("1 of 4 lines of train.csv have no picture" in n for n in tables.notes)
    assert any("1 pictures in train belong to no line" in n for n in tables.notes)


def test_c6_missing_test_picture_stays_a_row(tmp_path: Path) -> None:
    competition(tmp_path)
    (tmp_path / "test" / "7.png").unlink()
    tables = read(tmp_path)
    assert tables.test["path"].tolist() == ["", "test/8.png"]
    assert tables.test["row_id"].tolist() == ["7", "8"]
    assert any("1 of 2 lines of sample.csv have no picture" in note for note in tables.notes)


def test_c8_nfd_labels_are_one_class(tmp_path: Path) -> None:
    competition(tmp_path)
    text = TRAIN.replace("0,cat", f"0,{unicodedata.normalize('NFD', '고양이')}")
    (tmp_path / "train.csv").write_text(text.replace("cat", "고양이"))
    assert read(tmp_path).classes == ("dog", "고양이")


@pytest.mark.parametrize(
    "id_", ["00123", "1e5", "NA", "92233720368547758079", "0x1f", "-1", "1.0"]
)
def test_c9_ids_stay_text(tmp_path: Path, id_: str) -> None:
    competition(tmp_path)
    (tmp_path / "test" / "7.png").rename(tmp_path / "test" / f"{id_}.png")
    (tmp_path / "sample.csv").write_text(f"id,label\n{id_},cat\n8,cat\n")
    tables = read(tmp_path)
    assert tables.test["row_id"].tolist() == [id_, "8"]
    assert tables.test["path"].iloc[0] == f"test/{id_}.png"


def test_c13_wholly_empty_group_column_is_dropped(tmp_path: Path) -> None:
    competition(tmp_path)
    (tmp_path / "train.csv").write_text("id,label,patient\n0,a,\n1,b,\n2,a,NA\n3,b,\n")
    tables = read(tmp_path)
    assert tables.group_columns == ()
    assert any("meta.patient of train.csv is empty" in note for note in tables.notes)


def test_c16_test_ids_in_train_are_noted(tmp_path: Path) -> None:
    competition(tmp_path)
    (tmp_path / "test" / "7.png").rename(tmp_path / "test" / "0.png")
    (tmp_path / "sample.csv").write_text("id,label\n0,cat\n8,cat\n")
    tables = read(tmp_path)
    assert any("1 test ids also stand in train (first '0')" in note for note in tables.notes)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("id,label\n7,cat\n7,cat\n8,cat\n", "sample.csv: 2 rows share an id.*rows 2, 3"),
        ("Id,label\n7,cat\n8,cat\n", "sample.csv lacks the id column 'id'. It has: Id, label"),
        ("id,label\n70,cat\n80,cat\n", "2 of 2 lines of sample.csv have no picture in test"),
        ("id,label\n../7,cat\n8,cat\n", "sample.csv: 1 names such as '../7' are not allowed"),
    ],
)
def test_sample_that_does_not_fit(tmp_path: Path, sample: str, message: str) -> None:
    competition(tmp_path)
    (tmp_path / "sample.csv").write_text(sample)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_all_faults_stand_in_one_report(tmp_path: Path) -> None:
    competition(tmp_path)
    (tmp_path / "train.csv").write_text(
        "id,label,patient\n0,,p\n../1,dog,\n2,NA,q\n3,dog,r\n1,dog ,s\n"
    )
    (tmp_path / "sample.csv").write_text("id,label\n7,cat\n7,cat\n")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    text = str(caught.value)
    for part in ("are blank: row 2", "leaves the folder: row 3", "group column", "nothing is",
                 "'dog' / 'dog '", "share an id"):  # fmt: skip
        assert part in text


def test_the_first_twenty_rows_and_the_count_are_shown(tmp_path: Path) -> None:
    competition(tmp_path)
    rows = "".join(f"0,cat{i},p,extra\n" for i in range(500))
    (tmp_path / "train.csv").write_text("id,label,patient\n" + rows)
    with pytest.raises(DataError, match=r"500 of 500 rows(.|\n)*row 21:(.|\n)*and 480 more"):
        read(tmp_path)
