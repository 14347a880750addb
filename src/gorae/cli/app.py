"""The application: its own options, and the commands in the order of the help."""

from typing import Annotated

import typer

from gorae.cli.ahead import augment
from gorae.cli.autoencoder import autoencoder
from gorae.cli.bench import bench
from gorae.cli.compare import compare
from gorae.cli.detect import detect
from gorae.cli.eda import eda
from gorae.cli.job import demo, init, run
from gorae.cli.look import model
from gorae.cli.mask import mask
from gorae.cli.pseudo import pseudo
from gorae.cli.recipes import recipes
from gorae.cli.steps import check, ensemble, predict, preprocess, split, submit, train
from gorae.cli.tidy import board, clean, doctor

app = typer.Typer(
    help="From a folder of labelled pictures to a submission you can trust.",
    epilog="Start with `gorae run` in the folder of a competition, or with `gorae demo`.",
    add_completion=False,
    # The rich help costs 0.15 s of imports; help is to be there within 0.3 s.
    rich_markup_mode=None,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"gorae {version('gorae')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a bug on the screen.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """From a folder of labelled pictures to a submission you can trust."""
    context.obj = debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (
    run,
    demo,
    init,
    eda,
    detect,
    preprocess,
    split,
    train,
    predict,
    pseudo,
    ensemble,
    submit,
    check,
    board,
    compare,
    recipes,
    model,
    autoencoder,
    augment,
    clean,
    doctor,
):
    app.command()(command)

app.add_typer(bench, name="bench")
app.add_typer(mask, name="mask")
