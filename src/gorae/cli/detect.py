"""Command ``detect``: the region of each picture that is worth looking at."""

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from gorae.cli.options import (
    AsJson,
    Folder,
    FolderOption,
    Overrides,
    PresetOption,
    RecipeOption,
    place,
    read_recipe,
)
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.show import Row, facts, show_next, show_warnings, shown_path

if TYPE_CHECKING:
    from gorae.pipeline.detect import DetectResult
    from gorae.pipeline.detect.quality import BoxQuality


def detect(
    context: typer.Context,
    folder: Folder = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            help="CSV file with the boxes to learn from, in pixels of the upright picture; "
            "absent: the box columns of competition.toml.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the boxes of all pictures here too.")
    ] = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Find the box to crop each picture to, by fold-safe detectors."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "DetectResult":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.roi import find_regions

        return find_regions(
            target,
            recipe=settings,
            boxes=boxes,
            out=out,
            on_event=screen.on_event,
            stopping=screen.stopping,
        )

    draw = partial(show_detect, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def show_detect(console: Console, result: "DetectResult", *, folder: Path) -> None:
    """How many boxes there are, how good they are, and the step that crops to them."""
    from gorae.pipeline.detect.table import crop_step

    counts = ", ".join(f"{number:,} {name}" for name, number in result.origins.items())
    rows: list[Row] = [
        ("from", counts),
        *_quality_rows(result.quality),
        ("boxes", shown_path(result.boxes)),
        ("sheet", shown_path(result.folder / "sheet.png")),
    ]
    console.print(facts("boxes of all pictures", rows), soft_wrap=True)
    show_warnings(console, result.warnings)
    named = os.path.relpath(result.boxes.resolve(), folder.resolve())
    console.print()
    if named.startswith(".."):
        text = "Write the boxes into the competition's folder (--out) to crop to them."
        console.print(Text(text, "dim"), soft_wrap=True)
        return
    console.print(Text("The step of a recipe that crops to them:", "dim"))
    console.print(Text("\n".join(crop_step(named))), soft_wrap=True)
    show_next(
        console,
        f"gorae run --recipe RECIPE.toml --folder {shlex.quote(str(folder))}",
        "trains on the crops, with this step and the same [split] in the recipe",
    )


def _quality_rows(quality: "BoxQuality") -> list[Row]:
    found = f"{quality.num_found:,} of {quality.num_true:,} held-out pictures with a true box"
    rows: list[Row] = [("found", found)]
    if quality.iou_mean is not None and quality.whole_iou_mean is not None:
        text = f"{quality.iou_mean:.3f} (the whole pictures: {quality.whole_iou_mean:.3f})"
        rows.append(("mean IoU", text))
    if quality.cover_mean is not None:
        rows.append(
            ("kept", f"{quality.cover_mean:.1%} of a true box lie inside the found one")
        )
    if quality.recall is not None:
        rows.append(("recall", f"{quality.recall:.3f} at IoU 0.5"))
    return rows
