"""Open sets: whole individuals are held out, as many as asked for."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.errors import DataError
from gorae.splits import join_groups, make_folds
from gorae.splits.open_set import NOBODY, choose_unknown, together, unknown_rows

NAMES = tuple(f"w_{number}" for number in range(60))


def draw_rows(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """400 pictures of 40 individuals with a long tail, in groups of one or two."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.07, 400) - 1, 39).astype(np.int64)
    groups = labels * 1000 + rng.integers(0, 30, 400)
    return labels, groups


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_held_out_individuals_are_whole_and_about_as_many_as_asked_for(
    share: float, seed: int
) -> None:
    labels, groups = draw_rows(seed)
    held_out = choose_unknown(
        labels, groups, share=share, seed=seed, names=NAMES, every_row_validates=True
    )
    assert not set(labels[held_out]) & set(labels[~held_out])
    assert abs(held_out.mean() - share) < 0.08
    joined = join_groups(*together(groups, labels, held_out))
    folds = make_folds(labels, joined, num_folds=5, seed=seed)
    unknown = unknown_rows(folds, joined, labels, may_train=np.ones(len(labels), dtype=bool))
    assert unknown[held_out].all()
    for fold in range(5):
        trains = folds != fold
        lost = ~np.isin(labels, labels[trains])
        np.testing.assert_array_equal(unknown[folds == fold], lost[folds == fold])


def test_the_draw_does_not_depend_on_the_order_of_the_rows() -> None:
    labels, groups = draw_rows(0)
    order = np.random.default_rng(1).permutation(len(labels))
    held_out, again = (
        choose_unknown(
            labels[rows], groups[rows], share=0.3, seed=5, names=NAMES, every_row_validates=True
        )
        for rows in (np.arange(len(labels)), order)
    )
    np.testing.assert_array_equal(held_out[order], again)


def test_singles_and_rows_of_nobody_count_first_in_folds_and_not_in_one_part() -> None:
    labels = np.array([0, 0, 1, 1, 4, 4, 2, 3, NOBODY, NOBODY])
    folds, part = (
        choose_unknown(
            labels,
            np.arange(10),
            share=share,
            seed=0,
            names=NAMES,
            every_row_validates=every,
        )
        for share, every in ((0.4, True), (0.2, False))
    )
    assert folds.tolist() == [False] * 6 + [True, True, False, False]
    assert abs(part.sum() - 2) <= 1
    assert not part[labels == NOBODY].any()


def test_a_row_that_shows_nobody_is_always_unknown() -> None:
    labels = np.array([0, 0, NOBODY, NOBODY])
    found = unknown_rows(
        np.array([0, 1, 0, 1]), np.arange(4), labels, may_train=np.ones(4, dtype=bool)
    )
    assert found.tolist() == [False, False, True, True]


def test_too_few_known_individuals_are_refused() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    with pytest.raises(
        DataError, match=r"unknown_share = 0\.6 leaves 1 individuals \(w_[01]\)"
    ):
        choose_unknown(
            labels,
            np.arange(6),
            share=0.6,
            seed=0,
            names=NAMES,
            every_row_validates=True,
        )
