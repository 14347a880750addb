"""Which models join, and with which weights: chosen out of fold, scored on other rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gorae.ensemble.align import aligned
from gorae.ensemble.votes import VOTES, Floats, percentile_ranks, vote
from gorae.ensemble.weights import score_weights
from gorae.errors import ConfigError, DataError, UserError
from gorae.metrics import Metric
from gorae.predictions import Predictions, concatenate

# 32,767 subsets: minutes. The ISIC 2019 winners searched as many.
MOST_SUBSET_MEMBERS = 15

# Caruana et al. let the bag grow far past its best; with few models 25 give steps of 4 %.
GREEDY_ROUNDS = 25

# Steps of weight that `fit_weights` moves from one model to another, largest first.
FIT_STEPS = (1 / 4, 1 / 8, 1 / 16, 1 / 32)

Shares = tuple[float, ...]


# Held for its scores, not compared.
@dataclass(frozen=True, eq=False)
class Candidates:
    """Models that may join, and how good any mix of them is on several sets of rows."""

    spaces: tuple[Floats, ...]
    """What each model says, in the space of the vote, (N, K) each."""
    back: Callable[[Floats], Floats]
    """From a mean in that space to the values of the vote."""
    truth: NDArray[np.generic]
    metric: Metric
    rows: Floats
    """Sets of rows to be good on, 1 where a row counts, (S, N)."""
    known: dict[Shares, Floats] = field(default_factory=dict)
    """Gains that were asked for before."""

    def __len__(self) -> int:
        return len(self.spaces)

    def gains(self, shares: Shares) -> Floats:
        """The score of a mix on each set of rows, (S,), greater is better."""
        if shares not in self.known:
            mean = np.zeros_like(self.spaces[0])
            for share, space in zip(shares, self.spaces, strict=True):
                if share:
                    mean += share * space
            self.known[shares] = self._gains_of(mean)
        return self.known[shares]

    def subsets(self) -> Iterator[tuple[tuple[int, ...], Floats]]:
        """Every non-empty subset with its gains; each costs one addition of predictions."""
        yield from self._extended((), np.zeros_like(self.spaces[0]))

    def _extended(
        self, chosen: tuple[int, ...], total: Floats
    ) -> Iterator[tuple[tuple[int, ...], Floats]]:
        for index in range(chosen[-1] + 1 if chosen else 0, len(self)):
            longer, larger = (*chosen, index), total + self.spaces[index]
            yield longer, self._gains_of(larger / len(longer))
            yield from self._extended(longer, larger)

    def _gains_of(self, mean: Floats) -> Floats:
        sign = 1 if self.metric.greater_is_better else -1
        scorer = self.metric.scorer(self.truth, self.back(mean))
        scores = np.array([_score(scorer, counts) for counts in self.rows])
        # Undefined on these rows: never chosen for them.
        return np.where(np.isfinite(scores), sign * scores, -np.inf)


def _score(scorer: Callable[[Floats], float], counts: Floats) -> float:
    try:
        return scorer(counts)
    except DataError:
        return float("nan")


def greedy_forward(candidates: Candidates) -> list[Shares]:
    """For each set of rows, a bag grown by the model that helps most, with replacement.

    Of the bags on the way the best counts, of equals the smallest; of equal models the first.

    Source: Caruana et al., "Ensemble selection from libraries of models", 2004.
    """
    return [_greedy(candidates, rows) for rows in range(len(candidates.rows))]


def _greedy(candidates: Candidates, rows: int) -> Shares:
    bag = [0] * len(candidates)
    best, best_gain = _as_shares([1] * len(candidates)), -np.inf
    for _ in range(GREEDY_ROUNDS):
        grown = [_with_one_more(bag, index) for index in range(len(candidates))]
        gains = [float(candidates.gains(_as_shares(each))[rows]) for each in grown]
        bag = grown[int(np.argmax(gains))]
        if max(gains) > best_gain:
            best, best_gain = _as_shares(bag), max(gains)
    return best


def _with_one_more(bag: Sequence[int], index: int) -> list[int]:
    return [count + (place == index) for place, count in enumerate(bag)]


def _as_shares(counts: Sequence[float]) -> Shares:
    total = sum(counts)
    return tuple(count / total for count in counts)


def best_subset(candidates: Candidates) -> list[Shares]:
    """For each set of rows, the subset whose equal-weight vote is best, of all there are.

    Of equals the smallest, then the one with the first models. Source: the winners of ISIC
    2019 (ngessert/isic2019).

    Raises:
        UserError: There are too many models for a search of everything.
    """
    if len(candidates) > MOST_SUBSET_MEMBERS:
        raise UserError(
            f"best_subset tries every subset, of {MOST_SUBSET_MEMBERS} models at most; here "
            f"are {len(candidates)}. Leave some out, or select greedy."
        )
    best: list[tuple[int, ...]] = [()] * len(candidates.rows)
    best_gains = np.full(len(candidates.rows), -np.inf)
    for chosen, gains in candidates.subsets():
        for rows, gain in enumerate(gains):
            is_smaller = gain == best_gains[rows] and len(chosen) < len(best[rows])
            if gain > best_gains[rows] or is_smaller or not best[rows]:
                best[rows], best_gains[rows] = chosen, gain
    return [_as_shares([index in each for index in range(len(candidates))]) for each in best]


def fit_weights(candidates: Candidates) -> list[Shares]:
    """For each set of rows, weights by pattern search on the score itself, from equal ones.

    Weight moves from one model to another as long as the score grows, in steps of 1/4 down to
    1/32: no gradient is needed, so any metric can be fitted. Source: Hooke and Jeeves, 1961.
    """
    return [_fitted(candidates, rows) for rows in range(len(candidates.rows))]


def _fitted(candidates: Candidates, rows: int) -> Shares:
    shares = _as_shares([1] * len(candidates))
    gain = candidates.gains(shares)[rows]
    for step in FIT_STEPS:
        while True:
            moved = [
                (float(candidates.gains(each)[rows]), each) for each in _moves(shares, step)
            ]
            best_gain, best = max(moved, key=lambda pair: pair[0], default=(gain, shares))
            if not best_gain > gain:
                break
            shares, gain = best, best_gain
    return shares


def _moves(shares: Shares, step: float) -> Iterator[Shares]:
    for giver, given in enumerate(shares):
        for taker in range(len(shares)):
            if giver != taker and given > 0:
                moved = list(shares)
                amount = min(step, given)
                moved[giver], moved[taker] = given - amount, moved[taker] + amount
                # Rounded, so that equal mixes reached by other ways are one.
                yield tuple(round(share, 12) for share in moved)


def by_score(candidates: Candidates) -> list[Shares]:
    """For each set of rows, weights by the score of each model alone; see ``score_weights``."""
    alone = np.stack(
        [
            candidates.gains(tuple(float(place == index) for place in range(len(candidates))))
            for index in range(len(candidates))
        ]
    )  # (M, S)
    sign = 1 if candidates.metric.greater_is_better else -1
    return [
        tuple(
            score_weights(
                [sign * gain if np.isfinite(gain) else None for gain in gains],
                greater_is_better=candidates.metric.greater_is_better,
            ).tolist()
        )
        for gains in alone.T.tolist()
    ]


CHOOSERS: dict[str, Callable[[Candidates], list[Shares]]] = {
    "greedy": greedy_forward,
    "best_subset": best_subset,
    "fit_weights": fit_weights,
    "by_score": by_score,
}


@dataclass(frozen=True)
class NestedVote:
    """A vote whose weights were chosen by score, and what it is worth on other rows."""

    predictions: Predictions
    """Each row voted with the weights that were chosen without its part: what is scored."""
    weights: Shares
    """Chosen on all rows: what is used on the test set."""
    part_weights: tuple[Shares, ...]
    """Chosen without each part."""
    chosen_score: float
    """The score of ``weights`` on the rows they were chosen on: too good to be true."""


def nested_vote(
    members: Sequence[Predictions],
    how: str,
    *,
    choose: str,
    truth: NDArray[np.generic],
    metric: Metric,
    parts: NDArray[np.int64],
) -> NestedVote:
    """Choose members and weights on some parts of the rows, score them on the other.

    Args:
        members: Out-of-fold predictions, equal ids and columns.
        how: A name in ``VOTES``.
        choose: A name in ``CHOOSERS``.
        truth: Encoded targets of the ids of the first member.
        metric: The score to be good at.
        parts: Part of each id of the first member, (N,); at least two, no group in two.

    Raises:
        ConfigError: The vote is not a mean, so that weights can be chosen for it.
        UserError: There are too many members for the search.
    """
    if how not in VOTES:
        fitting = ", ".join(VOTES)
        raise ConfigError(f"Vote {how!r} takes no weights; weights are chosen for {fitting}.")
    first = members[0]
    if how == "rank":
        members, how = [percentile_ranks(member) for member in members], "arithmetic"
    names = np.unique(parts)
    assert len(names) > 1
    rows = np.stack([np.ones(len(parts), dtype=bool), *(parts != name for name in names)])
    space, kind = VOTES[how], members[0].kind
    candidates = Candidates(
        spaces=tuple(
            space.there(values.astype(np.float64), kind) for values in aligned(members)
        ),
        back=lambda mean: space.back(mean, kind),
        truth=truth,
        metric=metric,
        rows=rows.astype(np.float64),
    )
    weights, *part_weights = CHOOSERS[choose](candidates)
    voted = []
    for name, shares in zip(names, part_weights, strict=True):
        inside = [id_ for id_, part in zip(first.ids, parts, strict=True) if part == name]
        voted.append(vote([m.select(inside) for m in members], how, weights=shares))
    in_sample = vote(members, how, weights=weights)
    return NestedVote(
        predictions=concatenate(voted).select(first.ids),
        weights=weights,
        part_weights=tuple(part_weights),
        chosen_score=metric.function(truth, in_sample.values),
    )
