"""Command ``model``: a network before it is trained."""

import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gorae.cli.options import AsJson, FolderOption
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.show import Row, facts, show_next
from gorae.cli.text import count, safe_line
from gorae.models.plan import is_user_class

if TYPE_CHECKING:
    from gorae.models.describe import LayerLine
    from gorae.models.hub import PretrainedLine
    from gorae.pipeline.model import ModelDescription

_SHOWN_WEIGHTS = 6

_PIPE_WIDTH = 1000

# Layers that hand on what they get.
_UNCHANGING = {"Identity", "Dropout"}


def model(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(help="A timm name, torchvision/NAME, lenet5, or file.py:Class."),
    ],
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the input in pixels; absent: the network's own."),
    ] = None,
    depth: Annotated[
        int, typer.Option(min=1, help="List layers inside layers down to this level.")
    ] = 2,
    layers: Annotated[
        bool, typer.Option("--layers", help="List every layer, however deep.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Build it with an argument (model.kwargs.pad_type=same) or behind an encoder "
            "(model.encoder=newest).",
        ),
    ] = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the layers, parameters, input and weights of a network."""
    target = folder_option or Path()
    changes = tuple(overrides or ())
    allowed = ("model.kwargs", "model.encoder")
    others = [each for each in changes if not each.startswith(allowed)]
    if others:
        raise typer.BadParameter(
            f"--set {others[0]} says nothing about how a network is built; here it takes "
            "model.kwargs.NAME=VALUE and model.encoder=VALUE."
        )

    def step(screen: Screen) -> "ModelDescription":
        from gorae.config import resolve_recipe
        from gorae.pipeline.model import describe_model

        settings = resolve_recipe(overrides=changes).model
        return describe_model(
            target, name=name, kwargs=settings.kwargs, size=size, encoder=settings.encoder
        )

    draw = partial(show_model, depth=None if layers else depth, changes=changes)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def show_model(
    console: Console,
    result: "ModelDescription",
    *,
    depth: int | None,
    changes: Sequence[str] = (),
) -> None:
    """The network in numbers, then its layers down to ``depth``; None: all."""
    console.print(facts(result.name, _rows(result)), soft_wrap=True)
    shown = [line for line in result.architecture.layers if line.kind not in _UNCHANGING]
    listed = [line for line in shown if depth is None or line.name.count(".") < depth]
    table = _layer_table(listed)
    console.print()
    if not console.is_terminal:
        # A file or a pipe has no width, and names must stay whole.
        console.width = _PIPE_WIDTH
    console.print(table)
    if len(listed) < len(shown):
        left = count(len(shown) - len(listed), "layer")
        console.print(Text(f"{left} inside these; --layers lists all", "dim"))
    settings = [
        f"model.name={result.name}",
        *changes,
        *([] if result.weights else ["model.weights=none"]),
    ]
    options = " ".join(f"--set {shlex.quote(each)}" for each in settings)
    show_next(console, f"gorae run {options}", "trains it")


def _rows(result: "ModelDescription") -> Iterator[Row]:
    found, spec = result.architecture, result.spec
    head = "with outputs for two classes" if is_user_class(result.name) else "without a head"
    yield "parameters", f"{found.num_parameters:,} {head}"
    features = "none: the class has no method features(x)"
    if found.num_features is not None:
        features = f"{found.num_features:,}"
    yield "features", features
    yield "multiply-adds", f"{_short(found.multiply_adds)} at {spec.input_size} px"
    for place, text in enumerate(_pixel_lines(result)):
        yield "" if place else "input pixels", text
    if not result.weights:
        yield "weights", 'none to be had: model.weights is "none" or the path of a file'
    for place, line in enumerate(result.weights[:_SHOWN_WEIGHTS]):
        yield "" if place else "weights", _weights_text(line)
    num_left = len(result.weights) - _SHOWN_WEIGHTS
    if num_left > 0:
        yield "", f"and {num_left} more; --json lists all"


def _pixel_lines(result: "ModelDescription") -> Iterator[str]:
    """One line per source: ``224 px, bicubic, ... (timm)``."""
    spec = result.spec
    values = {
        "input_size": f"{spec.input_size} px",
        "interpolation": spec.interpolation,
        "crop_pct": f"crop {spec.crop_pct:g}",
        "mean": "mean " + " ".join(f"{value:g}" for value in spec.mean),
        "std": "std " + " ".join(f"{value:g}" for value in spec.std),
    }
    told = {"recipe": "--size", "timm": "timm", "default": "usual values"}
    told["encoder"] = "the encoder"
    for source in dict.fromkeys(spec.sources[field] for field in values):
        parts = [text for field, text in values.items() if spec.sources[field] == source]
        yield f"{', '.join(parts)} ({told[source]})"


def _weights_text(line: "PretrainedLine") -> Text:
    notes = [f"{line.input_size} px"]
    if line.is_default:
        notes.append("default")
    if line.is_cached:
        notes.append("on this machine")
    return Text.assemble(line.name, (f"  {', '.join(notes)}", "dim"))


def _layer_table(lines: "list[LayerLine]") -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("layer", overflow="fold")
    table.add_column("kind", overflow="fold")
    table.add_column("gives", justify="right", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            Text(safe_line(line.name)),
            Text(safe_line(line.kind), style="dim"),
            " x ".join(map(str, line.shape)) if line.shape else "-",
            f"{line.num_parameters:,}" if line.num_parameters else "-",
        )
    return table


def _short(number: int) -> str:
    """``299 M``, ``4.09 G``: three digits."""
    value, units = float(number), ["", " k", " M", " G", " T"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        del units[0]
    digits = max(0, 2 - len(str(int(value))) + 1) if units[0] else 0
    return f"{value:.{digits}f}{units[0]}"
