"""How much each metadata column says of the label, and whether chance would say as much."""

from typing import Literal, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gorae.eda.column_cleaning import NUMERIC
from gorae.eda.metadata import CleanTable

# A p-value of 0.001 is the smallest that so many permutations can show.
NUM_PERMUTATIONS = 999
# Permutations look at so many rows at most; the measure itself looks at all.
_MOST_PERMUTED = 20_000

Measure = Literal["cramers_v", "correlation_ratio", "spearman"]

Values = NDArray[np.int64] | NDArray[np.float64]
"""Codes of categories (int64) or amounts (float64)."""

ASSOCIATION_COLUMNS = ("column", "of", "measure", "value", "p_value", "pictures")


def label_associations(
    clean: CleanTable,
    labels: Values,
    *,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How much each metadata column says of the label, and whether chance would say as much.

    Class labels: Cramer's V, corrected for bias, of categories; correlation ratio, corrected,
    of numbers. Number labels: correlation ratio of categories, absolute rank correlation of
    numbers. All run from 0 (nothing) to 1. The p-value is the share of permutations of the
    labels that say at least as much, not corrected for the number of columns.

    Args:
        clean: Cleaned metadata; ids, texts and constants are left out.
        labels: Class index of each train picture (int64, -1 has none), or a number (float64,
            NaN has none), (N,).
        groups: Group of each picture, (N,): pictures of one patient are no independent
            witnesses, so that the p-value looks at one picture per group.
        seed: Of the permutations.

    Returns:
        ASSOCIATION_COLUMNS, strongest first; ``of`` is ``value``, or ``missing``: whether a
        value is there at all.

    Source: Bergsma, 2013 (Cramer's V); Kelley, 1935 (epsilon squared).
    """
    rows = []
    has_label = labels >= 0 if is_codes(labels) else ~np.isnan(labels)
    for name, kind in clean.kinds.items():
        if kind in ("id", "text", "constant", "empty"):
            continue
        column = clean.train[name]
        is_there = column.notna().to_numpy(bool)
        values = column.to_numpy(np.float64) if kind in NUMERIC else pd.factorize(column)[0]
        cases = [("value", values, has_label & is_there)]
        if is_there.any() and not is_there.all():
            cases.append(("missing", is_there.astype(np.int64), has_label))
        for of, given, used in cases:
            pair = (given[used], labels[used])
            measure, value = association(*pair)
            chosen = None if groups is None else groups[used]
            p_value = _p_value(pair, groups=chosen, seed=seed)
            rows.append((name, of, measure, value, p_value, int(used.sum())))
    table = pd.DataFrame(rows, columns=list(ASSOCIATION_COLUMNS))
    return table.sort_values("value", ascending=False, kind="stable", ignore_index=True)


def is_codes(values: Values) -> TypeGuard[NDArray[np.int64]]:
    """Whether values are codes of categories, not amounts."""
    return values.dtype.kind == "i"


def association(first: Values, second: Values) -> tuple[Measure, float]:
    """How much one says of the other, 0 to 1, both (n,)."""
    if is_codes(first):
        if is_codes(second):
            return "cramers_v", cramers_v(first, second)
        return "correlation_ratio", correlation_ratio(first, second.astype(np.float64))
    if is_codes(second):
        return "correlation_ratio", correlation_ratio(second, first.astype(np.float64))
    return "spearman", abs(_correlation(_ranks(first), _ranks(second)))


def cramers_v(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Cramer's V of two codes (n,) from 0 upwards, corrected for bias (Bergsma, 2013)."""
    count = len(first)
    if count < 2:
        return 0.0
    width = int(second.max()) + 1
    table = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width)
    table = table.reshape(-1, width).astype(np.float64)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / count
    phi2 = float(((table - expected) ** 2 / expected).sum()) / count
    height, width = table.shape
    phi2 = max(0.0, phi2 - (height - 1) * (width - 1) / (count - 1))
    sides = [size - (size - 1) ** 2 / (count - 1) for size in (height, width)]
    freedom = min(sides) - 1
    return float(np.sqrt(min(1.0, phi2 / freedom))) if freedom > 0 else 0.0


def correlation_ratio(codes: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """Root of the share of the variance of ``values`` that lies between codes, corrected.

    The correction is epsilon squared (Kelley, 1935): 0 on average where there is nothing.
    """
    counts = np.bincount(codes)
    present = counts > 0
    count, num_codes = len(codes), int(present.sum())
    centred = values - values.mean() if count else values
    total = float((centred**2).sum())
    if count <= num_codes or num_codes < 2 or total == 0:
        return 0.0
    sums = np.bincount(codes, weights=centred)[present]
    within = total - float((sums**2 / counts[present]).sum())
    share = 1 - within / (count - num_codes) / (total / (count - 1))
    return float(np.sqrt(min(1.0, max(0.0, share))))


def _ranks(values: Values) -> NDArray[np.float64]:
    ranks: NDArray[np.float64] = stats.rankdata(values).astype(np.float64)
    return ranks


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0


def _p_value(
    pair: tuple[Values, Values],
    *,
    groups: NDArray[np.int64] | None,
    seed: int,
) -> float:
    """Share of permutations that say at least as much; one picture per group takes part."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pair[0]))
    if groups is not None:
        order = order[np.unique(groups[order], return_index=True)[1]]
        order = rng.permutation(order)
    chosen = order[:_MOST_PERMUTED]
    given, labels = pair[0][chosen], pair[1][chosen]
    _, seen = association(given, labels)
    # The corrections cut at 0, where most permutations fall: as much is then nothing at all.
    as_much = sum(
        association(given, rng.permutation(labels))[1] >= seen for _ in range(NUM_PERMUTATIONS)
    )
    return (1 + as_much) / (1 + NUM_PERMUTATIONS)
