"""Commands ``board``, ``clean`` and ``doctor``: look, tidy, mend."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gorae.cli import show
from gorae.cli.options import AsJson, Folder, FolderOption, place
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.stops import DATA
from gorae.cli.text import size
from gorae.errors import UserError, list_problems

if TYPE_CHECKING:
    from gorae.pipeline.board import Board
    from gorae.pipeline.clean import CleanResult, Holding
    from gorae.pipeline.doctor import Diagnosis


def board(
    context: typer.Context,
    folder: Folder = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Rank the runs of the competition by their out-of-fold score."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "Board":
        from gorae.pipeline.board import board as step_board

        return step_board(target)

    draw = partial(show.show_board, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def clean(
    context: typer.Context,
    folder: Folder = None,
    prepared: Annotated[
        bool, typer.Option("--prepared", help="Remove decoded pictures.")
    ] = False,
    features: Annotated[
        bool, typer.Option("--features", help="Remove backbone features.")
    ] = False,
    extracted: Annotated[
        bool, typer.Option("--extracted", help="Remove pictures taken out of zip files.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Remove runs that were never finished.")
    ] = False,
    runs: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="ID", help="Remove this run with its models."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove runs without asking.")] = False,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Show what .gorae holds and remove what is named."""
    target = place(folder, folder_option)
    kinds = {"prepared": prepared, "features": features, "extracted": extracted}

    def step(screen: Screen) -> "CleanResult":
        from gorae.pipeline.clean import clean as step_clean

        return step_clean(
            target,
            kinds=[kind for kind, is_named in kinds.items() if is_named],
            runs=runs or (),
            unfinished=unfinished,
            confirm=None if yes else partial(_confirm_runs, screen),
        )

    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_clean)


def _confirm_runs(screen: Screen, runs: "Sequence[Holding]") -> bool:
    names = [f"{run.name} ({run.note}, {size(run.size_bytes)})" for run in runs]
    if screen.choose is None:
        raise UserError(
            "Removing runs cannot be undone. Add --yes to remove these:\n"
            + list_problems(names)
        )
    question = f"Remove for good?\n{list_problems(names)}"
    return screen.choose(question, ["keep", "remove"]) == "remove"


def doctor(
    context: typer.Context,
    folder: Folder = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Name what is broken on this machine and how to mend it."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "Diagnosis":
        from gorae.pipeline.doctor import doctor as step_doctor

        return step_doctor(target, on_event=screen.on_event)

    found = perform(
        step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_diagnosis
    )
    if found.is_broken:
        raise typer.Exit(DATA)
