"""Predictions of a composed label made of predictions of its parts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gorae.data.composed import class_probabilities, part_indices, part_sizes
from gorae.data.sources import LabelPart
from gorae.errors import DataError
from gorae.predictions import Predictions


def compose_predictions(
    members: Mapping[str, Predictions], *, parts: Sequence[LabelPart], classes: Sequence[str]
) -> Predictions:
    """The label's probabilities from one prediction per part, taken as independent.

    Columns are matched by name, never by place: models of one part may order its values
    otherwise. A predicted number (``value``) counts as the age group, or other range, it is in.

    Args:
        members: Predictions of each part by its name; equal ids in any order. Columns are the
            part's values, or their indices as text.
        parts: How the label is composed.
        classes: K names of classes.

    Raises:
        ConfigError: A class is not made of the parts in one way.
        DataError: A part has no prediction, or one of other columns or ids.
    """
    missing = [part.name for part in parts if part.name not in members]
    if missing:
        raise DataError(
            f"A label of {', '.join(part.name for part in parts)} needs predictions of each; "
            f"{', '.join(missing)} has none."
        )
    table = part_indices(parts, classes)
    ids = members[parts[0].name].ids
    proba = []
    for part, size in zip(parts, part_sizes(table), strict=True):
        member = members[part.name]
        if set(member.ids) != set(ids):
            raise DataError(
                f"The predictions of {part.name} are of other ids than those of "
                f"{parts[0].name}. Predict the same pictures with both."
            )
        proba.append(_part_proba(member.select(ids), part, size))
    values = class_probabilities(proba, parts=table).astype(np.float32)
    return Predictions(ids, tuple(classes), values, "multiclass")


def _part_proba(member: Predictions, part: LabelPart, size: int) -> NDArray[np.float64]:
    """Probabilities of a part's values in the order of their indices, (N, S)."""
    if member.kind == "value" and part.thresholds:
        reached = np.searchsorted(part.thresholds, member.values[:, 0], side="right")
        return np.eye(len(part.thresholds) + 1)[reached][:, :size]
    indices = {str(index): index for index in range(size)}
    indices |= {name: index for name, index in part.values.items() if index < size}
    unknown = [name for name in member.columns if name not in indices]
    if unknown or member.kind != "multiclass":
        raise DataError(
            f"The predictions of {part.name} are {member.kind} of {', '.join(member.columns)}; "
            f"needed are probabilities of {', '.join(part.values or indices)}."
        )
    proba = np.zeros((len(member.ids), size))
    for column, name in enumerate(member.columns):
        proba[:, indices[name]] += member.values[:, column]
    return proba
