"""Speed is measured without a trace on the network, and the faster format is chosen by it."""

import pytest
import torch
from torch import nn

from gorae.data.pixels import PixelSpec
from gorae.training.evaluate import Arithmetic
from gorae.training.speed import WORTHWHILE_GAIN, faster_precision, images_per_second

SPEC = PixelSpec((0.5,) * 3, (0.5,) * 3, 16, "bilinear", 1.0)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


@pytest.mark.parametrize("is_training", [True, False])
def test_measuring_changes_no_weight_and_no_statistic(is_training: bool) -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    speed = images_per_second(
        network, SPEC, arithmetic=Arithmetic(), batch_size=4, is_training=is_training
    )
    assert speed > 0
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


@pytest.mark.parametrize("is_training", [True, False])
def test_the_chosen_format_is_worth_its_rounding(is_training: bool) -> None:
    precision, speeds = faster_precision(
        make_network(),
        SPEC,
        device="cpu",
        channels_last=True,
        batch_size=4,
        is_training=is_training,
    )
    assert set(speeds) == {"fp32", "bf16"}
    assert (precision == "bf16") == (speeds["bf16"] > WORTHWHILE_GAIN * speeds["fp32"])
