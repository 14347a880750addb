"""Command ``pseudo``: labels for pictures without any."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gorae.cli.options import AsJson, FolderOption, place
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.show import Row, facts, show_next, show_warnings, shown_path

if TYPE_CHECKING:
    from gorae.pipeline.pseudo import PseudoResult


def pseudo(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Ids of the runs that label, or their beginnings; absent: the newest.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures without labels; absent: the test pictures."),
    ] = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Label pictures without labels by trained runs, fold by fold."""
    target = place(None, folder_option)

    def step(screen: Screen) -> "PseudoResult":
        from gorae.pipeline.pseudo import pseudo as step_pseudo

        return step_pseudo(target, runs=runs or (), images=images, on_event=screen.on_event)

    draw = partial(_show, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def _show(console: Console, result: "PseudoResult", *, folder: Path) -> None:
    """What was labelled by whom, and what is left out where."""
    record = result.record
    out = record["left_out"].values()
    reasons = ", ".join(f"{number} {reason}" for reason, number in record["reasons"].items())
    rows: list[Row] = [
        ("labels", result.name),
        ("runs", ", ".join(teacher["run"] for teacher in record["teachers"])),
        ("pictures", f"{record['num_pictures']:,} of the test set" if record["source"] == "test"
         else f"{record['num_pictures']:,} of {record['images']}"),
        ("left out", f"{min(out):,} to {max(out):,} per fold ({reasons or 'none'})"),
        ("written", shown_path(result.folder)),
    ]  # fmt: skip
    if record["num_known"]:
        right = f"{record['num_known_right']} of {record['num_known']}"
        rows.insert(4, ("known", f"{right} labels of pictures that equal labelled ones agree"))
    console.print(facts("pseudo-labels", rows), soft_wrap=True)
    show_warnings(console, result.warnings)
    where = "" if folder == Path() else f" {shown_path(folder)}"
    command = f"gorae run{where} --recipe noisy-student --set pseudo.labels={result.name}"
    show_next(console, command, "trains a student on them")
