"""Tables: CSV text kept exactly, sources joined and checked against each other, targets."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gorae.data.csv_text import read_csv_text
from gorae.data.labels import sorted_classes
from gorae.data.listing import PictureFolder
from gorae.data.sources import LabelPart, SampleSource, Tables, TableSource, Task
from gorae.data.tables import encode_targets, read_tables
from gorae.errors import ConfigError, DataError

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


def draw(folder: Path, *names: str) -> None:
    """Write a tiny picture under each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)


def read(
    folder: Path,
    train: TableSource,
    *,
    task: Task = "multiclass",
    holdout: TableSource | None = None,
    extra: tuple[TableSource, ...] = (),
    test: TableSource | None = None,
    sample: SampleSource | None = None,
) -> Tables:
    return read_tables(
        folder,
        task=task,
        classes=(),
        train=train,
        holdout=holdout,
        extra=extra,
        test=test,
        submission_sample=sample,
    )


def listed(images: str, table: str, **more: Any) -> TableSource:
    """A source whose table has the columns id and label."""
    return TableSource(
        images=images, table=table, image_column="id", label_columns=("label",), **more
    )


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=6
        )
    ),
    quoting=st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
    end=st.sampled_from(("\n", "\r\n")),
)
def test_cells_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], quoting: Any, end: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    # The csv module writes a lone carriage return unquoted, where it ends the row.
    if any("\r" in cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=quoting, lineterminator=end)
    writer.writerows([[f"c{place}" for place in range(len(rows[0]))], *rows])
    path.write_bytes(buffer.getvalue().encode())
    frame = read_csv_text(path)
    assert frame.to_numpy().tolist() == rows
    assert frame.index.tolist() == list(range(2, len(rows) + 2))


@given(
    rows=st.lists(
        st.lists(st.text("ab1.é고 NA-", max_size=4), min_size=2, max_size=2), min_size=1
    )
)
@settings(max_examples=100, deadline=None)
def test_both_readers_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    """The fast reader of plain text and the csv module give the same table."""
    folder = tmp_path_factory.mktemp("csv")
    lines = ["a,b", *(",".join(row) for row in rows)]
    (folder / "plain.csv").write_text("\n".join(lines) + "\n")
    (folder / "quoted.csv").write_text("\n".join(['"a",b', *lines[1:]]) + "\n")
    assert read_csv_text(folder / "plain.csv").equals(read_csv_text(folder / "quoted.csv"))


def test_column_without_a_name_is_numbered(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",id\n0,7\n")
    assert read_csv_text(tmp_path / "t.csv").columns.tolist() == ["column_1", "id"]


def test_unreadable_and_unknown_encoding_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(ConfigError, match="Encoding 'korean-ish' is unknown"):
        read_csv_text(tmp_path / "t.csv", encoding="korean-ish")
    with pytest.raises(DataError, match=r"Cannot read .*nowhere.csv: No such file"):
        read_csv_text(tmp_path / "nowhere.csv")


FOLDER = PictureFolder(
    "train",
    "train",
    ("a/1.jpg", "a/2.JPEG", "b/3.png", "b/1.jpg", "cat.0.jpg", "odd", "사진.png", "c/d/4.png"),
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/1.jpg", ["a/1.jpg"]),
        ("train/a/1.jpg", ["a/1.jpg"]),
        ("./a\\1", ["a/1.jpg"]),
        ("a/2", ["a/2.JPEG"]),
        ("a/2.jpg", ["a/2.JPEG"]),
        ("2.jpg", ["a/2.JPEG"]),
        ("2.png", []),
        ("1", ["a/1.jpg", "b/1.jpg"]),
        ("cat.0", ["cat.0.jpg"]),
        ("cat", []),
        ("odd", ["odd"]),
        ("사진", ["사진.png"]),
        ("사진.png", ["사진.png"]),
        ("a", ["a/1.jpg", "a/2.JPEG"]),
        ("d", ["c/d/4.png"]),
        ("", []),
        ("c/9", []),
    ],
)
def test_names_of_pictures(name: str, found: list[str]) -> None:
    assert FOLDER.find(name) == found


