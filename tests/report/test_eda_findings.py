"""gorae.report.eda_findings and eda_dangers: what the numbers of a page mean."""

import tomllib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.report import eda_page as e
from gorae.report.eda_findings import SEVERITIES, data_findings
from gorae.report.eda_wording import group_setting
from gorae.report.page import PartCount

HEAD = e.EdaHead(
    competition="x",
    task="multiclass",
    parts=(PartCount(part="train", num_rows=9, num_images=9),),
)


def judge(**sections: Any) -> list[tuple[str, str]]:
    found = data_findings(e.EdaPage(head=HEAD, **sections))
    assert [f.severity for f in found] == sorted(
        (f.severity for f in found), key=SEVERITIES.index
    )
    return [(finding.severity, finding.what.en) for finding in found]


def counts(*rows: int) -> e.ClassesSummary:
    return e.ClassesSummary(counts=pd.DataFrame({"class": range(len(rows)), "train": rows}))


def duplicates(*, conflicts: int = 0, across: int = 0, within: int = 0, **more: Any) -> Any:
    table = pd.DataFrame(
        {
            "where": ["train", "train_test", "test"],
            "exact": [within, across, 0],
            "near": 0,
            "conflicts": [conflicts, 0, 0],
        }
    )
    return e.DuplicatesSummary(counts=table, **more)


def leaks(kind: str, low: float, *, is_reported: bool = True) -> e.LeaksSummary:
    line = {
        "column": ["size"], "kind": [kind], "measure": ["AUC"], "score": [low + 0.02],
        "low": [low], "high": [low + 0.04], "is_reported": [is_reported],
    }  # fmt: skip
    return e.LeaksSummary(table=pd.DataFrame(line))


def test_a_page_without_sections_is_not_judged() -> None:
    assert judge() == []


def test_even_classes_are_fine_and_uneven_ones_are_looked_at() -> None:
    assert judge(classes=counts(50, 60)) == [
        ("fine", "2 classes; the largest is 1.2 times the smallest.")
    ]
    [(severity, text)] = judge(classes=counts(50, 600))
    assert severity == "look"
    assert "12 times" in text


def test_classes_too_small_for_the_folds_are_counted() -> None:
    texts = [text for _, text in judge(classes=counts(50, 4, 1, 0))]
    assert any(text.startswith("2 classes have fewer than 5 rows") for text in texts)


def test_complete_files_are_fine_and_each_gap_is_named() -> None:
    table = pd.DataFrame({"image_id": ["a", "b"]})
    assert judge(integrity=e.IntegritySummary(num_files=1))[0][0] == "fine"
    found = judge(integrity=e.IntegritySummary(num_files=9, quarantined=table, missing=table))
    assert found == [
        ("look", "2 pictures cannot be read."),
        ("look", "2 listed pictures are not on disk."),
    ]


def test_duplicates_that_the_split_handles_are_fine_and_the_others_are_not() -> None:
    assert judge(duplicates=duplicates()) == [("fine", "No picture is there twice.")]
    assert judge(duplicates=duplicates(within=3))[0][0] == "fine"
    severities = [s for s, _ in judge(duplicates=duplicates(within=3, across=1, conflicts=1))]
    assert severities == ["look", "look", "fine"]


def test_a_chain_stops_and_offers_the_column() -> None:
    table = pd.DataFrame({"threshold": [0.9], "num_sets": 1, "num_joined": 9, "largest": 9})
    chain = e.Chain(num_images=40, share=0.4, limit=0.1, thresholds=table, columns=("film",))
    page = e.EdaPage(head=HEAD, duplicates=duplicates(within=39, chain=chain))
    first, second = data_findings(page)
    assert first.severity == "stops"
    assert first.setting == 'train.group_columns = ["film"]'
    assert first.file == "competition.toml"
    assert second.severity == "look"


@pytest.mark.parametrize(
    ("kind", "low", "severity"),
    [
        ("artefact", 0.95, "stops"),
        ("artefact", 0.6, "look"),
        ("metadata", 0.95, "look"),
        ("content", 0.95, "look"),
        ("content", 0.7, "fine"),
        ("order", 0.95, "fine"),
    ],
)
def test_a_leak_is_as_grave_as_it_is_strong_and_accidental(
    kind: str, low: float, severity: str
) -> None:
    [(found, text)] = judge(leaks=leaks(kind, low))
    assert found == severity
    assert f"AUC {low + 0.02:.3f}" in text


def test_what_chance_explains_is_no_leak() -> None:
    assert judge(leaks=leaks("artefact", 0.7, is_reported=False)) == [
        ("fine", "Nothing beside the pixels predicts the label.")
    ]


