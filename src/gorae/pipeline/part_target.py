"""Runs that learn one part of a composed label alone, and labels of other thresholds.

A run of ``[target] part`` sees the competition through a context of its own: labels, classes,
task and metric are those of the part, while folds, pictures and rows are the label's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.config.target import TargetSettings
from gorae.data.composed import Indices, class_indices, part_indices, part_sizes
from gorae.data.sources import META_PREFIX, LabelPart
from gorae.data.tables import encode_targets
from gorae.errors import ConfigError, DataError, UserError
from gorae.files import content_key
from gorae.metrics import bind_metric, evaluate
from gorae.pipeline.context import Context
from gorae.predictions import Predictions
from gorae.workspace import RunFolder

PART_METRICS = {"classes": "macro_f1", "each": "macro_f1", "number": "rmse"}
"""What a run of a part is scored by, by ``part_as``."""


def as_target(context: Context, target: TargetSettings) -> Context:
    """The competition as a run of ``target`` sees it; ``context`` itself without a part.

    Raises:
        ConfigError: The label has no such part, or the part is no number.
        DataError: A row has no number of the part.
    """
    if target.part is None or context.whole is not None:
        return context
    part, place = _named_part(context, target.part)
    if target.part_as != "classes" and not part.thresholds:
        raise ConfigError(
            f'target.part_as = "{target.part_as}" is for a part that comes of a number, and '
            f"{part.name} has values ({', '.join(part.values)}), no thresholds. Leave "
            "target.part_as out."
        )
    table = context.tables.train
    indices = _row_parts(context)[:, place]
    labels: pd.Series[Any]
    if target.part_as == "classes":
        classes = value_names(part, part_sizes(_class_parts(context))[place])
        labels = pd.Series([classes[index] for index in indices], table.index, dtype=object)
    else:
        numbers = _numbers(context, part)
        _require_no_corrections(context, part, numbers, indices)
        classes = ()
        labels = pd.Series(numbers, table.index).astype(object)
        if target.part_as == "each":
            classes = tuple(f"{number:g}" for number in np.unique(numbers))
            labels = labels.map(lambda number: f"{number:g}")
    tables = replace(context.tables, train=table.assign(label=labels), classes=classes)
    competition = context.competition.model_copy(
        update={
            "task": _task(part, target),
            "metric": PART_METRICS[target.part_as],
            "metric_params": {},
            "classes": classes,
            "train": replace(context.competition.train, compose=()),
            "submission": None,
        }
    )
    return replace(context, competition=competition, tables=tables, whole=context)


def target_of(run: RunFolder) -> TargetSettings:
    """What a run learned in place of the label."""
    return TargetSettings.model_validate(run.read_settings()["recipe"].get("target", {}))


def refuse_part(context: Context, run: RunFolder) -> None:
    """Stop where a run knows one part of the label only, and answers are asked for.

    Raises:
        UserError: It does; the message names the command that makes classes.
    """
    part = target_of(run).part
    if part is None:
        return
    names = [each.name for each in context.competition.train.compose]
    raise UserError(
        f"Run {run.run_id} knows the part {part} of the label alone, and a submission holds "
        f"classes. Train a run of each part ({', '.join(names)}) and join them: "
        f"`gorae ensemble --compose {run.run_id} RUN RUN`, then submit the run that makes."
    )


def require_one_target(runs: Sequence[RunFolder]) -> None:
    """Stop where runs of different parts, or of a part and of classes, are to be averaged.

    Raises:
        UserError: Each run with what it knows.
    """
    targets = {run.run_id: target_of(run) for run in runs}
    known = {(target.part, target.part_as) for target in targets.values()}
    if len(known) > 1:
        shown = ", ".join(f"{run} {each.part or 'classes'}" for run, each in targets.items())
        raise UserError(
            f"These runs answer different questions ({shown}) and cannot be averaged. One run "
            "of each part makes classes by `gorae ensemble --compose RUN RUN RUN`."
        )


def value_names(part: LabelPart, size: int) -> tuple[str, ...]:
    """The name of each index of a part, S names: its value, or the index as text."""
    named: dict[int, str] = {}
    for value, index in part.values.items():
        named.setdefault(index, value)
    return tuple(named.get(index, str(index)) for index in range(size))


def as_groups(predictions: Predictions, part: LabelPart, target: TargetSettings) -> Predictions:
    """What a run of a part says of the part's values: probabilities of each.

    A predicted number counts as the group it is in, and never as the largest of one column;
    where each number is a class, those of a group are added up.
    """
    if target.part_as == "classes":
        return predictions
    num_groups = len(part.thresholds) + 1
    if target.part_as == "number":
        shares = np.eye(num_groups)[groups_of(predictions.values[:, 0], part.thresholds)]
    else:
        group = groups_of(np.array(predictions.columns, dtype=np.float64), part.thresholds)
        shares = predictions.values.astype(np.float64) @ np.eye(num_groups)[group]
    names = tuple(map(str, range(num_groups)))
    return Predictions(predictions.ids, names, shares.astype(np.float32), "multiclass")


def groups_of(numbers: NDArray[Any], thresholds: tuple[float, ...]) -> Indices:
    """How many thresholds are at most each number, (N,): the index of its group."""
    found: Indices = np.searchsorted(thresholds, numbers, side="right").astype(np.int64)
    return found


def group_score(context: Context, target: TargetSettings, oof: Predictions) -> dict[str, Any]:
    """Macro F1 of predicted numbers counted in their groups, as result.json holds it.

    Args:
        context: Of the part.
        target: The part, and that it is learned as numbers.
        oof: Out-of-fold predictions of rows.
    """
    if target.part is None or target.part_as == "classes" or context.whole is None:
        return {}
    part, place = _named_part(context.whole, target.part)
    rows = pd.Series(_row_parts(context.whole)[:, place], context.whole.tables.train["row_id"])
    truth = rows[~rows.index.duplicated()].loc[list(oof.ids)].to_numpy(np.int64)
    metric = bind_metric("macro_f1", params={}, task="ordinal")
    score = evaluate(metric, truth, as_groups(oof, part, target).values)
    return {"groups": {"metric": metric.name, "score": score}}


def target_notes(settings: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[str, ...]:
    """What to know of a run's labels when reading its scores, of run.toml and result.json."""
    recipe = settings["recipe"]
    target = TargetSettings.model_validate(recipe.get("target", {}))
    notes = []
    if target.part is not None:
        how = {"classes": "values", "number": "a number", "each": "each number a class"}
        notes.append(
            f"learned and scored: the part {target.part} alone, as {how[target.part_as]}"
        )
    if "groups" in result:
        found = result["groups"]
        notes.append(f"{found['metric']} of the groups of {target.part}: {found['score']:.4f}")
    for name, thresholds in recipe.get("train", {}).get("part_thresholds", {}).items():
        shown = ", ".join(f"{threshold:g}" for threshold in thresholds)
        notes.append(
            f"training saw {name} with thresholds {shown}; validation and the score have those "
            "of competition.toml"
        )
    return tuple(notes)