def test_groups_in_train_and_validation_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png", "v/3.png", "v/4.png")
    (tmp_path / "t.csv").write_text("id,label,who\n1,a,p\n2,b,q\n")
    (tmp_path / "v.csv").write_text("id,label,who\n3,a,q\n4,b,r\n")
    train, holdout = (listed(x, f"{x}.csv", group_columns=("who",)) for x in "tv")
    with pytest.raises(DataError, match=r"1 groups of meta.who are in train and.*: q"):
        read(tmp_path, train, holdout=holdout)
    (tmp_path / "v.csv").write_text("id,label,who\n3,a,s\n4,b,r\n")
    assert read(tmp_path, train, holdout=holdout).group_columns == ("meta.who",)


def test_source_without_the_group_column_is_a_group_per_row(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png", "v/3.png", "v/4.png")
    (tmp_path / "t.csv").write_text("id,label,who\n1,a,p\n2,b,p\n")
    (tmp_path / "v.csv").write_text("id,label\n3,a\n4,b\n")
    train = listed("t", "t.csv", group_columns=("who",))
    tables = read(tmp_path, train, extra=(listed("v", "v.csv"),))
    assert tables.train["meta.who"].tolist() == ["p", "p", "=v/3.png", "=v/4.png"]


def test_group_pattern_reads_the_path(tmp_path: Path) -> None:
    draw(tmp_path, "cow1/a_1.png", "cow1/b_2.png", "cow2/a_3.png")
    source = TableSource(
        label_pattern=r"/(?P<label>[ab])_", group_pattern=r"^(?P<group>[^/]+)/"
    )
    tables = read(tmp_path, source)
    assert tables.group_columns == ("meta.path_group",)
    assert tables.train["meta.path_group"].tolist() == ["cow1", "cow1", "cow2"]


def test_one_picture_in_two_parts_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png")
    (tmp_path / "t.csv").write_text("id,label\n1,a\n2,b\n")
    with pytest.raises(DataError, match="2 pictures stand in more than one of train"):
        read(tmp_path, listed("t", "t.csv"), holdout=listed("t", "t.csv"))
    with pytest.raises(DataError, match=r"to be predicted and labelled at once: t/1.png"):
        read(tmp_path, listed("t", "t.csv"), test=TableSource(images="t"))


def test_labels_only_validation_knows_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png", "v/3.png")
    (tmp_path / "t.csv").write_text("id,label\n1,a\n2,b\n")
    (tmp_path / "v.csv").write_text("id,label\n3,c\n")
    with pytest.raises(DataError, match=r"1 labels of the validation.*\('c'\).*row 2"):
        read(tmp_path, listed("t", "t.csv"), holdout=listed("v", "v.csv"))


def test_row_with_two_labels_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png")
    (tmp_path / "t.csv").write_text("id,label,exam\n1,a,x\n2,b,x\n")
    with pytest.raises(DataError, match="1 rows have pictures with different labels: x"):
        read(tmp_path, listed("t", "t.csv", row_column="exam"))


def test_sample_and_test_table_must_ask_for_the_same_rows(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png", "q/7.png", "q/8.png")
    (tmp_path / "t.csv").write_text("id,label\n1,a\n2,b\n")
    (tmp_path / "q.csv").write_text("id\n7\n8\n")
    (tmp_path / "s.csv").write_text("id,label\n8,a\n9,a\n6,a\n")
    test = TableSource(images="q", table="q.csv", image_column="id")
    sample = SampleSource(table="s.csv", id_column="id")
    with pytest.raises(
        DataError, match=r"2 of 3 ids of s.csv.*first '6'.*1 of 2 ids of q.csv.*first '7'"
    ):
        read(tmp_path, listed("t", "t.csv"), test=test, sample=sample)
    (tmp_path / "s.csv").write_text("id,label\n8.png,a\n7.png,a\n")
    tables = read(tmp_path, listed("t", "t.csv"), test=test, sample=sample)
    assert tables.test["row_id"].tolist() == ["8.png", "7.png"]
    assert tables.test["path"].tolist() == ["q/8.png", "q/7.png"]


def test_repeated_test_picture_and_empty_folders_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png", "q/7.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.csv").write_text("id,label\n1,a\n2,b\n")
    (tmp_path / "q.csv").write_text("id\n7\n7.png\n")
    test = TableSource(images="q", table="q.csv", image_column="id")
    with pytest.raises(
        DataError, match=r"q.csv: 2 lines name a picture that another.*rows 2, 3"
    ):
        read(tmp_path, listed("t", "t.csv"), test=test)
    with pytest.raises(DataError, match="empty holds no pictures to predict"):
        read(tmp_path, listed("t", "t.csv"), test=TableSource(images="empty"))
    with pytest.raises(DataError, match="empty holds no labelled pictures"):
        read(tmp_path, TableSource(images="empty", label_pattern="(?P<label>.)"))
    with pytest.raises(DataError, match="nowhere does not exist in"):
        read(tmp_path, TableSource(images="nowhere", label_pattern="(?P<label>.)"))
    with pytest.raises(DataError, match=r"'\.\./x' of competition.toml is not allowed"):
        read(tmp_path, TableSource(images="../x", label_pattern="(?P<label>.)"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (TableSource(images="t", label_pattern="(?P<label>"), "cannot be used: missing"),
        (TableSource(images="t", label_pattern="x"), r"it has no group \(\?P<label>"),
        (TableSource(images="t"), "does not say where labels stand"),
        (
            TableSource(images="t", compose=(LabelPart(name="mask", weight=1),)),
            "part 'mask' needs `column` or `pattern`",
        ),
    ],
)
def test_settings_that_name_no_label(tmp_path: Path, source: TableSource, message: str) -> None:
    draw(tmp_path, "t/1.png")
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, source)


def test_flags_that_are_neither_zero_nor_one_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png", "t/3.png")
    (tmp_path / "t.csv").write_text("id,a,b\n1,0,1\n2,1,1.0\n3,0,0\n")
    source = TableSource(images="t", table="t.csv", image_column="id", label_columns=("a", "b"))
    with pytest.raises(DataError, match=r"column 'b' must be 0 or 1.*found '1.0': row 3"):
        read(tmp_path, source, task="multilabel")
    (tmp_path / "t.csv").write_text("id,a,b\n1,0.0,1\n2,1.0,1\n3,0.0,0\n")
    tables = read(tmp_path, source, task="multilabel")
    assert tables.train["label"].tolist() == [("b",), ("a", "b"), ()]
    with pytest.raises(DataError, match=r"2 lines do not have exactly one 1.*rows 3, 4"):
        read(tmp_path, source)


def test_unknown_part_of_a_composed_label_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, "t/1.png", "t/2.png", "t/3.png", "t/4.png")
    (tmp_path / "t.csv").write_text("id,sex,age\n1,male,20\n2,female,30\n3,mail,x\n4,male,9\n")
    parts = (
        LabelPart(name="sex", weight=2, column="sex", values={"male": 0, "female": 1}),
        LabelPart(name="age", weight=1, column="age", thresholds=(30.0,)),
    )
    source = TableSource(images="t", table="t.csv", image_column="id", compose=parts)
    with pytest.raises(DataError) as caught:
        read(tmp_path, source)
    assert "values of 'sex' are unknown (first 'mail'; known: male, female): row 4" in str(
        caught.value
    )
    assert "values of 'age' are unknown (first 'x'; known: a number): row 4" in str(
        caught.value
    )
    (tmp_path / "t.csv").write_text("id,sex,age\n1,male,20\n2,female,30\n3,male,31\n4,male,9\n")
    assert read(tmp_path, source).train["label"].tolist() == ["0", "3", "1", "0"]


