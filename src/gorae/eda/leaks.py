"""Metadata leaks: does what surrounds a picture, and not the picture, predict its label?"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.listing import nfc, split_extension
from gorae.data.sources import META_PREFIX, Task
from gorae.eda.association import Association, auc_association, holm, rank_association
from gorae.eda.boosting import Encoded, boosted_oof, encode_columns
from gorae.errors import DataError
from gorae.splits import bin_targets, make_folds

NUM_FOLDS = 5

# Chance that a set without any leak gets a report, over all columns together.
FALSE_ALARM_RATE = 0.05

# The order of the lines of a train table: of no use for test pictures, and often by class.
ROW_ORDER = "row_order"

# What a picture shows decides how well it packs: on four real sets of four this alone predicted
# the label (AUC 0.62 to 0.76), and nothing was wrong with any of them.
FILE_SIZE = "size_bytes"

VERDICTS = {
    "artefact": "leak suspect",
    "metadata": "predicts the label",
    "content": "what is shown, or how it was saved",
    "order": "the table is sorted by label",
}
_TOGETHER = {"artefact": "all artefacts together", "metadata": "all metadata together"}


# Those that are about the name of the file alone.
NAME_COLUMNS = ("file_number", "number_mod_10", "name_length", "name_letters", "extension")


def path_columns(paths: Sequence[str], *, label_pattern: str | None = None) -> pd.DataFrame:
    """What the paths of pictures tell beside the label, as columns for ``metadata_leaks``.

    Args:
        paths: Path of each picture, with ``/``.
        label_pattern: The pattern whose group ``label`` is the label (``TableSource``): what
            it matches is cut out first, for the label in the path is no leak.

    Returns:
        ``file_order`` (place among the sorted paths, numbers by value), ``file_number`` (the
        last number of the name), ``number_mod_10``, ``name_length``, ``name_letters`` (the
        name without its digits), ``extension``, ``folder`` and ``folder_depth``. A column
        with one value only is left out.
    """
    pattern = None if label_pattern is None else re.compile(nfc(label_pattern))
    cut = [_without_label(nfc(path), pattern) for path in paths]
    folders = [path.rpartition("/")[0] for path in cut]
    split = [split_extension(path.rpartition("/")[2]) for path in cut]
    stems = [stem for stem, _ in split]
    digits = [re.findall(r"\d+", stem) for stem in stems]
    numbers = pd.Series([float(found[-1]) if found else np.nan for found in digits])
    table = pd.DataFrame(
        {
            "file_order": _natural_order(cut),
            "file_number": numbers,
            "number_mod_10": numbers % 10,
            "name_length": [len(stem) for stem in stems],
            "name_letters": [re.sub(r"\d+", "#", stem) for stem in stems],
            "extension": [extension for _, extension in split],
            "folder": folders,
            "folder_depth": [folder.count("/") + bool(folder) for folder in folders],
        }
    )
    # A category of its own for nearly every picture (hash names) can tell nothing of others.
    told = [name for name in table if _is_telling(table[name])]
    return table[told]


def _without_label(path: str, pattern: "re.Pattern[str] | None") -> str:
    found = None if pattern is None else pattern.search(path)
    if found is None:
        return path
    start, end = found.span("label")
    return path[:start] + path[end:]


def _natural_order(paths: Sequence[str]) -> NDArray[np.int64]:
    """Place of each path among all, numbers by value; equal paths share one place."""
    keys = [
        tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)
        for parts in (re.split(r"([0-9]+)", path) for path in paths)
    ]
    place = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return np.array([place[key] for key in keys], dtype=np.int64)


def _is_telling(column: "pd.Series[Any]") -> bool:
    num_values = column.nunique(dropna=True)
    is_text = not pd.api.types.is_numeric_dtype(column)
    return num_values > 1 and not (is_text and num_values > len(column) / 2)


def column_kind(name: str) -> str:
    """``metadata`` for the organiser's columns (``meta.NAME``), ``content`` for the size of the
    file, ``order``, or ``artefact``."""
    if name.startswith(META_PREFIX):
        return "metadata"
    return {ROW_ORDER: "order", FILE_SIZE: "content"}.get(name, "artefact")


def metadata_leaks(
    columns: pd.DataFrame,
    truth: NDArray[Any],
    groups: NDArray[np.int64],
    *,
    task: Task,
    seed: int,
    num_threads: int = 1,
) -> pd.DataFrame:
    """How well each column, and all of a kind together, predict the label out of fold.

    Small boosted trees are fitted under folds that keep groups together. A set without any
    leak gets a report at most one time in twenty, whatever the number of columns: p-values
    are adjusted by Holm's rule.

    Args:
        columns: Numbers, dates, categories or text, a line per picture. The organiser's
            metadata are named ``meta.NAME``; all others are artefacts: made by whoever
            collected the files (see ``path_columns``; size in bytes, width, date, EXIF).
        truth: Class indices (N,), 0/1 labels (N, K), or numbers (N,).
        groups: Group of each row, (N,): subjects and near-duplicates stay together.
        task: What the truth is.
        seed: Of folds and trees.
        num_threads: Threads of LightGBM; the result does not depend on it.

    Returns:
        A line per column and per kind together, most telling first: ``column``, ``kind``
        (see ``column_kind``), ``measure`` ("AUC" or "rank correlation"), ``score``,
        ``low`` and ``high`` (95 %), ``p_value``, ``p_adjusted``, ``is_reported``
        and ``verdict`` (empty when nothing is reported).

    Raises:
        DataError: Fewer than two groups, or a single class: nothing can be told.
    """
    if columns.shape[1] == 0:
        raise DataError("There are no columns to look for leaks in: give one at least.")
    folds = leak_folds(truth, groups, task=task, seed=seed)
    encoded = encode_columns(columns)
    parts: list[tuple[str, str, list[int]]] = [
        (name, column_kind(name), [place]) for place, name in enumerate(encoded.names)
    ]
    for kind, name in _TOGETHER.items():
        places = [
            place for _, of_kind, (place,) in parts[: len(encoded.names)] if of_kind == kind
        ]
        if len(places) > 1:
            parts.append((name, kind, places))
    found = [
        _tell(
            encoded.select(places),
            truth,
            folds,
            groups,
            task=task,
            seed=seed,
            num_threads=num_threads,
        )
        for _, _, places in parts
    ]
    adjusted = holm(np.array([one.p_value for one in found]))
    is_reported = adjusted <= FALSE_ALARM_RATE
    table = pd.DataFrame(
        {
            "column": [name for name, _, _ in parts],
            "kind": [kind for _, kind, _ in parts],
            "measure": "AUC" if task in ("multiclass", "multilabel") else "rank correlation",
            "score": [one.score for one in found],
            "low": [one.low for one in found],
            "high": [one.high for one in found],
            "p_value": [one.p_value for one in found],
            "p_adjusted": adjusted,
            "is_reported": is_reported,
            "verdict": [
                VERDICTS[kind] if reported else ""
                for (_, kind, _), reported in zip(parts, is_reported, strict=True)
            ],
        }
    )
    by_score = np.lexsort((-table["score"].to_numpy(), ~is_reported))
    return table.iloc[by_score].reset_index(drop=True)


def leak_folds(
    truth: NDArray[Any], groups: NDArray[np.int64], *, task: Task, seed: int
) -> NDArray[np.int64]:
    """Five folds, or as many as there are groups, that keep groups together and classes even.

    Raises:
        DataError: Fewer than two groups, or a single class.
    """
    strata = bin_targets(truth) if task == "regression" else truth.astype(np.int64)
    num_folds = int(np.clip(len(np.unique(groups)), 2, NUM_FOLDS))
    return make_folds(strata, groups, num_folds=num_folds, seed=seed)


def _tell(
    columns: Encoded,
    truth: NDArray[Any],
    folds: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    task: Task,
    seed: int,
    num_threads: int,
) -> Association:
    scores, _ = boosted_oof(
        columns, truth, folds, task=task, seed=seed, num_threads=num_threads
    )
    if task in ("regression", "ordinal"):
        return rank_association(
            truth.astype(np.float64), scores[:, 0], folds=folds, groups=groups
        )
    if task == "multilabel":
        positive = truth == 1
    elif scores.shape[1] == 1:
        positive = (truth == 1)[:, None]
    else:
        positive = truth[:, None] == np.arange(scores.shape[1])
    return auc_association(positive, scores, folds=folds, groups=groups)
