"""Commands of the single steps, each of which `gorae run` does as well."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gorae.cli import show
from gorae.cli.options import (
    AsJson,
    Folder,
    FolderOption,
    Overrides,
    PresetOption,
    RecipeOption,
    RunArgument,
    place,
    read_recipe,
)
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.stops import DATA

if TYPE_CHECKING:
    from gorae.pipeline.check import CheckResult
    from gorae.pipeline.contract import Split
    from gorae.pipeline.ensemble import EnsembleResult
    from gorae.pipeline.predict import PredictResult
    from gorae.pipeline.preprocess import PreprocessResult
    from gorae.pipeline.submit import SubmitResult
    from gorae.pipeline.train import TrainResult


def preprocess(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Check every picture and keep its pixels, decoded once."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "PreprocessResult":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.preprocess import preprocess as step_preprocess

        return step_preprocess(target, recipe=settings, on_event=screen.on_event)

    draw = partial(show.show_preprocess, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def split(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Make the folds: who validates whom."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "Split":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.split import split as step_split

        return step_split(target, recipe=settings, on_event=screen.on_event)

    draw = partial(show.show_split, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def train(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe on every fold and predict."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "TrainResult":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.train import train as step_train

        return step_train(target, recipe=settings, on_event=screen.on_event)

    draw = partial(show.show_train, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def predict(
    context: typer.Context,
    images: Annotated[
        Path, typer.Option("--images", help="Folder with the pictures, in sub-folders too.")
    ],
    run: RunArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write this CSV file instead."),
    ] = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Predict any new pictures with a trained run."""
    target = place(None, folder_option)

    def step(screen: Screen) -> "PredictResult":
        from gorae.pipeline.predict import predict as step_predict

        return step_predict(
            target, run=run, images=images, output=output, on_event=screen.on_event
        )

    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_predict)


def ensemble(
    context: typer.Context,
    run: RunArgument = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Vote over folds, checkpoints and views of a run, and score it."""
    target = place(None, folder_option)

    def step(screen: Screen) -> "EnsembleResult":
        from gorae.pipeline.ensemble import ensemble as step_ensemble

        return step_ensemble(target, run=run, on_event=screen.on_event)

    draw = partial(show.show_ensemble, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def submit(
    context: typer.Context,
    run: RunArgument = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Write the submission of a run after checking it."""
    target = place(None, folder_option)

    def step(screen: Screen) -> "SubmitResult":
        from gorae.pipeline.submit import submit as step_submit

        return step_submit(target, run=run, on_event=screen.on_event)

    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_submit)


def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV file that is to be sent.")],
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Check a submission file against the competition, offline."""
    target = place(None, folder_option)

    def step(screen: Screen) -> "CheckResult":
        from gorae.pipeline.check import check as step_check

        return step_check(target, file=file)

    found = perform(
        step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_check
    )
    if not found.is_accepted:
        raise typer.Exit(DATA)
