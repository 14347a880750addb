"""From a competition's folder to boxes: pictures are prepared, split, and boxes found."""

from pathlib import Path

from gorae.config import Recipe
from gorae.events import OnEvent, ignore_events
from gorae.pipeline.context import open_context
from gorae.pipeline.detect.step import DetectResult, detect, prepare_pictures
from gorae.pipeline.init import init
from gorae.pipeline.split import split
from gorae.stopping import Stopping, never_stopped
from gorae.workspace import Workspace


def find_regions(
    folder: Path,
    *,
    recipe: Recipe,
    boxes: Path | None = None,
    out: Path | None = None,
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> DetectResult:
    """``detect`` with all that must be there before it; as ``gorae run`` is of its steps.

    The recipe may crop to the boxes that are only now found: its ``[[preprocess]]`` steps are
    not looked at.
    """
    if folder.is_dir() and not Workspace(folder.resolve()).competition_file.exists():
        init(folder, on_event=on_event)
    prepare_pictures(open_context(folder, is_prepared=False), recipe, on_event=on_event)
    split(folder, recipe=recipe, on_event=on_event)
    return detect(
        folder, recipe=recipe, boxes=boxes, out=out, on_event=on_event, stopping=stopping
    )
