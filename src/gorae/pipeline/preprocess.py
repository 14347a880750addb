"""Step ``preprocess``: check every picture and keep its pixels, decoded once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gorae.config import Recipe
from gorae.data.scan import scan_errors
from gorae.errors import DataError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.pipeline.box_mix import prepare_training
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.pictures import unknown_annotations
from gorae.pipeline.pixels import describe_pixels, input_pixels
from gorae.pipeline.scores import competition_metric
from gorae.stores.prepared import Prepared
from gorae.submission.form import require_form

# What notes of the steps mean for pictures, by their code, and whether it is a warning.
NOTE_TEXTS = {
    "box_cut": ("have a box that is cut", True),
    "box_missing": ("have no box and stay whole", True),
    "box_outside": ("have a box outside of the picture and stay whole", True),
    "points_missing": ("have no two landmarks and stay as they are", True),
    "stretched": ("change their shape by more than a quarter", True),
    "aspect": ("have too little room for the aspect of the crop", False),
    "face_whole": ("lie wholly inside their crop to the face", False),
    "fov_none": ("show no round field of view and stay whole", False),
    "border_all": ("are of one colour and stay whole", False),
}

_NAMES_SHOWN = 3


@dataclass(frozen=True)
class PreprocessResult:
    """What is known of the pictures."""

    num_images: int
    num_quarantined: int
    quarantined: tuple[str, ...]
    """One line per picture that cannot be used: its name and the reason."""
    prepared: Path
    step_counts: dict[str, int]
    """Number of pictures on which a step met something, by the code of its note."""
    sheet: Path | None = None
    """The sheet of pictures before and after, where one was drawn."""

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "num_images": self.num_images,
            "num_quarantined": self.num_quarantined,
            "quarantined": list(self.quarantined),
            "prepared": str(self.prepared),
            "step_counts": self.step_counts,
            "sheet": None if self.sheet is None else str(self.sheet),
        }


def preprocess(
    folder: Path,
    *,
    recipe: Recipe,
    has_preview: bool = False,
    on_event: OnEvent = ignore_events,
) -> PreprocessResult:
    """Scan all pictures and fill the prepared store at the size the recipe's network needs.

    Args:
        folder: The competition.
        recipe: The settings; ``[[preprocess]]`` and ``[pixels]`` decide what is stored.
        has_preview: Draw ``.gorae/preprocess-RECIPE.png``, some pictures before and after.
        on_event: Hears progress.

    Raises:
        DataError: No picture of the train table can be read.
        ConfigError: The metric or the form of the submission does not fit the task.
    """
    context = open_context(folder, is_prepared=False)
    _require_consistent(context)
    on_event(Event("stage", "prepare", "checking and decoding pictures"))
    for note in (*context.tables.notes, *unknown_annotations(context, recipe)):
        on_event(Event("warning", "prepare", note))
    spec = input_pixels(context, recipe)
    on_event(Event("message", "prepare", describe_pixels(spec)))
    prepared = prepare_training(context, recipe, spec, on_event=on_event)
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
    noted = _by_code(prepared)
    _tell_notes(noted, on_event)
    total = len(prepared.scan)
    on_event(Event("message", "prepare", f"{total - len(lines)} of {total} pictures are ready"))
    sheet = None
    if has_preview:
        # Drawing takes torch, which preparing does without.
        from gorae.pipeline.preprocess_sheet import preprocess_sheet

        sheet = preprocess_sheet(context, recipe, prepared)
        on_event(Event("message", "prepare", f"wrote {sheet}"))
    counts = {code: len(names) for code, names in noted.items()}
    return PreprocessResult(total, len(lines), lines, prepared.pixels.folder, counts, sheet)


def _by_code(prepared: Prepared) -> dict[str, list[str]]:
    """Names of the pictures on which a step met something, by the code of its note."""
    found = defaultdict[str, list[str]](list)
    for image_id, text in zip(prepared.scan["image_id"], prepared.step_notes, strict=True):
        codes = [note.partition(":")[0] for note in text.split("; ") if note]
        for code in dict.fromkeys(codes):
            found[code].append(image_id)
    return dict(found)


def _tell_notes(noted: dict[str, list[str]], on_event: OnEvent) -> None:
    for code, (meaning, is_warning) in NOTE_TEXTS.items():
        if names := noted.get(code):
            text = f"{len(names)} pictures {meaning}: {_first(names)}"
            on_event(Event("warning" if is_warning else "message", "prepare", text))


def _first(names: Sequence[str]) -> str:
    more = " ..." if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


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
