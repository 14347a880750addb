"""The tables of a competition, joined with its files: every line checked, every fault named."""

from collections import Counter
from collections.abc import Sequence
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gorae.data.crossing import cross_problems, shared_groups
from gorae.data.csv_text import at_rows, read_csv_text
from gorae.data.dicom_header import PREFIX
from gorae.data.frames import frame_suffix, with_frames
from gorae.data.labels import (
    MISSING_TEXTS,
    check_names,
    encode_targets,
    match_group,
    read_labels,
    sorted_classes,
)
from gorae.data.lines import Lines, missing_pictures, read_lines
from gorae.data.listing import count_unnameable, nfc
from gorae.data.requested import TEST_COLUMNS, read_test
from gorae.data.sources import META_PREFIX, SampleSource, Tables, TableSource, Task
from gorae.errors import DataError, list_problems

__all__ = ["encode_targets", "read_csv_text", "read_tables"]

# Groups found by a pattern on the path stand in this column.
PATH_GROUP = f"{META_PREFIX}path_group"

# Folder of unpacked zip files below the competition's folder.
EXTRACTED = Path(".gorae") / "extracted"


def read_tables(
    folder: Path,
    *,
    task: Task,
    classes: Sequence[str],
    train: TableSource,
    holdout: TableSource | None,
    extra: Sequence[TableSource],
    test: TableSource | None,
    submission_sample: SampleSource | None,
) -> Tables:
    """Read, check and join all tables of a competition.

    Args:
        folder: The competition's folder.
        task: What a label is.
        classes: Class names in order; empty: the sorted labels of the train table.
        train: Pictures with labels.
        holdout: A given validation set.
        extra: More labelled pictures, which never validate.
        test: Pictures to predict.
        submission_sample: Whose ids, and order of ids, the test table takes.

    Raises:
        DataError: Anything is wrong; one report names all of it with row numbers.
        ConfigError: A source does not say where its labels stand.
    """
    sources = [("train", train)] + ([("holdout", holdout)] if holdout else [])
    sources += [("extra", source) for source in extra]
    notes: list[str] = []
    problems: list[str] = []
    parts: list[pd.DataFrame] = []
    read: list[Lines] = []
    for role, source in sources:
        lines = read_lines(folder, source, extracted_root=folder / EXTRACTED)
        part = _label_lines(
            lines, folder=folder, role=role, task=task, notes=notes, problems=problems
        )
        problems += _check_classes(part, lines.name, classes=classes, task=task)
        parts.append(part)
        read.append(lines)
    labelled = _concatenate(parts)
    test_table = pd.DataFrame({name: [] for name in TEST_COLUMNS}, dtype="str")
    if test is not None:
        test_table, lines, test_notes, faults = read_test(
            folder, test, submission_sample, extracted_root=folder / EXTRACTED
        )
        read.append(lines)
        notes += test_notes
        problems += faults
    if not problems:
        problems += cross_problems(labelled, test_table)
    groups = tuple(dict.fromkeys(name for part in parts for name in part.attrs["groups"]))
    names: tuple[str, ...] = ()
    if not problems:
        problems += shared_groups(labelled, groups)
        names = tuple(nfc(name) for name in classes) or _found_classes(labelled, task)
        problems += _class_problems(labelled, names, task)
    if problems:
        raise DataError(
            f"The tables of {folder.name} cannot be used as they are:\n"
            f"{list_problems(problems)}"
        )
    notes += _unused_pictures(read, labelled, test_table, folder)
    notes += _same_names(labelled, test_table)
    table = labelled.drop(columns=["place", "name"])
    return Tables(table, test_table, names, groups, tuple(notes))


def _label_lines(
    lines: Lines,
    *,
    folder: Path,
    role: str,
    task: Task,
    notes: list[str],
    problems: list[str],
) -> pd.DataFrame:
    """One labelled source as a table, with ``place`` and ``name`` kept for messages."""
    source = lines.source
    lost_notes, faults = missing_pictures(lines)
    notes += [f"{note}; they are left out" for note in lost_notes]
    faults = [*lines.problems, *faults]
    if not faults:
        lines = lines.select([row for row, file in enumerate(lines.files) if file])
    labels, label_faults = read_labels(
        source, task=task, cells=lines.cells, files=lines.files, places=lines.places
    )
    faults += label_faults
    kept = [row for row, label in enumerate(labels) if label is not None]
    if source.table is not None and len(kept) < len(lines):
        lost = sorted(set(range(len(lines))) - set(kept))
        notes.append(
            f"{len(lost):,} pictures of {lines.name} match no label and are left out: "
            f"{lines.at(lost)}"
        )
    lines, labels = lines.select(kept), labels[kept]
    if not len(lines):
        faults.append(f"{source.images} holds no labelled pictures")
    lines, labels, repeated, conflicts = _drop_repeated(lines, labels)
    notes += repeated
    faults += conflicts
    lines, rows = with_frames(lines, folder)
    labels = labels[rows]
    folds, fold_faults = _read_folds(lines)
    faults += fold_faults
    table = _build_table(lines, labels, folds=folds, role=role)
    faults += _add_groups(table, lines, notes)
    problems += [f"{lines.name}: {fault}" for fault in faults]
    return table


