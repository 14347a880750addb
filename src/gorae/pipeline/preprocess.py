"""Step ``preprocess``: check every picture and keep its pixels, decoded once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gorae.config import Recipe
from gorae.data.scan import scan_errors
from gorae.errors import DataError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.pixels import describe_pixels, input_pixels, prepare
from gorae.pipeline.scores import competition_metric
from gorae.submission.form import require_form


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
        ConfigError: The metric or the form of the submission does not fit the task.
    """
    context = open_context(folder)
    _require_consistent(context)
    on_event(Event("stage", "prepare", "checking and decoding pictures"))
    for note in context.tables.notes:
        on_event(Event("warning", "prepare", note))
    spec = input_pixels(context, recipe)
    on_event(Event("message", "prepare", describe_pixels(spec)))
    prepared = prepare(context, recipe, spec, on_event=on_event)
    scan = prepared.scan[prepared.scan["verdict"] == "quarantined"]
    lines = tuple(scan_errors(scan))
    train = set(context.tables.train["image_id"])
    if train <= set(scan["image_id"]):
        raise DataError(f"No training picture can be read:\n{list_problems(lines)}")
    if lines:
        in_train = sum(image_id in train for image_id in scan["image_id"])
        on_event(
            Event(
                "warning",
                "prepare",
                f"{len(lines)} pictures cannot be read: {in_train} of train, left out, and "
                f"{len(lines) - in_train} of test, which get the class prior:\n"
                f"{list_problems(lines, shown=5)}",
            )
        )
    for text in _equal_pictures(context, prepared.scan):
        on_event(Event("warning", "prepare", text))
    total = len(prepared.scan)
    on_event(Event("message", "prepare", f"{total - len(lines)} of {total} pictures are ready"))
    return PreprocessResult(total, len(lines), lines, prepared.pixels.folder)


def _require_consistent(context: Context) -> None:
    """Tell now what scoring and submitting would stumble over after hours of training."""
    competition_metric(context)
    form = context.competition.submission
    if form is not None:
        require_form(form, classes=context.tables.classes, task=context.competition.task)


def _equal_pictures(context: Context, scan: pd.DataFrame) -> list[str]:
    """Pictures with equal pixels that no split can make up for."""
    pixels = scan.set_index("image_id")["pixel_sha256"]
    pixels = pixels[pixels != ""]
    train = context.tables.train.assign(pixels=context.tables.train["image_id"].map(pixels))
    train = train[train["pixels"].notna()]
    warnings = []
    labels = train["label"].map(repr).groupby(train["pixels"]).nunique()
    torn = train["image_id"][train["pixels"].isin(labels.index[labels > 1])]
    if len(torn):
        warnings.append(
            f"{len(torn)} train pictures have the pixels of another one with another label, "
            f"first {torn.iloc[0]}: one of the labels is wrong, and limits the score"
        )
    test = context.tables.test["image_id"]
    copies = test[test.map(pixels).isin(set(train["pixels"])).to_numpy(bool)]
    if len(copies):
        warnings.append(
            f"{len(copies)} test pictures have the pixels of a train picture, first "
            f"{copies.iloc[0]}: the score out of fold says nothing about these"
        )
    return warnings
