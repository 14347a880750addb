"""Feeds are timed in turn, part by part, and within the time there is."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from gorae.augment.plan import POLICIES, Affine, AugmentPlan, Chance, NamedTransform
from gorae.data.pixels import PixelSpec
from gorae.training.calibrate import Setting
from gorae.training.feed_speed import (
    Loads,
    Speed,
    affordable,
    framing_of,
    order_timings,
    part_speeds,
    plan_parts,
    plan_timings,
    speed_of,
    time_in_turn,
    timing_of,
    worker_speeds,
)
from gorae.training.speed import TIMED_FEED_BATCHES

SPEC = PixelSpec((0.5,) * 3, (0.5,) * 3, 32, "bilinear", 0.875)


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def test_a_speed_is_the_median_and_the_middle_half() -> None:
    speed = speed_of(np.array([0.01, 0.02, 0.03, 0.04, 0.99]))
    assert speed == Speed(0.03, 0.02, 0.04, 5)
    assert speed.per_s == pytest.approx(1 / 0.03)
    assert speed.spread == pytest.approx(2 / 3)
    assert speed_of(np.array([-0.1, -0.2])).picture_s > 0


def test_timings_are_taken_in_turn_and_the_first_round_is_not_counted() -> None:
    clock, order = FakeClock(), list[str]()

    def timing(name: str) -> Callable[[int], float]:
        def take(number: int) -> float:
            order.append(f"{name}{number}")
            clock.now += 1
            return float(number)

        return take

    found = time_in_turn({"a": timing("a"), "b": timing("b")}, seconds=7, clock=clock)
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert {name: values.tolist() for name, values in found.items()} == {
        "a": [1.0, 2.0],
        "b": [1.0, 2.0],
    }


@pytest.mark.parametrize(("seconds", "num_rounds"), [(0.0, 1), (100.0, 5)])
def test_at_least_one_round_counts_and_at_most_so_many(seconds: float, num_rounds: int) -> None:
    clock = FakeClock()
    found = time_in_turn({"": float}, seconds=seconds, most_rounds=5, clock=clock)
    assert len(found[""]) == num_rounds


def test_a_timing_is_per_picture_on_one_core_and_of_new_pictures() -> None:
    seen, threads = list[int](), set[int]()

    def work(number: int) -> None:
        seen.append(number)
        threads.add(torch.get_num_threads())
        time.sleep(0.005)

    before = torch.get_num_threads()
    assert 0.0049 <= timing_of(work, num_pictures=3)(2) < 0.05
    assert (seen, threads, torch.get_num_threads()) == ([6, 7, 8], {1}, before)


def test_parts_are_the_steps_of_the_policy_in_their_order() -> None:
    parts = plan_parts(POLICIES["isic2020"])
    assert [(part.name, part.share) for part in parts] == [
        ("transpose", 0.5),
        ("vflip", 0.5),
        ("hflip", 0.5),
        ("shift", 0.75),
        ("gain", 0.75),
        ("blur_noise", 0.7),
        ("distortion", 0.7),
        ("clahe", 0.7),
        ("hsv", 0.5),
        ("affine", 0.85),
        ("cutout", 0.7),
    ]
    assert plan_parts(AugmentPlan()) == ()


def test_every_field_of_a_plan_is_in_a_part_or_in_the_frame() -> None:
    everything = AugmentPlan(
        policy="none",
        center_square=True,
        face_crop=0.5,
        scale=(0.5, 1.0),
        ratio=(0.9, 1.1),
        hflip=0.5,
        vflip=0.5,
        transpose=0.5,
        rand_ops=2,
        rand_magnitude=5.0,
        transforms=(
            NamedTransform("GaussianBlur", 0.25, (("kernel_size", 3),)),
            NamedTransform("RandomGrayscale", None, ()),
        ),
        cutout=0.5,
        cutout_side=0.4,
        erasing=0.5,
        shift=Chance(0.5, 0.1),
        gain=Chance(0.5, 0.1),
        saturation=Chance(0.5, 0.1),
        blur_noise=0.5,
        distortion=0.5,
        clahe=Chance(0.5, 4.0),
        hsv=0.5,
        affine=Affine(0.5, 0.1, (0.9, 1.1), 15.0, 0.0),
    )
    parts, plain = plan_parts(everything), AugmentPlan()
    changed = {
        name
        for plan in (framing_of(everything), *(part.plan for part in parts))
        for name in plan.__dataclass_fields__
        if getattr(plan, name) != getattr(plain, name)
    }
    assert changed == set(plain.__dataclass_fields__) - {"policy"}
    shares = {part.name: part.share for part in parts}
    assert (shares["GaussianBlur"], shares["RandomGrayscale"], shares["rand_ops"]) == (
        0.25,
        1,
        1,
    )
    assert all(part.plan.affine is None or part.plan.affine.p == 1 for part in parts)


def test_the_dear_part_of_a_plan_is_found() -> None:
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (3, 80, 96), dtype=np.uint8))] * 2
    plan = replace(POLICIES["isic2020"], scale=(0.5, 1.0))
    spec = replace(SPEC, input_size=128)
    timings = plan_timings(images, spec=spec, plan=plan, num_pictures=2)
    times_s = time_in_turn(timings, seconds=1.5)
    found = {part.name: speed.picture_s for part, speed in part_speeds(times_s, plan)}
    # A flip copies; the local equalisation of brightness looks at every pixel.
    assert found["clahe"] > 3 * found["hflip"]
    assert set(timings) == {"frame", "nothing", *map(str, range(len(found)))}


def test_both_orders_are_of_the_same_size_and_the_smaller_picture_is_turned_faster() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)]
    timings = order_timings(pictures, side=400, num_pictures=1)
    assert set(timings) == {"turn_first", "turn_last", "crop_first", "crop_last"}
    times_s = time_in_turn(timings, seconds=1.0)
    assert np.median(times_s["turn_last"] / times_s["turn_first"]) > 1.3


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1000.0, Loads((0, 1, 2), 32)),
        # 4 rounds of 3 + 6 + 9 batches, 0.1 s a picture: 7.2 s per picture in a batch.
        (36.0, Loads((0, 1, 2), 5)),
        # Of 3 + 6 batches: 3.6 s.
        (18.0, Loads((0, 1), 5)),
        (0.1, Loads((0,), 2)),
    ],
)
def test_fewer_workers_are_timed_where_time_is_short(seconds: float, expected: Loads) -> None:
    found = affordable([0, 1, 2], batch_size=32, feed_s=0.02, network_s=0.06, seconds=seconds)
    assert found == expected
    assert TIMED_FEED_BATCHES == 3


def prepare_slowly(number: int) -> Tensor:
    time.sleep(0.01)
    return torch.zeros(3, 8, 8, dtype=torch.uint8)


def test_a_feed_alone_and_with_a_network() -> None:
    """10 ms to prepare, 10 ms to learn: in turn without workers, side by side with one."""

    def ready(setting: Setting) -> Callable[[Tensor], None]:
        return lambda images: time.sleep(0.01 * len(images))

    threads = torch.get_num_threads()
    alone, fed = worker_speeds(
        ready,
        prepare_slowly,
        num_pictures=1000,
        loads=Loads((0, 1), 4),
        setting=Setting(threads=1),
        seconds=2.0,
    )
    assert min(alone[0].picture_s, alone[1].picture_s, fed[1].picture_s) >= 0.0099
    assert fed[0].picture_s >= 0.0199
    assert fed[1].picture_s < 0.85 * fed[0].picture_s
    assert torch.get_num_threads() == threads
