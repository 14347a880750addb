"""Splits: hold-out and folds without leaks, and proof of it."""

from gorae.splits.checks import balance, check_folds, describe_folds, missing_classes
from gorae.splits.folds import bin_targets, join_groups, make_folds, make_holdout

__all__ = [
    "balance",
    "bin_targets",
    "check_folds",
    "describe_folds",
    "join_groups",
    "make_folds",
    "make_holdout",
    "missing_classes",
]
