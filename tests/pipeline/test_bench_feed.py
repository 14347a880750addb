"""`gorae bench feed`: measured speeds, who waits, and what to set."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gorae.config import Recipe, resolve_recipe
from gorae.errors import ConfigError, DataError
from gorae.events import ignore_events
from gorae.machine import num_cores
from gorae.pipeline.calibration import CALIBRATION_FILE
from gorae.pipeline.context import open_context
from gorae.pipeline.feed import FeedResult, bench_feed
from gorae.pipeline.feed.advice import Setup, WorkerSpeed, advise, enough_workers
from gorae.pipeline.feed.timings import spread_over
from gorae.pipeline.init import init
from gorae.pipeline.pixels import input_pixels, prepare
from gorae.pipeline.preprocess import preprocess
from gorae.training.feed_speed import Speed

TINY = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "train.precision=fp32",
    "train.threads=1",
    "train.batch_size=8",
)
SETUP = Setup(cores=8, is_cpu=False, workers=None, input_size=224, stored_short_side=None)


def recipe_of(*overrides: str) -> Recipe:
    return resolve_recipe(preset="standard", overrides=[*TINY, *overrides])


def speed(per_s: float) -> Speed:
    return Speed(1 / per_s, 0.9 / per_s, 1.1 / per_s, 5)


def measured(*rates: tuple[float, float]) -> list[WorkerSpeed]:
    """Feed alone and together, from no worker on."""
    return [WorkerSpeed(n, speed(feed), speed(fed)) for n, (feed, fed) in enumerate(rates)]


STEPS = [("read", speed(10_000)), ("cut", speed(1000)), ("blur", speed(5000))]


def test_a_network_that_is_fed_is_the_bottleneck() -> None:
    found = advise(measured((310, 32), (300, 33)), network=speed(34), steps=STEPS, setup=SETUP)
    assert (found.bottleneck, found.workers) == ("network", 0)
    assert found.lines[0].startswith("feeding 310/s, network 34/s alone: the network is the")
    assert "train.workers = 0 is enough" in found.lines[0]
    assert len(found.lines) == 1


def test_a_network_that_waits_wants_workers_and_cheaper_steps() -> None:
    speeds = measured((300, 200), (290, 280), (560, 550))
    setup = Setup(8, is_cpu=False, workers=0, input_size=224, stored_short_side=512)
    found = advise(speeds, network=speed(2000), steps=STEPS, setup=setup)
    assert (found.bottleneck, found.workers) == ("feed", 2)
    assert found.throughput == pytest.approx(550)
    text = "\n".join(found.lines)
    assert "the network waits for pictures" in text
    assert "train.workers = 0; set it to 2" in text
    assert "--workers 2,4" in text
    assert "cut (77%)" in text
    assert "pixels.stored_short_side = 512" in text


def test_cores_that_are_shared_are_named() -> None:
    setup = Setup(2, is_cpu=True, workers=None, input_size=224, stored_short_side=None)
    found = advise(measured((60, 25), (58, 26)), network=speed(40), steps=STEPS, setup=setup)
    assert found.bottleneck == "cores"
    assert "share the 2 cores" in found.lines[0]


@pytest.mark.parametrize(
    ("together", "workers"), [((100, 103), 0), ((100, 120), 1), ((100, 120, 90), 1)]
)
def test_the_fewest_workers_that_are_as_fast(together: Sequence[float], workers: int) -> None:
    assert enough_workers(measured(*((500, rate) for rate in together))).workers == workers


def test_the_smaller_of_two_speeds_is_expected() -> None:
    """The lecture's examples: 10 and 20 give 10, 30 and 20 give 20."""
    assert WorkerSpeed(0, speed(10), speed(9)).expected(speed(20)) == pytest.approx(10)
    assert WorkerSpeed(0, speed(30), speed(9)).expected(speed(20)) == pytest.approx(20)


@pytest.fixture
def folder(make_competition: Callable[..., Path]) -> Path:
    folder = make_competition(num_subjects=6, num_test=2)
    init(folder)
    return folder


def test_a_training_is_measured_in_all_its_parts(folder: Path) -> None:
    recipe = recipe_of("augment.vflip=0.5", "augment.cutout=0.3")
    found: FeedResult = bench_feed(folder, recipe=recipe, seconds=3, workers=(0, 1))
    assert [step.name for step in found.steps] == [
        "decode the file",
        "shrink to 37 px",
        "read from the store",
        "cut and resize to 32 px",
        "upside-down flip (50%)",
        "left-right flip (50%)",
        "black square (30%)",
        "join 8 to a batch",
        "one picture, measured as a whole",
        "to numbers, with the network",
    ]
    assert [each.workers for each in found.workers] == [0, 1]
    assert found.training is not None
    assert found.advice is not None
    assert {(each.what, each.side) for each in found.orders} == {
        ("turn", 32), ("crop", 32), ("turn", 1024), ("crop", 1024),
    }  # fmt: skip
    enlarged = {each.what: each.ratio for each in found.orders if each.side == 1024}
    # Pictures of 48 x 40: turned before they are made 25 times as long.
    assert enlarged["turn"] > 1.3
    as_json = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert as_json["training"]["images_per_s"] == pytest.approx(found.training.per_s)
    # A benchmark leaves nothing that a training would take for its own measurement.
    assert not (folder / ".gorae" / CALIBRATION_FILE).exists()


def test_a_frozen_backbone_is_fed_once(folder: Path) -> None:
    recipe = resolve_recipe(preset="quick", overrides=TINY[:3])
    found = bench_feed(folder, recipe=recipe, seconds=1.5)
    assert (found.training, found.workers, found.advice) == (None, (), None)
    assert found.predicted_per_s <= found.prediction.per_s
    json.dumps(found.to_json(), allow_nan=False)


def test_frames_of_films_are_decoded_and_read_as_they_are_kept(
    tmp_path: Path, make_dicom: Callable[..., bytes]
) -> None:
    for number in range(8):
        place = tmp_path / "train" / "ab"[number % 2] / f"{number}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 4096, (3, 40, 48), dtype=np.uint16)
        place.write_bytes(make_dicom(values, PatientID=f"p{number}"))
    init(tmp_path)
    file = tmp_path / "competition.toml"
    file.write_text(file.read_text("utf-8").replace("[train]", '[train]\nframes = "all"'))
    recipe = resolve_recipe(preset="quick", overrides=TINY[:3])
    found = bench_feed(tmp_path, recipe=recipe, seconds=1)
    assert {"decode the file", "read from the store"} <= {step.name for step in found.steps}
    context = open_context(tmp_path)
    spec = input_pixels(context, recipe)
    prepared = prepare(context, recipe, spec, on_event=ignore_events)
    spread = spread_over(prepared, 100)
    assert len(spread) == 24
    assert spread["key"].is_unique
    assert set(spread["frame"]) == {f'{{"frame":{number}}}' for number in range(3)}


def test_more_workers_than_cores_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no more worker processes than there are cores"):
        bench_feed(folder, recipe=recipe_of(), workers=(0, num_cores() + 1))


def test_a_file_that_changed_is_named(folder: Path) -> None:
    preprocess(folder, recipe=recipe_of())
    for path in (folder / "train").iterdir():
        # Size and time are those of the scan, so it is taken for the same.
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DataError, match="was readable when it was scanned"):
        bench_feed(folder, recipe=recipe_of(), seconds=1)
