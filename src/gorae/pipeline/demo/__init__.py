"""Step ``demo``: the main job on pictures that ship with a dependency."""

from gorae.pipeline.demo.step import SYSTEMS, DemoResult, demo

__all__ = ["SYSTEMS", "DemoResult", "demo"]
