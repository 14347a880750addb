"""Step ``split``: the contract that says who validates whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.config.recipe import SplitSettings
from gorae.data.sources import META_PREFIX
from gorae.data.tables import encode_targets
from gorae.errors import ConfigError, DataError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import sha256_file, write_json
from gorae.pipeline.context import Context, open_context, read_scan, require_trainable, usable
from gorae.pipeline.contract import Split, read_split, split_key
from gorae.pipeline.duplicates import find_duplicates, require_no_chain, rows_of_pairs
from gorae.pipeline.groups import equal_groups, look_alike_groups, subject_groups
from gorae.pipeline.open_split import (
    hold_out_individuals,
    hold_out_part,
    mark_unknown,
    open_set_record,
    open_set_warnings,
)
from gorae.splits import (
    balance,
    bin_targets,
    check_folds,
    describe_folds,
    join_groups,
    make_folds,
    make_holdout,
)
from gorae.workspace import write_frame


def split(folder: Path, *, recipe: Recipe, on_event: OnEvent = ignore_events) -> Split:
    """Make the split of ``recipe``, or read it when it is there already."""
    context = open_context(folder)
    on_event(Event("stage", "split", "making folds"))
    require_trainable(context)
    scan = read_scan(context)
    key = split_key(context, scan, recipe.split)
    target = context.workspace.splits / key
    if not (target / "folds.json").exists():
        pairs = _look_alikes(context, scan, recipe.split, on_event)
        folds, record = _make(context, scan, recipe.split, pairs)
        write_frame(target / "folds.parquet", folds)
        record["folds_sha256"] = sha256_file(target / "folds.parquet")
        write_json(target / "folds.json", record)
    made = read_split(context, scan, recipe.split)
    on_event(Event("message", "split", _sentence(made)))
    for warning in made.record["warnings"]:
        on_event(Event("warning", "split", warning))
    return made


def _look_alikes(
    context: Context, scan: pd.DataFrame, settings: SplitSettings, on_event: OnEvent
) -> pd.DataFrame | None:
    """Nearly equal pictures; None where they are not kept together."""
    if not (settings.group and settings.near_duplicates):
        return None
    # Among train pictures alone, so that folds do not depend on the test set.
    ids = context.tables.train["image_id"]
    return find_duplicates(
        context,
        scan,
        ids[usable(scan, ids)].tolist(),
        similarity=settings.similarity,
        on_event=on_event,
    )


def _make(
    context: Context,
    scan: pd.DataFrame,
    settings: SplitSettings,
    pairs: pd.DataFrame | None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The folds of the usable pictures, and the record of how they were made."""
    readable = usable(scan, context.tables.train["image_id"])
    table = context.tables.train[readable].reset_index(drop=True)
    if table.empty:
        raise DataError(
            "None of the training pictures can be read; .gorae/scan.parquet says why."
        )
    if _holds_out(context.tables.train) and not _holds_out(table):
        raise DataError(
            "None of the pictures of the given validation set can be read; "
            ".gorae/scan.parquet says why. Mend them, or remove [holdout] from "
            "competition.toml to have folds made."
        )
    truth = context.truth[readable]
    kind = _kind(table, settings)
    subjects = subject_groups(context, table)
    _require_separate_subjects(context, table, subjects, kind)
    groups = join_groups(table["row_id"])
    if settings.group:
        groups = equal_groups(context, table, scan)
    if pairs is not None:
        num_folds = 2 if kind == "holdout" else settings.num_folds
        require_no_chain(pairs, table["image_id"].tolist(), groups, num_folds=num_folds)
        groups = look_alike_groups(groups, table["image_id"], pairs)
    held_out = None
    if settings.unknown_share:
        groups, held_out = hold_out_individuals(context, table, groups, settings, kind)
    pieces = [
        pd.DataFrame(
            {
                "image_id": table["image_id"],
                "role": table["role"],
                "group": groups,
                "repeat": repeat,
                "fold": _folds(
                    context,
                    Rows(table, truth, groups, held_out),
                    settings,
                    seed=settings.seed + repeat,
                ),
            }
        )
        for repeat in range(settings.repeats if kind == "kfold" else 1)
    ]
    folds = pd.concat(pieces, ignore_index=True)
    if settings.unknown_share:
        folds = mark_unknown(context, table, folds)
    return folds, _record(context, table, folds, settings, kind) | _joined(pairs, table)


