"""Labels as tables, folders and file names give them: read exactly, or refused by row."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.csv_text import at_rows
from gorae.data.listing import nfc
from gorae.data.sources import LabelPart, TableSource, Task
from gorae.errors import ConfigError, DataError, list_problems

# What spreadsheets and pandas write where nothing is known.
MISSING_TEXTS = frozenset(
    ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "<NA>", "None")
)

# The ways in which tables write no and yes.
_FLAGS = (("0", "1"), ("0.0", "1.0"), ("False", "True"), ("false", "true"))

# Beyond this a number is a slip of the table (TRUST 6: larger ones make RMSE infinite).
MAX_NUMBER = 1e12

Places = Sequence[int | str]


def read_labels(
    source: TableSource,
    *,
    task: Task,
    cells: pd.DataFrame,
    files: Sequence[str],
    places: Places,
) -> tuple[NDArray[np.object_], list[str]]:
    """The label of every line of one source, and what is wrong with them.

    Args:
        source: Says where the label stands.
        task: Decides what a label is.
        cells: The line of the table of each picture; without columns when there is no table.
        files: Path below ``images`` of each picture.
        places: Row number or file name of each picture, for messages.

    Returns:
        Labels (N,): text, tuple of texts (multi-label) or float (regression), ``None`` where
        a pattern matches nothing; and one text per kind of fault.
    """
    if source.compose:
        return _composed(source.compose, cells=cells, files=files, places=places)
    if source.label_pattern is not None:
        texts = [match_group(source.label_pattern, "label", name) for name in files]
        if task == "multilabel" and source.label_delimiter:
            parts = [text and _split(text, source.label_delimiter) for text in texts]
            return _objects(parts), []
        if task == "regression":
            return _numbers([text or "" for text in texts], places)
        return _objects(texts), []
    if not source.label_columns:
        raise ConfigError(
            "competition.toml does not say where labels stand: set `label_columns`, "
            "`label_pattern` or `compose` of the source."
        )
    if len(source.label_columns) > 1:
        return _flagged(source.label_columns, task=task, cells=cells, places=places)
    column = cells[source.label_columns[0]].tolist()
    if task == "regression":
        return _numbers(column, places)
    if task == "multilabel" and source.label_delimiter:
        return _objects([_split(nfc(text), source.label_delimiter) for text in column]), []
    if task == "multilabel":
        return _flagged(source.label_columns, task=task, cells=cells, places=places)
    return _objects([nfc(text) for text in column]), []


def match_group(pattern: str, group: str, name: str) -> str | None:
    """What ``group`` of ``pattern`` matches in a path, in NFC; None where nothing does.

    Raises:
        ConfigError: The pattern is no regular expression or lacks the group.
    """
    try:
        compiled = re.compile(nfc(pattern))
        if group not in compiled.groupindex:
            raise re.error(f"it has no group (?P<{group}>...)")
    except re.error as error:
        raise ConfigError(f"Pattern {pattern!r} cannot be used: {error}.") from error
    found = compiled.search(nfc(name))
    return None if found is None else found.group(group)


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """A vector of objects, also where these are tuples of equal length."""
    vector = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        vector[place] = value
    return vector


def _split(text: str, delimiter: str) -> tuple[str, ...]:
    parts = (part.strip() for part in text.split(delimiter))
    return tuple(dict.fromkeys(part for part in parts if part))


def _numbers(texts: Sequence[str], places: Places) -> tuple[NDArray[np.object_], list[str]]:
    values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    bad = ~(np.abs(values) <= MAX_NUMBER)
    # Text that Python takes for a number but a table hardly means: full-width, hexadecimal.
    bad |= [not text.isascii() or "x" in text.lower() or "_" in text for text in texts]
    wrong = np.flatnonzero(bad).tolist()
    problems = []
    if wrong:
        problems.append(
            f"{len(wrong)} labels are not finite numbers up to 1e12 (first "
            f"{texts[wrong[0]][:40]!r}): {at_rows([places[row] for row in wrong])}"
        )
    return values.astype(object), problems


def _flagged(
    columns: Sequence[str], *, task: Task, cells: pd.DataFrame, places: Places
) -> tuple[NDArray[np.object_], list[str]]:
    """Labels from columns of 0 and 1: the names of the columns that say 1."""
    problems: list[str] = []
    marks = np.zeros((len(cells), len(columns)), dtype=bool)
    for index, column in enumerate(columns):
        cell = cells[column]
        counts = [int(cell.isin(pair).sum()) for pair in _FLAGS]
        no, yes = _FLAGS[int(np.argmax(counts))]
        marks[:, index] = (cell == yes).to_numpy(bool)
        wrong = np.flatnonzero(~cell.isin((no, yes)).to_numpy(bool)).tolist()
        if len(wrong):
            problems.append(
                f"column {column!r} must be {no} or {yes} everywhere, found "
                f"{cell.iloc[wrong[0]][:40]!r}: {at_rows([places[row] for row in wrong])}"
            )
    if task == "multilabel":
        names = np.array([nfc(column) for column in columns], dtype=object)
        return _objects([tuple(names[row]) for row in marks]), problems
    wrong = np.flatnonzero(marks.sum(axis=1) != 1).tolist()
    if len(wrong) and not problems:
        problems.append(
            f"{len(wrong)} lines do not have exactly one 1 in the {len(columns)} label columns "
            f'(set `task = "multilabel"` if that is meant): '
            f"{at_rows([places[row] for row in wrong])}"
        )
    chosen = marks.argmax(axis=1)
    return _objects([nfc(columns[index]) for index in chosen]), problems


def _composed(
    parts: Sequence[LabelPart], *, cells: pd.DataFrame, files: Sequence[str], places: Places
) -> tuple[NDArray[np.object_], list[str]]:
    """The sum of weight times index over the parts, as text."""
    total = np.zeros(len(files), dtype=np.int64)
    unmatched = np.zeros(len(files), dtype=bool)
    problems: list[str] = []
    for part in parts:
        if part.pattern is not None:
            texts = [match_group(part.pattern, "label", name) for name in files]
            unmatched |= [text is None for text in texts]
        elif part.column is not None:
            texts = [nfc(text) for text in cells[part.column].tolist()]
        else:
            raise ConfigError(f"Label part {part.name!r} needs `column` or `pattern`.")
        indices = [None if text is None else _part_index(part, text) for text in texts]
        wrong = [
            row for row, index in enumerate(indices) if index is None and texts[row] is not None
        ]
        if wrong:
            known = ", ".join(part.values) or "a number"
            problems.append(
                f"{len(wrong)} values of {part.name!r} are unknown (first "
                f"{texts[wrong[0]]!r}; known: {known}): {at_rows([places[r] for r in wrong])}"
            )
        total += part.weight * np.array([index or 0 for index in indices], dtype=np.int64)
    labels = [
        None if lost else str(label) for lost, label in zip(unmatched, total, strict=True)
    ]
    return _objects(labels), problems


def _part_index(part: LabelPart, text: str) -> int | None:
    if not part.thresholds:
        return part.values.get(text)
    try:
        value = float(text)
    except ValueError:
        return None
    return sum(threshold <= value for threshold in part.thresholds) if value == value else None


def check_names(
    labels: Sequence[str], *, places: Places, classes: Sequence[str], task: Task
) -> list[str]:
    """What is wrong with class names: blank, missing, unknown, or alike but not equal.

    Args:
        labels: One name per entry; a multi-label line has several entries.
        places: Row number or file name of each entry.
        classes: The declared classes; empty when they come from the labels.
        task: ``ordinal`` names must be whole numbers unless classes are declared.
    """
    rows_of: dict[str, list[int | str]] = defaultdict(list)
    for label, place in zip(labels, places, strict=True):
        rows_of[label].append(place)
    if classes:
        declared = set(classes)
        return _unknown(rows_of, lambda name: name not in declared, _not_declared(classes))
    problems = _unknown(rows_of, lambda name: not name.strip(), "are blank")
    problems += _unknown(
        rows_of,
        lambda name: name in MISSING_TEXTS and name != "",
        "say that nothing is known; leave these rows out, or name them in `classes` if they "
        "are a class",
    )
    problems += _alike(rows_of)
    if task == "ordinal":
        problems += _unknown(
            rows_of,
            lambda name: re.fullmatch("0|[1-9][0-9]*", name) is None,
            "are not whole numbers from 0; write `classes` in order if the grades have names",
        )
    return problems


def _not_declared(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:20]) + (" ..." if len(classes) > 20 else "")
    return f"are not among the {len(classes)} classes ({shown})"


def _unknown(
    rows_of: Mapping[str, list[int | str]], is_wrong: Callable[[str], bool], fault: str
) -> list[str]:
    wrong = [name for name in rows_of if is_wrong(name)]
    if not wrong:
        return []
    places = [place for name in wrong for place in rows_of[name]]
    shown = ", ".join(repr(name[:40]) for name in wrong[:5]) + (" ..." if wrong[5:] else "")
    return [f"{len(places)} labels ({shown}) {fault}: {at_rows(places)}"]


def _alike(rows_of: Mapping[str, list[int | str]]) -> list[str]:
    """Names that differ only in spaces, width of the letters, or the form of a number."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in rows_of:
        spellings[_folded(name)].append(name)
    problems = []
    for names in spellings.values():
        if len(names) > 1:
            names.sort(key=lambda name: -len(rows_of[name]))
            written = " / ".join(repr(name) for name in names)
            places = [place for name in names[1:] for place in rows_of[name]]
            problems.append(
                f"labels {written} look like one class written in {len(names)} ways; the rarer "
                f"spelling stands in {at_rows(places)}"
            )
    return problems


