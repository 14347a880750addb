"""Step ``eda``: what the data are like, on a page, in numbers and in lists for review."""

from gorae.pipeline.eda.step import EdaResult, eda

__all__ = ["EdaResult", "eda"]
