"""What a column is, and what is done to it, by examples; kinds do not depend on order."""

import numpy as np
import pytest

from gorae.eda.column_cleaning import ACTIONS, clean_column, name_words, names_ids


def actions(
    name: str, cells: list[str], *, day_first: bool | None = None
) -> tuple[str, list[object], dict[str, tuple[int, str]]]:
    found = clean_column(name, cells, day_first=day_first)
    done = {action: (count, example) for action, count, example in found.lines if count}
    assert set(done) <= set(ACTIONS)
    return found.kind, found.values.tolist(), done


def test_words_of_names() -> None:
    assert name_words("meta.PatientAge") == ("patient", "age")
    assert name_words("meta.DICOMStudyID_2") == ("dicom", "study", "id", "2")
    assert name_words("meta.환자번호") == ("환자번호",)
    assert names_ids("meta.patient_id")
    assert names_ids("patientid")
    assert names_ids("person")
    assert not names_ids("patient_sex")
    assert not names_ids("image_age")
    assert not names_ids("")


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("height", ["1.5", "2", "1,000", "3e2"], "number"),
        ("age", ["45", "50", "045Y"], "age"),
        ("how_long", ["045Y", "006M", "3D"], "age"),
        ("stage", ["1", "2", "3"], "number"),
        ("taken", ["2020-01-02", "2020-02-03"], "date"),
        ("smoker", ["yes", "No", "YES"], "flag"),
        ("implant", ["0", "1", "0"], "flag"),
        ("sex", ["M", "F", "M"], "category"),
        ("zip", ["01234", "56789", "01234"], "category"),
        ("site_id", ["1", "2", "3", "1"], "category"),
        ("patient_id", [str(n) for n in range(30)] * 2, "id"),
        ("person", [f"p{n:03}" for n in range(30)] * 2, "id"),
        ("file", [f"IMG_{n}x" for n in range(25)], "id"),
        (
            "notes",
            [f"patient number {n} was very calm during it" * 2 for n in range(25)],
            "text",
        ),
        ("maker", ["ACME", "ACME", "NA"], "constant"),
        ("empty", ["", "NA", "?"], "empty"),
    ],
)
def test_kinds(name: str, cells: list[str], kind: str) -> None:
    assert actions(name, cells)[0] == kind
    assert actions(name, cells[::-1])[0] == kind


def test_nothing_is_lost_without_a_line() -> None:
    cells = ["45", " 46", "NA", "", "410", "47", "-1"] + ["50"] * 40 + ["old"]
    kind, values, done = actions("age", cells)
    assert kind == "age"
    np.testing.assert_equal(values[:7], [45, 46, np.nan, np.nan, np.nan, 47, np.nan])
    assert done == {
        "kept": (43, ""),
        "tidied": (1, "' 46' -> '46'"),
        "missing": (2, "'NA'"),
        "not_readable": (1, "'old'"),
        "implausible": (2, "'410'"),
    }


def test_variants_become_the_most_frequent_one_and_are_counted() -> None:
    cells = ["Male", "Male", "male ", "MALE", "fe male", "female", "female"]
    kind, values, done = actions("sex", cells)
    assert kind == "category"
    assert values == ["Male"] * 4 + ["female"] * 3
    assert done["tidied"] == (1, "'male ' -> 'male'")
    assert done["merged"][0] == 3


def test_ids_that_differ_in_case_stay_apart() -> None:
    cells = [f"{letter}{n}" for n in range(20) for letter in "aA"]
    kind, values, done = actions("patient_id", cells)
    assert (kind, values) == ("id", cells)
    assert set(done) == {"kept"}


def test_a_sentinel_far_from_all_is_missing_and_one_among_them_is_a_number() -> None:
    cells = [str(n) for n in range(60)] + ["-999", "-999"]
    _, values, done = actions("depth", cells)
    assert np.isnan(values[-1:]).all()  # type: ignore[arg-type]
    assert done["sentinel"] == (2, "'-999'")
    _, values, done = actions("depth", [str(n) for n in range(90, 110)])
    assert 99.0 in values
    assert set(done) == {"kept"}


def test_a_far_number_is_told_and_left() -> None:
    _, values, done = actions("depth", [str(n) for n in range(60)] + ["100000"])
    assert values[-1] == 100_000
    assert done["extreme"] == (1, "'100000'")


def test_day_and_month_are_settled_by_other_dates_or_as_asked_and_never_guessed() -> None:
    kind, values, done = actions("taken", ["01/02/2020", "25/02/2020"])
    assert (kind, values) == ("date", [18293.0, 18317.0])
    assert done["day_month_settled"] == (1, "'01/02/2020'")
    kind, values, done = actions("taken", ["01/02/2020", "02/03/2020"])
    assert (kind, values) == ("ambiguous_date", ["01/02/2020", "02/03/2020"])
    assert done["day_month_open"][0] == 2
    kind, values, _ = actions("taken", ["01/02/2020", "02/03/2020"], day_first=False)
    assert (kind, values) == ("date", [18263.0, 18295.0])
    kind, values, done = actions("taken", ["25/02/2020", "02/25/2020", "01/02/2020"])
    assert kind == "date"
    np.testing.assert_equal(values, [18317, 18317, np.nan])
    assert done["day_month_unknown"] == (1, "'01/02/2020'")


def test_dates_of_other_centuries_are_implausible() -> None:
    _, values, done = actions("taken", ["1111-01-01", "2020-01-01", "2020-01-02"])
    np.testing.assert_equal(values, [np.nan, 18262, 18263])
    assert done["implausible"] == (1, "'1111-01-01'")