def _folded(name: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", name).split())
    number = re.fullmatch(r"([+-]?)0*(\d+?)(?:\.0*)?", folded)
    if number is None:
        return folded
    return number[2] if number[1] != "-" else f"-{number[2]}"


def sorted_classes(names: set[str]) -> tuple[str, ...]:
    """Class names in order: whole numbers by value, else by their text."""
    if all(re.fullmatch(r"\d+", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def encode_targets(
    labels: Sequence[Any] | NDArray[np.object_] | pd.Series,
    *,
    classes: Sequence[str],
    task: Task,
) -> NDArray[Any]:
    """Labels as the numbers that models and metrics take.

    Returns:
        Class indices int64 (N,) for multiclass and ordinal; 0/1 float32 (N, K) for
        multilabel; float32 (N,) for regression.

    Raises:
        DataError: A label is not one of the classes; all such labels are counted.
    """
    values = list(labels)
    if task == "regression":
        return np.array(values, dtype=np.float32)
    index = {name: place for place, name in enumerate(classes)}
    parts = values if task == "multilabel" else [(value,) for value in values]
    unknown = sorted({str(name) for names in parts for name in names if name not in index})
    if unknown:
        raise DataError(
            f"{len(unknown)} labels are not among the {len(classes)} classes:\n"
            f"{list_problems([repr(name) for name in unknown])}"
        )
    if task == "multilabel":
        targets = np.zeros((len(values), len(classes)), dtype=np.float32)
        for row, names in enumerate(parts):
            targets[row, [index[name] for name in names]] = 1
        return targets
    return np.array([index[value] for value in values], dtype=np.int64)
