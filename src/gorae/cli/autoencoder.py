"""Command ``autoencoder``: an encoder that makes large pictures small."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

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
    from gorae.pipeline.autoencoder import AutoencoderResult


def autoencoder(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Train an encoder on pictures without labels."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "AutoencoderResult":
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.autoencoder import train_autoencoder

        return train_autoencoder(
            target, recipe=settings, on_event=screen.on_event, stopping=screen.stopping
        )

    draw = partial(show_autoencoder, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def show_autoencoder(console: Console, result: "AutoencoderResult", *, folder: Path) -> None:
    """How well it restores, where it lies, and what to type next."""
    record = result.record
    size = record["pixels"]["input_size"]
    learned = f"{record['num_train']:,} train pictures"
    if record["is_transductive"]:
        learned += f" and {record['num_test']:,} test pictures (transductive)"
    rows: list[Row] = [
        ("learned from", f"{learned}; {record['num_valid']:,} held out"),
        ("error", f"{record['mse']:.5f} on those held out, epoch {record['epoch']}"),
        ("mean picture", f"{record['mean_image_mse']:.5f}, the error to beat"),
        ("map", f"{size // 4} x {size // 4} x 3 of {size} x {size}"),
        ("encoder", shown_path(result.encoder)),
        ("sheet", shown_path(result.sheet)),
    ]
    console.print(facts(f"autoencoder {result.name}", rows), soft_wrap=True)
    where = "" if folder == Path() else f" {shown_path(folder)}"
    command = f"gorae run{where} --set model.encoder={result.name}"
    show_next(console, command, "trains a network behind it; add its [[preprocess]] steps")
