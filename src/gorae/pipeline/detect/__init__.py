"""Step ``detect``: boxes of all pictures by detectors that are learned fold by fold."""

from gorae.pipeline.detect.step import DetectResult, detect

__all__ = ["DetectResult", "detect"]
