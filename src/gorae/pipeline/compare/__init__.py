"""Step ``compare``: one setting varied on the same folds."""

from gorae.pipeline.compare.step import CompareResult, compare

__all__ = ["CompareResult", "compare"]
