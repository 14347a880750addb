"""The AUC, its error and its test allow for folds and groups."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from gorae.eda.association import SHARED_TRAINING, auc_association, holm, rank_association


def drawn(seed: int, num: int = 200) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    truth = rng.random(num) < 0.4
    return truth, np.round(rng.normal(truth * 0.7, 1), 1)


def test_in_one_fold_it_is_the_auc_of_scikit_learn() -> None:
    truth, scores = drawn(0)
    one = np.zeros(len(truth), dtype=np.int64)
    found = auc_association(
        truth[:, None], scores[:, None], folds=one, groups=np.arange(len(truth))
    )
    assert found.score == pytest.approx(roc_auc_score(truth, scores))
    assert found.low < found.score < found.high


def test_scores_of_different_folds_are_not_compared() -> None:
    truth, scores = drawn(1)
    folds = np.arange(len(truth)) % 4
    groups = np.arange(len(truth))
    plain = auc_association(truth[:, None], scores[:, None], folds=folds, groups=groups)
    moved = auc_association(
        truth[:, None], (scores + 100.0 * folds)[:, None], folds=folds, groups=groups
    )
    assert moved == plain
    pairs = np.array([truth[folds == f].sum() * (~truth[folds == f]).sum() for f in range(4)])
    aucs = [roc_auc_score(truth[folds == f], scores[folds == f]) for f in range(4)]
    assert plain.score == pytest.approx((pairs * aucs).sum() / pairs.sum())


def test_the_error_of_single_rows_is_that_of_delong() -> None:
    truth, scores = drawn(2, 400)
    one = np.zeros(len(truth), dtype=np.int64)
    found = auc_association(
        truth[:, None], scores[:, None], folds=one, groups=np.arange(len(truth))
    )
    wins = (scores[truth][:, None] > scores[~truth]) + 0.5 * (
        scores[truth][:, None] == scores[~truth]
    )
    delong = np.sqrt(
        wins.mean(axis=1).var(ddof=1) / truth.sum()
        + wins.mean(axis=0).var(ddof=1) / (~truth).sum()
    )
    reach = (found.high - found.low) / 2 / stats.t.ppf(0.975, len(truth) - 1)
    unrelated = np.sqrt((len(truth) + 1) / (12 * truth.sum() * (~truth).sum()))
    assert reach == pytest.approx(max(delong, unrelated) * SHARED_TRAINING, rel=0.01)


def test_copies_of_rows_in_one_group_prove_nothing_more() -> None:
    truth, scores = drawn(3)
    groups = np.arange(len(truth))
    zeros = np.zeros(len(truth), dtype=np.int64)
    once = auc_association(truth[:, None], scores[:, None], folds=zeros, groups=groups)
    many = auc_association(
        np.tile(truth, 9)[:, None],
        np.tile(scores, 9)[:, None],
        folds=np.tile(zeros, 9),
        groups=np.tile(groups, 9),
    )
    assert many.score == pytest.approx(once.score)
    assert many.p_value == pytest.approx(once.p_value, rel=1e-6)
    rows = auc_association(
        np.tile(truth, 9)[:, None],
        np.tile(scores, 9)[:, None],
        folds=np.tile(zeros, 9),
        groups=np.arange(9 * len(truth)),
    )
    assert rows.p_value < many.p_value


def test_a_perfect_score_of_few_groups_proves_little() -> None:
    groups = np.repeat(np.arange(6), 20)
    truth = groups >= 3
    folds = np.zeros(120, dtype=np.int64)
    found = auc_association(
        truth[:, None], truth[:, None].astype(float), folds=folds, groups=groups
    )
    assert found.score == 1
    assert found.p_value > 0.01


def test_constant_scores_and_one_kind_only_are_nothing() -> None:
    truth = np.array([True, False] * 10)
    folds, groups = np.zeros(20, dtype=np.int64), np.arange(20)
    constant = auc_association(truth[:, None], np.zeros((20, 1)), folds=folds, groups=groups)
    assert constant.score == 0.5
    assert constant.p_value == pytest.approx(0.5)
    none = auc_association(
        np.ones((20, 1), dtype=bool), np.zeros((20, 1)), folds=folds, groups=groups
    )
    assert (none.score, none.p_value) == (0.5, 1.0)
    flat = rank_association(np.arange(20.0), np.zeros(20), folds=folds, groups=groups)
    assert flat.score == 0
    assert flat.p_value == pytest.approx(0.5)


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=90)
    scores = truth + rng.normal(size=90)
    found = rank_association(
        truth, scores, folds=np.zeros(90, dtype=np.int64), groups=np.arange(90)
    )
    assert found.score == pytest.approx(stats.spearmanr(truth, scores).statistic)
    assert found.low < found.score < found.high <= 1


def test_holm_by_hand() -> None:
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.5]))
    assert np.allclose(adjusted, [0.04, 0.09, 0.09, 0.5])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
