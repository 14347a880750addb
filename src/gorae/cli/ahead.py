"""What a training would do, before it does: augmentation, learning rates."""

from functools import partial
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
from gorae.cli.show import Row, facts, show_next, shown_path

if TYPE_CHECKING:
    from gorae.pipeline.augment import AugmentResult
    from gorae.pipeline.find_lr import FindLrResult
    from gorae.pipeline.schedule import ScheduleResult


def augment(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    has_preview: Annotated[
        bool, typer.Option("--preview", help="Draw a sheet of pictures to look at.")
    ] = False,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Say what training does to a picture, and show it."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "AugmentResult":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.augment import describe_augment, preview

        draw = preview if has_preview else describe_augment
        return draw(target, recipe=settings, on_event=screen.on_event)

    draw = partial(show_augment, has_preview=has_preview)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def show_augment(console: Console, result: "AugmentResult", *, has_preview: bool) -> None:
    """What happens to a picture, and where the sheet lies."""
    rows: list[Row] = [("each epoch", result.text)]
    if result.path is not None:
        rows.append(("pictures", shown_path(result.path)))
    console.print(facts(f"augment.policy = {result.policy}", rows), soft_wrap=True)
    if not has_preview:
        show_next(console, "gorae augment --preview", "draws it on pictures of this folder")


def show_schedule(console: Console, result: "ScheduleResult") -> None:
    """The learning rates of a training."""
    steps, per_epoch = len(result.lr), result.steps_per_epoch
    rows: list[Row] = [
        ("head", f"{result.lr.max():.3g} at its peak, {result.lr[-1]:.2g} at the end"),
    ]
    if result.backbone_lr is not None:
        rows.append(("backbone", f"{result.backbone_lr.max():.3g} at its peak"))
    rows += [
        ("steps", f"{steps:,}, {per_epoch:,} an epoch of {result.num_images:,} pictures"),
        ("course", Text(result.sparkline)),
        ("plot", shown_path(result.page)),
    ]
    console.print(facts("Learning rates", rows), soft_wrap=True)


def show_lr(console: Console, result: "FindLrResult") -> None:
    """The learning rate to begin with."""
    rate = result.suggestion
    rows: list[Row] = [
        ("train.lr", "no suggestion" if rate is None else f"{rate:.2g}"),
        ("because", result.reason),
        ("plot", shown_path(result.page)),
    ]
    console.print(facts("Learning-rate finder", rows), soft_wrap=True)
    if rate is not None:
        show_next(console, f"gorae run --set train.lr={rate:.2g}", "trains with it")
