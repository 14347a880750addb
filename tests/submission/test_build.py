"""Predictions as the table that is sent; writing and reading it again."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.data.sources import Task
from gorae.errors import ConfigError, DataError, SubmissionError
from gorae.predictions import Kind, Predictions
from gorae.submission import (
    SubmissionFormat,
    build_submission,
    check_submission,
    read_submission,
    require_form,
    write_submission,
)

PETS = ("cat", "dog")


def form_of(**fields: Any) -> SubmissionFormat:
    return SubmissionFormat(**({"id_column": "id", "columns": ("label",)} | fields))


def say(
    rows: dict[str, list[float]], columns: tuple[str, ...], kind: Kind = "multiclass"
) -> Predictions:
    return Predictions(tuple(rows), columns, np.array(list(rows.values()), np.float32), kind)


def sample_of(*ids: str, columns: tuple[str, ...] = ("id", "label")) -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(columns, ids), dtype="str")


def test_dog_is_written_as_1_in_the_order_of_the_sample() -> None:
    predictions = say({"1": [0.2, 0.8], "2": [0.6, 0.4], "10": [0.1, 0.9]}, PETS)
    table = build_submission(
        predictions,
        form=form_of(kind="label", written={"cat": "0", "dog": "1"}),
        sample=sample_of("10", "2", "1"),
        classes=PETS,
        task="multiclass",
    )
    assert table.to_numpy().tolist() == [["10", "1"], ["2", "0"], ["1", "1"]]
    assert list(table.index) == [2, 3, 4]


def test_the_columns_stand_as_in_the_sample() -> None:
    table = build_submission(
        say({"a": [0.25, 0.75]}, PETS),
        form=form_of(
            kind="probability", columns=("dog", "고양이"), column_classes={"고양이": "cat"}
        ),
        sample=sample_of("a", columns=("dog", "고양이", "id")),
        classes=PETS,
        task="multiclass",
    )
    assert list(table.columns) == ["dog", "고양이", "id"]
    assert table.iloc[0].tolist() == ["0.75", "0.25", "a"]


def test_ordinal_labels_are_the_most_probable_grade() -> None:
    grades = ("0", "1", "2")
    table = build_submission(
        say({"a": [0.2, 0.3, 0.5]}, grades),
        form=form_of(kind="label"),
        sample=None,
        classes=grades,
        task="ordinal",
    )
    assert table["label"].tolist() == ["2"]


def test_several_labels_in_a_cell_or_in_columns() -> None:
    labels = ("비", "눈", "바람")
    predictions = say({"a": [0.9, 0.5, 0.1], "b": [0.1, 0.2, 0.3]}, labels, kind="multilabel")
    joined = build_submission(
        predictions,
        form=form_of(kind="label", separator="|"),
        sample=None,
        classes=labels,
        task="multilabel",
    )
    assert joined["label"].tolist() == ["비|눈", ""]
    flags = build_submission(
        predictions,
        form=form_of(kind="label", columns=labels, threshold=0.3),
        sample=None,
        classes=labels,
        task="multilabel",
    )
    assert flags.to_numpy().tolist() == [["a", "1", "1", "0"], ["b", "0", "0", "1"]]


def test_ranked_labels_with_an_unknown_one_by_hand() -> None:
    whales = ("w1", "w2", "w3", "w4")
    predictions = say(
        {
            "sure": [0.9, 0.05, 0.03, 0.02],
            "torn": [0.1, 0.45, 0.44, 0.01],
            "lost": [0.25, 0.25, 0.25, 0.25],
        },
        whales,
    )
    table = build_submission(
        predictions,
        form=form_of(kind="ranked", top_k=3, unknown_label="new", unknown_score=0.4),
        sample=None,
        classes=whales,
        task="multiclass",
    )
    # Before all classes less probable than 0.4; equal ones in the order of the classes.
    assert table["label"].tolist() == ["w1 new w2", "w2 w3 new", "new w1 w2"]


def test_an_unknown_label_that_is_a_class_stands_once() -> None:
    whales = ("new", "w1", "w2")
    table = build_submission(
        say({"a": [0.7, 0.2, 0.1]}, whales),
        form=form_of(kind="ranked", top_k=5, unknown_label="new", unknown_score=0.15),
        sample=None,
        classes=whales,
        task="multiclass",
    )
    assert table["label"].tolist() == ["w1 new w2"]


def test_rows_of_a_thousand_probabilities_sum_to_1_as_written() -> None:
    names = tuple(f"c{k}" for k in range(1000))
    values = np.random.default_rng(0).dirichlet(np.ones(1000), 20).astype(np.float32)
    values *= np.float32(1.00005)  # as far off as float32 may be
    predictions = Predictions(tuple(map(str, range(20))), names, values, "multiclass")
    form = form_of(kind="probability", columns=names)
    table = build_submission(
        predictions, form=form, sample=None, classes=names, task="multiclass"
    )
    sums = table[list(names)].astype(float).sum(axis=1)
    assert np.abs(sums - 1).max() < 1e-6


def test_the_sample_rules() -> None:
    predictions = say({"a": [0.5, 0.5]}, PETS)
    common: dict[str, Any] = {
        "form": form_of(kind="label"),
        "classes": PETS,
        "task": "multiclass",
    }
    with pytest.raises(DataError, match="1 of 2 ids have no prediction, first 'b'"):
        build_submission(predictions, sample=sample_of("a", "b"), **common)
    with pytest.raises(DataError, match="holds 1 ids more than once, first 'a' in row 1"):
        build_submission(predictions, sample=sample_of("a", "a"), **common)
    with pytest.raises(ConfigError, match=r"has the columns id, ans; .* names id, label"):
        build_submission(predictions, sample=sample_of("a", columns=("id", "ans")), **common)


def test_scores_are_no_probabilities() -> None:
    with pytest.raises(ConfigError, match="predictions are of kind 'score'"):
        build_submission(
            say({"a": [3.0, 1.0]}, PETS, kind="score"),
            form=form_of(kind="probability", columns=PETS),
            sample=None,
            classes=PETS,
            task="multiclass",
        )


@pytest.mark.parametrize(
    ("fields", "task", "message"),
    [
        ({"kind": "label", "columns": ()}, "multiclass", "columns is empty"),
        (
            {"kind": "label", "columns": ("id",)},
            "multiclass",
            "a column is named twice: id, id",
        ),
        ({"kind": "label", "columns": PETS}, "multiclass", "takes one answer column, 2 are"),
        ({"kind": "value"}, "multiclass", "'value' does not belong to task 'multiclass'"),
        ({"kind": "label"}, "regression", "'label' does not belong to task 'regression'"),
        ({"kind": "ranked"}, "multilabel", "orders the classes of one label"),
        ({"kind": "ranked", "top_k": 0}, "multiclass", "top_k is 0"),
        ({"kind": "label", "unknown_label": "x"}, "multiclass", "unknown_label has no effect"),
        (
            {"kind": "label", "written": {"cow": "1"}},
            "multiclass",
            "'cow', which is not a class",
        ),
        (
            {"kind": "label", "written": {"cat": "dog"}},
            "multiclass",
            "classes are written alike",
        ),
        ({"kind": "probability"}, "multiclass", "column 'label' is not a class: say in"),
        (
            {"kind": "probability", "columns": PETS, "column_classes": {"x": "cat"}},
            "multiclass",
            "names column 'x', which is not in columns",
        ),
        (
            {"kind": "probability", "columns": PETS, "column_classes": {"cat": "dog"}},
            "multiclass",
            "two columns stand for the same class",
        ),
        ({"kind": "ranked", "separator": ""}, "multiclass", "separator is empty"),
        ({"kind": "ranked", "separator": "a"}, "multiclass", "'cat' holds the separator 'a'"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(
    fields: dict[str, Any], task: Task, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        require_form(form_of(**fields), classes=PETS, task=task)


# Names as people give them: Korean, commas, quotes, formula signs; none is blank.
NAMES = st.text(
    alphabet=st.sampled_from(list("abz019개고양이=+-,;\"'|@")), min_size=1, max_size=6
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Predictions, SubmissionFormat, tuple[str, ...], Task]:
    kind = draw(st.sampled_from(["label", "probability", "value", "ranked"]))
    classes = tuple(draw(st.lists(NAMES, min_size=2, max_size=6, unique=True)))
    ids = tuple(draw(st.lists(NAMES, min_size=1, max_size=12, unique=True)))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    task: Task = "multiclass"
    fields: dict[str, Any] = {"kind": kind, "id_column": "파일 이름", "columns": ("정답",)}
    if kind == "value":
        values = rng.normal(0, 1000, (len(ids), 1)).astype(np.float32)
        return (
            Predictions(ids, ("value",), values, "value"),
            form_of(**fields),
            (),
            "regression",
        )
    if kind == "probability" or (kind == "label" and draw(st.booleans())):
        task = draw(st.sampled_from(["multiclass", "multilabel"]))
        if kind == "probability" or task == "multilabel":
            fields["columns"] = classes
    if kind == "ranked":
        fields |= {"top_k": draw(st.integers(1, 7)), "unknown_label": "새로운_고래"}
    if task == "multilabel":
        chances = rng.uniform(size=(len(ids), len(classes))).astype(np.float32)
        return (
            Predictions(ids, classes, chances, "multilabel"),
            form_of(**fields),
            classes,
            task,
        )
    shares = rng.dirichlet(np.full(len(classes), 0.2), len(ids)).astype(np.float32)
    return Predictions(ids, classes, shares, "multiclass"), form_of(**fields), classes, task


@given(cases(), st.sampled_from([",", ";", "\t"]))
@settings(max_examples=80, deadline=None)
def test_what_is_built_is_written_and_passes_every_check(
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[Predictions, SubmissionFormat, tuple[str, ...], Task],
    delimiter: str,
) -> None:
    predictions, form, classes, task = case
    form = SubmissionFormat(**(vars(form) | {"delimiter": delimiter}))
    table = build_submission(predictions, form=form, sample=None, classes=classes, task=task)
    path = tmp_path_factory.mktemp("s") / "submission.csv"
    common: dict[str, Any] = {"form": form, "ids": predictions.ids, "classes": classes}
    assert write_submission(path, table, task=task, **common) == []
    data = path.read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in data
    assert data.endswith(b"\n")
    again, findings = read_submission(path, delimiter=delimiter)
    assert findings == []
    assert again is not None
    pd.testing.assert_frame_equal(again, table, check_index_type=False, check_column_type=False)
    assert check_submission(path, task=task, **common) == []


def test_a_bad_table_is_not_written_and_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    common: dict[str, Any] = {
        "form": form_of(kind="label"),
        "ids": ["a", "b"],
        "classes": PETS,
        "task": "multiclass",
    }
    bad = pd.DataFrame({"id": ["a", "a"], "label": ["cat", "cow"]}, index=[2, 3], dtype="str")
    with pytest.raises(SubmissionError, match="was not written, 3 checks failed") as caught:
        write_submission(path, bad, **common)
    for words in ("stand in more than one row", "'b'", "the label is unknown"):
        assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    good = pd.DataFrame({"id": ["a", "b"], "label": ["cat", "dog"]}, index=[2, 3], dtype="str")
    assert write_submission(path, good, **common) == []
    with pytest.raises(SubmissionError, match="exists already and a submission is never"):
        write_submission(path, good, **common)
    assert path.read_text() == "id,label\na,cat\nb,dog\n"
