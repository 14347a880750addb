"""Command ``compare``: one setting varied on the same folds."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gorae.cli import show
from gorae.cli.options import (
    AsJson,
    Folder,
    FolderOption,
    Overrides,
    PresetOption,
    RecipeOption,
    place,
)
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.text import clock, safe_line, score

if TYPE_CHECKING:
    from gorae.pipeline.compare import CompareResult
    from gorae.report.comparison import ComparisonLine

ONE_SEED = (
    "one seed: the intervals hold the chance of the pictures, not that of training; "
    "--seeds 3 measures it"
)
_STYLES = {"better": "green", "worse": "yellow", "base": "bold"}


def compare(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="NAME=VALUE[,VALUE]",
            help="Compare this change with the base; several settings in quotes change as one.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Train each with so many seeds.")
    ] = 1,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Write a recipe file with what is better than the base."),
    ] = None,
    write_for: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="NAME=VALUE",
            help="Settings of the written recipe, such as model.name=tf_efficientnet_b3.",
        ),
    ] = "",
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Compare changes of a recipe on the same folds with noise."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "CompareResult":
        from gorae.pipeline.compare import compare as step_compare

        return step_compare(
            target,
            vary=tuple(vary or ()),
            preset=preset.value if preset else None,
            recipe=recipe,
            overrides=tuple(overrides or ()),
            seeds=seeds,
            write=write,
            write_for=write_for,
            ask=screen.ask,
            on_event=screen.on_event,
            stopping=screen.stopping,
        )

    draw = partial(_show, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def _show(console: Console, result: "CompareResult", *, folder: Path) -> None:
    """The variants, best first, with how much better than the base they are."""
    shown = result.shown
    many = shown.num_seeds > 1
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("#", justify="right")
    table.add_column("variant", overflow="fold")
    table.add_column(safe_line(shown.metric), justify="right", no_wrap=True)
    table.add_column("better by ± 95 %", justify="right", no_wrap=True)
    if many:
        table.add_column("seed sd", justify="right", no_wrap=True)
    table.add_column("folds", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("says", no_wrap=True)
    for line in result.lines:
        table.add_row(*_cells(line, many=many), style=_STYLES.get(line.verdict))
    title = f"{shown.competition}: {shown.recipe} ({shown.base.model})"
    console.print(Text(safe_line(title), style="bold"))
    console.print(table)
    rows = [("page", show.shown_path(result.page))]
    if result.winners is not None:
        rows.append(("written", show.shown_path(result.winners.path)))
        rows += [(f"without {name}", why) for name, why in result.winners.left_out]
    console.print(show.facts("comparison", rows), soft_wrap=True)
    chance = () if many else (ONE_SEED,)
    show.show_warnings(console, (*shown.notes, *chance))
    if result.winners is not None:
        command = ["gorae", "run", show.shown_path(folder), "--recipe"]
        command.append(show.shown_path(result.winners.path))
        why = f"trains what was written: {result.winners.summary}"
        show.show_next(console, shlex.join(command), why)


def _cells(line: "ComparisonLine", *, many: bool) -> list[Text]:
    is_base = line.verdict == "base"
    gain = "-" if is_base else f"{line.gain:+.4f}"
    if line.interval is not None:
        # The interval lies evenly around the gain.
        gain += f" ± {line.interval[1] - line.gain:.4f}"
    spread = [f"{line.seed_sd:.4f}" if line.seed_sd is not None else "-"] if many else []
    cells = [
        str(line.rank),
        line.name,
        score(line.score),
        gain,
        *spread,
        "-" if is_base else f"{line.num_better}/{line.num_pairs}",
        clock(line.elapsed_s),
        line.verdict,
    ]
    return [Text(safe_line(cell)) for cell in cells]