def _kind(table: pd.DataFrame, settings: SplitSettings) -> str:
    has_holdout = _holds_out(table)
    has_folds = bool((table["fold"] >= 0).any())
    if settings.kind != "auto":
        if has_holdout:
            raise ConfigError(
                f'split.kind = "{settings.kind}" would pass over the validation set that the '
                "competition gives. Leave it at auto, or move [holdout] to [[extra]] in "
                "competition.toml to train on it."
            )
        return settings.kind
    if has_holdout:
        return "given hold-out"
    return "given folds" if has_folds else "kfold"


def _holds_out(table: pd.DataFrame) -> bool:
    return bool((table["role"] == "holdout").any())


def _joined(pairs: pd.DataFrame | None, table: pd.DataFrame) -> dict[str, Any]:
    """How many pictures share a group with a look-alike."""
    if pairs is None:
        return {"num_look_alikes": 0}
    near = rows_of_pairs(pairs[pairs["kind"] == "near"], table["image_id"].tolist())
    return {"num_look_alikes": len(np.unique(near[["first", "second"]]))}


def _require_separate_subjects(
    context: Context, table: pd.DataFrame, subjects: NDArray[np.int64], kind: str
) -> None:
    """A given hold-out or given folds must not cut a subject in two."""
    if kind == "given folds":
        given = table["fold"].to_numpy(np.int64)
        check_folds(given[given >= 0], _names(context, table, subjects)[given >= 0])
    if kind == "given hold-out":
        held_out = (table["role"] == "holdout").to_numpy(bool)
        shared = np.intersect1d(subjects[held_out], subjects[~held_out])
        if len(shared):
            names = table["image_id"][held_out & np.isin(subjects, shared)]
            columns = ", ".join(
                c.removeprefix(META_PREFIX) for c in context.tables.group_columns
            )
            raise DataError(
                f"{len(shared)} groups ({columns}) are in the given validation set and in the "
                f"train table, first with {names.iloc[0]}: its score would not be honest. Move "
                "their pictures to one side, or correct train.group_columns."
            )


def _names(
    context: Context, table: pd.DataFrame, subjects: NDArray[np.int64]
) -> NDArray[np.object_]:
    """What a user calls the subject of each image: the value of its first group column."""
    columns = context.tables.group_columns
    column = columns[0] if columns else "row_id"
    called = table[column].groupby(subjects).transform("first")
    names: NDArray[np.object_] = (f"{column.removeprefix(META_PREFIX)} " + called).to_numpy(
        object
    )
    return names


@dataclass(frozen=True)
class Rows:
    """What is divided into folds."""

    table: pd.DataFrame
    truth: NDArray[Any]
    groups: NDArray[np.int64]
    held_out: NDArray[np.bool_] | None
    """Rows of individuals that are held out wholly; None without an open set."""


def _folds(
    context: Context, rows: Rows, settings: SplitSettings, *, seed: int
) -> NDArray[np.int64]:
    table, groups, held_out = rows.table, rows.groups, rows.held_out
    kind = _kind(table, settings)
    if kind == "given hold-out":
        return np.where(table["role"] == "holdout", 0, -1).astype(np.int64)
    if kind == "given folds":
        return np.where(table["role"] == "train", table["fold"], -1).astype(np.int64)
    candidate = (table["role"] == "train").to_numpy(bool)
    strata = None
    if settings.stratify:
        strata = _strata(context, table, rows.truth, settings)
        if held_out is not None:
            # So that the unknown are as many in each fold.
            strata = np.column_stack([strata, held_out.astype(np.int64)])
        strata = strata[candidate]
    keys = table["image_id"][candidate].tolist()
    folds = np.full(len(table), -1, dtype=np.int64)
    if kind == "holdout" and held_out is not None:
        part = hold_out_part(
            strata, groups[candidate], held_out[candidate], settings=settings, keys=keys
        )
        folds[candidate] = np.where(part, 0, -1)
    elif kind == "holdout":
        part = make_holdout(
            strata, groups[candidate], share=settings.holdout_share, seed=seed, keys=keys
        )
        folds[candidate] = np.where(part, 0, -1)
    else:
        folds[candidate] = make_folds(
            strata, groups[candidate], num_folds=settings.num_folds, seed=seed, keys=keys
        )
    return folds


def _strata(
    context: Context, table: pd.DataFrame, truth: NDArray[Any], settings: SplitSettings
) -> NDArray[np.int64]:
    """Columns whose shares are kept even, (N, S)."""
    if context.competition.task == "regression":
        labels = bin_targets(truth, num_bins=10)
    else:
        labels = truth.astype(np.int64)
    columns = [labels.reshape(len(table), -1)]
    for name in settings.stratify_columns:
        column = META_PREFIX + name
        if column not in table:
            names = [str(c) for c in table.columns]
            known = [c.removeprefix(META_PREFIX) for c in names if c.startswith(META_PREFIX)]
            raise ConfigError(
                f"split.stratify_columns names {name!r}, which is not in the train table. "
                f"Its columns: {', '.join(known) or 'none'}."
            )
        columns.append(pd.factorize(table[column], sort=True)[0].reshape(-1, 1))
    return np.concatenate(columns, axis=1).astype(np.int64)


