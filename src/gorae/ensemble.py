"""One predictions made of many."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gorae.errors import DataError, UserError
from gorae.predictions import Predictions, concatenate

# Rows voted on at once: members x rows x classes of float64 stay small in memory.
VALUES_AT_ONCE = 4_000_000


def soft_vote(
    members: Sequence[Predictions], *, weights: Sequence[float] | None = None
) -> Predictions:
    """The (weighted) arithmetic mean of what the members say of each id.

    Args:
        members: Equal ids, in any order, and equal columns.
        weights: One per member, not negative; only their ratios count. Absent: equal.

    Returns:
        In the order of ids of the first member. The order of the members does not change a
        single bit of any value.

    Raises:
        DataError: Members differ in ids, columns or kind.
        UserError: The weights do not fit.
    """
    first = members[0]
    for place, member in enumerate(members[1:], start=2):
        _require_same(first, member, place)
    shares = _shares(weights, len(members))
    aligned = [member.select(first.ids).values for member in members]
    voted = np.empty_like(first.values)
    step = max(1, VALUES_AT_ONCE // max(1, len(members) * len(first.columns)))
    for start in range(0, len(first.ids), step):
        rows = slice(start, start + step)
        # float64, or the mean of many float32 would drift; sorted, or its last digit would
        # depend on the order of the members.
        stacked = np.stack([values[rows] for values in aligned]).astype(np.float64)  # (M, n, K)
        stacked *= shares[:, None, None]
        voted[rows] = np.sort(stacked, axis=0).sum(axis=0)
    return Predictions(first.ids, first.columns, voted, first.kind)


def _require_same(first: Predictions, member: Predictions, place: int) -> None:
    if (member.columns, member.kind) != (first.columns, first.kind):
        raise DataError(
            f"Member {place} of the vote predicts {_described(member)}; member 1 predicts "
            f"{_described(first)}. Vote only over members of equal classes in equal order."
        )
    differing = sorted(set(member.ids) ^ set(first.ids))
    if differing:
        raise DataError(
            f"Member {place} and member 1 of the vote differ in {len(differing)} ids, first "
            f"{differing[0]!r}. Every member must predict every id."
        )


def _described(member: Predictions) -> str:
    return f"{member.kind} {', '.join(member.columns[:10])}"


def _shares(weights: Sequence[float] | None, num_members: int) -> NDArray[np.float64]:
    given = np.ones(num_members) if weights is None else np.array(weights, dtype=np.float64)
    if given.shape != (num_members,):
        raise UserError(f"{given.size} weights are given for {num_members} members: one each.")
    if not np.isfinite(given).all() or (given < 0).any() or given.sum() == 0:
        raise UserError(
            f"Weights are {', '.join(f'{weight:g}' for weight in given)}: they must be finite "
            "and 0 or more, and one of them above 0."
        )
    shares: NDArray[np.float64] = given / given.sum()
    return shares


def assemble_oof(
    repeats: Sequence[Sequence[Predictions]], *, ids: Sequence[str]
) -> Predictions:
    """Out-of-fold predictions: each of ``ids`` exactly once per repeat, repeats averaged.

    Args:
        repeats: For each repeat its folds, each with the ids it held out.
        ids: What must be covered, in the order of the result.

    Raises:
        DataError: An id is held out by two folds of a repeat, by none, or is not asked for.
    """
    return soft_vote([_one_repeat(folds, ids, k) for k, folds in enumerate(repeats)])


def _one_repeat(folds: Sequence[Predictions], ids: Sequence[str], repeat: int) -> Predictions:
    fold_of: dict[str, int] = {}
    for fold, part in enumerate(folds):
        for id_ in part.ids:
            if id_ in fold_of:
                raise DataError(
                    f"Repeat {repeat}: folds {fold_of[id_]} and {fold} both hold out {id_!r}. "
                    "An out-of-fold score needs each id once; make the split anew."
                )
            fold_of[id_] = fold
    wanted = set(ids)
    missing = [id_ for id_ in ids if id_ not in fold_of]
    extra = [id_ for id_ in fold_of if id_ not in wanted]
    if missing or extra:
        raise DataError(
            f"Repeat {repeat}: {len(missing)} of {len(ids)} ids were held out by no fold"
            f"{f', first {missing[0]!r}' if missing else ''}; {len(extra)} were not asked for"
            f"{f', first {extra[0]!r}' if extra else ''}. Finish all folds of the split first."
        )
    return concatenate(folds).select(ids)
