"""Corrections of labels: a table of suspects that a person edits, and the tables it changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.csv_text import (
    at_rows,
    decode_text,
    guess_delimiter,
    read_bytes,
    read_csv_text,
)
from gorae.data.labels import MAX_NUMBER
from gorae.data.listing import nfc
from gorae.data.sources import Tables, Task
from gorae.errors import DataError, list_problems

COLUMNS = ("image_id", "given", "suggested", "score", "label", "weight", "note")

# Between the labels of one picture (multi-label); a name that holds it cannot be written.
DELIMITER = "|"

# Stands for "no label at all" in a multi-label table: an empty cell means unchanged.
NO_LABEL = "-"


@dataclass(frozen=True)
class Corrections:
    """What a person, or a rule, decided about some labelled pictures."""

    name: str
    """The file, for messages."""
    labels: Mapping[str, str]
    """New label as written, by ``image_id``; only where one was written."""
    weights: Mapping[str, float]
    """Weight in training by ``image_id``, from 0 (never trains) to 1; only where written."""


def suspect_table(
    image_ids: Sequence[str],
    *,
    given: Sequence[Any],
    suggested: Sequence[Any],
    scores: Sequence[float] | NDArray[np.floating[Any]],
) -> pd.DataFrame:
    """A table of suspects as text, ready to be saved as CSV and edited.

    ``label``, ``weight`` and ``note`` are empty: for the person who looks. A ``label`` that is
    filled in replaces the given one; ``weight`` 0 keeps the picture out of training, while it
    still validates.

    Args:
        image_ids: In the order in which they should be looked at, each once.
        given: Labels as the train table holds them: names, tuples of names, or numbers.
        suggested: What the model holds more likely, of the same kind.
        scores: How suspect each is.
    """
    blank = [""] * len(image_ids)
    columns = {
        "image_id": list(image_ids),
        "given": [label_text(label) for label in given],
        "suggested": [label_text(label) for label in suggested],
        "score": [f"{score:.4f}" for score in scores],
        **dict.fromkeys(("label", "weight", "note"), blank),
    }
    return pd.DataFrame(columns, columns=list(COLUMNS), dtype="str")


def rule_corrections(
    image_ids: Sequence[str],
    *,
    given: Sequence[Any],
    suggested: Sequence[Any],
    distances: NDArray[np.floating[Any]],
    threshold: float,
) -> pd.DataFrame:
    """Corrections by rule: pictures further than ``threshold`` from the model never train.

    They still validate, so that the score stays that of all pictures. The furthest come first.

    Args:
        image_ids: All pictures that were looked at.
        given: Their labels.
        suggested: Their out-of-fold predictions.
        distances: Distance of label and prediction, (N,).
        threshold: Beyond this a picture gets weight 0.

    Source: PANDA 2020, first place: grades more than 1.6 from their out-of-fold prediction.
    """
    far = np.flatnonzero(distances > threshold)
    rows: list[int] = far[np.argsort(-distances[far], kind="stable")].tolist()
    table = suspect_table(
        [image_ids[row] for row in rows],
        given=[given[row] for row in rows],
        suggested=[suggested[row] for row in rows],
        scores=distances[rows],
    )
    return table.assign(
        weight="0", note=f"further than {threshold:g} from the out-of-fold prediction"
    )


def label_text(label: Any) -> str:
    """A label as a cell: names joined by ``|``, ``-`` for none of them, numbers in full."""
    if isinstance(label, tuple | list):
        return DELIMITER.join(label) if label else NO_LABEL
    return repr(float(label)) if isinstance(label, float | np.floating) else str(label)


def read_corrections(path: Path, *, encoding: str = "utf-8") -> Corrections:
    """Read a table of corrections; lines with nothing filled in change nothing.

    Needs the column ``image_id`` and ``label`` or ``weight``; others are for the reader. Fields
    may be separated by commas, semicolons or tabs, as spreadsheets save them.

    Raises:
        DataError: The file is missing, not text in ``encoding`` or no table; it lacks a column;
            a picture stands twice; a weight is not a number from 0 to 1. All faults at once.
    """
    text = decode_text(read_bytes(path), encoding=encoding, name=path.name)
    frame = read_csv_text(path, encoding=encoding, delimiter=guess_delimiter(text))
    if "image_id" not in frame.columns or not {"label", "weight"} & set(frame.columns):
        raise DataError(
            f"{path.name} is no table of corrections: it needs the columns image_id and label "
            f"or weight, it has {', '.join(map(str, frame.columns))}."
        )
    ids = [nfc(text.strip()) for text in frame["image_id"]]
    rows = frame.index.tolist()
    problems = _twice(ids, rows)
    labels: dict[str, str] = {}
    weights: dict[str, float] = {}
    wrong: list[int] = []
    for place, image_id in enumerate(ids):
        label = nfc(frame["label"].iloc[place].strip()) if "label" in frame else ""
        weight = frame["weight"].iloc[place].strip() if "weight" in frame else ""
        if label:
            labels[image_id] = label
        if weight:
            number = _number(weight)
            if number is None or not 0 <= number <= 1:
                wrong.append(place)
            else:
                weights[image_id] = number
    if wrong:
        problems.append(
            f"{len(wrong)} weights are not numbers from 0 to 1 (first "
            f"{frame['weight'].iloc[wrong[0]]!r}): {at_rows([rows[place] for place in wrong])}"
        )
    _refuse(path.name, problems)
    return Corrections(path.name, labels, weights)


def apply_corrections(
    tables: Tables, corrections: Corrections, *, task: Task
) -> tuple[Tables, "pd.Series[float]"]:
    """The tables with corrected labels, and the weight of each labelled picture in training.

    Classes stay as they are: a correction cannot make a new one. What was done is added to the
    notes of the tables.

    Args:
        tables: As read from the competition.
        corrections: Read by ``read_corrections``.
        task: What a label is.

    Returns:
        The tables; and weights by ``image_id`` in the order of the train table, 1 where
        nothing was written.

    Raises:
        DataError: A picture is not in the train table, or a label is not one of the classes or
            not a number; a class would lose its last picture; pictures of one row would
            get different labels. All faults at once.
    """
    train = tables.train
    position = {image_id: place for place, image_id in enumerate(train["image_id"])}
    named = list(dict.fromkeys([*corrections.labels, *corrections.weights]))
    unknown = [image_id for image_id in named if image_id not in position]
    problems = []
    if unknown:
        problems.append(
            f"{len(unknown)} image_id are not in the train table: {at_rows(unknown)}"
        )
    labels = train["label"].tolist()
    bad: list[str] = []
    num_changed = 0
    for image_id, text in corrections.labels.items():
        label = _parsed(text, classes=tables.classes, task=task)
        if label is None:
            bad.append(f"{image_id} -> {text!r}")
        elif image_id in position:
            num_changed += _differ(label, labels[position[image_id]])
            labels[position[image_id]] = label
    if bad:
        problems.append(
            f"{len(bad)} labels are not {_wanted(tables.classes, task)}: {at_rows(bad)}"
        )
    if not problems:
        problems = _emptied(labels, train, tables.classes, task) + _torn(labels, train)
    _refuse(corrections.name, problems)
    weights = pd.Series(1.0, index=pd.Index(train["image_id"], name="image_id"), name="weight")
    for image_id, weight in corrections.weights.items():
        weights[image_id] = weight
    column = pd.Series(_objects(labels), index=train.index, dtype=object)
    notes = _told(corrections.name, num_changed, weights)
    changed = replace(tables, train=train.assign(label=column), notes=(*tables.notes, *notes))
    return changed, weights


def _twice(ids: Sequence[str], rows: Sequence[int]) -> list[str]:
    seen: set[str] = set()
    again = []
    for image_id, row in zip(ids, rows, strict=True):
        if image_id in seen:
            again.append(row)
        seen.add(image_id)
    if not again:
        return []
    return [f"{len(again)} lines name a picture that an earlier line names: {at_rows(again)}"]


def _number(text: str) -> float | None:
    """A plain finite number; None for anything else, full-width digits and hexadecimals too."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if text.isascii() and "_" not in text and abs(value) <= MAX_NUMBER else None


