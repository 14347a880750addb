"""Each way in which a submission is wrong has a message of its own."""

import gzip
import io
import os
import pickle
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gorae.data.sources import Task
from gorae.predictions import Kind, Predictions
from gorae.submission import Finding, SubmissionFormat, check_submission, compare_with_oof

IDS = ("001", "002", "003")
PETS = ("cat", "dog")

LABELS = SubmissionFormat(
    id_column="id", columns=("label",), kind="label", written={"cat": "0", "dog": "1"}
)
CHANCES = SubmissionFormat(id_column="id", columns=PETS, kind="probability")
VALUE = SubmissionFormat(id_column="id", columns=("age",), kind="value")
RANKED = SubmissionFormat(
    id_column="id", columns=("label",), kind="ranked", top_k=2, unknown_label="new"
)

GOOD = "id,label\n001,0\n002,1\n003,1\n"
GOOD_CHANCES = "id,cat,dog\n001,0.5,0.5\n002,1,0\n003,1e-3,0.999\n"


def check(
    tmp_path: Path,
    content: str | bytes,
    form: SubmissionFormat = LABELS,
    *,
    classes: tuple[str, ...] = PETS,
    task: Task = "multiclass",
) -> list[Finding]:
    path = tmp_path / "submission.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return check_submission(path, form=form, ids=IDS, classes=classes, task=task)


def errors(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings if finding.level == "error"]


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (GOOD, LABELS),
        (GOOD_CHANCES, CHANCES),
        ("id,label\n001,cat dog\n002,new cat\n003,dog\n", RANKED),
    ],
)
def test_a_good_file_has_no_finding(
    tmp_path: Path, content: str, form: SubmissionFormat
) -> None:
    assert check(tmp_path, content, form) == []


def test_a_regression_needs_numbers(tmp_path: Path) -> None:
    good = "id,age\n001,41.5\n002,-3\n003,1e2\n"
    assert check(tmp_path, good, VALUE, classes=(), task="regression") == []
    found = check(tmp_path, good.replace("1e2", "1e308"), VALUE, classes=(), task="regression")
    assert "a value is too large (row 4, column 'age'): got '1e308'" in str(found[0])


def gzipped() -> bytes:
    return gzip.compress(b"0" * 1_000_000)


def zipped() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("submission.csv", GOOD)
    return held.getvalue()


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", "empty", "The file is empty"),
        (b"\xef\xbb\xbf \n", "empty", "The file is empty"),
        (b"id,label\n", "table", "has a header only"),
        (gzipped(), "gzip", "compressed by gzip, not a CSV"),
        (zipped(), "zip", "zip file or an Excel workbook"),
        (pickle.dumps({"id": 1}), "pickle", "is a Python pickle"),
        (b"PAR1\x15\x04", "parquet", "a Parquet file"),
        (b" <!DOCTYPE html><html></html>", "html", "is a web page"),
        (GOOD.encode("utf-16"), "utf16", "The text is UTF-16. Save the file as UTF-8"),
        ("id,label\n001,고양이\n".encode("cp949"), "cp949", "Row 2: .* reads as cp949"),
        (b"id,label\n001,\xff\xff\xff\n", "not_utf8", "Row 2: the text is not UTF-8"),
        (GOOD.replace("002", "0\x002").encode(), "nul", "Row 3: .* 1 NUL characters"),
        (GOOD.replace("\n", "\r").encode(), "line_ends", "carriage return alone"),
        (GOOD.replace(",", ";").encode(), "delimiter", "separated by ';', not by ','"),
        (GOOD.replace("1\n", "1,9\n", 1).encode(), "table", "row 3: 3 fields"),
        (GOOD.replace("002,1", "002").encode(), "table", "row 3: 1 fields"),
        (b"id,label,label\n001,0,0\n", "table", "column 'label' stands 2 times"),
        (b'id,label\n001,"0\n', "table", "quote"),
    ],
)
def test_a_file_that_is_no_table(
    tmp_path: Path, content: bytes, code: str, message: str
) -> None:
    found = check(tmp_path, content)
    assert errors(found) == [code]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(str(found[0]))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "form": LABELS,
        "ids": IDS,
        "classes": PETS,
        "task": "multiclass",
    }
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as handle:
        handle.truncate(1_000_000_000)
    assert "huge.csv has 1,000 MB" in str(check_submission(huge, **common)[0])
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    assert "is not a file" in str(check_submission(pipe, **common)[0])
    assert "Is a directory" in str(check_submission(tmp_path, **common)[0])
    assert "No such file" in str(check_submission(tmp_path / "none.csv", **common)[0])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xef\xbb\xbf" + GOOD.encode(), "bom"),
        (GOOD.replace("\n", "\r\n").encode(), "crlf"),
        (b"id,label\n003,1\n002,1\n001,0\n", "row_order"),
    ],
)
def test_what_is_read_as_meant_is_a_warning(tmp_path: Path, content: bytes, code: str) -> None:
    found = check(tmp_path, content)
    assert [(finding.level, finding.code) for finding in found] == [("warning", code)]