def _build_table(
    lines: Lines, labels: np.ndarray[Any, Any], *, folds: list[int], role: str
) -> pd.DataFrame:
    pictures, source = lines.pictures, lines.source
    # The frames of a file are images of one row, as long as nothing else says what a row is.
    row_ids = [pictures.image_id(file) for file in lines.files]
    image_ids = list(map(add, row_ids, map(frame_suffix, lines.arguments)))
    if source.row_column is not None:
        row_ids = [nfc(text) for text in lines.column(source.row_column)]
    names = lines.files
    if source.image_column is not None:
        names = tuple(lines.column(source.image_column))
    columns: dict[str, Any] = {
        "image_id": pd.Series(image_ids, dtype="str"),
        "path": pd.Series([pictures.path(file) for file in lines.files], dtype="str"),
        "arguments": pd.Series(lines.arguments, dtype="str"),
        "row_id": pd.Series(row_ids, dtype="str"),
        "label": pd.Series(labels, dtype=object),
        "role": pd.Series([role] * len(lines), dtype="str"),
        "fold": np.array(folds, dtype=np.int64),
    }
    for name, cells in lines.metadata().items():
        columns[name] = pd.Series(cells, dtype="str")
    table = pd.DataFrame(columns)
    table["name"] = pd.Series(names, dtype="str")
    table["place"] = pd.Series(lines.places, dtype=object)
    return table


def _drop_repeated(
    lines: Lines, labels: np.ndarray[Any, Any]
) -> tuple[Lines, np.ndarray[Any, Any], list[str], list[str]]:
    """Keep the first line of each picture; other labels for it are conflicts."""
    first: dict[str, int] = {}
    again: list[int] = []
    conflicts: list[int] = []
    for row, file in enumerate(lines.files):
        earlier = first.setdefault(file, row)
        if earlier != row and file:
            again.append(row)
            if labels[row] != labels[earlier]:
                conflicts += [earlier, row]
    if not again:
        return lines, labels, [], []
    kept = sorted(set(range(len(lines))) - set(again))
    notes, problems = [], []
    if conflicts:
        problems.append(
            f"{len(set(conflicts))} lines give one picture different labels: "
            f"{lines.at(sorted(conflicts))}"
        )
    else:
        notes.append(
            f"{len(again):,} lines of {lines.name} repeat a picture with the same label; the "
            f"first counts: {lines.at(again)}"
        )
    return lines.select(kept), labels[kept], notes, problems


def _read_folds(lines: Lines) -> tuple[list[int], list[str]]:
    column = lines.source.fold_column
    if column is None:
        return [-1] * len(lines), []
    texts = lines.column(column)
    wrong = [row for row, text in enumerate(texts) if not (text.isascii() and text.isdigit())]
    if wrong:
        return [-1] * len(lines), [
            f"fold column {column!r} must hold whole numbers from 0, found "
            f"{texts[wrong[0]]!r}: {lines.at(wrong)}"
        ]
    folds = [int(text) for text in texts]
    missing = sorted(set(range(max(folds, default=0) + 1)) - set(folds))
    if missing or len(set(folds)) < 2:
        found = ", ".join(str(fold) for fold in sorted(set(folds))[:20])
        return folds, [
            f"fold column {column!r} must hold every number from 0 to the last fold, at least "
            f"0 and 1; found: {found}"
        ]
    return folds, []


