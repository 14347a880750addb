"""Commands ``mask``: those of iloveslowfood/ImageClassfication, on gorae's engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gorae.cli import show
from gorae.cli.options import AsJson, FolderOption, Overrides
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.text import safe_line
from gorae.errors import UserError
from gorae.pipeline.mask_flags import (
    ENSEMBLE,
    SINGULAR,
    TRAIN,
    describe_flags,
    parse_flags,
    train_recipe,
    with_defaults,
)

if TYPE_CHECKING:
    from gorae.pipeline.mask_submit import MaskFiles
    from gorae.pipeline.run import RunResult

# Flags are read by one table: its help is the epilog, in which click keeps the lines.
_FLAGS = {"ignore_unknown_options": True, "allow_extra_args": True}
_WIDTH, _INDENT = 76, " " * 18


def _epilog(command: str | None = None) -> str:
    """What each flag becomes: of one command, or of all."""
    lines = [
        fill(
            f"{name:{len(_INDENT)}}{text}",
            _WIDTH,
            subsequent_indent=_INDENT,
            break_on_hyphens=False,
        )
        for name, text in describe_flags(command)
    ]
    return "\b\nFlags (_ or - in names):\n" + "\n".join(lines)


mask = typer.Typer(
    help="Train and submit with the flags of the mask system.",
    epilog=_epilog(),
    rich_markup_mode=None,
)


@dataclass(frozen=True)
class MaskTraining:
    """The recipe that flags make, and what came of it."""

    recipe: str
    """As TOML."""
    path: Path
    """Where it lies."""
    result: "RunResult | None"
    """None where only the recipe was asked for."""

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        run = None if self.result is None else self.result.to_json()
        return {"recipe": self.recipe, "path": str(self.path), "run": run}


@mask.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """Train and submit with the flags of the mask system."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@mask.command(context_settings=_FLAGS, epilog=_epilog(TRAIN))
def train(
    context: typer.Context,
    overrides: Overrides = None,
    only_recipe: Annotated[
        bool, typer.Option("--only-recipe", help="Write the recipe and train nothing.")
    ] = False,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Train by the source's flags: a recipe is made of them, printed, and run."""
    words = list(context.args)

    def step(screen: Screen) -> MaskTraining:
        given = parse_flags(TRAIN, words)
        table = train_recipe(given)
        target = _competition(folder_option, given.get("data_root", given.get("train_root")))
        return _train(target, table, tuple(overrides or ()), screen, only_recipe=only_recipe)

    perform(
        step,
        folder=folder_option or Path(),
        as_json=as_json,
        is_debug=context.obj,
        draw=_show_training,
    )


def _train(
    folder: Path,
    table: dict[str, Any],
    overrides: Sequence[str],
    screen: Screen,
    *,
    only_recipe: bool,
) -> MaskTraining:
    import tomli_w

    from gorae.config import resolve_recipe
    from gorae.events import Event
    from gorae.files import write_text

    text = tomli_w.dumps(table)
    path = folder / ".gorae" / "recipes" / f"{table['name']}.toml"
    write_text(path, text)
    # Refuses settings that do not fit before anything else is done.
    resolve_recipe(path=path, overrides=overrides)
    screen.on_event(Event("message", "mask", f"the recipe is {path}: `gorae run --recipe` it"))
    if only_recipe:
        return MaskTraining(text, path, None)
    from gorae.pipeline.run import run

    result = run(
        folder,
        recipe=path,
        overrides=overrides,
        looks=False,
        ask=screen.ask,
        on_event=screen.on_event,
        stopping=screen.stopping,
    )
    return MaskTraining(text, path, result)


def _competition(option: Path | None, root: str | None) -> Path:
    """The folder of the competition: as said, or the nearest above that is one.

    Raises:
        UserError: There is no such folder.
    """
    given = option or Path(root or ".")
    if not given.is_dir():
        raise UserError(f"There is no folder {given}. Name the competition by --data_root.")
    near = (given, *given.resolve().parents)
    return next((each for each in near if (each / "competition.toml").exists()), given)


@mask.command(SINGULAR, context_settings=_FLAGS, epilog=_epilog(SINGULAR))
def submit_singular(
    context: typer.Context, folder_option: FolderOption = None, as_json: AsJson = False
) -> None:
    """Write the CSV of one checkpoint of a run."""
    _submit(context, SINGULAR, folder_option, as_json=as_json)


@mask.command(ENSEMBLE, context_settings=_FLAGS, epilog=_epilog(ENSEMBLE))
def submit_ensemble(
    context: typer.Context, folder_option: FolderOption = None, as_json: AsJson = False
) -> None:
    """Write the votes of a run's folds, best checkpoints and views, a CSV of each."""
    _submit(context, ENSEMBLE, folder_option, as_json=as_json)


def _submit(
    context: typer.Context, command: str, folder_option: Path | None, *, as_json: bool
) -> None:
    words = list(context.args)

    def step(screen: Screen) -> "MaskFiles":
        given = parse_flags(command, words)
        target = _competition(folder_option, given.get("data_root"))
        from gorae.pipeline import mask_submit

        write = {SINGULAR: mask_submit.submit_singular, ENSEMBLE: mask_submit.submit_ensemble}
        flags = with_defaults(command, given)
        return write[command](target, flags=flags, on_event=screen.on_event)

    perform(
        step,
        folder=folder_option or Path(),
        as_json=as_json,
        is_debug=context.obj,
        draw=_show_files,
    )


def _show_training(console: Console, result: MaskTraining) -> None:
    """The recipe, then the run."""
    console.print(Text(result.recipe.rstrip()), soft_wrap=True)
    if result.result is not None:
        show.show_run(console, result.result, folder=result.path.parents[2])


def _show_files(console: Console, result: "MaskFiles") -> None:
    """What was written, with its score on held-out rows."""
    for line in result.files:
        score = "" if line["score"] is None else f", {result.metric} {line['score']:.4f}"
        console.print(Text(safe_line(f"{line['path']}: {line['what']}{score}")), soft_wrap=True)