@pytest.mark.parametrize(
    ("header", "code", "message"),
    [
        ("ID,label", "header_case", "got 'ID', expected 'id'"),
        ("id, label", "header_spaces", "got ' label', expected 'label'"),
        ("id,answer", "columns", "1 columns are missing, 1 are not asked for"),
    ],
)
def test_the_header_is_that_of_the_sample(
    tmp_path: Path, header: str, code: str, message: str
) -> None:
    found = check(tmp_path, GOOD.replace("id,label", header))
    assert errors(found) == [code]
    assert message in str(found[0])


def test_other_headers(tmp_path: Path) -> None:
    swapped = check(tmp_path, GOOD_CHANCES.replace("cat,dog", "dog,cat"), CHANCES)
    assert errors(swapped) == ["column_order"]
    assert "got id, dog, cat, expected id, cat, dog" in str(swapped[0])
    assert errors(check(tmp_path, GOOD.removeprefix("id,label\n"))) == ["no_header"]
    index = "".join(f"{n - 1 if n else ''},{line}\n" for n, line in enumerate(GOOD.split()))
    assert errors(check(tmp_path, index)) == ["index_column"]
    extra = "".join(f"{line},x\n" for line in GOOD.split())
    assert errors(check(tmp_path, extra)) == ["columns"]
    first = "label,id\n0,001\n1,002\n1,003\n"
    assert check(tmp_path, first) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "002,1\n",
            "",
            {"missing_ids": "1 of 3 ids have no row (column 'id'): expected '002'"},
        ),
        ("003,1\n", "003,1\n004,1\n", {"extra_ids": "not asked for (row 5, column 'id')"}),
        ("003,1\n", "003,1\n001,0\n", {"duplicate_ids": "more than one row (rows 2, 5"}),
        (
            "003",
            "002",
            {"duplicate_ids": "rows 3, 4", "missing_ids": "expected '003'"},
        ),
        ("00", "", {"id_zeros": "3 rows: ids have lost their leading zeros (rows 2, 3, 4"}),
        ("001", "1.0", {"id_zeros": "got '1.0', expected '001'"}),
        ("002", "００２", {"id_unicode": "expected '002'"}),
        ("002", "002.jpg", {"id_extension": "differ in folder or file extension"}),
        ("002", "test/002.jpg", {"id_extension": "expected '002'"}),
        ("002", " 002", {"id_spaces": "got ' 002'"}),
        ("002", "=1+1", {"missing_ids": "'002'", "extra_ids": "got '=1+1'"}),
    ],
)
def test_ids_stand_exactly_once(
    tmp_path: Path, old: str, new: str, expected: dict[str, str]
) -> None:
    found = check(tmp_path, GOOD.replace(old, new))
    assert errors(found) == list(expected)
    for finding in found:
        assert expected[finding.code] in str(finding)


def test_one_row_has_its_own_message(tmp_path: Path) -> None:
    found = check(tmp_path, "id,label\n001,0\n")
    assert errors(found) == ["one_row", "missing_ids"]
    assert "The file has one row, 3 are needed" in str(found[0])


@pytest.mark.parametrize(
    ("cell", "code", "message"),
    [
        ("1.0", "label_decimal", "written as decimal numbers .* got '1.0', expected '1'"),
        ("dog", "label_name", "got 'dog', expected '1'"),
        ("", "blank_label", "the label is empty"),
        ("NaN", "blank_label", "the label is empty"),
        ("7", "unknown_label", "the label is unknown .* Known are '0', '1'"),
        ("=2+5", "formula", "would run as a formula .* got '=2"),
        ("＝cmd", "formula", "would run as a formula"),
        ("01", "label_zeros", "got '01', expected '1'"),
        ("１", "label_unicode", "expected '1'"),
        ("1 ", "label_spaces", "got '1 ', expected '1'"),
    ],
)
def test_labels_are_known(tmp_path: Path, cell: str, code: str, message: str) -> None:
    found = check(tmp_path, f"id,label\n001,0\n002,{cell}\n003,{cell}\n")
    assert errors(found) == [code]
    assert (found[0].rows, found[0].count, found[0].row) == ((3, 4), 2, 3)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(str(found[0]))


