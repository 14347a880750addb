"""Commands ``bench``: how fast this machine does the parts of a training."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
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
from gorae.cli.show import show_next, show_warnings
from gorae.cli.text import duration, safe, safe_line
from gorae.errors import ConfigError

if TYPE_CHECKING:
    from gorae.pipeline.feed import FeedResult
    from gorae.training.feed_speed import Speed

bench = typer.Typer(
    help="Measure how fast this machine does the parts of a training.",
    rich_markup_mode=None,
)

_BAR_WIDTH = 18
# Of a full cell, in eighths.
_BLOCKS = " ▏▎▍▌▋▊▉█"
_PIPE_WIDTH = 100


@bench.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """Measure how fast this machine does the parts of a training."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@bench.command()
def feed(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="Time for the measurements.")
    ] = 30.0,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Numbers of worker processes to compare, such as 0,2,4; absent: 0 to 3.",
        ),
    ] = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Measure how fast pictures are fed, step by step, against the speed of the network."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "FeedResult":
        numbers = parse_workers(workers)
        settings = read_recipe(preset, recipe, overrides)
        from gorae.pipeline.feed import bench_feed

        return bench_feed(
            target,
            recipe=settings,
            seconds=seconds,
            workers=numbers,
            on_event=screen.on_event,
        )

    draw = partial(show_feed, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def parse_workers(text: str | None) -> tuple[int, ...] | None:
    """Numbers of ``"0,2,4"`` in rising order, each once.

    Raises:
        ConfigError: A part is no number from 0 to 64.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and int(part) <= 64 for part in parts):
        raise ConfigError(
            f"--workers {text!r} is no list of numbers from 0 to 64. Write it like 0,1,2."
        )
    return tuple(sorted({int(part) for part in parts}))


def show_feed(console: Console, result: "FeedResult", *, folder: Path) -> None:
    """Tables of what was measured, then what follows from it."""
    if not console.is_terminal:
        # A file or a pipe has no width, and a table must stay one.
        console.width = _PIPE_WIDTH
    console.print(Text("One picture on one core", "bold"))
    console.print(_step_table(result))
    console.print()
    console.print(Text("The order of two steps, pictures/s from decoded files", "bold"))
    console.print(_order_table(result))
    console.print()
    console.print(Text(f"The network, in {safe_line(result.arithmetic)}", "bold"))
    console.print(_network_table(result))
    if result.workers:
        console.print()
        title = f"Training in batches of {result.batch_size}, by worker processes"
        console.print(Text(title, "bold"))
        console.print(_worker_table(result))
    console.print()
    if result.advice is not None:
        for number, line in enumerate(result.advice.lines):
            console.print(Text(safe(line), "bold" if number == 0 else ""))
    else:
        console.print(Text(_prediction_verdict(result), "bold"))
    took = f"Measured in {duration(result.elapsed_s)}; ± is half of the middle half of timings."
    console.print(Text(took, "dim"))
    show_warnings(console, result.notes)
    if result.advice is not None:
        command = f"gorae run --set train.workers={result.advice.workers}"
        show_next(console, command, "trains with it")


def _prediction_verdict(result: "FeedResult") -> str:
    share = result.predicted_per_s / result.prediction.per_s
    who = "the network is the bottleneck" if share >= 0.5 else "reading is the bottleneck"
    return (
        "This recipe shows each picture to its network once: "
        f"{_rate(result.predicted_per_s)}/s with reading, "
        f"network {_rate(result.prediction.per_s)}/s alone: {who}."
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        is_text = number == 0 or not column
        table.add_column(column, justify="left" if is_text else "right", no_wrap=number > 0)
    return table


def _step_table(result: "FeedResult") -> Table:
    table = _table("step", "ms", "±", "pictures/s", "")
    longest = max(step.speed.picture_s for step in result.steps)
    for step in result.steps:
        style = {"once": "dim", "batch": "dim", "sum": "bold"}.get(step.part, "")
        name = f"{step.name}, once per file" if step.part == "once" else step.name
        colour = "cyan" if step.part == "picture" else "bright_black"
        table.add_row(
            Text(safe_line(name), style),
            Text(_milliseconds(step.speed.picture_s), style),
            Text(_spread(step.speed), "dim"),
            Text(_rate(step.speed.per_s), style),
            Text(_bar(step.speed.picture_s / longest), colour),
        )
    return table


def _order_table(result: "FeedResult") -> Table:
    table = _table("short side of the result", "before resize", "after resize", "")
    names = {"turn": "turn by up to 8°", "crop": "crop of half"}
    for order in result.orders:
        ratio = order.ratio
        word, factor = ("before", ratio) if ratio >= 1 else ("after", 1 / ratio)
        said = f"{word} is {factor:.2g}x as fast" if factor >= 1.05 else "no difference"
        table.add_row(
            f"{names[order.what]}, {order.side} px",
            _rate(order.first.per_s),
            _rate(order.last.per_s),
            Text(said, "bold" if factor >= 1.5 else "dim"),
        )
    return table


def _network_table(result: "FeedResult") -> Table:
    table = _table("", "pictures/s", "±", "")
    if result.training is not None:
        table.add_row("training", _rate(result.training.per_s), _spread(result.training))
    table.add_row("prediction", _rate(result.prediction.per_s), _spread(result.prediction))
    table.add_row("prediction with reading", _rate(result.predicted_per_s))
    return table


def _worker_table(result: "FeedResult") -> Table:
    assert result.training is not None
    table = _table("workers", "feed alone", "±", "smaller", "trains", "±", "")
    most = max(result.training.per_s, *(each.together.per_s for each in result.workers))
    for each in result.workers:
        is_best = result.advice is not None and each.workers == result.advice.workers
        table.add_row(
            Text(str(each.workers), "bold green" if is_best else ""),
            _rate(each.feed.per_s),
            Text(_spread(each.feed), "dim"),
            _rate(each.expected(result.training)),
            Text(_rate(each.together.per_s), "bold green" if is_best else ""),
            Text(_spread(each.together), "dim"),
            Text(_bar(each.together.per_s / most), "green" if is_best else "cyan"),
        )
    return table


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:,.2f}" if value >= 0.005 else "<0.01"


def _rate(per_s: float) -> str:
    if per_s >= 100_000:
        return ">100,000"
    return f"{per_s:,.3g}" if per_s < 100 else f"{per_s:,.0f}"


def _spread(speed: "Speed") -> str:
    share = speed.spread / 2
    # One timing has no spread, and that of next to nothing says nothing.
    return f"{share:.0%}" if speed.num_timings > 1 and share <= 1 else ""


def _bar(share: float) -> str:
    eighths = round(8 * _BAR_WIDTH * min(1.0, share))
    full, rest = divmod(eighths, 8)
    return "█" * full + (_BLOCKS[rest] if rest else "")
