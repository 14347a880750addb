"""Opinions on classes that a member never learned, taken from the members that did."""

from collections.abc import Collection, Sequence

import numpy as np

from gorae.predictions import Predictions


def borrow_opinions(
    members: Sequence[Predictions], unlearned: Sequence[Collection[str]]
) -> list[Predictions]:
    """Members that say of a class they never learned what the others say of it on average.

    A model gives next to nothing to a class it has seen no picture of. In a vote with models
    that know the class it would pull the class down, on test pictures as on any others.

    Args:
        members: Equal ids, in any order, and equal columns.
        unlearned: Columns each of them had nothing to learn from. One that nobody learned
            stays as it is.

    Returns:
        The members, in the order of ids of the first; probabilities sum to 1 again.
    """
    aligned = [member.select(members[0].ids) for member in members]
    columns = members[0].columns
    is_known = np.array([[name not in each for name in columns] for each in unlearned])
    values = np.stack([member.values.astype(np.float64) for member in aligned])  # (M, N, K)
    knowing = is_known[:, None, :]
    mean = (values * knowing).sum(axis=0) / np.maximum(knowing.sum(axis=0), 1)
    borrowed = np.where(knowing | ~is_known.any(axis=0), values, mean)
    if members[0].kind == "multiclass":
        borrowed /= borrowed.sum(axis=2, keepdims=True)
    return [
        member
        if is_known[place].all()
        else Predictions(member.ids, columns, borrowed[place].astype(np.float32), member.kind)
        for place, member in enumerate(aligned)
    ]
