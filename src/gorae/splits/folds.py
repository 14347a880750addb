"""Hold-out and folds that keep groups together and strata even."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from gorae.errors import DataError
from gorae.splits.assign import Ints, assign, build_problem


def join_groups(*columns: Sequence[Any] | NDArray[Any] | pd.Series) -> Ints:
    """Groups such that rows with an equal value in any column share one.

    A row that shares a patient with a second and an equal picture with a third is in one group
    with both, and with all that are joined to them.

    Args:
        columns: Values per row, (N,) each; ``""`` or a missing value joins nothing.

    Returns:
        Group index of each row, (N,), from 0 in order of first appearance.
    """
    assert columns
    num_rows = len(columns[0])
    rows: list[Ints] = []
    nodes: list[Ints] = []
    num_nodes = num_rows
    for column in columns:
        assert len(column) == num_rows
        values = pd.Series(np.asarray(column, dtype=object))
        codes, uniques = pd.factorize(values.where(values.map(lambda v: v != ""), None))
        present = np.flatnonzero(codes >= 0)
        rows.append(present)
        nodes.append(codes[present] + num_nodes)
        num_nodes += len(uniques)
    ends = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array(
        (np.ones(len(ends[0]), dtype=np.int8), ends), shape=(num_nodes, num_nodes)
    )
    component = connected_components(graph, directed=False)[1][:num_rows]
    return pd.factorize(component)[0].astype(np.int64)


def bin_targets(values: NDArray[np.floating[Any]], *, num_bins: int = 10) -> Ints:
    """Strata for numbers: up to ``num_bins`` bins of nearly equal count, (N,).

    Equal numbers share a bin, so there may be fewer bins.
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    # The share of rows below the middle of each run of equal numbers.
    middles = (np.cumsum(counts) - counts / 2) / len(values)
    bins = np.floor(middles * num_bins)[inverse]
    return np.unique(bins, return_inverse=True)[1].astype(np.int64)


def make_folds(
    strata: NDArray[np.integer[Any]] | None,
    groups: NDArray[np.integer[Any]] | None,
    *,
    num_folds: int,
    seed: int,
    keys: Sequence[str] | None = None,
) -> Ints:
    """Assign each row to a fold: no group in two folds, sizes and strata as even as can be.

    Groups are given one type at a time, large ones first, where they bring the folds nearest
    to equal sizes and equal counts of every stratum; then single groups move or change places
    while that helps. A stratum with two groups or more is in every train part, where that is
    possible for all of them (see ``missing_classes``). Another seed gives other folds.

    Args:
        strata: Class of each row (N,); several columns (N, S), each kept even; or 0/1 labels
            (N, K). None: only sizes are kept even.
        groups: Group index of each row, (N,); None: every row for itself.
        num_folds: At least 2.
        seed: Order in which equally good folds are tried.
        keys: Names of the rows, (N,), such as image ids: folds then depend on the names and
            not on the order of the rows.

    Returns:
        Fold index of each row, (N,), from 0 to ``num_folds - 1``.

    Raises:
        DataError: No rows, fewer groups than folds, or a single stratum.

    Source: the greedy order is that of scikit-learn's ``StratifiedGroupKFold``; price, pouring
    and exchanges are ours. ``python benchmarks/splits.py`` compares them.
    """
    assert num_folds >= 2
    table, group_of, column_of = _group_rows(strata, groups, keys=keys)
    num_groups = table.shape[0]
    if num_groups < num_folds:
        raise DataError(
            f"Cannot make {num_folds} folds from {num_groups} "
            f"{'rows' if groups is None else 'groups'}: each fold needs one of its own. "
            + (
                f"Set num_folds to {num_groups} or less, or choose a finer group column."
                if num_groups > 1
                else "Choose a finer group column."
            )
        )
    return _divide(
        table,
        group_of,
        shares=np.full(num_folds, 1 / num_folds),
        is_validated=np.ones(num_folds, dtype=bool),
        column_of=column_of,
        seed=seed,
    )


