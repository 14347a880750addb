"""A planted leak is found; clean sets stay quiet at the stated rate."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.data.sources import Task
from gorae.eda.leaks import FALSE_ALARM_RATE, ROW_ORDER, metadata_leaks, path_columns
from gorae.errors import DataError


def clean_set(seed: int, *, num: int = 240, grouped: bool) -> tuple[pd.DataFrame, Any, Any]:
    """Columns of all kinds that know nothing of the label; with groups, both belong to them."""
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, 60, num)) if grouped else np.arange(num)
    num_groups = int(groups.max()) + 1
    truth = rng.integers(0, 2, num_groups)[groups]
    columns = pd.DataFrame(
        {
            "file_order": np.arange(num) if grouped else rng.permutation(num),
            "size_bytes": rng.normal(size=num_groups)[groups] + rng.normal(size=num) / 9,
            "folder": rng.integers(0, 4, num_groups)[groups].astype(str),
            "meta.age": rng.integers(20, 90, num_groups)[groups].astype(str),
        }
    )
    return columns, truth, groups


def score_of(table: pd.DataFrame, column: str) -> float:
    return float(table.loc[table["column"] == column, "score"].iloc[0])


@pytest.mark.parametrize("grouped", [False, True])
def test_clean_sets_are_reported_at_most_as_often_as_stated(grouped: bool) -> None:
    num_reported = 0
    for seed in range(40):
        columns, truth, groups = clean_set(seed, grouped=grouped)
        table = metadata_leaks(columns, truth, groups, task="multiclass", seed=seed)
        num_reported += bool(table["is_reported"].any())
    # More than 5 of 40 at a rate of 5 %: a chance of 1 in 70.
    assert FALSE_ALARM_RATE == 0.05
    assert num_reported <= 5


def test_a_planted_artefact_is_a_suspect_and_metadata_predicts() -> None:
    columns, truth, groups = clean_set(0, num=400, grouped=False)
    rng = np.random.default_rng(1)
    columns["width_px"] = 500 + 40 * truth + 30 * rng.normal(size=400)
    columns["size_bytes"] = columns["width_px"] * 100
    columns["meta.sex"] = rng.choice(["M", "F", ""], 400)
    columns["meta.age"] = (50 + 12 * truth + 12 * rng.normal(size=400)).round().astype(int)

    table = metadata_leaks(columns, truth, groups, task="multiclass", seed=0)

    verdicts = dict(zip(table["column"], table["verdict"], strict=True))
    assert verdicts == {
        "width_px": "leak suspect",
        "size_bytes": "what is shown, or how it was saved",
        "all artefacts together": "leak suspect",
        "meta.age": "predicts the label",
        "all metadata together": "predicts the label",
        "file_order": "",
        "folder": "",
        "meta.sex": "",
    }
    assert (table["is_reported"] == (table["verdict"] != "")).all()
    assert (table["low"] <= table["score"]).all()
    assert (table["score"] <= table["high"]).all()
    # Two normals 4/3 standard deviations apart: AUC = Phi(4 / 3 / sqrt(2)) = 0.827.
    assert score_of(table, "width_px") == pytest.approx(0.827, abs=0.05)


def test_numbers_of_files_that_count_through_the_classes_are_found() -> None:
    """As where each person shows ten signs in turn: the order does not tell, the digit does."""
    paths = [f"IMG_{number}.jpg" for number in range(1000, 1300)]
    truth = np.arange(300) % 10
    table = metadata_leaks(
        path_columns(paths), truth, np.arange(300) // 10, task="multiclass", seed=0
    )
    assert score_of(table, "number_mod_10") > 0.99
    assert table.loc[table["column"] == "number_mod_10", "is_reported"].all()


@pytest.mark.parametrize("task", ["multilabel", "ordinal", "regression"])
def test_leaks_are_found_in_every_task(task: Task) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=300)
    truths: dict[Task, Any] = {
        "multilabel": np.stack([hidden > 0, rng.random(300) < 0.5], axis=1).astype(np.float32),
        "ordinal": np.digitize(hidden, [-1, 0, 1]),
        "regression": hidden.astype(np.float32),
    }
    columns = pd.DataFrame(
        {"width": hidden + rng.normal(size=300), "height": rng.normal(size=300)}
    )
    table = metadata_leaks(columns, truths[task], np.arange(300), task=task, seed=0)
    assert set(table.loc[table["is_reported"], "column"]) == {"width", "all artefacts together"}
    measure = "AUC" if task == "multilabel" else "rank correlation"
    assert (table["measure"] == measure).all()


def test_a_value_of_each_subject_is_no_leak_however_many_pictures_it_has() -> None:
    """Without groups every column of a subject would give its label away."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 20)
    truth = rng.integers(0, 2, 30)[groups]
    columns = pd.DataFrame({"size_bytes": rng.normal(size=30)[groups]})
    torn = metadata_leaks(columns, truth, np.arange(600), task="multiclass", seed=0)
    kept = metadata_leaks(columns, truth, groups, task="multiclass", seed=0)
    assert torn["score"].iloc[0] > 0.9
    assert torn["is_reported"].iloc[0]
    assert not kept["is_reported"].iloc[0]


def test_a_sorted_table_is_no_suspect() -> None:
    truth = np.arange(100) // 50
    columns = pd.DataFrame({ROW_ORDER: np.arange(100)})
    table = metadata_leaks(columns, truth, np.arange(100), task="multiclass", seed=0)
    assert table["verdict"].tolist() == ["the table is sorted by label"]


def test_nothing_can_be_told_without_columns_classes_or_groups() -> None:
    truth = np.array([0, 1] * 10)
    with pytest.raises(DataError, match="no columns"):
        metadata_leaks(pd.DataFrame(index=range(20)), truth, truth, task="multiclass", seed=0)
    columns = pd.DataFrame({"width": np.arange(20)})
    with pytest.raises(DataError, match="same class"):
        metadata_leaks(columns, truth * 0, np.arange(20), task="multiclass", seed=0)
    with pytest.raises(DataError, match="from 1 groups"):
        metadata_leaks(columns, truth, truth * 0, task="multiclass", seed=0)


def test_paths_tell_order_numbers_and_folders_but_not_the_label() -> None:
    paths = ["b/dog.10.jpg", "b/dog.9.jpg", "a/cat.2.jpeg", "a/cat.1.jpg", "b/dog.2.jpg"]
    pattern = r"(?:^|/)(?P<label>cat|dog)\.\d+\.[^./]+$"
    table = path_columns(paths, label_pattern=pattern)
    assert table["file_order"].tolist() == [4, 3, 1, 0, 2]
    assert table["file_number"].tolist() == [10, 9, 2, 1, 2]
    assert table["number_mod_10"].tolist() == [0, 9, 2, 1, 2]
    assert "extension" not in table  # .jpeg and .jpg are one
    assert table["folder"].tolist() == ["b", "b", "a", "a", "b"]
    assert "name_letters" not in table
    folders = path_columns(["cat/1.jpg", "dog/2.jpg"], label_pattern="^(?P<label>cat|dog)/")
    assert "folder" not in folders
