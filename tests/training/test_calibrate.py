"""The search for the fastest setting, with timings that are made up and noise that is drawn."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.training.calibrate import (
    COMPILE_GUESS_S,
    COMPILE_SHARE,
    MOST_PAIRS,
    PRECISION_SHARE,
    Ahead,
    Setting,
    allowed_s,
    calibrate,
    list_stages,
    measured_workers,
    needed_workers,
)

DEFAULT = Setting(threads=4)
ENOUGH = Ahead(num_images=10_000)


@dataclass
class Machine:
    """A machine whose settings take the seconds we say, give or take some noise.

    ``factors`` are what a field's value multiplies the default's time by.
    """

    factors: dict[tuple[str, Any], float]
    noise: float = 0.0
    seed: int = 0
    image_s: float = 0.02
    batch_size: int = 8
    compile_s: float = 0.0
    now: float = 0.0
    timed: list[Setting] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def true_s(self, setting: Setting) -> float:
        names = ("precision", "channels_last", "threads", "compile", "workers")
        return self.image_s * math.prod(
            self.factors.get((name, getattr(setting, name)), 1.0) for name in names
        )

    def measure(self, setting: Setting) -> float:
        if setting.compile and setting not in self.timed:
            self.now += self.compile_s
        self.timed.append(setting)
        seconds = self.true_s(setting) * math.exp(self.rng.normal(0, self.noise))
        self.now += seconds * self.batch_size
        return seconds

    def clock(self) -> float:
        return self.now

    def search(self, ahead: Ahead = ENOUGH, **fixed: Any) -> Setting:
        stages = list_stages(DEFAULT, device="cpu", cores=4, fixed=fixed)
        default = replace(DEFAULT, **fixed)
        return calibrate(self.measure, default, stages, ahead=ahead, clock=self.clock).setting


FACTORS = st.fixed_dictionaries(
    {
        ("precision", "bf16"): st.floats(0.2, 5.0),
        ("channels_last", False): st.floats(0.3, 3.0),
        ("threads", 1): st.floats(0.5, 4.0),
        ("threads", 2): st.floats(0.5, 2.0),
        ("compile", True): st.floats(0.3, 5.0),
    }
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(factors=FACTORS, noise=st.floats(0, 0.4), seed=st.integers(0, 10**6))
def test_the_choice_is_never_slower_than_the_default_by_more_than_the_noise(
    factors: dict[tuple[str, Any], float], noise: float, seed: int
) -> None:
    machine = Machine(factors, noise, seed)
    chosen = machine.search(Ahead(num_images=1_000_000))
    assert machine.true_s(chosen) <= machine.true_s(DEFAULT) * (1 + noise)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(factors=FACTORS)
def test_without_noise_every_clear_gain_is_found(
    factors: dict[tuple[str, Any], float],
) -> None:
    machine = Machine(factors)
    chosen = machine.search(Ahead(num_images=10_000_000))
    for (name, value), factor in factors.items():
        if factor < 0.8 and name != "threads":
            assert getattr(chosen, name) == value
        elif factor > 1:
            assert getattr(chosen, name) != value


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    factors=FACTORS,
    noise=st.floats(0, 0.4),
    num_images=st.integers(720, 200_000),
    image_s=st.floats(0.001, 0.5),
)
def test_the_search_takes_a_small_share_of_the_work(
    factors: dict[tuple[str, Any], float], noise: float, num_images: int, image_s: float
) -> None:
    machine = Machine(factors, noise, image_s=image_s, batch_size=8)
    machine.search(Ahead(num_images), compile=False)
    work_s = image_s * num_images
    # Beside its share: the two timings before anything is known, a slow candidate that was
    # timed twice, and the confirmation.
    slowest = max(1.0, *factors.values()) ** 2 * math.exp(3 * noise)
    extra_s = 8 * image_s * slowest * (4 + 2 * MOST_PAIRS)
    share, most_s = PRECISION_SHARE
    assert machine.now <= max(allowed_s(work_s), min(share * work_s, most_s)) + extra_s


@pytest.mark.parametrize(
    ("work_s", "spent_s"), [(10, 1.5), (20, 3), (60, 4), (200, 6), (1000, 10), (10_000, 50)]
)
def test_a_longer_job_allows_for_a_longer_search(work_s: float, spent_s: float) -> None:
    assert allowed_s(work_s) == pytest.approx(spent_s)


def test_the_number_format_is_tried_where_it_may_take_a_tenth_of_the_work() -> None:
    """ResNet-50 on two cores: half a second a timing, a minute and a quarter of work."""
    machine = Machine({("precision", "bf16"): 0.5}, image_s=0.17, batch_size=3)
    found = machine.search(Ahead(num_images=432))
    assert found.precision == "bf16"
    assert machine.now <= 0.12 * 0.17 * 432


@pytest.mark.parametrize(("times", "chosen"), [(0.5, "bf16"), (0.9, "fp32")])
def test_a_first_timing_that_promises_much_is_made_sure_of(times: float, chosen: str) -> None:
    """Timings of more than a second: two pairs take more than a tenth of 73 s of work."""
    machine = Machine({("precision", "bf16"): times}, image_s=0.17, batch_size=8)
    assert machine.search(Ahead(num_images=432)).precision == chosen


def test_a_short_job_times_the_default_only() -> None:
    machine = Machine({("precision", "bf16"): 0.3})
    assert machine.search(Ahead(num_images=100)) == DEFAULT
    assert set(machine.timed) == {DEFAULT}


def test_a_deadline_counts_as_the_work_does() -> None:
    machine = Machine({("precision", "bf16"): 0.3})
    assert machine.search(Ahead(num_images=10_000, left_s=1.0)) == DEFAULT
    assert machine.search(Ahead(num_images=10_000, left_s=100.0)).precision == "bf16"


def test_rounding_must_be_earned_and_a_layout_only_has_to_win() -> None:
    machine = Machine({("precision", "bf16"): 0.95, ("channels_last", False): 0.95})
    chosen = machine.search()
    assert (chosen.precision, chosen.channels_last) == ("fp32", False)


@pytest.mark.parametrize("times_slower", [3.0, 50.0])
def test_what_is_much_slower_is_left_at_once(times_slower: float) -> None:
    machine = Machine({("precision", "bf16"): times_slower})
    assert machine.search().precision == "fp32"
    assert sum(setting.precision == "bf16" for setting in machine.timed) == 1


def test_compiling_is_tried_only_where_its_time_is_a_small_share_of_the_work() -> None:
    enough_s = COMPILE_GUESS_S / COMPILE_SHARE
    for work_s, is_tried in ((0.9 * enough_s, False), (1.1 * enough_s, True)):
        machine = Machine({("compile", True): 0.5}, compile_s=COMPILE_GUESS_S)
        chosen = machine.search(Ahead(num_images=round(work_s / machine.image_s)))
        assert chosen.compile == is_tried
        assert any(setting.compile for setting in machine.timed) == is_tried


def test_compiling_must_save_more_than_it_takes_for_all_weights() -> None:
    images = round(4000 / 0.02)
    for num_compiles, pays in ((1, True), (30, True), (40, False)):
        machine = Machine({("compile", True): 0.5}, compile_s=COMPILE_GUESS_S)
        assert machine.search(Ahead(images, num_compiles)).compile == pays


def test_what_cannot_be_computed_here_is_left_out_and_its_reason_kept() -> None:
    machine = Machine({("channels_last", False): 0.5})

    def measure(setting: Setting) -> float:
        if setting.precision == "bf16":
            raise RuntimeError('"op" not implemented for BFloat16\nmore')
        return machine.measure(setting)

    stages = list_stages(DEFAULT, device="cpu", cores=4, fixed=())
    found = calibrate(measure, DEFAULT, stages, ahead=ENOUGH, clock=machine.clock)
    assert found.setting == replace(DEFAULT, channels_last=False)
    bf16 = replace(DEFAULT, precision="bf16")
    assert found.failed == {bf16: '"op" not implemented for BFloat16'}


def test_a_default_that_cannot_be_computed_is_an_error() -> None:
    def measure(setting: Setting) -> float:
        raise RuntimeError("no such operator")

    with pytest.raises(RuntimeError, match="no such operator"):
        calibrate(measure, DEFAULT, [], ahead=ENOUGH)


def test_a_gain_that_does_not_come_again_is_not_confirmed() -> None:
    """Two stages that each looked like a gain while the default had a bad moment."""
    calls = 0

    def measure(setting: Setting) -> float:
        nonlocal calls
        calls += 1
        slow_start = 3.0 if setting.precision == "fp32" and calls < 8 else 1.0
        return 0.01 * slow_start

    stages = [[{"precision": "bf16"}]]
    found = calibrate(measure, DEFAULT, stages, ahead=ENOUGH, clock=lambda: 0.0)
    assert calls > 8
    assert found.setting == DEFAULT


def test_speeds_are_the_best_of_each_setting() -> None:
    machine = Machine({("precision", "bf16"): 0.5})
    stages = [[{"precision": "bf16"}]]
    found = calibrate(machine.measure, DEFAULT, stages, ahead=ENOUGH, clock=machine.clock)
    assert found.speeds == pytest.approx({DEFAULT: 50, replace(DEFAULT, precision="bf16"): 100})
    assert found.spent_s == pytest.approx(machine.now)
    assert found.is_complete


@pytest.mark.parametrize(
    ("device", "cores", "fixed", "expected"),
    [
        ("cpu", 4, (), {"precision": ["bf16"], "threads": [2, 1]}),
        ("cpu", 8, (), {"precision": ["bf16"], "threads": [8, 2, 1]}),
        ("cpu", 4, ("precision", "threads"), {}),
        ("cuda:0", 8, (), {"precision": ["bf16", "fp16"]}),
    ],
)
def test_stages_fit_the_device_and_leave_what_is_given(
    device: str, cores: int, fixed: tuple[str, ...], expected: dict[str, list[Any]]
) -> None:
    stages = list_stages(DEFAULT, device=device, cores=cores, fixed=fixed)
    tried: dict[str, list[Any]] = {}
    for change in (change for stage in stages for change in stage):
        for name, value in change.items():
            tried.setdefault(name, []).append(value)
    assert tried == expected | {"channels_last": [False], "compile": [True]}


@pytest.mark.parametrize(
    ("picture_s", "image_s", "cores", "is_cpu", "expected"),
    [
        (0.001, 1.0, 64, True, 0),  # nothing to do beside a slow network
        (0.004, 0.001, 16, False, 5),  # four cores' work and a fourth to spare
        (0.004, 0.001, 4, False, 3),  # as many as there are beside this process
        (0.004, 0.001, 1, False, 1),
        (0.01, 0.1, 16, True, 1),
        (0.01, 0.1, 4, True, None),  # the same cores compute: to be measured
    ],
)
def test_workers_keep_the_network_busy(
    picture_s: float, image_s: float, cores: int, is_cpu: bool, expected: int | None
) -> None:
    assert needed_workers(picture_s, image_s, cores=cores, is_cpu=is_cpu) == expected


@pytest.mark.parametrize(("zero", "expected"), [(0.8, 0), (1.0, 1), (1.2, 1)])
def test_on_a_small_machine_the_number_of_workers_is_measured(
    zero: float, expected: int
) -> None:
    machine = Machine({("workers", 0): zero}, noise=0.02)
    found = measured_workers(machine.measure, DEFAULT, ahead=ENOUGH, clock=machine.clock)
    assert found == expected


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "fp32, 4 threads"),
        ({"precision": "bf16", "threads": 1}, "bf16, 1 thread"),
        (
            {"channels_last": False, "compile": True},
            "fp32, channels first, compiled, 4 threads",
        ),
    ],
)
def test_a_setting_says_what_it_is(change: dict[str, Any], text: str) -> None:
    assert replace(DEFAULT, **change).describe() == text
