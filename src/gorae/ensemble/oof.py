"""Out-of-fold predictions: each id from the members that never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass

from gorae.data.composed import Indices
from gorae.ensemble.subtask import subtask_vote
from gorae.ensemble.votes import percentile_ranks, soft_vote, vote
from gorae.errors import DataError
from gorae.predictions import Predictions, concatenate


@dataclass(frozen=True)
class HeldOut:
    """What the models of one fold (checkpoints, views) say of the images it held out."""

    members: tuple[Predictions, ...]
    weights: tuple[float, ...]


def vote_oof(
    repeats: Sequence[Sequence[HeldOut]],
    how: str,
    *,
    ids: Sequence[str],
    parts: Indices | None = None,
) -> Predictions:
    """Each of ``ids`` by a vote of all members that held it out, over folds and repeats.

    Args:
        repeats: For each repeat its folds.
        how: A name in ``VOTE_NAMES``.
        ids: What must be covered, in the order of the result.
        parts: For ``subtask``: index of each part in each class, (K, P).

    Raises:
        DataError: An id is held out by two folds of a repeat, by none, or is not asked for.
    """
    folds_of = [
        _fold_of_ids([fold.members[0].ids for fold in folds], ids, repeat)
        for repeat, folds in enumerate(repeats)
    ]
    if how == "rank":
        # Before rows of several folds meet: a member ranks what it was asked at once.
        repeats = [[_ranked(fold) for fold in folds] for folds in repeats]
    # Ids that the same folds held out are voted on together.
    cells: dict[tuple[int, ...], list[str]] = {}
    for id_ in ids:
        cells.setdefault(tuple(fold_of[id_] for fold_of in folds_of), []).append(id_)
    voted = []
    for cell, inside in cells.items():
        held = [folds[fold] for folds, fold in zip(repeats, cell, strict=True)]
        members = [member.select(inside) for fold in held for member in fold.members]
        weights = [weight for fold in held for weight in fold.weights]
        voted.append(_joined(members, weights, how, parts))
    return concatenate(voted).select(ids)


def _ranked(fold: HeldOut) -> HeldOut:
    return HeldOut(tuple(percentile_ranks(member) for member in fold.members), fold.weights)


def _joined(
    members: Sequence[Predictions], weights: Sequence[float], how: str, parts: Indices | None
) -> Predictions:
    if how == "subtask":
        assert parts is not None
        return subtask_vote(members, parts=parts)
    return vote(members, "arithmetic" if how == "rank" else how, weights=weights)


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
    for repeat, folds in enumerate(repeats):
        _fold_of_ids([part.ids for part in folds], ids, repeat)
    return soft_vote([concatenate(folds).select(ids) for folds in repeats])


def _fold_of_ids(
    folds: Sequence[Sequence[str]], ids: Sequence[str], repeat: int
) -> dict[str, int]:
    fold_of: dict[str, int] = {}
    for fold, held_out in enumerate(folds):
        for id_ in held_out:
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
    return fold_of
