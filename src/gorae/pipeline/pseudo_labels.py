"""Pseudo-labels on disk, and which of them a fold learns.

Below ``.gorae/pseudo/NAME``: ``pictures.parquet`` (what was labelled), ``labels.parquet`` (one
line per fold and picture: probabilities, and why it is left out there), ``held_out.parquet``
(how right the same models are where the truth is known) and ``record.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.config.pseudo import PseudoSettings
from gorae.errors import ConfigError, DataError, StorageError, UserError
from gorae.events import Event, OnEvent
from gorae.files import read_json, sha256_file
from gorae.pipeline.context import Context
from gorae.pipeline.contract import Split
from gorae.pipeline.pseudo_pictures import with_pictures
from gorae.workspace import Workspace, read_frame

REFIT = (-1, -1)
"""The place of labels for the refit, which holds nothing out."""

FILES = ("pictures", "labels", "held_out")


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Labels that ``gorae pseudo`` made."""

    name: str
    record: dict[str, Any]
    pictures: pd.DataFrame
    """``image_id``, ``path``, ``arguments`` and ``sha256``."""
    labels: pd.DataFrame
    """``repeat``, ``fold`` (-1: of the refit), ``image_id``, ``left_out`` ("" or why) and the
    probability of each class, ``p0`` to ``pK-1``."""
    held_out: pd.DataFrame
    """``repeat``, ``fold``, ``image_id``, ``confidence`` and ``is_right``."""

    def of_place(self, place: tuple[int, int]) -> pd.DataFrame:
        """The lines of one fold, in the order of the pictures."""
        lines = self.labels[
            (self.labels["repeat"] == place[0]) & (self.labels["fold"] == place[1])
        ]
        return lines.reset_index(drop=True)


def probabilities(lines: pd.DataFrame) -> NDArray[np.float32]:
    """The probabilities of lines of labels, (N, K)."""
    columns = sorted(
        (c for c in lines.columns if c[0] == "p" and c[1:].isdigit()), key=lambda c: int(c[1:])
    )
    return np.array(lines[columns], dtype=np.float32)


def with_named_labels(workspace: Workspace, recipe: Recipe) -> Recipe:
    """The recipe with the full name of its pseudo-labels, which a run is known by.

    Raises:
        UserError: There are none of that name; the known ones are listed.
    """
    wanted = recipe.pseudo.labels
    if wanted is None:
        return recipe
    records = [read_json(path) for path in workspace.pseudo.glob("*/record.json")]
    names = [each["name"] for each in sorted(records, key=lambda each: int(each["number"]))]
    found = names[-1:] if wanted == "newest" else [n for n in names if n.startswith(wanted)]
    if len(found) != 1:
        raise UserError(
            f"pseudo.labels = {wanted!r} names {len(found) or 'no'} pseudo-labels here. There "
            f"are: {', '.join(names) or 'none; `gorae pseudo RUN` makes some'}."
        )
    pseudo = recipe.pseudo.model_copy(update={"labels": found[0]})
    return recipe.model_copy(update={"pseudo": pseudo})


def read_labels(workspace: Workspace, name: str) -> PseudoLabels:
    """The labels of a full name, verified.

    Raises:
        StorageError: A file is missing or damaged.
    """
    folder = workspace.pseudo / name
    if not (folder / "record.json").exists():
        raise StorageError(
            f"There are no pseudo-labels in {folder}, and this run learns them. Make them "
            "again with the same runs: `gorae pseudo RUN`."
        )
    record = read_json(folder / "record.json")
    for file, sha256 in record["files"].items():
        if sha256_file(folder / f"{file}.parquet") != sha256:
            raise StorageError(
                f"{folder / file}.parquet was changed after it was made. Remove the folder "
                "and run `gorae pseudo` again."
            )
    frames = {file: read_frame(folder / f"{file}.parquet") for file in FILES}
    return PseudoLabels(name=name, record=record, **frames)


def chosen_labels(
    context: Context, recipe: Recipe, *, split: Split | None = None
) -> PseudoLabels | None:
    """The pseudo-labels of a recipe whose names are full; None where it has none.

    Raises:
        ConfigError: They are of other folds than ``split``, or of other classes.
    """
    if recipe.pseudo.labels is None:
        return None
    labels = read_labels(context.workspace, recipe.pseudo.labels)
    record = labels.record
    if split is not None and record["split"] != split.key:
        raise ConfigError(
            f"pseudo.labels = {labels.name!r} were made by runs of other folds (split "
            f"{record['split']}, not {split.key}): fold k would learn labels of models that "
            f"saw what validates there. Take the [split] of {record['teachers'][0]['run']}, or "
            "make labels with a run of these folds."
        )
    if record["classes"] != list(context.columns):
        raise ConfigError(
            f"pseudo.labels = {labels.name!r} are of the classes "
            f"{', '.join(record['classes'][:10])}, and this recipe learns "
            f"{', '.join(context.columns[:10])}. Make labels with a run of the same [target]."
        )
    return labels


def with_labelled_pictures(context: Context, recipe: Recipe) -> Context:
    """The competition with the pictures of the recipe's pseudo-labels in its test table."""
    labels = chosen_labels(context, recipe)
    return context if labels is None else with_pictures(context, labels.pictures)


