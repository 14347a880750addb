"""Layouts with a table: train.csv, perhaps test.csv, a validation table, a sample."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from gorae.data.columns import (
    find_boxes,
    find_fold,
    find_groups,
    find_image_column,
    find_labels,
)
from gorae.data.inventory import Findings, FoundTable, Inventory
from gorae.data.roles import (
    requested_settings,
    role_table,
    row_column_of,
    submission_settings,
    tell_image,
)
from gorae.data.scoring import recognise_scoring
from gorae.errors import DataError


def recognise_tables(
    inventory: Inventory, train: FoundTable, sample: FoundTable | None, findings: Findings
) -> dict[str, Any] | None:
    """Settings where a table names the labelled pictures."""
    id_column = None if sample is None else str(sample.frame.columns[0])
    image = find_image_column(
        train, inventory, role="train", findings=findings, prefer=id_column
    )
    assert image is not None
    tell_image("train", train, image, findings)
    test = role_table(inventory, "test", id_column, findings)
    test_frame = None if test is None else test[0].frame
    answers = None if sample is None else sample.frame.iloc[:, 1:]
    fold = find_fold(train.frame, findings)
    boxes = find_boxes(train.frame, findings)
    row = row_column_of(train.frame, image.column, id_column)
    labels = find_labels(
        train.frame,
        taken=_taken(train.frame, image.column, row, fold, boxes),
        test=test_frame,
        answers=[] if answers is None else [str(column) for column in answers.columns],
        findings=findings,
    )
    if not labels:
        raise DataError(
            f"{train.path} names pictures in column {image.column!r} but no column is left "
            f"for labels. It has: {', '.join(map(str, train.frame.columns))}."
        )
    taken = {image.column, row, fold, *labels, *boxes.get("box_columns", ())}
    free = [str(column) for column in train.frame.columns if column not in taken]
    groups = find_groups(train.frame, test_frame, free, findings)
    columns = list(labels) if answers is None else [str(c) for c in answers.columns]
    scoring = recognise_scoring(
        train.frame[list(labels)], answers=answers, answer_columns=columns, findings=findings
    )
    source: dict[str, Any] = {
        "images": image.images,
        **train.where(),
        "image_column": image.column,
        "label_columns": list(labels),
        **boxes,
    }
    optional = {
        "group_columns": list(groups),
        "row_column": row or (image.column if image.names_folders else None),
        "fold_column": fold,
        "label_delimiter": scoring.label_delimiter,
    }
    source |= {key: value for key, value in optional.items() if value}
    settings: dict[str, Any] = {
        "task": scoring.task,
        "metric": scoring.metric,
        "metric_params": scoring.metric_params,
        "train": source,
    }
    if labels[1:]:
        settings["classes"] = list(labels)
    settings |= _other_sources(inventory, source, findings)
    settings |= requested_settings(inventory, sample, test, labels, findings)
    if "test" in settings or sample is not None:
        settings["submission"] = submission_settings(sample, test, scoring.answer)
    return settings


def _taken(
    frame: pd.DataFrame,
    image_column: str,
    row_column: str | None,
    fold_column: str | None,
    boxes: Mapping[str, Any],
) -> list[str]:
    """Columns that cannot be labels: known ones, groups by name, unnamed row numbers."""
    groups = find_groups(frame, None, [str(c) for c in frame.columns], Findings({}))
    numbers = [
        str(c) for c in frame.columns if re.fullmatch(r"column_\d+|Unnamed: \d+", str(c))
    ]
    known = [image_column, row_column, fold_column, *boxes.get("box_columns", ())]
    return [name for name in [*known, *groups, *numbers] if name is not None]


def _other_sources(
    inventory: Inventory, train: Mapping[str, Any], findings: Findings
) -> dict[str, Any]:
    """Validation and extra tables with the columns of the train table."""
    settings: dict[str, Any] = {}
    for role in ("holdout", "extra"):
        found = role_table(inventory, role, train["image_column"], findings)
        if found is None:
            continue
        table, image = found
        lacking = [name for name in train["label_columns"] if name not in table.frame.columns]
        if lacking:
            findings.notes.append(f"{table.path} has no column {lacking[0]!r}; not used")
            continue
        tell_image(role, table, image, findings)
        have = set(table.frame.columns)
        kept: dict[str, Any] = {"label_columns": train["label_columns"]}
        groups = [name for name in train.get("group_columns", ()) if name in have]
        kept |= {"group_columns": groups} if groups else {}
        kept |= {key: train[key] for key in ("label_delimiter",) if key in train}
        if train.get("row_column") in have:
            kept["row_column"] = train["row_column"]
        source = {
            "images": image.images,
            **table.where(),
            "image_column": image.column,
            **kept,
        }
        settings[role] = source if role == "holdout" else [source]
    return settings
