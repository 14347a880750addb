"""Command ``eda``: the data, looked at."""

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
from gorae.cli.show import Row, facts, show_next, shown_path
from gorae.cli.text import safe
from gorae.events import Event

if TYPE_CHECKING:
    from gorae.pipeline.eda import EdaResult

# How a finding is marked, by its severity.
_MARKS = {"stops": ("✗", "bold red"), "look": ("!", "yellow"), "fine": ("✓", "green")}


def eda(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Judge the labels by this run, not by a quick classifier."),
    ] = None,
    has_faces: Annotated[
        bool, typer.Option("--faces", help="Look for faces in up to 500 of the pictures.")
    ] = False,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Look at the data and find what would make a score lie."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "EdaResult":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.eda import eda as step_eda

        def on_event(event: Event) -> None:
            # The result tells what was found; no need to tell it twice.
            if (event.kind, event.stage) != ("warning", "eda"):
                screen.on_event(event)

        return step_eda(
            target, recipe=settings, run=run, has_faces=has_faces, on_event=on_event
        )

    draw = partial(show_eda, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def show_eda(console: Console, result: "EdaResult", *, folder: Path) -> None:
    """What was found, the gravest first, and where to look."""
    console.print()
    for finding in result.findings:
        mark, style = _MARKS[finding.severity]
        _print_hanging(console, Text(mark, style), Text(safe(finding.what.en)))
        if finding.severity != "fine" and finding.do is not None:
            _print_hanging(console, Text(" "), Text(safe(finding.do.en), "dim"))
        if finding.setting is not None:
            # On one line, however long: it is there to be copied.
            where = f"  ({finding.file})" if finding.file else ""
            console.print(Text(f"  {safe(finding.setting)}{where}", "cyan"), soft_wrap=True)
    rows: list[Row] = [
        ("page", shown_path(result.page)),
        ("numbers", shown_path(result.numbers)),
    ]
    if result.labels is not None:
        rows.append(("labels to look at", shown_path(result.labels)))
    if result.duplicates is not None:
        rows.append(("duplicates", shown_path(result.duplicates)))
    console.print()
    console.print(facts("What was written", rows), soft_wrap=True)
    place = shown_path(folder)
    show_next(
        console, f"gorae run{'' if place == '.' else f' {place}'}", "trains on these data"
    )


def _print_hanging(console: Console, mark: Text, text: Text) -> None:
    """A sentence whose further lines begin below its first word."""
    for line in text.wrap(console, console.width - 2):
        line.rstrip()
        console.print(Text.assemble(mark, " ", line), soft_wrap=True)
        mark = Text(" ")