def make_holdout(
    strata: NDArray[np.integer[Any]] | None,
    groups: NDArray[np.integer[Any]] | None,
    *,
    share: float,
    seed: int,
    keys: Sequence[str] | None = None,
) -> NDArray[np.bool_]:
    """Choose whole groups of about ``share`` of the rows, with the class shares of all rows.

    Arguments as in ``make_folds``. A stratum with a single group stays in the train part.

    Returns:
        Whether each row is held out, (N,).

    Raises:
        DataError: No rows, fewer than two groups, or a single stratum.
    """
    assert 0 < share < 1
    table, group_of, column_of = _group_rows(strata, groups, keys=keys)
    if table.shape[0] < 2:
        raise DataError(
            f"Cannot hold out a part of {table.shape[0]} "
            f"{'row' if groups is None else 'group'}: it needs two at least. Choose a finer "
            "group column."
        )
    part = _divide(
        table,
        group_of,
        shares=np.array([share, 1 - share]),
        is_validated=np.array([True, False]),
        column_of=column_of,
        seed=seed,
    )
    return np.asarray(part == 0)


def _group_rows(
    strata: NDArray[np.integer[Any]] | None,
    groups: NDArray[np.integer[Any]] | None,
    *,
    keys: Sequence[str] | None,
) -> tuple[csr_array[Any], Ints, Ints]:
    """What each group holds (G, F) - size, then every stratum -, the group of each row (N,),
    and the column of strata of each feature (F,), -1 for the size.

    Groups stand in the order of their smallest key.
    """
    given = [item for item in (strata, groups, keys) if item is not None]
    assert given, "nothing says how many rows there are"
    num_rows = len(given[0])
    assert all(len(item) == num_rows for item in given)
    if num_rows == 0:
        raise DataError("There are no rows to split. Check the train table and the pictures.")
    if keys is None:
        by_key = np.arange(num_rows)
    else:
        by_key = np.argsort(np.asarray(keys, dtype=object), kind="stable")
    codes = np.arange(num_rows) if groups is None else np.asarray(groups)
    group_of = np.empty(num_rows, dtype=np.int64)
    group_of[by_key] = pd.factorize(codes[by_key])[0]
    levels = _strata_levels(strata)
    features = np.concatenate([np.zeros(num_rows, dtype=np.int64), *levels])
    rows = np.tile(group_of, 1 + len(levels))
    shape = (int(group_of.max()) + 1, int(features.max()) + 1)
    table = coo_array((np.ones(len(rows)), (rows, features)), shape=shape).tocsr()
    table.sort_indices()
    columns = [np.full(len(np.unique(level)), j) for j, level in enumerate(levels)]
    return table, group_of, np.concatenate([np.array([-1]), *columns])


def _strata_levels(strata: NDArray[np.integer[Any]] | None) -> list[Ints]:
    """Feature index of each row in each column of strata that has more than one value."""
    if strata is None:
        return []
    levels: list[Ints] = []
    start = 1
    for column in (strata[:, None] if strata.ndim == 1 else strata).T:
        values, codes = np.unique(column, return_inverse=True)
        if len(values) > 1:
            levels.append(codes.astype(np.int64) + start)
            start += len(values)
    if not levels:
        raise DataError(
            "All rows have the same class: there is nothing to learn or to keep even. Check "
            "the label column, or set stratify = false if only the groups matter."
        )
    return levels


def _divide(
    table: csr_array[Any],
    group_of: Ints,
    *,
    shares: NDArray[np.float64],
    is_validated: NDArray[np.bool_],
    column_of: Ints,
    seed: int,
) -> Ints:
    rng = np.random.default_rng(seed)
    type_of, first = _types(table)
    num_types = len(first)
    problem = build_problem(
        table[first],
        np.bincount(type_of, minlength=num_types),
        shares=shares,
        is_validated=is_validated,
        column_of=column_of,
    )
    given = assign(problem, rng)
    # Which groups of a type go to which fold is left to chance: they are alike.
    shuffled = rng.permutation(len(type_of))
    by_type = shuffled[np.argsort(type_of[shuffled], kind="stable")]
    fold_of_group = np.empty(len(type_of), dtype=np.int64)
    fold_of_group[by_type] = np.repeat(
        np.tile(np.arange(len(shares)), num_types), given.reshape(-1)
    )
    return fold_of_group[group_of]


def _types(table: csr_array[Any]) -> tuple[Ints, Ints]:
    """Type of each group (G,) and the first group of each type; like groups are one type."""
    # Sums of random 64-bit numbers: two unlike groups of a million meet once in 10^7 data sets.
    salts = np.random.default_rng(0).integers(0, 2**64, table.shape[1], dtype=np.uint64)
    terms = table.data.astype(np.uint64) * salts[table.indices]
    marks = np.add.reduceat(terms, table.indptr[:-1])
    codes, uniques = pd.factorize(marks)
    first = np.full(len(uniques), len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    return codes.astype(np.int64), first
