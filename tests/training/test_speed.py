"""Speed is measured as training and prediction work, and without a trace on the network."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gorae.data.pixels import PixelSpec
from gorae.training.calibrate import Setting
from gorae.training.speed import (
    LEAST_TIMED_S,
    Run,
    as_arithmetic,
    images_per_second,
    picture_seconds,
    ready_to_predict,
    ready_to_train,
    time_feed,
    time_network,
)

SPEC = PixelSpec((0.5,) * 3, (0.5,) * 3, 16, "bilinear", 1.0)
SETTING = Setting(threads=1)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


@pytest.mark.parametrize("change", [{}, {"precision": "bf16"}, {"channels_last": False}])
def test_timing_changes_no_weight_no_statistic_and_no_chance(change: dict[str, object]) -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    chance, threads = torch.get_rng_state(), torch.get_num_threads()
    setting = replace(SETTING, **change)  # type: ignore[arg-type]
    with ready_to_train(network, SPEC, device="cpu") as ready:
        assert images_per_second(ready, SPEC, setting=setting, batch_size=4) > 0
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training
    assert torch.equal(torch.get_rng_state(), chance)
    assert torch.get_num_threads() == threads


def sleep_per_image(seconds: float, sizes: list[int]) -> Callable[[Tensor], None]:
    def work(images: Tensor) -> None:
        sizes.append(len(images))
        time.sleep(seconds * len(images))

    return work


def test_a_timing_is_seconds_per_image_and_long_enough() -> None:
    sizes: list[int] = []
    measure = time_network(lambda _: sleep_per_image(0.001, sizes), SPEC, batch_size=4)
    assert measure(SETTING) == pytest.approx(0.001, rel=0.5)
    assert set(sizes) == {4}
    assert sum(sizes) * 0.0011 >= LEAST_TIMED_S


@pytest.mark.parametrize(("seconds", "timed"), [(0.0, 4), (0.4, 2)])
def test_a_slow_network_is_timed_on_fewer_images(seconds: float, timed: int) -> None:
    sizes: list[int] = []
    work = sleep_per_image(seconds, sizes)
    time_network(lambda _: work, SPEC, batch_size=4, least=2)(SETTING)
    assert sizes[0] == 2
    assert set(sizes[1:]) == {timed}


def test_predictions_are_timed_in_threads_that_share_the_images() -> None:
    sizes: list[int] = []
    threads: set[int] = set()

    def build(setting: Setting, run: Run) -> Callable[[Tensor], Tensor]:
        assert run(lambda: torch.tensor(torch.get_num_threads())) == 2

        def forward(images: Tensor) -> Tensor:
            sizes.append(len(images))
            threads.add(torch.get_num_threads())
            return images

        return forward

    before = torch.get_num_threads()
    with ready_to_predict(build, device="cpu", num_threads=2, threads=4) as ready:
        ready(SETTING)(torch.zeros(8, 3, 16, 16, dtype=torch.uint8))
    assert (sizes, threads) == ([4, 4], {2})
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_feed_is_timed_with_the_preparation_of_its_pictures(workers: int) -> None:
    """A picture takes 10 ms to prepare and no time to learn from."""

    def prepare(number: int) -> Tensor:
        assert number < 5
        time.sleep(0.01)
        return torch.zeros(3, 16, 16, dtype=torch.uint8)

    sizes: list[int] = []
    work = sleep_per_image(0.0, sizes)
    measure = time_feed(lambda _: work, prepare, num_pictures=5, batch_size=4)
    setting = replace(SETTING, workers=workers)
    for _ in range(2):
        assert measure(setting) == pytest.approx(0.01, rel=0.6)
    assert set(sizes) == {4}


def test_preparing_a_picture_is_timed_on_one_core() -> None:
    threads: set[int] = set()

    def prepare(number: int) -> Tensor:
        threads.add(torch.get_num_threads())
        time.sleep(0.005)
        return torch.zeros(3, 16, 16, dtype=torch.uint8)

    assert picture_seconds(prepare, num_pictures=3) == pytest.approx(0.005, rel=0.6)
    assert threads == {1}


def test_the_arithmetic_is_what_the_network_needs_of_a_setting() -> None:
    arithmetic = as_arithmetic(Setting(3, "bf16", channels_last=False, compile=True), "cpu")
    assert (arithmetic.precision, arithmetic.channels_last) == ("bf16", False)
    assert arithmetic.compile
