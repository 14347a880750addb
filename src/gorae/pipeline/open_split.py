"""Folds of an open set: whole individuals are held out, and unknown where they validate."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config.recipe import SplitSettings
from gorae.errors import ConfigError, DataError
from gorae.pipeline.context import Context
from gorae.splits import join_groups, make_holdout
from gorae.splits.open_set import NOBODY, choose_unknown, together, unknown_rows


def unknown_label(context: Context, *, setting: str) -> str:
    """The label that stands for individuals nobody knows, such as ``new_whale``.

    Raises:
        ConfigError: The competition has none, or does not ask for one of several classes.
    """
    task, form = context.competition.task, context.competition.submission
    if task != "multiclass":
        raise ConfigError(
            f"{setting} is about individuals, and the task is {task}: leave it out."
        )
    if form is None or form.unknown_label is None:
        raise ConfigError(
            f"{setting} needs the label that stands for unknown individuals, and "
            'competition.toml names none: set unknown_label = "new_whale", or as the rules of '
            'the competition call it, in [submission] with kind = "ranked".'
        )
    return form.unknown_label


def individuals(context: Context, table: pd.DataFrame, label: str) -> NDArray[np.int64]:
    """Place of each row's individual among the classes, (N,); ``NOBODY`` for ``label``."""
    place = {name: at for at, name in enumerate(context.tables.classes)}
    place[label] = NOBODY
    return np.array([place[name] for name in table["label"]], dtype=np.int64)


def hold_out_individuals(
    context: Context,
    table: pd.DataFrame,
    groups: NDArray[np.int64],
    settings: SplitSettings,
    kind: str,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Groups (N,) in which each held-out individual is one, and whose rows are theirs, (N,).

    Raises:
        ConfigError: The competition gives its parts, or has no label for the unknown.
        DataError: Too few individuals are left.
    """
    label = unknown_label(context, setting="split.unknown_share")
    if kind.startswith("given"):
        raise ConfigError(
            f"split.unknown_share chooses who validates, and the competition has {kind}: leave "
            "it out, or remove them from competition.toml."
        )
    labels = individuals(context, table, label)
    share = settings.unknown_share
    if kind == "holdout":
        share *= settings.holdout_share
    held_out = choose_unknown(
        labels,
        groups,
        share=share,
        seed=settings.seed,
        names=context.tables.classes,
        every_row_validates=kind == "kfold",
    )
    return join_groups(*together(groups, labels, held_out)), held_out


def hold_out_part(
    strata: NDArray[np.int64] | None,
    groups: NDArray[np.int64],
    held_out: NDArray[np.bool_],
    *,
    settings: SplitSettings,
    keys: list[str],
) -> NDArray[np.bool_]:
    """The one part that validates: the held-out individuals, and as many of the others, (N,).

    Raises:
        DataError: The groups of the individuals fill the part alone.
    """
    forced = np.isin(groups, groups[held_out])
    wanted = settings.holdout_share * len(groups) - forced.sum()
    if wanted < 1:
        raise DataError(
            f"The groups of the individuals that split.unknown_share = "
            f"{settings.unknown_share:g} holds out are {int(forced.sum())} pictures, all that "
            f"split.holdout_share = {settings.holdout_share:g} takes. Set the first lower, or "
            "the second higher."
        )
    rest = np.flatnonzero(~forced)
    chosen = forced.copy()
    chosen[rest] = make_holdout(
        None if strata is None else strata[rest],
        groups[rest],
        share=float(wanted / len(rest)),
        seed=settings.seed,
        keys=[keys[row] for row in rest],
    )
    return chosen


def mark_unknown(context: Context, table: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """The folds with a column ``unknown``: whether a picture's truth is the unknown label."""
    label = unknown_label(context, setting="split.unknown_share")
    is_unknown = unknown_rows(
        folds["fold"].to_numpy(np.int64),
        folds["group"].to_numpy(np.int64),
        individuals(context, table, label),
        may_train=(table["role"] != "holdout").to_numpy(bool),
    )
    return folds.assign(unknown=is_unknown)


def open_set_record(folds: pd.DataFrame, settings: SplitSettings) -> dict[str, Any]:
    """How many pictures validate as unknown, for the record of a split; nothing without."""
    if "unknown" not in folds:
        return {}
    return {"num_unknown": int(folds["unknown"].sum())}


def open_set_warnings(folds: pd.DataFrame, settings: SplitSettings) -> list[str]:
    """Where more pictures are unknown than was asked for."""
    if "unknown" not in folds:
        return []
    validates = int((folds["fold"] >= 0).sum())
    share = float(folds["unknown"].sum() / validates)
    if share <= settings.unknown_share + 0.05:
        return []
    return [
        f"{share:.0%} of the validating pictures are of unknown individuals, more than "
        f"split.unknown_share = {settings.unknown_share:g}: an individual whose pictures are "
        "one group is unknown wherever they validate"
    ]