@pytest.mark.parametrize("is_shifted", [True, False])
def test_a_shift_is_what_the_test_says(is_shifted: bool) -> None:
    table = {"name": ["embeddings"], "auc": 0.7, "low": 0.6, "high": 0.8}
    aucs = pd.DataFrame(table).assign(is_shifted=is_shifted)
    [(severity, _)] = judge(shift=e.ShiftSummary(aucs=aucs))
    assert severity == ("look" if is_shifted else "fine")


def test_suspects_outliers_and_open_questions_are_counted() -> None:
    none = e.SuspectsSummary(suspects=(), num_suspects=0, num_rows=100)
    some = e.SuspectsSummary(suspects=(), num_suspects=5, num_rows=100)
    assert judge(suspects=none) == [("fine", "No label is contradicted firmly.")]
    assert judge(suspects=some) == [
        ("look", "A quick classifier firmly contradicts 5 labels (5% of rows).")
    ]
    sizes = pd.DataFrame({"width_px": [1], "height_px": [1], "part": ["train"]})
    [(_, text)] = judge(pictures=e.PicturesSummary(sizes=sizes, num_outliers=1))
    assert text == "1 picture stands out."


def test_so_many_suspects_are_rather_the_models_mistakes() -> None:
    def advice(num_suspects: int) -> str:
        some = e.SuspectsSummary(suspects=(), num_suspects=num_suspects, num_rows=100, run="7")
        [finding] = data_findings(e.EdaPage(head=HEAD, suspects=some))
        assert finding.what.en.startswith("Run `7` firmly")
        assert finding.do is not None
        return finding.do.en

    assert advice(10).startswith("Go through")
    assert "mistakes of the model" in advice(11)


def test_boxes_that_do_not_fit_are_looked_at() -> None:
    def boxes(**more: Any) -> tuple[e.BoxesSummary, ...]:
        return (e.BoxesSummary(kind="boxes", pictures=(), num_images=9, **more),)

    assert judge(boxes=boxes(num_with=7)) == [
        ("fine", "7 of 9 pictures have a box, and none reaches outside.")
    ]
    assert judge(boxes=boxes(num_with=7, num_outside=1, faults=("a", "b"))) == [
        ("look", "2 boxes cannot be used."),
        ("look", "1 box reaches outside the picture."),
    ]
    faces = e.BoxesSummary(kind="faces", pictures=(), num_images=9, num_with=0)
    assert judge(boxes=(faces,)) == []


def test_the_strongest_column_is_named_with_those_that_are_ours_in_words() -> None:
    table = leaks("artefact", 0.7).table
    both = pd.concat(
        [
            table.assign(column="all artefacts together", score=0.9),
            table.assign(column="file_order", score=0.8),
            table.assign(column="width_px", score=0.7),
        ]
    )
    [(_, text)] = judge(leaks=e.LeaksSummary(table=both))
    assert "all traces of files, above all order of the file names (AUC 0.9" in text
    [(_, text)] = judge(leaks=e.LeaksSummary(table=table.assign(column="meta.site")))
    assert "`site`" in text


@pytest.mark.parametrize("column", ["plain", 'with "quotes"', "back\\slash", "줄\n바꿈"])
def test_a_column_of_any_name_is_valid_toml(column: str) -> None:
    assert tomllib.loads(group_setting(column))["train"]["group_columns"] == [column]


def test_counts_of_numpy_are_written_like_others() -> None:
    table = pd.DataFrame({"class": ["a", "b"], "train": np.array([50, 60], np.int32)})
    assert judge(classes=e.ClassesSummary(counts=table))[0][0] == "fine"


@pytest.mark.parametrize(("largest", "setting"), [(9, "similarity"), (40, "near_duplicates")])
def test_a_threshold_is_offered_only_where_one_helps(largest: int, setting: str) -> None:
    lines = {"threshold": [0.9], "num_sets": 1, "num_joined": 40, "largest": largest}
    chain = e.Chain(num_images=40, share=0.4, limit=0.1, thresholds=pd.DataFrame(lines))
    first = data_findings(e.EdaPage(head=HEAD, duplicates=duplicates(within=39, chain=chain)))[
        0
    ]
    assert first.do is not None
    assert f"split.{setting}" in first.do.en
    assert f"split.{setting}" in first.do.ko


def test_classes_that_test_seems_to_lack_are_named() -> None:
    classes = e.ClassesSummary(counts=counts(9, 9).counts, not_in_test=("cat",))
    [(severity, text), _] = judge(classes=classes)
    assert severity == "look"
    assert text == "1 class seems to be missing from test: `cat`."
