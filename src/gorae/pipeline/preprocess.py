"""Step ``preprocess``: check every picture and keep its pixels, decoded once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorae.config import Recipe
from gorae.errors import DataError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.pipeline.context import open_context
from gorae.pipeline.pixels import describe_pixels, input_pixels, prepare


@dataclass(frozen=True)
class PreprocessResult:
    """What is known of the pictures."""

    num_images: int
    num_quarantined: int
    quarantined: tuple[str, ...]
    """One line per picture that cannot be used: its name and the reason."""
    prepared: Path

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "num_images": self.num_images,
            "num_quarantined": self.num_quarantined,
            "quarantined": list(self.quarantined),
            "prepared": str(self.prepared),
        }


def preprocess(
    folder: Path, *, recipe: Recipe, on_event: OnEvent = ignore_events
) -> PreprocessResult:
    """Scan all pictures and fill the prepared store at the size the recipe's network needs.

    Raises:
        DataError: No picture of the train table can be read.
    """
    context = open_context(folder)
    on_event(Event("stage", "prepare", "checking and decoding pictures"))
    for note in context.tables.notes:
        on_event(Event("warning", "prepare", note))
    spec = input_pixels(context, recipe)
    on_event(Event("message", "prepare", describe_pixels(spec)))
    prepared = prepare(context, recipe, spec, on_event=on_event)
    scan = prepared.scan[prepared.scan["verdict"] == "quarantined"]
    lines = tuple(f"{row.image_id}: {row.reason} ({row.detail})" for row in scan.itertuples())
    train = set(context.tables.train["image_id"])
    if train <= set(scan["image_id"]):
        raise DataError(f"No training picture can be read:\n{list_problems(lines)}")
    if lines:
        in_train = sum(image_id in train for image_id in scan["image_id"])
        on_event(
            Event(
                "warning",
                "prepare",
                f"{len(lines)} pictures cannot be read ({in_train} train, "
                f"{len(lines) - in_train} test) and are left out:\n"
                f"{list_problems(lines, shown=5)}",
            )
        )
    total = len(prepared.scan)
    on_event(Event("message", "prepare", f"{total - len(lines)} of {total} pictures are ready"))
    return PreprocessResult(total, len(lines), lines, prepared.pixels.folder)
