"""Lists of steps: total, deterministic, plain values, and boxes that are cut are told."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from gorae.config.preparing import PrepareStep, plain_steps
from gorae.preprocess.steps import STEPS, apply_steps, each_step

NEEDED: dict[str, dict[str, Any]] = {
    "align": {"columns": ["a", "b", "c", "d"], "size": [24, 32]},
    "resize": {"how": "fit", "size": [24, 32]},
    "brightness": {"factor": 1.5},
    "contrast": {"factor": 1.5},
    "saturation": {"factor": 1.5},
    "gamma": {"power": 0.5},
}
POINTS = ((2.0, 3.0), (7.0, 5.0))


def plain(*names: str) -> list[dict[str, object]]:
    adapter = TypeAdapter(tuple[PrepareStep, ...])
    steps = adapter.validate_python([{"step": name, **NEEDED.get(name, {})} for name in names])
    return json.loads(json.dumps(plain_steps(steps)))  # type: ignore[no-any-return]


def picture(height: int, width: int, *, kind: str = "noise") -> NDArray[np.uint8]:
    if kind == "flat":
        return np.full((height, width, 3), 90, np.uint8)
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 300), (300, 1), (40, 33), (9, 40_000)])
def test_every_step_takes_every_picture_and_leaves_it_alone(
    name: str, shape: tuple[int, int]
) -> None:
    # What a square of the longest makes is tested by itself.
    steps = plain(name) if name != "pad_square" or max(shape) < 1000 else plain("min_max")
    for kind in ("noise", "flat"):
        pixels = picture(*shape, kind=kind)
        before = pixels.copy()
        pixels.flags.writeable = False
        first = apply_steps(pixels, steps, box=(0, 0, 1, 1), points=POINTS)
        assert first.pixels.dtype == np.uint8
        assert first.pixels.ndim == 3
        assert first.pixels.shape[2] == 3
        assert first.pixels.size
        assert np.array_equal(pixels, before)
        again = apply_steps(pixels, steps, box=(0, 0, 1, 1), points=POINTS)
        assert np.array_equal(first.pixels, again.pixels)


def test_the_settings_of_every_step_reach_it() -> None:
    assert {step["step"] for step in plain(*STEPS)} == set(STEPS)


def test_no_steps_give_the_same_pixels() -> None:
    pixels = picture(5, 6)
    found = apply_steps(pixels, [])
    assert found.pixels is pixels
    assert found.notes == ()


def test_a_box_that_is_cut_is_told_by_whom() -> None:
    pixels = picture(60, 80)
    assert apply_steps(pixels, plain("crop_box"), box=(70, 10, 90, 30)).notes == (
        "box_cut: the border of the picture leaves 50% of the box",
    )
    framed = np.full((60, 80, 3), 255, np.uint8)
    framed[10:50, 10:70] = pixels[10:50, 10:70]
    found = apply_steps(framed, plain("border_crop"), box=(0, 10, 20, 50))
    assert found.notes == ("box_cut: border_crop leaves 50% of the box",)
    whole = apply_steps(
        framed, plain("border_crop", "pad_square", "resize"), box=(10, 10, 70, 50)
    )
    assert whole.notes == ()


def test_each_step_is_shown_and_the_last_is_the_result() -> None:
    steps = plain("pad_square", "greyscale", "resize")
    stages = list(each_step(picture(20, 30), steps, box=(3, 4, 9, 11)))
    assert [name for name, _ in stages] == ["raw", "pad_square", "greyscale", "resize"]
    assert [stage.size for _, stage in stages] == [(30, 20), (30, 30), (30, 30), (24, 32)]
    last = apply_steps(picture(20, 30), steps, box=(3, 4, 9, 11))
    assert np.array_equal(stages[-1][1].pixels, last.pixels)


def test_training_and_prediction_see_the_same_picture_alike() -> None:
    # One function of the picture alone: nothing in it knows for whom it works.
    pixels = picture(50, 70)
    steps = plain("face_crop", "pad_square", "resize")
    assert np.array_equal(apply_steps(pixels, steps).pixels, apply_steps(pixels, steps).pixels)
