"""``target.column``: the network learns finer classes than the competition asks for."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.data.sources import META_PREFIX
from gorae.errors import ConfigError, DataError, list_problems
from gorae.files import content_key, sha256_bytes
from gorae.pipeline.context import Context

if TYPE_CHECKING:
    # It loads torch, and classes are told without.
    from gorae.training.plan import FoldData


@dataclass(frozen=True)
class FinerTarget:
    """Classes that are learned, each of which belongs to one that is predicted."""

    names: tuple[str, ...]
    """The finer classes, in the order of the network's outputs."""
    coarse: tuple[int, ...]
    """Index of the competition's class that each belongs to."""
    index: "pd.Series[int]"
    """Finer class of each image of the train table, by ``image_id``."""

    def of(self, image_ids: "pd.Series[str]") -> NDArray[np.int64]:
        """Finer class of each of some images of the train table, (N,)."""
        return np.asarray(self.index.loc[image_ids.tolist()], dtype=np.int64)

    def learned_in(self, data: "FoldData", valid: NDArray[np.int64]) -> "FoldData":
        """A fold whose ``train_truth`` is of these classes, and the validation part's, (N,)."""
        return replace(
            data,
            task="multiclass",
            num_classes=len(self.names),
            coarse=self.coarse,
            valid_targets=None if data.valid is None else valid,
        )


def finer_target(context: Context, recipe: Recipe) -> FinerTarget | None:
    """The finer classes that a recipe learns; None where it learns the competition's.

    Cells are merged as ``target.merge`` says. A class of the competition without any picture
    is a finer class of its own, as no finer one leads to it.

    Raises:
        ConfigError: There is no such column, no merged value is in it, or the task has no
            single class.
        DataError: A value is missing, or is found with several labels; all are named.
    """
    column = recipe.target.column
    if column is None:
        return None
    task, table = context.competition.task, context.tables.train
    if task not in ("multiclass", "ordinal"):
        raise ConfigError(
            f"target.column has finer classes of the one class of each picture, and the task "
            f"is {task}. Leave it out."
        )
    if META_PREFIX + column not in table:
        known = [str(name) for name in table.columns if str(name).startswith(META_PREFIX)]
        raise ConfigError(
            f"target.column = {column!r} is not in the train table. Its other columns: "
            f"{', '.join(name.removeprefix(META_PREFIX) for name in known) or 'none'}."
        )
    cells = table.set_index("image_id")[META_PREFIX + column]
    cells = cells.fillna("").astype("str").str.strip()
    values = _merged(cells, recipe)
    labels = table.set_index("image_id")["label"].astype("str")
    _require_one_label(values, labels, column=column)
    classes = context.tables.classes
    label_of = dict(zip(values, labels, strict=True))
    empty = [name for name in classes if name not in set(labels)]
    coarse_of = label_of | {name: name for name in empty if name not in label_of}
    names = tuple(sorted(coarse_of, key=lambda name: (classes.index(coarse_of[name]), name)))
    place = {name: number for number, name in enumerate(names)}
    return FinerTarget(
        names,
        tuple(classes.index(coarse_of[name]) for name in names),
        values.map(place),
    )


def learned_names(context: Context, recipe: Recipe) -> tuple[str, ...]:
    """The classes a network of ``recipe`` learns: finer ones, or the competition's."""
    target = finer_target(context, recipe)
    return context.columns if target is None else target.names


def finer_key(context: Context, recipe: Recipe) -> dict[str, str]:
    """A hash of the finer classes, as a key of the run; empty without any."""
    target = finer_target(context, recipe)
    if target is None:
        return {}
    lines = sorted(f"{image}\t{place}" for image, place in target.index.items())
    digest = sha256_bytes("\n".join(lines).encode("utf-8"))
    return {"finer": content_key([digest, list(target.names), list(target.coarse)])}


def _merged(cells: "pd.Series[str]", recipe: Recipe) -> "pd.Series[str]":
    column, merge = recipe.target.column, recipe.target.merge
    present = set(cells)
    # Some may be of other data of the same kind, but not all.
    if merge and not present.intersection(merge):
        shown = ", ".join(repr(value) for value in sorted(present)[:20])
        raise ConfigError(
            f"target.merge names {', '.join(map(repr, merge))}, none of which is in column "
            f"{column}. Its values: {shown}."
        )
    values = cells.map(lambda value: merge.get(value, value))
    is_empty = (values == "").to_numpy(bool)
    if is_empty.any():
        raise DataError(
            f"{int(is_empty.sum())} of {len(values)} pictures of the train table have no value "
            f"in column {column}, first {cells.index[is_empty][0]}. Fill them in, or "
            'give them a class of their own: [target] merge = {"" = "unknown"}.'
        )
    return values


def _require_one_label(
    values: "pd.Series[str]", labels: "pd.Series[str]", *, column: str
) -> None:
    """Each finer value must belong to one class.

    Raises:
        DataError: Some do not; all are named, with their counts.
    """
    counts = pd.crosstab(values.to_numpy(), labels.to_numpy())
    several = counts[(counts > 0).sum(axis=1) > 1]
    if several.empty:
        return
    problems = [
        f"{value!r}: " + ", ".join(f"{count} of {name}" for name, count in row.items() if count)
        for value, row in several.iterrows()
    ]
    raise DataError(
        f"{len(problems)} value(s) of column {column} are found with several labels:\n"
        f"{list_problems(problems)}\nProbabilities of finer classes are added up to those of "
        "the class each belongs to, so it must be one. Correct these lines, or split the value "
        "in the table."
    )