def _add_groups(table: pd.DataFrame, lines: Lines, notes: list[str]) -> list[str]:
    """Note in ``table.attrs`` which columns are groups; missing groups are problems."""
    source = lines.source
    groups = [
        f"{META_PREFIX}{nfc(name)}"
        for name in source.group_columns
        if not name.startswith(PREFIX)
    ]
    if source.group_pattern is not None:
        found = [match_group(source.group_pattern, "group", file) for file in lines.files]
        table[PATH_GROUP] = pd.Series([text or "" for text in found], dtype="str")
        groups.append(PATH_GROUP)
    problems = []
    kept = []
    for column in groups:
        missing = np.flatnonzero(table[column].str.strip().isin(MISSING_TEXTS).to_numpy(bool))
        if len(missing) == len(table):
            notes.append(f"group column {column} of {lines.name} is empty and not used")
            continue
        kept.append(column)
        if len(missing):
            problems.append(
                f"{len(missing)} lines have no value in group column {column!r}: "
                f"{lines.at(missing)}. Fill them in (a name of its own for a picture that "
                "belongs to nobody), or remove the column from `group_columns`"
            )
    table.attrs["groups"] = kept
    return problems


def _check_classes(
    table: pd.DataFrame, name: str, *, classes: Sequence[str], task: Task
) -> list[str]:
    """Faults of the class names of one source."""
    if task == "regression":
        return []
    pairs = list(zip(table["label"], table["place"], strict=True))
    if task == "multilabel":
        pairs = [(part, place) for parts, place in pairs for part in parts]
    texts, places = [text for text, _ in pairs], [place for _, place in pairs]
    known = [nfc(text) for text in classes]
    faults = check_names(texts, places=places, classes=known, task=task)
    return [f"{name}: {fault}" for fault in faults]


def _concatenate(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All labelled sources; a line whose source lacks a group column is a group of its own."""
    groups = {column for part in parts for column in part.attrs["groups"]}
    whole = pd.concat([part.copy() for part in parts], ignore_index=True)
    whole.attrs.clear()
    for column in whole.columns:
        if column.startswith(META_PREFIX):
            alone = "=" + whole["row_id"] if column in groups else pd.Series("", whole.index)
            whole[column] = whole[column].where(whole[column].notna(), alone).astype("str")
    return whole


def _unused_pictures(
    read: Sequence[Lines], labelled: pd.DataFrame, test: pd.DataFrame, folder: Path
) -> list[str]:
    """How many pictures lie there and belong to nothing."""
    used = set(labelled["path"]) | set(test["path"])
    notes = []
    for lines in read:
        pictures = lines.pictures
        idle = [name for name in pictures.pictures if pictures.path(name) not in used]
        used |= {pictures.path(name) for name in idle}
        if idle:
            notes.append(
                f"{len(idle):,} pictures in {pictures.images} belong to no line of a table or "
                f"match no label: {at_rows(idle)}"
            )
        unnameable = count_unnameable(folder / pictures.real)
        if unnameable:
            notes.append(
                f"{unnameable:,} files in {pictures.images} have names that are not UTF-8 and "
                "are left out; rename them to use them"
            )
    return list(dict.fromkeys(notes))


def _same_names(labelled: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Test ids that train uses too: different pictures of one name, or the same ones."""
    named = Counter(labelled["name"])
    rows = [row for row in test["row_id"] if row in named]
    if not rows:
        return []
    return [
        f"{len(rows):,} test ids also stand in train (first {rows[0]!r}): other pictures of "
        "the same name, or the same ones, which equal pixels will show"
    ]


def _found_classes(labelled: pd.DataFrame, task: Task) -> tuple[str, ...]:
    """The classes of the train table in order."""
    if task == "regression":
        return ()
    labels = labelled.loc[labelled["role"] == "train", "label"]
    if task == "multilabel":
        return sorted_classes({name for names in labels for name in names})
    names = set(labels)
    if task == "ordinal":
        return tuple(str(grade) for grade in range(max(int(name) for name in names) + 1))
    return sorted_classes(names)


def _class_problems(labelled: pd.DataFrame, classes: Sequence[str], task: Task) -> list[str]:
    """Nothing to tell apart, or labels that only the holdout or the extra tables know."""
    if task == "regression":
        return []
    problems = []
    if len(classes) < (1 if task == "multilabel" else 2):
        problems.append(
            f"train has {len(classes)} class ({', '.join(classes)}): there is nothing to tell "
            "apart. Check `label_columns` or `label_pattern`"
        )
    others = labelled[labelled["role"] != "train"]
    known = set(classes)
    parts = (
        others["label"] if task == "multilabel" else others["label"].map(lambda name: (name,))
    )
    foreign = [
        (name, place)
        for names, place in zip(parts, others["place"], strict=True)
        for name in names
        if name not in known
    ]
    if foreign:
        named = ", ".join(repr(name) for name in dict.fromkeys(name for name, _ in foreign))
        problems.append(
            f"{len(foreign)} labels of the validation or extra pictures ({named[:200]}) are "
            f"not in train: {at_rows([place for _, place in foreign])}"
        )
    return problems
