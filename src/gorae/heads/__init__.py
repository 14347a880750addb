"""Heads: classifiers solved on the features of a frozen backbone, without torch."""

from gorae.heads.head import Head
from gorae.heads.linear import fit_linear
from gorae.heads.mlp import fit_mlp

__all__ = ["Head", "fit_linear", "fit_mlp"]
