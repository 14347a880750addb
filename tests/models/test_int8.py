"""Convolutions of bytes: exact sums, close to floats, and refused where they do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.errors import ConfigError, DataError
from gorae.models import build_model
from gorae.models.int8 import observe_ranges, to_int8, traced
from gorae.models.int8_conv import Grid, Int8Conv, grid_over, to_bytes, to_floats
from gorae.models.network import ImageModel

pytestmark = pytest.mark.skipif(
    not torch.cpu._is_vnni_supported(), reason="needs a processor with VNNI"
)

IMAGES = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def _network(backbone: nn.Module, num_features: int) -> ImageModel:
    return ImageModel(backbone, num_features=num_features, num_outputs=3).eval()


def _built(name: str, **kwargs: Any) -> ImageModel:
    """With norms that have fitted: new ones set what they are added to to zero."""
    model = build_model(name, num_outputs=3, kwargs=kwargs, seed=0, folder=Path())
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(std=0.1, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(std=0.1, generator=generator)
    return model.eval()


def _in_bytes(model: ImageModel, images: Tensor = IMAGES, *, batch_size: int = 6) -> ImageModel:
    network = traced(model, input_size=images.shape[-1])
    ranges = observe_ranges(network, [images])
    to_int8(network, ranges, batch_size=batch_size)
    return network


def _apart(model: ImageModel, images: Tensor = IMAGES) -> float:
    """The largest difference of features in bytes and in floats, by the largest feature."""
    with torch.inference_mode():
        expected, got = model.features(images), _in_bytes(model, images).features(images)
    return float((expected - got).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        (0.0, 51.0, 0.2, 0),
        (-2.55, 2.55, 0.02, 128),
        (1.0, 2.55, 0.01, 0),
        (-51.0, -1.0, 0.2, 255),
    ],
)
def test_a_grid_holds_zero_and_the_range(
    low: float, high: float, scale: float, zero: int
) -> None:
    found = grid_over(low, high)
    assert found.scale == pytest.approx(scale)
    assert found.zero == zero


def test_bytes_are_the_nearest_numbers_of_the_grid() -> None:
    values = torch.tensor([-1.0, -0.5, -0.26, 0.0, 0.24, 63.5, 99.0])
    found = to_bytes(values, 0.5, 128)
    assert found.tolist() == [126, 127, 127, 128, 128, 255, 255]
    back = to_floats(found, 0.5, 128, torch.float32)
    assert back.tolist() == [-1.0, -0.5, -0.5, 0.0, 0.0, 63.5, 63.5]


CASES = {
    "plain": {"kernel_size": 3, "padding": 1},
    "stride": {"kernel_size": 3, "stride": 2, "padding": 1},
    "pointwise": {"kernel_size": 1, "bias": False},
    "groups": {"kernel_size": 3, "padding": (1, 0), "groups": 2},
    "dilation": {"kernel_size": 3, "padding": 2, "dilation": 2},
}


@pytest.mark.parametrize("rectifies", [False, True])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_convolution_is_exact_in_integers(case: str, adds: bool, rectifies: bool) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(16, 16, **CASES[case])  # type: ignore[arg-type]
    given, made, onto = Grid(0.02, 100), Grid(0.05, 90), Grid(0.03, 77)
    images = torch.randint(0, 256, (2, 16, 9, 9), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    layer = Int8Conv(
        convolution,
        given=given,
        made=made,
        onto=onto if adds else None,
        rectifies=rectifies,
        dtype=torch.float32,
        shape=tuple(images.shape),
    )
    # By hand: integers of the weights, sums without rounding, one rounding at the end.
    weight = convolution.weight.detach().double()
    scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    whole = (weight / scale).round()
    shifted = images.double() - given.zero
    sums = F.conv2d(
        shifted,
        whole,
        None,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        convolution.groups,
    )
    expected = sums * scale.view(1, -1, 1, 1) * given.scale
    if convolution.bias is not None:
        expected += convolution.bias.detach().double().view(1, -1, 1, 1)
    other = torch.randint(0, 256, expected.shape, dtype=torch.uint8)
    other = other.contiguous(memory_format=torch.channels_last)
    if adds:
        expected += (other.double() - onto.zero) * onto.scale
    if rectifies:
        expected = expected.clamp_min(0)
    steps = expected / made.scale + made.zero
    found = layer(images, other.clone() if adds else None)
    assert found.dtype == torch.uint8
    apart = (found.double() - steps.clamp(0, 255)).abs()
    # Half a step, and what float32 loses on the way.
    assert apart.max() <= 0.51
    assert len(found.unique()) > 20


@pytest.mark.parametrize("name", ["resnet10t", "regnetx_002", "torchvision/resnet18"])
def test_networks_in_bytes_are_close_to_floats(name: str) -> None:
    assert 0 < _apart(_built(name)) < 0.05


def test_nearly_all_convolutions_are_of_bytes() -> None:
    network = _in_bytes(_built("resnet50"))
    layers = [type(layer) for layer in network.backbone.modules()]
    assert layers.count(Int8Conv) == 52
    # The first one, of the colours.
    assert layers.count(nn.Conv2d) == 1


def test_the_network_itself_stays_as_it_is() -> None:
    model = _built("resnet10t")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    _in_bytes(model)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_an_image_does_not_depend_on_its_batch() -> None:
    network = _in_bytes(_built("resnet10t"))
    with torch.inference_mode():
        whole = network.features(IMAGES)
        alone = torch.cat([network.features(image[None]) for image in IMAGES])
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-6)


class _Own(nn.Module):
    """Maps that are used twice, sums of one map with itself, and padding of its own."""

    def __init__(self, how: str) -> None:
        super().__init__()
        from timm.layers.conv2d_same import Conv2dSame

        self.how = how
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.third = nn.Conv2d(16, 16, 1)
        self.same = Conv2dSame(16, 16, 3, stride=2)
        self.drop = nn.Dropout(0.5)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.first(images))
        # Enough that fits, whatever comes after.
        for _ in range(3):
            maps = F.relu(self.third(maps))
        if self.how == "own input":
            maps = F.relu(maps + self.second(maps))
        elif self.how == "used again":
            other = F.relu(self.third(maps))
            maps = F.relu(other + self.second(maps))
            maps = torch.cat([maps, other], dim=1)
        elif self.how == "scaled sum":
            maps = F.relu(torch.add(F.relu(self.third(maps)), self.second(maps), alpha=3))
        elif self.how == "broadcast":
            pooled = self.third(maps).mean(dim=(2, 3), keepdim=True)
            maps = F.relu(pooled + self.second(maps))
        elif self.how == "own padding":
            # Of a map with values below zero, where zero is another byte than 0.
            maps = F.relu(self.same(self.second(maps)))
        elif self.how == "dropout":
            maps = self.drop(F.relu(self.drop(self.second(maps))))
        elif self.how.startswith("in place"):
            # What is added is what the first ReLU left, wherever it is asked for.
            maps = self.third(maps)
            if self.how == "in place, layer":
                self.relu(maps)
            elif self.how == "in place, function":
                F.relu(maps, inplace=True)
            else:
                maps.relu_()
            maps = F.relu(self.second(maps) + maps)
        elif self.how == "twice the same":
            maps = F.relu(self.second(maps))
            maps = maps + maps
        return maps.mean(dim=(2, 3))


@pytest.mark.parametrize(
    "how",
    [
        "own input",
        "used again",
        "scaled sum",
        "broadcast",
        "own padding",
        "dropout",
        "twice the same",
        "in place, layer",
        "in place, function",
        "in place, method",
    ],
)
def test_maps_may_be_used_in_any_way(how: str) -> None:
    torch.manual_seed(1)
    model = _network(_Own(how), 32 if how == "used again" else 16)
    # An odd side: padding of one's own is uneven.
    assert _apart(model, F.interpolate(IMAGES, size=(45, 45))) < 0.03


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vit_tiny_patch16_224", "0 of 1 in VisionTransformer"),
        ("mobilenetv2_035", r"\d+ of 52 in EfficientNet"),
        ("test_convnext", "0 of .* in ConvNeXt"),
        ("lenet5", "0 of 2 in LeNet5"),
    ],
)
def test_networks_that_do_not_fit_are_refused(name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"of many channels with ReLUs .* {why} are such"):
        traced(_built(name), input_size=224)


class _Asking(nn.Module):
    """Decides by what it sees."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) if images.mean() > 0 else images.amax(dim=(2, 3))


