"""`gorae bench feed` on the screen and for programs."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gorae.cli import main
from gorae.cli.app import app
from gorae.cli.bench import parse_workers, show_feed
from gorae.errors import ConfigError
from gorae.pipeline.feed import FeedResult
from gorae.pipeline.feed.advice import Advice, WorkerSpeed
from gorae.pipeline.feed.timings import OrderSpeed, StepSpeed
from gorae.training.feed_speed import Speed


def speed(per_s: float, num_timings: int = 5) -> Speed:
    return Speed(1 / per_s, 0.9 / per_s, 1.1 / per_s, num_timings)


RESULT = FeedResult(
    recipe="standard",
    batch_size=32,
    steps=(
        StepSpeed("decode the file", "once", speed(320)),
        StepSpeed("read from the store", "picture", speed(20_000)),
        StepSpeed("cut and resize to 224 px", "picture", speed(600)),
        StepSpeed("left-right flip (50%)", "picture", speed(1e9)),
        StepSpeed("one picture, measured as a whole", "sum", speed(580)),
    ),
    orders=(
        OrderSpeed("turn", 224, speed(200), speed(205), 0.98),
        OrderSpeed("turn", 1024, speed(83.4), speed(38.4), 2.17),
        OrderSpeed("crop", 224, speed(100), speed(200), 0.5),
    ),
    workers=(
        WorkerSpeed(0, speed(310), speed(31)),
        WorkerSpeed(1, speed(300), speed(33, num_timings=1)),
    ),
    training=speed(34),
    prediction=speed(120),
    predicted_per_s=110.0,
    arithmetic="fp32, 2 threads on cpu, measured in 1.0 s",
    advice=Advice("network", 0, 31.0, ("feeding 310/s ...", "And \x1b[31mmore.")),
    notes=("Some speeds rest on 1 timing.",),
    elapsed_s=12.3,
)


def shown(width: int, result: FeedResult = RESULT) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    show_feed(console, result, folder=Path())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_tables_fit_the_terminal(width: int) -> None:
    lines = shown(width).splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    assert len([line for line in lines if line.startswith(("turn", "crop"))]) == 3
    assert "before is 2.2x as fast" in text
    assert "after is 2x as fast" in text
    assert "no difference" in text
    assert "<0.01" in text
    assert "gorae run --set train.workers=0" in text
    assert "\x1b[31m" not in text


def test_speeds_stand_beside_their_spread() -> None:
    [row] = [line for line in shown(100).splitlines() if line.startswith("0 ")]
    # Feed alone, the smaller of feed and network, and training as measured.
    assert row.split()[:6] == ["0", "310", "10%", "34", "31", "10%"]
    [row] = [line for line in shown(100).splitlines() if line.startswith("1 ")]
    assert row.split()[:5] == ["1", "300", "10%", "34", "33"]


def test_a_recipe_without_training_says_so() -> None:
    text = shown(80, replace(RESULT, training=None, workers=(), advice=None))
    assert "shows each picture to its network once" in text
    assert "worker" not in text
    assert "next" not in text


def test_workers_are_parsed() -> None:
    assert parse_workers(None) is None
    assert parse_workers("2, 0,2") == (0, 2)
    for text in ("", "1,", "-1", "two", "65", "²"):
        with pytest.raises(ConfigError, match="no list of numbers"):
            parse_workers(text)


def test_bench_alone_shows_what_there_is() -> None:
    found = CliRunner().invoke(app, ["bench"])
    assert found.exit_code == 0
    assert "feed" in found.output
    found = CliRunner().invoke(app, ["bench", "feed", "--help"])
    assert "--json" in found.output


def test_a_wrong_list_of_workers_ends_with_64(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "feed", str(tmp_path), "--workers", "many", "--json"]) == 64
    assert "no list of numbers" in json.loads(capsys.readouterr().out)["error"]["message"]
