"""gorae: image-classification competitions, from raw pictures to a trusted submission.

    gorae.run(folder, preset="quick")           the main job
    gorae.load_run(path).predict(images)        a finished run on new pictures

The steps are functions of their own: ``gorae.pipeline.split.split`` and so on. Nothing heavy is
imported before it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gorae.pipeline.predict import load_run
    from gorae.pipeline.run import run

__all__ = ["load_run", "run"]


def __getattr__(name: str) -> Any:
    if name == "run":
        from gorae.pipeline.run import run

        return run
    if name == "load_run":
        from gorae.pipeline.predict import load_run

        return load_run
    raise AttributeError(f"module 'gorae' has no attribute {name!r}")