def test_korean_labels_in_either_unicode_form(tmp_path: Path) -> None:
    form = SubmissionFormat(id_column="파일", columns=("품종",), kind="label")
    classes = ("고양이", "강아지")
    text = "파일,품종\n001,고양이\n002,강아지\n003,고양이\n"
    assert check(tmp_path, text, form, classes=classes) == []
    decomposed = text.replace("강아지", unicodedata.normalize("NFD", "강아지"))
    found = check(tmp_path, decomposed, form, classes=classes)
    assert errors(found) == ["label_unicode"]


@pytest.mark.parametrize(
    ("cells", "code", "message"),
    [
        ("1,1", "row_sum", "do not sum to 1 .* got '2', expected 1 within 0.01"),
        ("0,0", "row_sum_zero", "the probabilities are all 0"),
        ("0.45,0.5", "row_sum", "got '0.95'"),
        ("nan,1", "not_a_number", "empty or NaN"),
        (",1", "not_a_number", "empty or NaN"),
        ("inf,0", "infinite", "infinite .* got 'inf'"),
        ("1e999,0", "infinite", "got '1e999'"),
        ("-1,1", "too_small", "negative .* got '-1'"),
        ("1e308,0", "too_large", "above 1 .* got '1e308'"),
        ("high,0", "text", "the cell is not a number"),
        ('"0,5",0.5', "decimal_comma", "written with a comma"),
        ("=1/2,0.5", "formula", "would run as a formula"),
        (" 0.5,0.5", "spaces", "spaces around the number"),
        ("1_0,0", "text", "not a number"),
        ("０.５,0.5", "text", "not a number"),
        ("0x1p-1,0.5", "text", "not a number"),
    ],
)
def test_probabilities_are_numbers_that_sum_to_1(
    tmp_path: Path, cells: str, code: str, message: str
) -> None:
    found = check(tmp_path, GOOD_CHANCES.replace("1,0\n", f"{cells}\n"), CHANCES)
    assert errors(found) == [code]
    assert found[0].row == 3
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(str(found[0]))


def test_honest_rounding_passes(tmp_path: Path) -> None:
    classes = tuple(f"c{k:03d}" for k in range(500))
    form = SubmissionFormat(id_column="id", columns=classes, kind="probability")
    rows = np.random.default_rng(0).dirichlet(np.ones(500), 3)
    lines = [
        ",".join([id_, *(f"{p:.4f}" for p in row)]) for id_, row in zip(IDS, rows, strict=True)
    ]
    text = "\n".join([",".join(["id", *classes]), *lines])
    assert check(tmp_path, text, form, classes=classes) == []


def test_a_part_of_the_classes_sums_to_no_more_than_1(tmp_path: Path) -> None:
    classes = ("cat", "dog", "cow")
    assert (
        check(tmp_path, GOOD_CHANCES.replace("1,0\n", "0.1,0\n"), CHANCES, classes=classes)
        == []
    )
    found = check(
        tmp_path, GOOD_CHANCES.replace("1,0\n", "0.9,0.3\n"), CHANCES, classes=classes
    )
    assert errors(found) == ["row_sum"]


def test_multilabel_probabilities_need_not_sum_to_1(tmp_path: Path) -> None:
    text = GOOD_CHANCES.replace("1,0\n", "1,1\n")
    assert check(tmp_path, text, CHANCES, task="multilabel") == []


def test_ranked_labels(tmp_path: Path) -> None:
    found = check(tmp_path, "id,label\n001,cat dog new\n002,cow cat\n003,cat cat\n", RANKED)
    assert [f.code for f in found] == ["too_many_labels", "repeated_label", "unknown_label"]
    assert [f.rows for f in found] == [(2,), (4,), (3,)]
    assert found[1].level == "warning"
    assert errors(check(tmp_path, "id,label\n001,cat\n002,\n003,dog\n", RANKED)) == [
        "blank_label"
    ]