def test_a_network_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(ConfigError, match="_Asking cannot be followed through: symbolically"):
        traced(_network(_Asking(), 3), input_size=32)


def test_a_processor_without_vnni_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(ConfigError, match="needs a processor that multiplies bytes"):
        traced(_built("resnet10t"), input_size=32)


def test_ranges_of_another_network_are_refused() -> None:
    small, large = (traced(_built(name), input_size=32) for name in ("resnet10t", "resnet18"))
    with pytest.raises(
        ConfigError, match=r"lack \d+ maps, layer1_1_.* first: .* Train it again"
    ):
        to_int8(large, observe_ranges(small, [IMAGES]), batch_size=2)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_values_that_are_not_finite_have_no_range(bad: float) -> None:
    network = traced(_built("resnet10t"), input_size=64)
    network.get_parameter("backbone.layer1.0.conv1.weight").data[0, 0, 0, 0] = bad
    with pytest.raises(DataError, match=r"no finite numbers at layer1_0_act1\. The weights"):
        observe_ranges(network, [IMAGES])


def test_ranges_cover_all_batches() -> None:
    network = traced(_built("resnet10t"), input_size=32)
    one, other = (observe_ranges(network, [images]) for images in IMAGES.chunk(2))
    both = observe_ranges(network, IMAGES.chunk(2))
    assert both == {
        name: (min(one[name][0], other[name][0]), max(one[name][1], other[name][1]))
        for name in one
    }
    assert all(low <= 0 < high for low, high in both.values())
    assert np.isfinite(list(both.values())).all()
