"""Which groups go to which fold: greedy filling, then exchanges until nothing improves.

Groups with the same content (rows, and rows of each stratum) are one *type*; a solution is how
many groups of each type each fold gets. A million single rows are then a handful of types, and
dealing them is exact. Letters: T types, F features (size, then every stratum), V folds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Groups of each fold looked at in one exchange: drawn, then tried against each other.
POOL, CANDIDATES = 1000, 100
# Work of the search in all starts together, in numbers touched: some seconds on one core.
SEARCH_WORK = 1e8
STEP_WORK = 2e4
LARGEST_DENSE = 5_000_000
# Starts from other orders, for problems small enough that each takes milliseconds.
MOST_STARTS = 6
START_CELLS = 5e4
# How much larger than its size a group may seem to the greedy order (standard deviation of a
# logarithm): gives other seeds and starts other folds at the same quality.
ORDER_NOISE = 0.3
# Weight of the fold size against strata, in squares and in fourth powers.
SQUARES_SIZE_WEIGHT = 2.0
FOURTHS_SIZE_WEIGHT = 0.2
# Share of plain squares in the price, which is otherwise of fourth powers: those tell which
# fold is worst, but are flat once all are good. Both measured by `benchmarks/splits.py`.
SQUARES = 0.01


@dataclass(frozen=True)
class Problem:
    """What is to be divided."""

    content: csr_array[Any]  # (T, F) rows of each feature in one group of the type
    dense: Floats | None  # the same, when it is small
    num_groups: Ints  # (T,)
    targets: Floats  # (V, F) rows wished for
    totals: Floats  # (F,) rows there are
    greedy_weights: Floats  # (F,) price of a squared deviation from the target
    share_weights: Floats  # (F,) price of a squared deviation of a share; 0 for the size
    is_validated: NDArray[np.bool_]  # (V,) whether the fold is ever left out of training
    is_kept: NDArray[np.bool_]  # (F,) whether the feature can be in every train part

    def rows(self, types: Ints) -> Floats:
        """Content of one group of each of the types, (len(types), F)."""
        table = self.content[types].toarray() if self.dense is None else self.dense[types]
        return np.asarray(table)


def build_problem(
    content: csr_array[Any],
    num_groups: Ints,
    *,
    shares: Floats,
    is_validated: NDArray[np.bool_],
    column_of: Ints,
) -> Problem:
    """Targets, prices and duties of a division into folds of the given ``shares``.

    ``column_of`` (F,) tells the column of strata that a feature belongs to; -1 for the size.
    """
    totals = content.T @ num_groups.astype(np.float64)
    groups_with = (content > 0).astype(np.float64).T @ num_groups
    num_columns = max(1 + int(column_of.max()), 1)
    # As in the chi-squared statistic: a deviation counts in proportion to what is expected.
    greedy_weights = 1 / (totals * num_columns)
    greedy_weights[0] = SQUARES_SIZE_WEIGHT / totals[0]
    shares_all = totals / totals[0]
    spread = np.zeros(num_columns)
    np.add.at(spread, column_of[1:], (shares_all * (1 - shares_all))[1:])
    share_weights = 1 / (spread[column_of] * num_columns) if len(totals) > 1 else np.zeros(1)
    share_weights[0] = 0
    is_kept = groups_with >= (2 if is_validated.all() else 1)
    is_kept[0] = False
    is_small = content.shape[0] * content.shape[1] <= LARGEST_DENSE
    return Problem(
        content,
        content.toarray() if is_small else None,
        num_groups,
        np.outer(shares, totals),
        totals,
        greedy_weights,
        share_weights,
        is_validated,
        is_kept,
    )


def fold_price(problem: Problem, held: Floats, fold: int) -> float:
    """How far a fold of content ``held`` (F,) is from its target size and shares."""
    off = _off_share(problem, held)
    return float(_price(problem, held[0], off @ (problem.share_weights * off), fold))


def _off_share(problem: Problem, rows: Floats) -> Floats:
    """Rows more than the shares of all rows would give, (..., F); it adds up over groups."""
    return np.asarray(rows - rows[..., :1] * (problem.totals / problem.totals[0]))


def _price(problem: Problem, sizes: Any, spreads: Any, fold: int) -> Floats:
    """Price of folds of these sizes and weighted sums of squared ``_off_share``."""
    sizes = np.maximum(sizes, 0.5)
    off = np.log(sizes / problem.targets[fold, 0]) ** 2
    deviation = spreads / sizes**2
    return np.asarray(
        SQUARES * (SQUARES_SIZE_WEIGHT * off + deviation)
        + FOURTHS_SIZE_WEIGHT * off**2
        + deviation**2
    )


def assign(problem: Problem, rng: np.random.Generator) -> Ints:
    """How many groups of each type each fold gets, (T, V); the best of several starts."""
    num_types, num_folds = len(problem.num_groups), len(problem.targets)
    num_starts = int(np.clip(START_CELLS // (num_types * num_folds), 1, MOST_STARTS))
    sizes = problem.content[:, [0]].toarray()[:, 0]
    found: list[tuple[int, float, Ints]] = []
    for _ in range(num_starts):
        noise = np.exp(rng.normal(0, ORDER_NOISE, num_types))
        order = np.argsort(-sizes * noise, kind="stable")
        given, held = _fill_greedily(problem, order)
        _repair(problem, given, held)
        _improve(problem, given, held, rng=rng, work=SEARCH_WORK / num_starts)
        price = sum(fold_price(problem, held[v], v) for v in range(num_folds))
        found.append((num_missing(problem, held), price, given))
    return min(found, key=lambda start: start[:2])[2]


def num_missing(problem: Problem, held: Floats) -> int:
    """How many pairs of a stratum and a fold leave the stratum out of the train part."""
    return int(_missing(problem, held).sum())


def _missing(problem: Problem, held: Floats) -> NDArray[np.bool_]:
    """Whether a fold holds all of a stratum that could be kept in every train part, (V, F)."""
    is_all = held >= problem.totals - 0.5
    return np.asarray(is_all & problem.is_validated[:, None] & problem.is_kept)


def _row(problem: Problem, type_: int) -> tuple[NDArray[Any], Floats]:
    matrix = problem.content
    part = slice(matrix.indptr[type_], matrix.indptr[type_ + 1])
    return matrix.indices[part], matrix.data[part]


def _fill_greedily(problem: Problem, order: Ints) -> tuple[Ints, Floats]:
    """Give each type in turn where it costs least: (T, V) groups given, (V, F) rows held."""
    num_folds = len(problem.targets)
    given = np.zeros((len(problem.num_groups), num_folds), dtype=np.int64)
    excess = -problem.targets.T
    for type_ in order:
        features, rows = _row(problem, type_)
        priced = problem.greedy_weights[features] * rows
        levels = priced @ excess[features]
        num = int(problem.num_groups[type_])
        if num == 1:
            fold = int(levels.argmin())
            given[type_, fold] = 1
            excess[features, fold] += rows
        else:
            given[type_] = _pour(levels, step=float(priced @ rows), num=num)
            excess[features] += np.outer(rows, given[type_])
    # Whole numbers again, without the rounding of the targets.
    return given, np.asarray((problem.content.T @ given).T, dtype=np.float64)


def _pour(levels: Floats, *, step: float, num: int) -> Ints:
    """Counts per fold of ``num`` like things, each given where the level is lowest.

    Each thing raises its fold's level by ``step``: water poured into a vessel of uneven floor.
    """
    floor = np.sort(levels)
    waters = (num * step + np.cumsum(floor)) / np.arange(1, len(floor) + 1)
    water = waters[np.flatnonzero(waters > floor)[-1]]
    counts: Ints = np.maximum(np.floor((water - levels) / step), 0).astype(np.int64)
    while (rest := num - int(counts.sum())) > 0:
        counts[np.argsort(levels + step * counts, kind="stable")[:rest]] += 1
    # Rounding may have given one too many where the water only just reaches.
    while counts.sum() > num:
        counts[int(np.where(counts > 0, levels + step * counts, -np.inf).argmax())] -= 1
    return counts


def _shift(
    problem: Problem, given: Ints, held: Floats, *, type_: int, source: int, target: int
) -> None:
    features, rows = _row(problem, type_)
    given[type_, source] -= 1
    given[type_, target] += 1
    held[source, features] -= rows
    held[target, features] += rows


def _repair(problem: Problem, given: Ints, held: Floats) -> None:
    """Give every fold a group, and every train part every stratum it can have."""
    folds = range(given.shape[1])
    for fold in np.flatnonzero(given.sum(axis=0) == 0):
        sources = [v for v in folds if given[:, v].sum() > 1]
        shifts = [
            (int(t), v, int(fold)) for v in sources for t in np.flatnonzero(given[:, v] > 0)
        ]
        _shift_best(problem, given, held, shifts)
    for fold, feature in np.argwhere(_missing(problem, held)):
        if not _missing(problem, held)[fold, feature] or given[:, fold].sum() == 1:
            continue
        holds = problem.content[:, [feature]].toarray()[:, 0] > 0
        types = np.flatnonzero(holds & (given[:, fold] > 0))[:POOL]
        shifts = [(int(t), int(fold), v) for t in types for v in folds if v != fold]
        _shift_best(problem, given, held, shifts)


def _shift_best(
    problem: Problem, given: Ints, held: Floats, shifts: list[tuple[int, int, int]]
) -> None:
    """Make the one of the shifts (type, source, target) after which least is wrong."""

    def wrong_after(shift: tuple[int, int, int]) -> tuple[int, float]:
        type_, source, target = shift
        _shift(problem, given, held, type_=type_, source=source, target=target)
        price = sum(fold_price(problem, held[v], v) for v in (source, target))
        missing = num_missing(problem, held)
        _shift(problem, given, held, type_=type_, source=target, target=source)
        before = sum(fold_price(problem, held[v], v) for v in (source, target))
        return missing, price - before

    type_, source, target = min(shifts[:POOL], key=wrong_after)
    _shift(problem, given, held, type_=type_, source=source, target=target)


def _improve(
    problem: Problem, given: Ints, held: Floats, *, rng: np.random.Generator, work: float
) -> None:
    """Move and exchange groups between pairs of folds while the price falls."""
    num_folds, num_features = held.shape
    step = STEP_WORK + num_features * min(len(given), POOL) + CANDIDATES**2
    is_better = True
    while is_better:
        is_better = False
        for a in range(num_folds):
            for b in range(a + 1, num_folds):
                while work > 0:
                    work -= step
                    pools = [_pool(problem, given, held, f, rng) for f in (a, b)]
                    if not _exchange(problem, given, held, pools, folds=(a, b)):
                        break
                    is_better = True


def _pool(
    problem: Problem,
    given: Ints,
    held: Floats,
    fold: int,
    rng: np.random.Generator,
) -> Ints:
    """Types of the fold to try: all if few, else the best to give away and some by chance."""
    types = np.flatnonzero(given[:, fold] > 0)
    if len(types) > POOL:
        types = rng.choice(types, POOL, replace=False)
    if len(types) > CANDIDATES:
        half = CANDIDATES // 2
        left = held[fold] - problem.rows(types)
        off = _off_share(problem, left)
        prices = _price(problem, left[:, 0], (off**2) @ problem.share_weights, fold)
        best = np.argsort(prices, kind="stable")
        types = types[np.r_[best[:half], rng.choice(best[half:], half, replace=False)]]
    return types


def _exchange(
    problem: Problem, given: Ints, held: Floats, pools: list[Ints], *, folds: tuple[int, int]
) -> bool:
    """Make the best move or exchange between two folds; False if none helps."""
    a, b = folds
    nothing = np.zeros((1, held.shape[1]))
    # The last row and column stand for no group: a move instead of an exchange.
    out, back = (np.vstack([problem.rows(pool), nothing]) for pool in pools)
    before = fold_price(problem, held[a], a) + fold_price(problem, held[b], b)
    gains = before - _prices_after(problem, held[a] - out, back, a)
    gains -= _prices_after(problem, held[b] - back, out, b).T
    if given[:, a].sum() == 1:
        gains[:-1, -1] = -np.inf
    if given[:, b].sum() == 1:
        gains[-1, :-1] = -np.inf
    missing, smallest = num_missing(problem, held), 1e-9 * before
    for place in np.argsort(-gains, axis=None, kind="stable")[:10]:
        row, column = divmod(int(place), gains.shape[1])
        if gains[row, column] <= smallest:
            return False
        shifts = [(int(pools[0][row]), a, b)] if row < len(pools[0]) else []
        shifts += [(int(pools[1][column]), b, a)] if column < len(pools[1]) else []
        for type_, source, target in shifts:
            _shift(problem, given, held, type_=type_, source=source, target=target)
        # Priced again from whole counts, so that rounding never makes a circle of exchanges.
        after = fold_price(problem, held[a], a) + fold_price(problem, held[b], b)
        if num_missing(problem, held) <= missing and after < before - smallest:
            return True
        for type_, source, target in shifts:
            _shift(problem, given, held, type_=type_, source=target, target=source)
    return False


def _prices_after(problem: Problem, left: Floats, new: Floats, fold: int) -> Floats:
    """Price of a fold with each of the contents ``left`` (A, F) plus each of ``new`` (B, F)."""
    off_left, off_new = _off_share(problem, left), _off_share(problem, new)
    weighted = off_left * problem.share_weights
    spreads = 2 * weighted @ off_new.T
    spreads += (weighted * off_left).sum(axis=1)[:, None]
    spreads += (off_new**2) @ problem.share_weights
    sizes = left[:, 0, None] + new[:, 0]
    return _price(problem, sizes, np.maximum(spreads, 0), fold)
