"""Command ``pseudo``: labels for pictures without any."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gorae.cli.options import (
    AsJson,
    FolderOption,
    Overrides,
    PresetOption,
    RecipeOption,
    place,
)
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.show import Row, facts, show_next, show_warnings, shown_path
from gorae.cli.text import safe_line, score

if TYPE_CHECKING:
    from gorae.pipeline.pseudo import PseudoResult
    from gorae.pipeline.rounds import RoundsResult


def pseudo(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Ids of the runs that label, or their beginnings; absent: the newest, or "
            "with --rounds the newest that learned no such labels.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures without labels; absent: the test pictures."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Train a student on the labels, let it label, and so on, so many times.",
        ),
    ] = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Label pictures without labels by trained runs, fold by fold."""
    target = place(None, folder_option)
    if rounds is None and (preset or recipe or overrides):
        raise typer.BadParameter(
            "--preset, --recipe and --set are of the students, which --rounds asks for."
        )

    def step(screen: Screen) -> "PseudoResult | RoundsResult":
        if rounds is None:
            from gorae.pipeline.pseudo import pseudo as step_pseudo

            return step_pseudo(target, runs=runs or (), images=images, on_event=screen.on_event)
        from gorae.pipeline.rounds import train_rounds

        # Without another word students are those of the source.
        student = recipe or (None if preset else "noisy-student")
        return train_rounds(
            target,
            rounds=rounds,
            runs=runs or (),
            images=images,
            preset=preset.value if preset else None,
            recipe=student,
            overrides=tuple(overrides or ()),
            on_event=screen.on_event,
            stopping=screen.stopping,
        )

    draw = partial(_show, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def _show(console: Console, result: "PseudoResult | RoundsResult", *, folder: Path) -> None:
    from gorae.pipeline.rounds import RoundsResult

    if isinstance(result, RoundsResult):
        _show_rounds(console, result)
    else:
        _show_labels(console, result, folder=folder)


def _show_rounds(console: Console, result: "RoundsResult") -> None:
    """The teacher and each student with its score."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("round", "run", "labels"):
        table.add_column(name, no_wrap=True)
    for name in (safe_line(result.metric), "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    has_teacher = result.rounds[0].labels is None
    for number, each in enumerate(result.rounds, start=0 if has_teacher else 1):
        low, high = each.interval
        table.add_row(
            str(number) if number else "teacher",
            each.run_id,
            (each.labels or "-")[:12],
            score(each.score),
            f"{score(low)} to {score(high)}",
        )
    console.print(table)
    console.print()
    rows: list[Row] = [("report", shown_path(result.report))]
    if result.submission is not None:
        rows.append(("submission", shown_path(result.submission)))
    console.print(facts(result.rounds[-1].run_id, rows), soft_wrap=True)
    show_warnings(console, result.warnings)


def _show_labels(console: Console, result: "PseudoResult", *, folder: Path) -> None:
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