def select_rows(lines: pd.DataFrame, settings: PseudoSettings) -> NDArray[np.int64]:
    """Places of the lines that are learned, in order; several times where ``fill`` says so.

    The surest come first where a class has too many, and of equally sure ones the first.

    Args:
        lines: Lines of one fold, as in ``PseudoLabels.labels``.
        settings: ``threshold``, ``per_class`` and ``fill``.
    """
    proba = probabilities(lines)
    confidence, best = proba.max(axis=1), proba.argmax(axis=1)
    is_let_in = (lines["left_out"] == "").to_numpy(bool)
    fits = is_let_in & (confidence >= np.float32(settings.threshold))
    surest_first = np.argsort(-confidence, kind="stable")
    surest_first = surest_first[fits[surest_first]]
    if settings.per_class is None:
        return np.sort(surest_first)
    parts = []
    for index in np.unique(best[fits]):
        rows = surest_first[best[surest_first] == index][: settings.per_class]
        parts.append(np.resize(rows, settings.per_class) if settings.fill else rows)
    found: NDArray[np.int64] = np.sort(np.concatenate(parts)) if parts else surest_first
    return found


def pseudo_choices(
    context: Context, recipe: Recipe, split: Split, *, on_event: OnEvent
) -> dict[str, Any]:
    """What a run with pseudo-labels keeps in run.toml of them; nothing for other runs.

    Raises:
        ConfigError: The settings keep none in some fold.
    """
    labels = chosen_labels(context, recipe, split=split)
    if labels is None:
        return {}
    settings, record = recipe.pseudo, labels.record
    places = [*split.members(), *([REFIT] if recipe.refit else [])]
    chosen = {place: select_rows(labels.of_place(place), settings) for place in places}
    empty = [_place_name(place) for place, rows in chosen.items() if not len(rows)]
    if empty:
        raise ConfigError(
            f"[pseudo] keeps no picture in {', '.join(empty)}: of {record['num_pictures']} "
            f"none is as sure as threshold = {settings.threshold:g} there, or all are left "
            "out. Lower pseudo.threshold."
        )
    held_out = labels.held_out
    sure = held_out["confidence"] >= np.float32(settings.threshold)
    counts = [_class_counts(labels.of_place(place), rows) for place, rows in chosen.items()]
    found = {
        "labels": labels.name,
        "teachers": [teacher["run"] for teacher in record["teachers"]],
        "source": record["source"],
        "is_transductive": record["source"] == "test",
        "num_pictures": record["num_pictures"],
        "kept": {_place_name(place): len(rows) for place, rows in chosen.items()},
        "left_out": record["left_out"],
        "per_class": dict(
            zip(record["classes"], np.mean(counts, axis=0).round(1).tolist(), strict=True)
        ),
        "held_out_share": round(float(sure.mean()), 4),
        "held_out_right": round(float(held_out["is_right"][sure].mean()), 4)
        if sure.any()
        else None,
        "num_known": record["num_known"],
        "num_known_right": record["num_known_right"],
    }
    kept, *warnings = pseudo_notes({"pseudo": found})
    on_event(Event("message", "train", kept))
    for text in warnings:
        on_event(Event("warning", "train", text))
    return {"pseudo": found}


def _class_counts(lines: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    proba = probabilities(lines)
    return np.bincount(proba.argmax(axis=1)[rows], minlength=proba.shape[1])


def _place_name(place: tuple[int, int]) -> str:
    if place == REFIT:
        return "refit"
    repeat, fold = place
    return f"fold-{fold}" if repeat == 0 else f"repeat-{repeat}-fold-{fold}"


def pseudo_notes(choices: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences on the pseudo-labels of a run, of its ``choices``; none without any."""
    found = choices.get("pseudo")
    if found is None:
        return ()
    kept, out_of = found["kept"].values(), found["num_pictures"]
    counts = found["per_class"].values()
    text = (
        f"Pseudo-labels {found['labels']} of {', '.join(found['teachers'])}: "
        f"{_span(kept)} rows of {out_of:,} pictures per fold, {_span(counts)} of each class."
    )
    if found.get("held_out_right") is not None:
        text += (
            f" Where the truth is known, {found['held_out_share']:.0%} of the held-out "
            f"pictures are as sure, and {found['held_out_right']:.1%} of these are right."
        )
    if found["num_known"]:
        text += (
            f" {found['num_known']} labels are of pictures that equal labelled ones; "
            f"{found['num_known_right']} of these agree."
        )
    left_out = found["left_out"].values()
    if any(left_out):
        text += (
            f" Left out, as they are or resemble what validates: {_span(left_out)} per fold."
        )
    if not found["is_transductive"]:
        return (text,)
    return (
        text,
        "Test pictures were learned from (transductive): rules may forbid it, and scores of "
        "other pictures are not promised by it.",
    )


def _span(numbers: Any) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:,g}" if least == most else f"{least:,g} to {most:,g}"


def require_readable(labels: PseudoLabels, scan: pd.DataFrame) -> None:
    """Stop where a labelled picture is gone, or is another one by now.

    Raises:
        DataError: All such pictures are counted.
    """
    table = labels.pictures
    now = scan["sha256"].reindex(table["image_id"]).to_numpy(object)
    verdicts = scan["verdict"].reindex(table["image_id"]).to_numpy(object)
    bad = (now != table["sha256"].to_numpy(object)) | (verdicts == "quarantined")
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {len(table)} pictures with pseudo-labels are gone or changed "
            f"since, first {table['image_id'][bad].iloc[0]}. Put them back, or run `gorae "
            "pseudo` again."
        )
