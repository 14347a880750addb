"""Whether given folds can be trusted, and how even they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.errors import DataError, list_problems

SHOWN_GROUPS = 10


def check_folds(
    folds: NDArray[np.integer[Any]],
    groups: NDArray[Any],
    labels: NDArray[np.integer[Any]] | None = None,
) -> None:
    """Refuse folds that leak or cannot be used.

    Args:
        folds: Fold of each row, (N,), from 0; -1 for rows that never validate.
        groups: Group of each row, (N,), as numbers or names.
        labels: Class of each row (N,), or 0/1 labels (N, K).

    Raises:
        DataError: A group is in two folds; fold numbers have gaps or are one only; every row
            has one and the same class.
    """
    assert len(folds) == len(groups)
    if len(folds) == 0:
        raise DataError("There are no rows in the split. Check the train table.")
    used = np.unique(folds[folds >= 0])
    if folds.min() < -1 or not np.array_equal(used, np.arange(len(used))) or len(used) == 0:
        raise DataError(
            f"Folds must be numbered 0, 1, 2 ... without gaps (-1: never validates); found "
            f"{', '.join(str(fold) for fold in np.unique(folds)[:20])}."
        )
    if len(used) == 1 and (folds >= 0).all():
        raise DataError(
            "All rows are in fold 0, nothing is left to train on. Give two folds or more."
        )
    if labels is not None and (labels == labels[:1]).all():
        raise DataError(
            "All rows have the same class: there is nothing to learn. Check the label column."
        )
    _check_groups(folds, groups)


def _check_groups(folds: NDArray[np.integer[Any]], groups: NDArray[Any]) -> None:
    pairs = pd.DataFrame({"group": groups, "fold": folds}).drop_duplicates()
    crossing = pairs[pairs.duplicated("group", keep=False)]
    if len(crossing) == 0:
        return
    in_folds = crossing.groupby("group", sort=True)["fold"].agg(lambda fold: sorted(set(fold)))
    problems = [
        f"group {group} is in folds {', '.join(str(fold) for fold in found)}"
        for group, found in in_folds.items()
    ]
    raise DataError(
        f"{len(problems)} of {pairs['group'].nunique()} groups are in more than one fold, so "
        "the out-of-fold score would be too good:\n"
        f"{list_problems(problems, shown=SHOWN_GROUPS)}\n"
        "Correct the fold column, or remove it and let the folds be made."
    )


def missing_classes(
    folds: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], *, num_classes: int
) -> list[tuple[int, int]]:
    """Pairs (class, fold) where the class is not in the train part of the fold.

    Args:
        folds: Fold of each row, (N,), from 0; -1 for rows that never validate.
        labels: Class of each row (N,), or 0/1 labels (N, K).
        num_classes: K.
    """
    num_folds = int(folds.max()) + 1
    counts = np.zeros((num_classes, num_folds + 1), dtype=np.int64)
    if labels.ndim == 1:
        np.add.at(counts, (labels, folds), 1)  # fold -1 is the last column
    else:
        for column in range(num_classes):
            has = labels[:, column] == 1
            counts[column] = np.bincount(folds[has] % (num_folds + 1), minlength=num_folds + 1)
    in_train = counts.sum(axis=1, keepdims=True) - counts[:, :num_folds]
    return [(int(k), int(fold)) for k, fold in np.argwhere(in_train == 0)]


def describe_folds(
    folds: NDArray[np.integer[Any]],
    groups: NDArray[Any],
    labels: NDArray[np.integer[Any]],
    *,
    class_names: Sequence[str],
) -> list[str]:
    """One sentence for each class that some train part lacks, and why."""
    notes = []
    for k, fold in missing_classes(folds, labels, num_classes=len(class_names)):
        has = labels == k if labels.ndim == 1 else labels[:, k] == 1
        num_rows, num_groups = int(has.sum()), len(np.unique(groups[has]))
        if num_rows == 0:
            if fold == 0:
                notes.append(f"Class {class_names[k]!r} has no rows.")
            continue
        why = (
            f"its {num_rows} rows are one group"
            if num_groups == 1 and num_rows > 1
            else "it has one row"
            if num_rows == 1
            else f"its {num_groups} groups are all in that fold"
        )
        notes.append(
            f"Class {class_names[k]!r} is never in the train part of fold {fold}: {why}."
        )
    return notes


def balance(
    folds: NDArray[np.integer[Any]], columns: Mapping[str, Sequence[Any]]
) -> pd.DataFrame:
    """Counts and shares of every value of the given columns in every fold.

    Returns:
        One row per column, value and fold: ``column``, ``value`` (text), ``fold``, ``count``,
        ``share`` (of the fold's rows), ``share_all`` (of all rows), ``deviation`` (their
        difference) and ``max_deviation`` (the largest absolute one of this value). Rows of
        fold -1 are left out.
    """
    folds = np.asarray(folds)
    is_used = folds >= 0
    num_folds = int(folds.max()) + 1
    sizes = np.bincount(folds[is_used], minlength=num_folds)
    parts = []
    for name, values in columns.items():
        codes, uniques = pd.factorize(
            np.asarray(values, dtype=object)[is_used].astype(str), sort=True
        )
        counts = np.zeros((len(uniques), num_folds), dtype=np.int64)
        np.add.at(counts, (codes, folds[is_used]), 1)
        share, share_all = counts / sizes.clip(1), counts.sum(axis=1) / sizes.sum()
        deviation = share - share_all[:, None]
        parts.append(
            pd.DataFrame(
                {
                    "column": name,
                    "value": np.repeat(uniques, num_folds),
                    "fold": np.tile(np.arange(num_folds), len(uniques)),
                    "count": counts.reshape(-1),
                    "share": share.reshape(-1),
                    "share_all": np.repeat(share_all, num_folds),
                    "deviation": deviation.reshape(-1),
                    "max_deviation": np.repeat(np.abs(deviation).max(axis=1), num_folds),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
