"""Selection and weights: found where they exist, and scored on rows that did not choose."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.ensemble import CHOOSERS, NestedVote, nested_vote, vote
from gorae.errors import ConfigError, UserError
from gorae.metrics import METRICS, Metric
from gorae.predictions import Predictions

NUM_ROWS = 120
IDS = tuple(f"r{row}" for row in range(NUM_ROWS))
TRUTH = np.random.default_rng(0).integers(0, 3, NUM_ROWS)
PARTS = np.arange(NUM_ROWS) % 4


def model(skill: float, seed: int) -> Predictions:
    noise = np.random.default_rng(seed).dirichlet(np.ones(3), NUM_ROWS)
    values = skill * np.eye(3)[TRUTH] + (1 - skill) * noise
    return Predictions(IDS, tuple("xyz"), values.astype(np.float32), "multiclass")


def run(
    members: list[Predictions],
    choose: str,
    how: str = "arithmetic",
    metric: Metric = METRICS["log_loss"],
    parts: NDArray[np.int64] = PARTS,
) -> NestedVote:
    return nested_vote(members, how, choose=choose, truth=TRUTH, metric=metric, parts=parts)


@pytest.mark.parametrize("how", ["arithmetic", "geometric", "hard", "rank"])
def test_best_subset_is_the_best_of_all_subsets(how: str) -> None:
    members = [model(skill, seed) for seed, skill in enumerate((0.1, 0.3, 0.2, 0.0))]
    metric = METRICS["macro_f1"]
    found = run(members, "best_subset", how, metric)
    scores = {
        chosen: metric.function(TRUTH, vote([members[k] for k in chosen], how).values)
        for size in range(1, 5)
        for chosen in itertools.combinations(range(4), size)
    }
    assert found.chosen_score == pytest.approx(max(scores.values()))
    chosen = tuple(np.flatnonzero(found.weights).tolist())
    assert scores[chosen] == pytest.approx(max(scores.values()))


@pytest.mark.parametrize("choose", ["greedy", "best_subset"])
def test_a_model_of_noise_is_left_out(choose: str) -> None:
    found = run([model(0.5, 1), model(0.0, 2), model(0.5, 3)], choose)
    assert found.weights[1] == 0
    assert sum(found.weights) == pytest.approx(1)


@pytest.mark.parametrize("choose", ["greedy", "fit_weights"])
@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_chosen_is_never_worse_than_the_start_where_it_was_chosen(
    choose: str, metric: str
) -> None:
    members = [model(skill, seed) for seed, skill in enumerate((0.2, 0.1, 0.25))]
    score = METRICS[metric]
    found = run(members, choose, metric=score)
    start = (
        [score.function(TRUTH, vote(members, "arithmetic").values)]
        if choose == "fit_weights"
        else [score.function(TRUTH, member.values) for member in members]
    )
    best = max(start) if score.greater_is_better else min(start)
    gain = found.chosen_score - best
    assert (gain if score.greater_is_better else -gain) >= -1e-9


def test_fitted_weights_are_near_the_best_of_a_fine_grid() -> None:
    members = [model(0.4, 1), model(0.1, 2)]
    metric = METRICS["log_loss"]
    grid = [
        metric.function(TRUTH, vote(members, "arithmetic", weights=[w, 1 - w]).values)
        for w in np.linspace(0, 1, 65)
    ]
    assert run(members, "fit_weights").chosen_score == pytest.approx(min(grid), abs=2e-3)


def test_weights_by_score_are_shares_of_the_sum() -> None:
    members = [model(0.4, 1), model(0.1, 2)]
    metric = METRICS["accuracy"]
    scores = [metric.function(TRUTH, member.values) for member in members]
    found = run(members, "by_score", metric=metric)
    np.testing.assert_allclose(found.weights, np.array(scores) / sum(scores))


@pytest.mark.parametrize("choose", CHOOSERS)
def test_no_row_has_a_say_in_its_own_weights(choose: str) -> None:
    members = [model(skill, seed) for seed, skill in enumerate((0.3, 0.1, 0.2))]
    found = run(members, choose)
    # Truth of part 0 turned round: what is said of part 0 stays to the last bit.
    truth = np.where(PARTS == 0, 2 - TRUTH, TRUTH)
    again = nested_vote(
        members,
        "arithmetic",
        choose=choose,
        truth=truth,
        metric=METRICS["log_loss"],
        parts=PARTS,
    )
    rows = PARTS == 0
    np.testing.assert_array_equal(
        found.predictions.values[rows], again.predictions.values[rows]
    )
    assert found.part_weights[0] == again.part_weights[0]
    assert found.part_weights[1] != again.part_weights[1] or choose == "best_subset"


@pytest.mark.parametrize("choose", ["greedy", "best_subset"])
def test_selection_among_noise_looks_good_only_where_it_was_made(choose: str) -> None:
    members = [model(0.0, seed) for seed in range(8)]
    metric = METRICS["accuracy"]
    gaps = []
    for seed in range(4):
        parts = np.random.default_rng(seed).integers(0, 4, NUM_ROWS)
        found = run(members, choose, metric=metric, parts=parts)
        gaps.append(found.chosen_score - metric.function(TRUTH, found.predictions.values))
    assert np.mean(gaps) > 0.03


def test_what_cannot_be_chosen_is_refused() -> None:
    members = [model(0.1, seed) for seed in range(16)]
    with pytest.raises(UserError, match="of 15 models at most; here are 16"):
        run(members, "best_subset")
    with pytest.raises(ConfigError, match="'subtask' takes no weights"):
        run(members[:2], "greedy", "subtask")