def learned_truth(
    context: Context, recipe: Recipe, image_ids: "pd.Series[str]"
) -> NDArray[np.int64] | None:
    """Encoded labels of the train images under ``train.part_thresholds``, (N,); None without.

    A row whose label was corrected keeps it: its number is what was wrong.

    Raises:
        ConfigError: They name no part with thresholds, or not as many as it has.
        DataError: A label under them is no class.
    """
    wanted = _part_thresholds(context, recipe)
    if not wanted:
        return None
    whole = context.whole or context
    indices, table = _row_parts(whole).copy(), _class_parts(whole)
    for place, thresholds in wanted.items():
        part = whole.competition.train.compose[place]
        numbers = _numbers(whole, part)
        is_own = groups_of(numbers, part.thresholds) == indices[:, place]
        indices[is_own, place] = groups_of(numbers, thresholds)[is_own]
    if context.whole is None:
        found = class_indices(indices, parts=table)
        if (found < 0).any():
            raise DataError(
                f"train.part_thresholds make {int((found < 0).sum())} labels that are no "
                f"class, first of {whole.tables.train['image_id'].iloc[found.argmin()]}."
            )
    else:
        [place] = wanted
        found = indices[:, place]
    learned = pd.Series(found, whole.tables.train["image_id"])
    truth: NDArray[np.int64] = learned.loc[list(image_ids)].to_numpy(np.int64)
    return truth


