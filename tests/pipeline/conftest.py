"""A small competition of drawn pictures, and the quickest way to run it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gorae.cli import main
from gorae.config import Recipe, resolve_recipe
from gorae.events import Event
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.run import RunResult, run
from gorae.pipeline.split import split
from gorae.pipeline.train import train
from gorae.workspace import RunFolder

# Random weights on 32 pixels, one thread: seconds, and the same numbers everywhere.
QUICKEST = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "head.strengths=[1.0]",
    "train.precision=fp32",
    "train.threads=1",
)

# Fine-tuning in a second, on folds of two.
SMALL = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.epochs=1",
    "train.batch_size=8",
    "train.lr=2e-3",
    "train.precision=fp32",
    "train.compile=false",
    "predict.compile=false",
    "train.threads=1",
    "train.workers=0",
    "augment.policy=none",
)


def small_recipe(*changes: str, base: Sequence[str] = SMALL) -> Recipe:
    """``standard`` with ``base``; of a setting that is given twice ``changes`` count."""
    keys = {change.split("=")[0] for change in changes}
    kept = [each for each in base if each.split("=")[0] not in keys]
    return resolve_recipe(preset="standard", overrides=[*kept, *changes])


def train_small(
    folder: Path,
    *changes: str,
    base: Sequence[str] = SMALL,
    events: list[Event] | None = None,
    stop_after: int = 0,
) -> RunFolder:
    """The run of ``small_recipe``, trained; asked to stop at a step of its own, if any."""
    recipe, steps = small_recipe(*changes, base=base), 0
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)

    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        def should_stop() -> bool:
            nonlocal steps
            steps += 1
            return steps == stop_after

        yield should_stop

    heard: list[Event] = [] if events is None else events
    return train(folder, recipe=recipe, on_event=heard.append, stopping=stopping).run


def draw(kind: str, rng: np.random.Generator) -> Image.Image:
    """A disc or a box of some colour at some place, 40 x 48 pixels."""
    background = tuple(int(v) for v in rng.integers(0, 90, 3))
    image = Image.new("RGB", (48, 40), background)
    left, top = (int(v) for v in rng.integers(4, 16, 2))
    size = int(rng.integers(12, 20))
    colour = tuple(int(v) for v in rng.integers(150, 255, 3))
    box = (left, top, left + size, top + size)
    pen = ImageDraw.Draw(image)
    (pen.ellipse if kind == "원" else pen.rectangle)(box, fill=colour)
    return image


def draw_clouds(seed: int) -> Image.Image:
    """Clouds of many colours, 48 x 40: enough detail to know a changed copy by."""
    noise = np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((48, 40), Image.Resampling.BICUBIC)


def write_competition(folder: Path, *, num_subjects: int, num_test: int) -> Path:
    """Discs and boxes: two pictures per subject, Korean names."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    lines = ["id,label,subject"]
    for subject in range(num_subjects):
        kind = ("원", "상자")[subject % 2]
        for shot in range(2):
            draw(kind, rng).save(folder / "train" / f"{subject:03d}_{shot}.png")
            lines.append(f"{subject:03d}_{shot},{kind},s{subject}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n", "utf-8")
    sample = ["id,label"]
    for number in range(num_test):
        draw(("원", "상자")[number % 2], rng).save(folder / "test" / f"t{number}.png")
        sample.append(f"t{number},원")
    (folder / "sample_submission.csv").write_text("\n".join(sample) + "\n", "utf-8")
    return folder


@pytest.fixture
def make_competition(tmp_path: Path) -> Callable[..., Path]:
    """Write a competition in a folder of its own."""

    def make(num_subjects: int = 20, num_test: int = 8, *, name: str = "도형") -> Path:
        return write_competition(tmp_path / name, num_subjects=num_subjects, num_test=num_test)

    return make


@pytest.fixture
def clouds() -> Callable[[int], Image.Image]:
    """Pictures by number, each with detail of its own."""
    return draw_clouds


@pytest.fixture
def run_quick() -> Callable[..., RunResult]:
    """``run`` with the quickest recipe; further overrides win."""

    def run_once(folder: Path, *overrides: str, **options: Any) -> RunResult:
        # Looking at the data has tests of its own, and takes longer than the rest.
        options = {"looks": False, **options}
        return run(folder, preset="quick", overrides=(*QUICKEST, *overrides), **options)

    return run_once


@dataclass(frozen=True)
class Spoken:
    """What one command left behind on the screen."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON object and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def gorae_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Spoken]:
    """The command line in this process; ``recipe=True`` adds the quickest recipe."""

    def command(*arguments: str | Path, recipe: bool = False) -> Spoken:
        given = [str(argument) for argument in arguments]
        if recipe:
            given += [part for change in QUICKEST for part in ("--set", change)]
        capsys.readouterr()
        code = main(given)
        shown = capsys.readouterr()
        assert "Traceback" not in shown.out + shown.err
        return Spoken(code, shown.out, shown.err)

    return command
