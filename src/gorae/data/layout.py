"""Recognise how a competition's folder is laid out, and say why."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gorae.data.columns import find_image_column
from gorae.data.dicom_layout import propose_patients
from gorae.data.inventory import (
    Findings,
    FoundTable,
    Inventory,
    Question,
    Unanswered,
    folder_of,
    is_sample,
    take_inventory,
)
from gorae.data.person_layout import recognise_person_folders
from gorae.data.picture_layout import recognise_pictures
from gorae.data.roles import table_role
from gorae.data.table_layout import recognise_tables
from gorae.data.tables import EXTRACTED
from gorae.errors import DataError

__all__ = ["Question", "Recognised", "recognise"]


@dataclass(frozen=True)
class Recognised:
    """What a folder turned out to be."""

    settings: dict[str, Any]
    """In the shape of competition.toml; empty while a question is open."""
    evidence: tuple[str, ...]
    """Why, one line per setting."""
    questions: tuple[Question, ...]
    """What must be answered before there are settings; the next one only."""
    notes: tuple[str, ...]
    """What was left out or should be looked at."""


def recognise(
    folder: Path,
    *,
    encoding: str | None = None,
    answers: Mapping[str, str] | None = None,
) -> Recognised:
    """Recognise the layout of a competition's folder without moving a file.

    Where two readings are possible it asks: call again with ``answers={question.key: option}``
    until no question is left. Files named like a solution are never opened.

    Args:
        folder: The competition's folder.
        encoding: Text encoding of CSV files that are not UTF-8.
        answers: Answers to earlier questions.

    Raises:
        DataError: Nothing is recognised, or a table cannot be read.
        UserError: An answer is not among the options.
    """
    findings = Findings(dict(answers or {}))
    try:
        settings = _recognise(folder, encoding, findings)
        questions: tuple[Question, ...] = ()
    except Unanswered as stop:
        settings, questions = {}, (stop.question,)
    return Recognised(settings, tuple(findings.evidence), questions, tuple(findings.notes))


def _recognise(folder: Path, encoding: str | None, findings: Findings) -> dict[str, Any]:
    inventory = take_inventory(
        folder, extracted_root=folder / EXTRACTED, encoding=encoding, findings=findings
    )
    sample = _find_sample(inventory, findings)
    train = _find_train_table(inventory, findings)
    if train is None:
        settings = recognise_pictures(inventory, sample, findings)
    else:
        settings = recognise_person_folders(inventory, train, sample, findings)
        if settings is None:
            settings = recognise_tables(inventory, train, sample, findings)
    if settings is None:
        raise DataError(_nothing_found(folder, inventory))
    propose_patients(settings, inventory, folder, findings)
    kept = {key: value for key, value in settings.items() if value not in ({}, [])}
    return {"name": inventory.name, **kept}


def _nothing_found(folder: Path, inventory: Inventory) -> str:
    places = Counter(folder_of(path) for path in inventory.pictures)
    found = [f"{count:,} pictures in {place}" for place, count in places.most_common(8)]
    found += [
        f"table {table.path} ({', '.join(map(str, table.frame.columns[:8]))})"
        for table in inventory.tables
    ]
    return (
        f"No layout was recognised in {folder}. Looked for: a CSV with a column that names "
        "pictures (train.csv); class folders (train/CLASS/... or CLASS/...); labels in file "
        "names (cat.0.jpg). Found: "
        + ("; ".join(found) or "no pictures and no CSV files")
        + ". "
        "Write competition.toml by hand, or name the folders so."
    )


def _find_sample(inventory: Inventory, findings: Findings) -> FoundTable | None:
    found = {table.path: table for table in inventory.tables if is_sample(table.path)}
    named = [path for path in found if "sample" in PurePosixPath(path).name.casefold()]
    paths = named if len(named) == 1 else sorted(found)
    if not paths:
        return None
    path = paths[0]
    if len(paths) > 1:
        path = findings.ask("sample", "Which file is the sample submission?", paths)
    findings.evidence.append(f"submission.sample: {path}, by its name")
    return found[path]


def _find_train_table(inventory: Inventory, findings: Findings) -> FoundTable | None:
    """The table whose lines name the labelled pictures."""
    silent = Findings(findings.answers)
    fitting: dict[str, FoundTable] = {}
    for table in inventory.tables:
        role = table_role(table)
        if is_sample(table.path) or role not in (None, "train"):
            continue
        if find_image_column(table, inventory, role="train", findings=silent) is not None:
            fitting[table.path] = table
        elif role == "train":
            findings.notes.append(f"{table.path}: no column names pictures; not used")
    declared = {path: t for path, t in fitting.items() if table_role(t) == "train"} or fitting
    exact = [path for path in declared if PurePosixPath(path).stem.casefold() == "train"]
    if not declared:
        return None
    paths = exact if len(exact) == 1 else sorted(declared)
    path = paths[0]
    if len(paths) > 1:
        path = findings.ask("train_table", "Which table holds the labels of train?", paths)
    others = sorted(set(fitting) - {path})
    if others:
        findings.notes.append(f"Tables that are not used: {', '.join(others)}")
    return declared[path]
