"""Our folds beside scikit-learn's on random skewed groups: `python benchmarks/splits.py`."""

import argparse
import time
import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from gorae.splits import make_folds, missing_classes

Ints = NDArray[np.int64]


def skewed_data(seed: int) -> tuple[Ints, Ints, int]:
    """Labels, groups and a number of folds: group sizes and class shares are heavy-tailed."""
    rng = np.random.default_rng(seed)
    num_folds = int(rng.choice([3, 5, 10]))
    num_groups = int(rng.integers(num_folds * 3, 200))
    num_classes = int(rng.integers(2, 12))
    sizes = np.minimum(1 + rng.pareto(rng.uniform(0.7, 2.0), num_groups) * 3, 2000).astype(int)
    shares = rng.dirichlet(np.full(num_classes, 0.6))
    groups = np.repeat(np.arange(num_groups), sizes)
    own = rng.dirichlet(shares * rng.uniform(0.5, 10) + 1e-3, num_groups)
    cumulative = own.cumsum(axis=1)[groups]
    labels = (rng.random((len(groups), 1)) > cumulative).sum(axis=1).clip(0, num_classes - 1)
    return np.unique(labels, return_inverse=True)[1], groups, num_folds


def quality(folds: Ints, labels: Ints) -> tuple[float, float]:
    """Largest fold over smallest, and the largest deviation of a class share in any fold."""
    table = np.zeros((int(folds.max()) + 1, int(labels.max()) + 1))
    np.add.at(table, (folds, labels), 1)
    sizes = table.sum(axis=1)
    shares = table / sizes[:, None].clip(1)
    return sizes.max() / max(sizes.min(), 1), float(
        abs(shares - table.sum(0) / len(folds)).max()
    )


def sklearn_folds(labels: Ints, groups: Ints, num_folds: int, seed: int) -> Ints:
    """scikit-learn's folds."""
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    folds = np.zeros(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for fold, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
            folds[rows] = fold
    return folds


def main() -> None:
    """Print median and 90th percentile of both measures, and the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=300)
    num_sets = parser.parse_args().sets
    results: dict[str, list[tuple[float, float, int, float]]] = {
        "gorae": [],
        "scikit-learn": [],
    }
    for seed in range(num_sets):
        labels, groups, num_folds = skewed_data(seed)
        if labels.max() == 0:
            continue
        num_classes = int(labels.max()) + 1
        for name in results:
            start = time.perf_counter()
            if name == "gorae":
                folds = make_folds(labels, groups, num_folds=num_folds, seed=seed)
            else:
                folds = sklearn_folds(labels, groups, num_folds, seed)
            elapsed_s = time.perf_counter() - start
            absent = len(missing_classes(folds, labels, num_classes=num_classes))
            results[name].append((*quality(folds, labels), absent, elapsed_s))
    print(
        f"{len(results['gorae'])} data sets          max/min fold size    class share deviation"
    )
    print(
        "                       median  90 %         median  90 %       absent classes  seconds"
    )
    for name, rows in results.items():
        table = np.array(rows)
        middle, high = np.quantile(table, 0.5, axis=0), np.quantile(table, 0.9, axis=0)
        print(
            f"{name:20s} {middle[0]:8.3f} {high[0]:7.3f}      {middle[1]:7.4f} {high[1]:7.4f}"
            f"     {int(table[:, 2].sum()):8d}       {table[:, 3].mean():.3f}"
        )
    ours, theirs = np.array(results["gorae"]), np.array(results["scikit-learn"])
    print(
        f"at least as good: fold size {(ours[:, 0] <= theirs[:, 0] + 1e-9).mean():.1%}, "
        f"class shares {(ours[:, 1] <= theirs[:, 1] + 1e-9).mean():.1%}"
    )


if __name__ == "__main__":
    main()