def learned_key(context: Context, recipe: Recipe) -> dict[str, str]:
    """A hash of the labels that are learned, where they are not those that are scored."""
    learned = learned_truth(context, recipe, context.tables.train["image_id"])
    return {} if learned is None else {"learned": content_key(learned.tolist())[:16]}


def _part_thresholds(context: Context, recipe: Recipe) -> dict[int, tuple[float, ...]]:
    """``train.part_thresholds`` by the place of the part, checked."""
    whole, target = context.whole or context, recipe.target
    parts = whole.competition.train.compose
    places, problems = {}, []
    for name, thresholds in recipe.train.part_thresholds.items():
        by_name = {part.name: place for place, part in enumerate(parts) if part.thresholds}
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            problems.append(f"{name!r} is no part with thresholds; those are: {known}")
        elif len(thresholds) != len(parts[by_name[name]].thresholds):
            own = list(parts[by_name[name]].thresholds)
            problems.append(f"{name} needs {len(own)} thresholds, as competition.toml: {own}")
        elif list(thresholds) != sorted(set(thresholds)):
            problems.append(f"the thresholds of {name} must rise: {list(thresholds)}")
        elif target.part not in (None, name) or target.part_as != "classes":
            as_what = "" if target.part_as == "classes" else f" as {target.part_as}"
            problems.append(f"{name} has no effect where {target.part}{as_what} is learned")
        else:
            places[by_name[name]] = thresholds
    if problems:
        raise ConfigError(f"train.part_thresholds cannot be used: {'; '.join(problems)}.")
    return places


def _named_part(context: Context, name: str) -> tuple[LabelPart, int]:
    parts = context.competition.train.compose
    for place, part in enumerate(parts):
        if part.name == name:
            return part, place
    known = ", ".join(part.name for part in parts)
    raise ConfigError(
        f"target.part = {name!r} is no part of the label. "
        + (f"Its parts: {known}." if known else "competition.toml composes it of none.")
    )


def _task(part: LabelPart, target: TargetSettings) -> str:
    if target.part_as == "number":
        return "regression"
    # Groups of a number have an order, which coral and cumulative can learn.
    return "ordinal" if part.thresholds else "multiclass"


def _class_parts(context: Context) -> Indices:
    return part_indices(context.competition.train.compose, context.tables.classes)


def _row_parts(context: Context) -> Indices:
    """Index of each part in the label of each line of the train table, (N, P)."""
    labels = encode_targets(
        context.tables.train["label"], classes=context.tables.classes, task="multiclass"
    )
    found: Indices = _class_parts(context)[labels.astype(np.int64)]
    return found


def _numbers(context: Context, part: LabelPart) -> NDArray[np.float64]:
    """The number a part comes of, for each line of the train table, (N,)."""
    table = context.tables.train
    name = f"{META_PREFIX}{part.column}"
    if part.column is None or name not in table:
        raise ConfigError(
            f"The part {part.name} has no column of numbers in the train table: "
            "competition.toml must name one as `column` of that part."
        )
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        row = table.iloc[bad[0]]
        raise DataError(
            f"{len(bad)} rows have no number in column {part.column}, first {row['image_id']}: "
            f"{row[name]!r}."
        )
    return numbers


def _require_no_corrections(
    context: Context, part: LabelPart, numbers: NDArray[np.float64], indices: Indices
) -> None:
    """Stop where a corrected label says another group than the number does."""
    bad = np.flatnonzero(groups_of(numbers, part.thresholds) != indices)
    if len(bad):
        first = context.tables.train["image_id"].iloc[bad[0]]
        raise DataError(
            f"{len(bad)} corrected labels say another group than column {part.column}, first "
            f"of {first}: a number cannot be learned of them. Correct the column as well, or "
            'set target.part_as to "classes".'
        )