def _record(
    context: Context,
    table: pd.DataFrame,
    folds: pd.DataFrame,
    settings: SplitSettings,
    kind: str,
) -> dict[str, Any]:
    first = folds[folds["repeat"] == 0].reset_index(drop=True)
    validates = (first["fold"] >= 0).to_numpy(bool)
    columns = {"label": _label_text(context, table)}
    columns |= {name: table[META_PREFIX + name] for name in settings.stratify_columns}
    shares = balance(
        first["fold"].to_numpy(np.int64)[validates],
        {name: column[validates].tolist() for name, column in columns.items()},
    )
    warnings = _missing_from_training(context, table, first) + _unused(settings, kind)
    warnings += open_set_warnings(first, settings)
    crossing = _left_out(folds)
    if crossing:
        warnings.append(
            f"{crossing} pictures share a group (equal pictures, or one subject) with one that "
            "validates in another part; they are left out of the training there"
        )
    return {
        "kind": kind,
        "settings": settings.model_dump(mode="json"),
        "num_folds": int(first["fold"].max()) + 1,
        "repeats": int(folds["repeat"].max()) + 1,
        "num_images": len(table),
        "num_groups": int(first["group"].nunique()),
        "group_columns": [c.removeprefix(META_PREFIX) for c in context.tables.group_columns],
        "balance": shares.to_dict(orient="records"),
        "warnings": list(warnings),
        **open_set_record(first, settings),
    }


def _unused(settings: SplitSettings, kind: str) -> list[str]:
    """Settings that were asked for and have no say where the competition gives its parts."""
    if not kind.startswith("given"):
        return []
    chosen = settings.model_fields_set & {"num_folds", "repeats", "seed", "stratify_columns"}
    names = ", ".join(f"split.{name}" for name in sorted(chosen))
    return [f"{names} have no effect: the competition has {kind}"] if names else []


def _missing_from_training(
    context: Context, table: pd.DataFrame, first: pd.DataFrame
) -> list[str]:
    """One sentence per class that the training of some fold never sees."""
    if context.competition.task == "regression":
        return []
    truth = encode_targets(
        table["label"], classes=context.tables.classes, task=context.competition.task
    )
    folds, groups = first["fold"].to_numpy(np.int64), first["group"].to_numpy(np.int64)
    names: Sequence[str] = context.tables.classes
    if "unknown" in first:
        # That nobody trains on the others is meant.
        known = ~first["unknown"].to_numpy(bool)
        places, truth = np.unique(truth[known], return_inverse=True)
        folds, groups, names = folds[known], groups[known], [names[at] for at in places]
    return describe_folds(folds, groups, truth, class_names=names)


def _label_text(context: Context, table: pd.DataFrame) -> pd.Series:
    """Labels as text for the balance table; numbers as their tenth of the range of ranks."""
    task = context.competition.task
    if task == "regression":
        values = table["label"].to_numpy(np.float64)
        return pd.Series(bin_targets(values, num_bins=10)).map("tenth {}".format)
    if task == "multilabel":
        return table["label"].map(lambda names: " + ".join(names) or "(none)")
    return table["label"].astype(str)


def _left_out(folds: pd.DataFrame) -> int:
    """Pictures that must not train in a fold, or at all, where they do not validate either."""
    first = folds[folds["repeat"] == 0]
    validates = first["fold"].where(first["fold"] >= 0)
    held_out_in = validates.groupby(first["group"]).transform("nunique")
    return int((held_out_in > validates.notna()).sum())


def _sentence(made: Split) -> str:
    record = made.record
    what = {
        "kfold": f"{record['num_folds']} folds",
        "holdout": "one hold-out part",
        "given folds": f"{record['num_folds']} folds as given",
        "given hold-out": "the given validation set",
    }[record["kind"]]
    if record["repeats"] > 1:
        what += f", {record['repeats']} times"
    text = f"{what}: {record['num_images']} pictures in {record['num_groups']} groups"
    alike = record["num_look_alikes"]
    text += f", {alike} of them with a look-alike" if alike else ""
    unknown = record.get("num_unknown", 0)
    return f"{text}; {unknown} pictures are of unknown individuals there" if unknown else text
