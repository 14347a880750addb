"""Pooling, stochastic depth, and a cut at a layer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.errors import ConfigError
from gorae.models import ImageModel, build_model
from gorae.models.parts import (
    GeneralisedMean,
    cut_at,
    has_drop_path,
    output_at_cut,
)
from gorae.models.plan import Parts


def _build(name: str, *, kwargs: dict[str, Any] | None = None, **parts: Any) -> ImageModel:
    return build_model(
        name, num_outputs=4, kwargs=kwargs or {}, seed=0, folder=Path(), parts=Parts(**parts)
    )


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1.0, 2.0), (3.0, ((1 + 8 + 27 + 8) / 4) ** (1 / 3)), (200.0, 3.0)],
)
def test_the_generalised_mean_by_hand(p: float, expected: float) -> None:
    pooling = GeneralisedMean()
    assert pooling.p.item() == 3
    nn.init.constant_(pooling.p, p)
    # In float32 a power of 200 overflows; scaled down it does not.
    maps = torch.tensor([1.0, 2.0, 3.0, 2.0]).reshape(1, 1, 2, 2) / 3
    pooled = 3 * pooling(maps)
    assert pooled.shape == (1, 1, 1, 1)
    assert pooled.item() == pytest.approx(expected, rel=0.01 if p > 100 else 1e-6)


def test_the_generalised_mean_has_finite_gradients_at_zero_and_in_half_precision() -> None:
    pooling = GeneralisedMean()
    maps = torch.zeros(2, 3, 4, 4, requires_grad=True)
    pooling(maps).sum().backward()
    assert maps.grad is not None
    assert pooling.p.grad is not None
    assert maps.grad.isfinite().all()
    assert pooling.p.grad.isfinite().all()
    half = torch.full((1, 1, 2, 2), 100.0, dtype=torch.float16)
    assert pooling(half).dtype == torch.float16
    assert pooling(half).item() == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        *("test_resnet", "test_efficientnet", "test_convnext", "mobilenetv3_small_050"),
        *("torchvision/resnet18", "torchvision/squeezenet1_1", "torchvision/googlenet"),
    ],
)
def test_gem_with_power_one_is_the_networks_own_average(name: str) -> None:
    plain, model = _build(name).eval(), _build(name, pooling="gem").eval()
    powers = [each for each in model.named_parameters() if each[0].endswith(".p")]
    assert len(powers) == 1
    # Where learned, it belongs to the backbone, whose pooling it is.
    assert powers[0][0].startswith("backbone.")
    state = plain.state_dict()
    assert model.load_state_dict(state, strict=False).missing_keys == [powers[0][0]]
    images = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        cubic = model.features(images)
        nn.init.constant_(powers[0][1], 1.0)
        ours, expected = model.features(images), plain.features(images)
        assert not torch.allclose(cubic, expected)
        if name.startswith(("torchvision", "test_resnet")):
            # Their last maps have no negative values, which count as zero.
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_gem_learns() -> None:
    model = _build("test_resnet", pooling="gem")
    model(torch.rand(4, 3, 64, 64)).square().sum().backward()
    power = dict(model.named_parameters())["backbone.global_pool.pool.p"]
    assert power.grad is not None
    assert power.grad.abs().item() > 0


@pytest.mark.parametrize(
    "name", ["lenet5", "test_vit", "torchvision/vit_b_16", "torchvision/alexnet"]
)
def test_gem_is_refused_without_maps_to_average(name: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=f"at its end; {name} does not"):
        _build(name, pooling="gem")


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_drop_path_grows_to_the_last_branch(name: str) -> None:
    from timm.layers.drop import DropPath

    rates = [
        each.drop_prob
        for each in _build(name, drop_path=0.2).modules()
        if isinstance(each, DropPath) and each.drop_prob
    ]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.2)
    assert not has_drop_path(_build(name).backbone)


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny", "swin_t"])
def test_drop_path_of_torchvision_is_the_setting_and_zero_is_off(name: str) -> None:
    from torchvision.ops import StochasticDepth

    def rates(**parts: Any) -> list[float]:
        with torch.device("meta"):
            model = _build(f"torchvision/{name}", **parts)
        return [each.p for each in model.modules() if isinstance(each, StochasticDepth)]

    assert max(rates(drop_path=0.3)) == pytest.approx(0.3)
    assert rates(drop_path=0.3) == sorted(rates(drop_path=0.3))
    assert not any(rates())


@pytest.mark.parametrize("name", ["lenet5", "vgg11", "densenet121", "torchvision/resnet18"])
def test_drop_path_without_branches_is_refused(name: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=rf"no effect in {name}, which"):
        _build(name, drop_path=0.1)


def test_training_with_drop_path_has_chance_and_evaluation_none() -> None:
    model = _build("test_vit", drop_path=0.9)
    images = torch.rand(8, 3, 160, 160)
    with torch.no_grad():
        assert not torch.equal(model.features(images), model.features(images))
        model.eval()
        assert torch.equal(model.features(images), model.features(images))


class _Kinds(nn.Module):
    """Layers that give maps, tokens, vectors and other things."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 5, 3, padding=1)
        self.last = nn.Identity()
        self.tokens = nn.Identity()
        self.vector = nn.Flatten()
        self.windows = nn.Flatten(0, 1)
        self.several = nn.LSTM(3, 2)
        self.unused = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.maps(images)
        self.last(maps.permute(0, 2, 3, 1))
        self.tokens(maps.flatten(2).transpose(1, 2))
        self.vector(maps)
        self.windows(maps)
        self.several(images.flatten(2).permute(2, 0, 1))
        return maps


@pytest.mark.parametrize("layer", ["maps", "last", "tokens"])
def test_a_cut_averages_over_places_and_tokens(layer: str) -> None:
    network, images = _Kinds().eval(), torch.rand(2, 3, 8, 8)
    expected = network(images).mean(dim=(2, 3))
    cut_at(network, layer)
    got = output_at_cut(network, images)
    assert got is not None
    torch.testing.assert_close(got, expected)


def test_a_cut_takes_vectors_as_they_are_and_says_what_is_none() -> None:
    images = torch.rand(2, 3, 8, 8)

    def cut(layer: str) -> Tensor | None:
        network = _Kinds()
        cut_at(network, layer)
        return output_at_cut(network, images)

    vector = cut("vector")
    assert vector is not None
    assert vector.shape == (2, 5 * 8 * 8)
    assert cut("unused") is None
    with pytest.raises(ConfigError, match=r"gives \(10, 8, 8\) of 2 images"):
        cut("windows")
    with pytest.raises(ConfigError, match="gives tuple of 2 images"):
        cut("several")
    with pytest.raises(ConfigError, match=r"no layer of this network\. Near it: maps"):
        cut("map")
    with pytest.raises(ConfigError, match="The first: maps, last, tokens"):
        cut("zzzzqqqq")


def test_what_comes_after_a_cut_is_not_computed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Linear(99, 1))
    cut_at(network, "1")
    images = torch.rand(2, 3, 4, 4)
    got = output_at_cut(network, images)
    assert got is not None
    torch.testing.assert_close(got, F.relu(network[0](images)).mean(dim=(2, 3)))