def _parsed(text: str, *, classes: Sequence[str], task: Task) -> Any:
    """A written label as the train table holds it; None where it is none."""
    if task == "regression":
        return _number(text)
    if task != "multilabel":
        return text if text in classes else None
    if text == NO_LABEL and NO_LABEL not in classes:
        return ()
    parts = {part.strip() for part in text.split(DELIMITER)}
    return tuple(name for name in classes if name in parts) if parts <= set(classes) else None


def _wanted(classes: Sequence[str], task: Task) -> str:
    if task == "regression":
        return "finite numbers up to 1e12"
    known = ", ".join(classes[:20]) + (" ..." if len(classes) > 20 else "")
    form = f" (several: a{DELIMITER}b, none: {NO_LABEL})" if task == "multilabel" else ""
    return f"among the {len(classes)} classes{form}; known are {known}"


def _emptied(
    labels: Iterable[Any], train: pd.DataFrame, classes: Sequence[str], task: Task
) -> list[str]:
    """Classes that had pictures and have none any more: they could not be learnt."""
    if task == "regression":
        return []

    def used(values: Iterable[Any]) -> set[str]:
        return {
            name for value in values for name in (value if task == "multilabel" else [value])
        }

    lost = used(train["label"]) - used(labels)
    gone = [repr(name) for name in classes if name in lost]
    return (
        [f"{len(gone)} classes are left without a picture: {', '.join(gone)}"] if gone else []
    )


def _torn(labels: Sequence[Any], train: pd.DataFrame) -> list[str]:
    """Rows whose pictures would no longer share one label."""
    kinds = pd.Series([repr(label) for label in labels]).groupby(train["row_id"].to_numpy())
    torn = [str(row) for row, count in kinds.nunique().items() if count > 1]
    if not torn:
        return []
    return [
        f"{len(torn)} rows would have pictures with different labels: {at_rows(torn)}; correct "
        "all pictures of a row"
    ]


def _differ(new: Any, old: Any) -> bool:
    """Whether two labels differ; the order of several names says nothing."""
    return bool(set(new) != set(old) if isinstance(new, tuple) else new != old)


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """A vector of objects, also where these are tuples of equal length."""
    vector = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        vector[place] = value
    return vector


def _told(name: str, num_changed: int, weights: "pd.Series[float]") -> list[str]:
    num_idle = int((weights == 0).sum())
    num_lighter = int(((weights > 0) & (weights < 1)).sum())
    parts = [
        (num_changed, "labels corrected"),
        (num_idle, "pictures do not train"),
        (num_lighter, "pictures train with less weight"),
    ]
    told = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    return [f"{name}: {told}"] if told else []


def _refuse(name: str, problems: Sequence[str]) -> None:
    if problems:
        raise DataError(
            f"The corrections in {name} cannot be used:\n{list_problems(problems)}\nCorrect "
            "these lines, or remove `corrections` from competition.toml."
        )