def test_names_that_are_not_utf8_are_counted(tmp_path: Path) -> None:
    draw(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "\udcff.png").write_bytes(b"")
    tables = read(tmp_path, TableSource(label_pattern="^(?P<label>[^/]+)/"))
    assert len(tables.train) == 2
    assert any("1 files in . have names that are not UTF-8" in note for note in tables.notes)


def test_classes_are_in_order_of_their_numbers() -> None:
    assert sorted_classes({"10", "9", "1"}) == ("1", "9", "10")
    assert sorted_classes({"b", "a", "10"}) == ("10", "a", "b")


def test_targets() -> None:
    classes = ("a", "b", "c")
    multiclass = encode_targets(["c", "a"], classes=classes, task="multiclass")
    assert multiclass.dtype == np.int64
    assert multiclass.tolist() == [2, 0]
    multilabel = encode_targets([("a", "c"), ()], classes=classes, task="multilabel")
    assert multilabel.dtype == np.float32
    assert multilabel.tolist() == [[1, 0, 1], [0, 0, 0]]
    value = encode_targets([1.5, -2.0], classes=(), task="regression")
    assert value.dtype == np.float32
    assert value.tolist() == [1.5, -2.0]
    with pytest.raises(DataError, match="2 labels are not among the 3 classes"):
        encode_targets(["x", "a", "y"], classes=classes, task="multiclass")