def test_several_labels_in_a_cell_or_in_columns(tmp_path: Path) -> None:
    joined = SubmissionFormat(id_column="id", columns=("label",), kind="label", separator="|")
    text = "id,label\n001,cat|dog\n002,\n003,cat|cow|pig\n"
    found = check(tmp_path, text, joined, task="multilabel")
    assert errors(found) == ["unknown_label"]
    assert (found[0].rows, found[0].count) == ((4,), 1)
    flags = SubmissionFormat(id_column="id", columns=PETS, kind="label")
    text = "id,cat,dog\n001,1,0\n002,1.0,0\n003,0,yes\n"
    found = check(tmp_path, text, flags, task="multilabel")
    assert errors(found) == ["label_decimal", "label_name"]


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    found = check(tmp_path, "ID,label\n1,0\n002,x\n009,1\n002,\n")
    assert errors(found) == [
        "header_case",
        "duplicate_ids",
        "id_zeros",
        "missing_ids",
        "extra_ids",
        "unknown_label",
        "blank_label",
    ]


def test_rows_are_counted_and_the_first_twenty_shown(tmp_path: Path) -> None:
    text = "id,label\n" + "".join(f"x{n},1\n" for n in range(50)) + GOOD.split("\n", 1)[1]
    found = check(tmp_path, text)
    assert len(found[0].rows) == 20
    assert found[0].count == 50
    assert "21 and 30 more, column 'id'): got 'x0'" in str(found[0])


def test_control_characters_are_shown_escaped(tmp_path: Path) -> None:
    found = check(tmp_path, GOOD.replace("001", "\x1b[31mred"))
    assert "\x1b" not in "".join(map(str, found))


def votes(shares: list[float], count: int, kind: Kind = "multiclass") -> Predictions:
    """``count`` rows, of which a share says each class."""
    best = np.repeat(np.arange(len(shares)), np.round(np.array(shares) * count).astype(int))
    values = np.eye(len(shares), dtype=np.float32)[best]
    ids = tuple(str(number) for number in range(len(values)))
    return Predictions(ids, tuple(f"c{k}" for k in range(len(shares))), values, kind)


def test_shifted_classes_are_told_with_numbers() -> None:
    found = compare_with_oof(votes([0.7, 0.3], 300), votes([0.5, 0.5], 1000))
    assert [(f.level, f.code) for f in found] == [("warning", "class_shares")]
    assert "c0 70.0% here, 50.0% out of fold" in str(found[0])
    assert "300 and 1,000 rows" in str(found[0])


@pytest.mark.parametrize(
    ("test", "oof"),
    [
        (votes([0.6, 0.4], 30), votes([0.5, 0.5], 1000)),  # so few rows differ by chance
        (votes([0.52, 0.48], 50_000), votes([0.5, 0.5], 50_000)),  # certain, but a trifle
        (votes([0.5, 0.5], 500), votes([0.5, 0.5], 1000)),
    ],
)
def test_chance_and_trifles_are_no_warning(test: Predictions, oof: Predictions) -> None:
    assert compare_with_oof(test, oof) == []


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("num_classes", [2, 18, 300])
def test_equal_shares_hardly_ever_warn(seed: int, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(num_classes))
    drawn = [
        np.eye(num_classes, dtype=np.float32)[rng.choice(num_classes, size, p=shares)]
        for size in (400, 900)
    ]
    test, oof = (
        Predictions(
            tuple(map(str, range(len(v)))), tuple(map(str, range(num_classes))), v, "score"
        )
        for v in drawn
    )
    assert compare_with_oof(test, oof) == []


def test_shifted_labels_of_a_multilabel_task() -> None:
    test, oof = votes([0.8, 0.2], 400, "multilabel"), votes([0.4, 0.6], 400, "multilabel")
    assert [f.code for f in compare_with_oof(test, oof)] == ["class_shares"]
    assert compare_with_oof(test, oof, threshold=0.0) == []
    assert compare_with_oof(oof, oof) == []


def test_fallback_rows_are_counted_and_take_no_part_in_the_shares() -> None:
    test, oof = votes([0.5, 0.5], 200), votes([0.5, 0.5], 200)
    found = compare_with_oof(test, oof, fallback_ids=["0", "1"])
    assert [f.code for f in found] == ["fallback"]
    assert "2 of 200 rows hold the class prior" in str(found[0])
    assert "got '0', '1'" in str(found[0])
    only_first = [id_ for id_, row in zip(test.ids, test.values, strict=True) if row[1] == 1]
    found = compare_with_oof(test, oof, fallback_ids=only_first)
    assert [f.code for f in found] == ["fallback", "class_shares"]


def test_values_have_no_classes_to_compare() -> None:
    ages = Predictions(("a",), ("value",), np.array([[3.0]], np.float32), "value")
    assert compare_with_oof(ages, ages) == []
