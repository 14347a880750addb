"""Out-of-fold predictions hold each id once, from those that never saw it."""

import numpy as np
import pytest

from gorae.ensemble import HeldOut, assemble_oof, vote, vote_oof
from gorae.errors import DataError
from gorae.predictions import Predictions


def drawn(seed: int, *, num_ids: int = 7, num_classes: int = 3) -> Predictions:
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.full(num_classes, 0.1), num_ids).astype(np.float32)
    ids = tuple(str(number) for number in range(num_ids))
    return Predictions(ids, tuple("xyz"[:num_classes]), values, "multiclass")


def folds_of(whole: Predictions, num_folds: int, seed: int) -> list[Predictions]:
    fold = np.random.default_rng(seed).integers(0, num_folds, len(whole.ids))
    return [
        whole.select([id_ for id_, f in zip(whole.ids, fold, strict=True) if f == k])
        for k in range(num_folds)
    ]


def test_out_of_fold_is_each_id_once_and_the_mean_of_repeats() -> None:
    first, second = drawn(1), drawn(2)
    ids = list(reversed(first.ids))
    oof = assemble_oof([folds_of(first, 3, 0), folds_of(second, 2, 1)], ids=ids)
    assert oof.ids == tuple(ids)
    expected = (first.values.astype(np.float64) + second.values) / 2
    np.testing.assert_allclose(oof.values, expected[::-1], rtol=1e-6)


def test_out_of_fold_refuses_overlap_gaps_and_strangers() -> None:
    whole = drawn(0)
    parts = folds_of(whole, 2, 0)
    with pytest.raises(DataError, match="Repeat 0: folds 0 and 2 both hold out"):
        assemble_oof([[*parts, parts[0]]], ids=whole.ids)
    with pytest.raises(DataError, match=r"Repeat 1: .* were held out by no fold, first"):
        assemble_oof([parts, parts[:1]], ids=whole.ids)
    with pytest.raises(DataError, match="1 were not asked for, first '6'"):
        assemble_oof([parts], ids=whole.ids[:-1])


def held(members: list[Predictions]) -> HeldOut:
    return HeldOut(tuple(members), (1.0,) * len(members))


@pytest.mark.parametrize("how", ["arithmetic", "geometric", "hard"])
def test_rows_are_voted_on_by_all_members_that_held_them_out(how: str) -> None:
    # Two repeats of other folds, two checkpoints each: every id has four voters.
    wholes = [drawn(seed, num_ids=20) for seed in range(4)]
    first = [folds_of(whole, 3, 0) for whole in wholes[:2]]
    second = [folds_of(whole, 2, 1) for whole in wholes[2:]]
    repeats = [
        [held([one, two]) for one, two in zip(*first, strict=True)],
        [held([one, two]) for one, two in zip(*second, strict=True)],
    ]
    ids = list(reversed(wholes[0].ids))
    voted = vote_oof(repeats, how, ids=ids)
    assert voted.ids == tuple(ids)
    np.testing.assert_array_equal(voted.values, vote(wholes, how).select(ids).values)


def test_ranks_are_taken_within_the_fold_that_was_asked() -> None:
    low = Predictions(tuple("ab"), ("x",), np.array([[0.1], [0.2]], np.float32), "multilabel")
    high = Predictions(tuple("cd"), ("x",), np.array([[0.9], [0.8]], np.float32), "multilabel")
    voted = vote_oof([[held([low]), held([high])]], "rank", ids="abcd")
    assert voted.values[:, 0].tolist() == [0.5, 1, 1, 0.5]


def test_a_vote_over_folds_refuses_overlap_and_gaps() -> None:
    whole = drawn(0)
    parts = [held([part]) for part in folds_of(whole, 2, 0)]
    with pytest.raises(DataError, match="folds 0 and 2 both hold out"):
        vote_oof([[*parts, parts[0]]], "hard", ids=whole.ids)
    with pytest.raises(DataError, match="were held out by no fold"):
        vote_oof([parts[:1]], "hard", ids=whole.ids)
