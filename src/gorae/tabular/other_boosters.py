"""XGBoost and CatBoost in the place of LightGBM: extras of the package, loaded where asked for.

Both are given the same plan: leaves are split best first, as LightGBM does, the number of trees
is found where whole groups are kept out, and one thread works, so that the same input gives the
same trees.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.tabular.features import Features, Floats
from gorae.tabular.trees import BoostPlan, Ints, Trees, best_number_of_rounds


def fit_xgboost(
    features: Features, target: NDArray[Any], weights: Floats, folds: Ints, plan: BoostPlan
) -> Trees:
    """Trees of XGBoost (Chen and Guestrin, 2016), by histograms, with its own categories."""
    import xgboost

    settings = _xgboost_settings(len(features), plan)
    kinds = ["c" if is_category else "q" for is_category in features.is_category]

    def data(values: Floats, rows: NDArray[Any] | None = None) -> Any:
        given: dict[str, Any] = {}
        if rows is not None:
            given = {"label": target[rows], "weight": weights[rows]}
            values = values[rows]
        return xgboost.DMatrix(
            values,
            feature_names=[f"f{place}" for place in range(len(kinds))],
            feature_types=kinds,
            enable_categorical=True,
            nthread=1,
            **given,
        )

    def best_round(train: NDArray[np.bool_]) -> int:
        tried = xgboost.train(
            settings,
            data(features.values, train),
            plan.rounds,
            evals=[(data(features.values, ~train), "kept_out")],
            early_stopping_rounds=plan.patience,
            verbose_eval=False,
        )
        return int(tried.best_iteration) + 1

    rounds = best_number_of_rounds(best_round, folds, plan)
    everything = np.ones(len(target), bool)
    model = xgboost.train(settings, data(features.values, everything), rounds)

    def predict(values: Floats) -> Floats:
        found = np.asarray(model.predict(data(values)), np.float64)
        return found.reshape(len(values), -1)

    gained = model.get_score(importance_type="total_gain")
    gain = np.array([gained.get(f"f{place}", 0.0) for place in range(len(kinds))], np.float64)
    text = model.save_raw("json").decode("utf-8")
    return Trees(predict, gain, rounds, text)


def _xgboost_settings(num_rows: int, plan: BoostPlan) -> dict[str, Any]:
    objectives: dict[str, dict[str, Any]] = {
        "classes": {"objective": "multi:softprob", "num_class": plan.num_classes},
        "yes_no": {"objective": "binary:logistic"},
        "value": {"objective": "reg:squarederror"},
    }
    # A leaf is told by its second derivatives, which a row adds 1 to in a regression, and
    # p (1 - p), at most a quarter, in a question of yes or no.
    share = 1.0 if plan.form == "value" else 0.25
    return objectives[plan.form] | {
        "eta": plan.learning_rate,
        "max_leaves": plan.leaves,
        "max_depth": 0,
        "grow_policy": "lossguide",
        "tree_method": "hist",
        "min_child_weight": share * plan.leaf_rows(num_rows),
        "subsample": plan.row_share,
        "colsample_bytree": plan.column_share,
        "seed": plan.seed,
        "nthread": 1,
        "verbosity": 0,
    }


def fit_catboost(
    features: Features, target: NDArray[Any], weights: Floats, folds: Ints, plan: BoostPlan
) -> Trees:
    """Trees of CatBoost (Prokhorenkova et al., 2018), with its own way of categories."""
    import catboost

    settings = _catboost_settings(len(features), plan)
    categories = np.flatnonzero(features.is_category).tolist()

    def data(rows: NDArray[Any]) -> Any:
        return catboost.Pool(
            _as_text(features.values[rows], categories),
            target[rows],
            cat_features=categories,
            weight=weights[rows],
        )

    def fitted(rounds: int, **given: Any) -> Any:
        return catboost.CatBoost({**settings, "iterations": rounds, **given})

    def best_round(train: NDArray[np.bool_]) -> int:
        tried = fitted(plan.rounds, early_stopping_rounds=plan.patience)
        tried.fit(data(train), eval_set=data(~train))
        return max(1, int(tried.get_best_iteration()) + 1)

    rounds = best_number_of_rounds(best_round, folds, plan)
    model = fitted(rounds)
    model.fit(data(np.ones(len(target), bool)))
    kind = "RawFormulaVal" if plan.form == "value" else "Probability"

    def predict(values: Floats) -> Floats:
        pool = catboost.Pool(_as_text(values, categories), cat_features=categories)
        found = np.asarray(
            model.predict(pool, prediction_type=kind, thread_count=1), np.float64
        )
        found = found.reshape(len(values), -1)
        return found[:, 1:] if plan.form == "yes_no" else found

    gain = np.asarray(model.get_feature_importance(), np.float64)
    return Trees(predict, gain, rounds, _catboost_text(model))


def _catboost_text(model: Any) -> str:
    """The model as JSON, which the library writes to files only."""
    with tempfile.TemporaryDirectory(prefix="gorae-trees-") as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        return path.read_text("utf-8")


def _as_text(values: Floats, categories: list[int]) -> pd.DataFrame:
    """Columns as CatBoost takes them: categories as text, "" where they are missing."""
    frame = pd.DataFrame(values)
    for place in categories:
        cells = frame[place]
        frame[place] = np.where(cells.isna(), "", cells.fillna(-1).astype(np.int64).astype(str))
    return frame


def _catboost_settings(num_rows: int, plan: BoostPlan) -> dict[str, Any]:
    loss = {"classes": "MultiClass", "yes_no": "Logloss", "value": "RMSE"}[plan.form]
    return {
        "loss_function": loss,
        "learning_rate": plan.learning_rate,
        "grow_policy": "Lossguide",
        "max_leaves": plan.leaves,
        "min_data_in_leaf": plan.leaf_rows(num_rows),
        "bootstrap_type": "Bernoulli" if plan.row_share < 1 else "No",
        **({"subsample": plan.row_share} if plan.row_share < 1 else {}),
        "rsm": plan.column_share,
        "random_seed": plan.seed,
        "thread_count": 1,
        "verbose": False,
        "allow_writing_files": False,
    }
