"""Boosted trees on metadata and on what other runs say, without torch."""

from gorae.tabular.columns import ColumnCode, encode_columns, fit_columns
from gorae.tabular.features import Features, join_features
from gorae.tabular.gbdt import BOOSTERS, Boosted, fit_boosted, require_booster
from gorae.tabular.relative import relative_features
from gorae.tabular.scores import score_features
from gorae.tabular.trees import BoostPlan

__all__ = [
    "BOOSTERS",
    "BoostPlan",
    "Boosted",
    "ColumnCode",
    "Features",
    "encode_columns",
    "fit_boosted",
    "fit_columns",
    "join_features",
    "relative_features",
    "require_booster",
    "score_features",
]
