"""Small boosted trees on a few columns: how well they tell a target, out of fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Task

Floats = NDArray[np.float64]

# Trees of few leaves and few rounds: a leak is a strong, simple rule, and a column of noise
# must not be learnt by heart.
NUM_LEAVES = 7
LEARNING_RATE = 0.1
NUM_ROUNDS = 40
# Trees of all classes together; with many classes each gets fewer rounds.
MOST_TREES = 200
FEWEST_ROUNDS = 8
# Rows a leaf needs, as a share of the train part, within bounds.
LEAF_SHARE = 0.02
FEWEST_LEAF_ROWS, MOST_LEAF_ROWS = 5, 100
# So many rows train a model at most: more sharpen the answer little and cost time.
MOST_TRAIN_ROWS = 10_000
# Share of the filled cells that must be numbers for a text column to count as numbers.
NUMERIC_SHARE = 0.95


@dataclass(frozen=True)
class Encoded:
    """Columns as numbers; NaN is a missing value."""

    names: tuple[str, ...]
    values: Floats
    """(N, C): numbers, or codes of categories."""
    is_category: tuple[bool, ...]

    def select(self, columns: Sequence[int]) -> "Encoded":
        """Some of the columns."""
        return Encoded(
            tuple(self.names[column] for column in columns),
            self.values[:, list(columns)],
            tuple(self.is_category[column] for column in columns),
        )


def encode_columns(columns: pd.DataFrame) -> Encoded:
    """Numbers, dates and flags as they are; text as numbers where it is that, else as codes.

    An empty cell is a missing value. Codes follow the sorted text, so that the order of the
    rows does not matter.
    """
    values = np.full((len(columns), columns.shape[1]), np.nan)
    is_category = []
    for place in range(columns.shape[1]):
        column = columns.iloc[:, place]
        numbers = _numbers(column)
        is_category.append(numbers is None)
        if numbers is None:
            text = column.astype("str").str.strip()
            codes = pd.factorize(text.where(column.notna() & (text != "")), sort=True)[0]
            numbers = np.where(codes < 0, np.nan, codes.astype(np.float64))
        values[:, place] = numbers
    return Encoded(tuple(map(str, columns.columns)), values, tuple(is_category))


def _numbers(column: "pd.Series[Any]") -> Floats | None:
    """A column as numbers; None where it is text."""
    if pd.api.types.is_datetime64_any_dtype(column):
        seconds = (column - column.min()).dt.total_seconds()
        return np.asarray(seconds, dtype=np.float64)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return None
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        numbers = column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
        return np.where(np.isfinite(numbers), numbers, np.nan)
    text = column.where(column.notna(), "").astype("str").str.strip()
    parsed = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    parsed = np.where(np.isfinite(parsed), parsed, np.nan)
    num_filled = int((text != "").sum())
    if num_filled == 0 or np.isfinite(parsed).sum() < NUMERIC_SHARE * num_filled:
        return None
    return parsed


def boosted_oof(
    columns: Encoded,
    truth: NDArray[Any],
    folds: NDArray[np.int64],
    *,
    task: Task,
    seed: int,
    num_threads: int = 1,
) -> tuple[Floats, Floats]:
    """Out-of-fold scores of small boosted trees, and what each column gave to them.

    Args:
        columns: What is known of each row.
        truth: Class indices (N,), 0/1 labels (N, K), or numbers (N,).
        folds: Fold of each row, (N,), from 0.
        task: What the truth is; ordinal classes are taken as numbers.
        seed: Of LightGBM and of the rows that are drawn from large sets.
        num_threads: Threads of LightGBM; the scores do not depend on it.

    Returns:
        Scores (N, K): one column per class or label; (N, 1) for numbers, and for two classes,
        whose score is that of class 1. Gain of each column, (C,), which sums to 1; all 0 when
        no tree found anything to split.

    Source: LightGBM (Ke et al., 2017).
    """
    if task == "multilabel":
        parts = [
            boosted_oof(
                columns,
                truth[:, label].astype(np.int64),
                folds,
                task="multiclass",
                seed=seed,
                num_threads=num_threads,
            )
            for label in range(truth.shape[1])
        ]
        scores = np.hstack([part[0] for part in parts])
        return scores, np.mean([part[1] for part in parts], axis=0)
    num_classes = int(truth.max()) + 1 if task == "multiclass" else 1
    width = num_classes if num_classes > 2 else 1
    scores = np.zeros((len(truth), width))
    gains = np.zeros(len(columns.names))
    rng = np.random.default_rng(seed)
    settings = _settings(task, num_classes, seed=seed, num_threads=num_threads)
    for fold in range(int(folds.max()) + 1):
        train, valid = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if len(train) > MOST_TRAIN_ROWS:
            train = np.sort(rng.choice(train, MOST_TRAIN_ROWS, replace=False))
        raw, gain = _fit_predict(columns, truth, train, valid, settings=settings)
        scores[valid] = raw.reshape(len(valid), width)
        gains += gain
    total = gains.sum()
    return scores, gains / total if total > 0 else gains


def _settings(task: Task, num_classes: int, *, seed: int, num_threads: int) -> dict[str, Any]:
    objective: dict[str, Any] = {"objective": "regression"}
    if task == "multiclass" and num_classes > 2:
        objective = {"objective": "multiclass", "num_class": num_classes}
    elif task == "multiclass":
        objective = {"objective": "binary"}
    rounds = int(np.clip(MOST_TREES // max(num_classes, 1), FEWEST_ROUNDS, NUM_ROUNDS))
    return objective | {
        "num_iterations": rounds,
        "num_leaves": NUM_LEAVES,
        "learning_rate": LEARNING_RATE,
        # Smoothing of rare categories, which would else be learnt by heart.
        "cat_smooth": 10.0,
        "min_data_per_group": 10,
        "seed": seed,
        "num_threads": num_threads,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }


def _fit_predict(
    columns: Encoded,
    truth: NDArray[Any],
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    *,
    settings: dict[str, Any],
) -> tuple[Floats, Floats]:
    """Raw scores of the rows ``valid`` and the gain of each column."""
    # Seconds to import, and of no use to most commands.
    import lightgbm

    smallest = int(np.clip(LEAF_SHARE * len(train), FEWEST_LEAF_ROWS, MOST_LEAF_ROWS))
    data = lightgbm.Dataset(
        columns.values[train],
        truth[train],
        categorical_feature=[i for i, is_it in enumerate(columns.is_category) if is_it],
        params={"verbosity": -1, "min_data_in_leaf": smallest, "feature_pre_filter": False},
    )
    model = lightgbm.train(settings | {"min_data_in_leaf": smallest}, data)
    raw = model.predict(columns.values[valid], raw_score=True)
    gain = model.feature_importance("gain").astype(np.float64)
    return np.asarray(raw, dtype=np.float64), gain
