"""Members brought into one order, and their weights as shares."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gorae.errors import DataError, UserError
from gorae.predictions import Predictions


def aligned(members: Sequence[Predictions]) -> list[NDArray[np.float32]]:
    """The values of each member, (N, K), in the order of ids of the first.

    Raises:
        DataError: Members differ in ids, columns or kind.
    """
    first = members[0]
    for place, member in enumerate(members[1:], start=2):
        _require_same(first, member, place)
    return [
        member.values if member.ids == first.ids else member.select(first.ids).values
        for member in members
    ]


def _require_same(first: Predictions, member: Predictions, place: int) -> None:
    if (member.columns, member.kind) != (first.columns, first.kind):
        raise DataError(
            f"Member {place} of the vote predicts {_described(member)}; member 1 predicts "
            f"{_described(first)}. Vote only over members of equal classes in equal order."
        )
    if member.ids == first.ids:
        return
    differing = sorted(set(member.ids) ^ set(first.ids))
    if differing:
        raise DataError(
            f"Member {place} and member 1 of the vote differ in {len(differing)} ids, first "
            f"{differing[0]!r}. Every member must predict every id."
        )


def _described(member: Predictions) -> str:
    return f"{member.kind} {', '.join(member.columns[:10])}"


def member_shares(weights: Sequence[float] | None, num_members: int) -> NDArray[np.float64]:
    """Weights divided by their sum, (M,); equal ones where none are given.

    Raises:
        UserError: The weights do not fit.
    """
    given = np.ones(num_members) if weights is None else np.array(weights, dtype=np.float64)
    if given.shape != (num_members,):
        raise UserError(f"{given.size} weights are given for {num_members} members: one each.")
    if not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise UserError(
            f"Weights are {', '.join(f'{weight:g}' for weight in given)}: they must be finite "
            "and 0 or more, and one of them above 0."
        )
    # fsum rounds once, so that the order of the members does not count.
    shares: NDArray[np.float64] = given / math.fsum(given)
    return shares
