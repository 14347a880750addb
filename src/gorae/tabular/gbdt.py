"""Gradient boosted trees for every task, the number of trees chosen inside the train part."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.errors import ConfigError, DataError
from gorae.heads.inner import inner_folds
from gorae.machine import num_cores
from gorae.tabular.features import Features, Floats
from gorae.tabular.other_boosters import fit_catboost, fit_xgboost
from gorae.tabular.trees import BoostPlan, Ints, Trees, best_number_of_rounds

# Below so many cells threads cost more than they bring.
CELLS_FOR_THREADS = 1_000_000


@dataclass(frozen=True)
class Boosted:
    """Trees that predict the columns of a run."""

    parts: tuple[Trees, ...]
    """One booster; one per label of a multilabel task."""
    task: Task
    num_columns: int
    """Classes, labels, or 1 value."""
    names: tuple[str, ...]
    """Features, in order."""

    def predict(self, features: Features) -> NDArray[np.float32]:
        """Probabilities of classes or labels (N, K), or values (N, 1)."""
        assert features.names == self.names
        if not len(features):
            return np.zeros((0, self.num_columns), np.float32)
        found = np.hstack([part.predict(features.values) for part in self.parts])
        if self.task in ("multiclass", "ordinal"):
            if found.shape[1] == 1:
                found = np.hstack([1 - found, found])
            found /= found.sum(axis=1, keepdims=True)
        return found.astype(np.float32)

    @property
    def importance(self) -> pd.DataFrame:
        """``feature`` and ``gain``, its share of what was taken off the loss; best first."""
        gain = np.sum([part.gain for part in self.parts], axis=0)
        shares = gain / (gain.sum() or 1.0)
        table = pd.DataFrame({"feature": list(self.names), "gain": shares})
        return table.sort_values("gain", ascending=False, kind="stable", ignore_index=True)


Fit = Callable[[Features, NDArray[Any], Floats, Ints, BoostPlan], Trees]
"""Features, targets (N,), weights (N,), inner fold of each row (N,), plan."""


def fit_boosted(
    features: Features,
    truth: NDArray[Any],
    *,
    groups: Ints,
    plan: BoostPlan,
    weights: Floats | None = None,
) -> Boosted:
    """Fit trees; how many is found where whole groups are kept out, then all rows are fitted.

    The number is the mean of what is best in five inner folds, or that of one of them where
    there are more than 5,000 rows.

    Args:
        features: Of the train part alone.
        truth: Class indices (N,), 0/1 labels (N, K), or values (N,).
        groups: Group of each row, (N,).
        plan: What is fitted; ordinal classes are fitted as classes.
        weights: Weight of each row, (N,); all 1 when absent.

    Returns:
        The trees; the same for the same input, with any number of threads.

    Raises:
        ConfigError: There is no such model.
        DataError: There is no feature.
    """
    fit = require_booster(plan.model)
    if not features.names:
        raise DataError(
            "No column of the train part tells anything: ids, texts and columns of one value "
            "are left out. Add metadata, or name runs in tabular.scores."
        )
    folds = inner_folds(truth, groups, seed=plan.seed)
    weights = np.ones(len(truth)) if weights is None else weights
    targets = truth.T if plan.task == "multilabel" else [truth]
    parts = tuple(fit(features, target, weights, folds, plan) for target in targets)
    return Boosted(parts, plan.task, plan.num_classes, features.names)


def require_booster(model: str) -> Fit:
    """How a model is fitted.

    Raises:
        ConfigError: There is no such model, and those there are are listed; or its package is
            not installed.
    """
    if model not in BOOSTERS:
        raise ConfigError(
            f'model.name = "{model}" is no model of tables. With model.use = "tabular" set it '
            f"to one of: {', '.join(BOOSTERS)}."
        )
    if model in EXTRAS and importlib.util.find_spec(model) is None:
        raise ConfigError(
            f'model.name = "{model}" needs the package {model}, which is not installed. '
            f"Install it with `pip install 'gorae[{model}]'`, or set model.name to lightgbm."
        )
    return BOOSTERS[model]


def _fit_lightgbm(
    features: Features, target: NDArray[Any], weights: Floats, folds: Ints, plan: BoostPlan
) -> Trees:
    """Trees of LightGBM (Ke et al., 2017)."""
    # Seconds to import, and of no use to most commands.
    import lightgbm

    settings = _lightgbm_settings(features, plan)

    def data(rows: NDArray[Any]) -> Any:
        return lightgbm.Dataset(
            features.values[rows],
            target[rows],
            weight=weights[rows],
            categorical_feature=np.flatnonzero(features.is_category).tolist(),
            params=settings,
        )

    def best_round(train: NDArray[np.bool_]) -> int:
        stop = lightgbm.early_stopping(plan.patience, verbose=False)
        tried = lightgbm.train(
            settings, data(train), plan.rounds, valid_sets=[data(~train)], callbacks=[stop]
        )
        return max(1, int(tried.best_iteration))

    rounds = best_number_of_rounds(best_round, folds, plan)
    model = lightgbm.train(settings, data(np.ones(len(target), bool)), rounds)

    def predict(values: Floats) -> Floats:
        found = np.asarray(model.predict(values), np.float64)
        return found.reshape(len(values), -1)

    gain = model.feature_importance("gain").astype(np.float64)
    return Trees(predict, gain, rounds, model.model_to_string())


def _lightgbm_settings(features: Features, plan: BoostPlan) -> dict[str, Any]:
    objectives: dict[str, dict[str, Any]] = {
        "classes": {"objective": "multiclass", "num_class": plan.num_classes},
        "yes_no": {"objective": "binary"},
        "value": {"objective": "regression"},
    }
    leaf = plan.leaf_rows(len(features))
    return objectives[plan.form] | {
        "learning_rate": plan.learning_rate,
        "num_leaves": plan.leaves,
        "min_data_in_leaf": leaf,
        # Categories as rare as a leaf may be are smoothed, not learnt by heart.
        "min_data_per_group": leaf,
        "cat_smooth": 10.0,
        "bagging_fraction": plan.row_share,
        "bagging_freq": int(plan.row_share < 1),
        "feature_fraction": plan.column_share,
        "seed": plan.seed,
        "num_threads": num_cores() if features.values.size >= CELLS_FOR_THREADS else 1,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }


BOOSTERS: dict[str, Fit] = {
    "lightgbm": _fit_lightgbm,
    "xgboost": fit_xgboost,
    "catboost": fit_catboost,
}

# What is installed only where it is asked for: the names of packages and of our extras.
EXTRAS = ("xgboost", "catboost")
