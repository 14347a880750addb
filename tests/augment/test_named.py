import random
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from gorae.augment.named import (
    REFUSED,
    _known,
    apply_transforms,
    check_transforms,
    idle_transforms,
)
from gorae.augment.plan import NamedTransform, resolve_augment
from gorae.errors import ConfigError

# Arguments without which a transform cannot be made, and those that give it something to do.
NEEDED: dict[str, dict[str, Any]] = {
    "CenterCrop": {"size": 20},
    "ColorJitter": {"brightness": 0.5},
    "GaussianBlur": {"kernel_size": 3},
    "Grayscale": {"num_output_channels": 3},
    "JPEG": {"quality": 30},
    "Pad": {"padding": 4},
    "RandomAdjustSharpness": {"sharpness_factor": 2.0},
    "RandomAffine": {"degrees": 20},
    "RandomCrop": {"size": 24},
    "RandomPosterize": {"bits": 2},
    "RandomResize": {"min_size": 20, "max_size": 40},
    "RandomResizedCrop": {"size": 24},
    "RandomRotation": {"degrees": 30, "interpolation": "bilinear"},
    "RandomShortestSize": {"min_size": 20},
    "RandomSolarize": {"threshold": 100.0},
    "Resize": {"size": [24, 24]},
    "ScaleJitter": {"target_size": [32, 32]},
}


def transforms(*tables: dict[str, Any]) -> tuple[NamedTransform, ...]:
    return resolve_augment("none", {"transforms": tables}).transforms


def noise(side: int = 32) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)
    return torch.from_numpy(pixels)


# torchvision announces that its JPEG will move to another package.
@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(_known()))
def test_every_transform_makes_square_uint8_pictures_of_its_draws_alone(name: str) -> None:
    wanted = transforms({"name": name, **NEEDED.get(name, {})})
    check_transforms(wanted, side=32)
    elsewhere = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    for seed in range(3):
        draws = np.array([[0.0, 0.1 + seed / 10]])
        before = torch.get_rng_state()
        first = apply_transforms(noise(), wanted, draws)
        assert (first.shape, first.dtype) == ((3, 32, 32), torch.uint8)
        assert torch.equal(torch.get_rng_state(), before)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            assert torch.equal(first, apply_transforms(noise(), wanted, draws))
    assert (random.getstate(), repr(np.random.get_state())) == elsewhere  # noqa: NPY002


def test_a_transform_is_torchvisions_under_the_seed() -> None:
    wanted = transforms({"name": "ColorJitter", "brightness": 0.5, "hue": [0.1, 0.2]})
    result = apply_transforms(noise(), wanted, np.array([[0.0, 0.25]]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2**51)
        expected = v2.ColorJitter(brightness=0.5, hue=(0.1, 0.2))(noise())
    assert torch.equal(result, expected)


def test_p_is_how_often_and_given_to_those_that_have_one() -> None:
    jitter = transforms({"name": "ColorJitter", "brightness": [2.0, 2.0], "p": 0.3})
    flip = transforms({"name": "RandomHorizontalFlip", "p": 0.3})
    for wanted in (jitter, flip):
        rng = np.random.default_rng(0)
        changed = [
            not torch.equal(apply_transforms(noise(), wanted, rng.random((1, 2))), noise())
            for _ in range(400)
        ]
        assert np.mean(changed) == pytest.approx(0.3, abs=0.07)


def test_what_cannot_be_used_says_why_all_at_once() -> None:
    wanted = transforms(
        {"name": "ColourJitter"},
        {"name": "Normalize", "mean": [0.5], "std": [0.5]},
        {"name": "MixUp"},
        {"name": "FiveCrop", "size": 10},
        {"name": "ColorJitter", "brigthness": 0.2},
        {"name": "RandomRotation", "degrees": -3},
        {"name": "RandomRotation"},
        {"name": "Grayscale"},
        {"name": "Pad", "padding": [1, 2]},
        {"name": "RandomRotation", "degrees": 3, "interpolation": "cubic"},
    )
    with pytest.raises(ConfigError) as caught:
        check_transforms(wanted, side=32)
    for words in (
        "ColourJitter is no transform of torchvision.transforms.v2; near it: ColorJitter",
        "Normalize: pictures stay uint8",
        "MixUp: it needs labels; see augment.mixup",
        "FiveCrop: it makes several pictures of one; see predict.views",
        "ColorJitter does not take brigthness; it takes brightness, contrast, saturation, hue",
        "RandomRotation(degrees = -3): ",
        "missing 1 required positional argument: 'degrees'",
        "Grayscale(): makes uint8 (1, 32, 32) of a square uint8 picture (3, 32, 32)",
        "Pad(padding = (1, 2)): makes uint8 (3, 36, 34)",
        "'cubic' is not a valid InterpolationMode",
    ):
        assert words in str(caught.value)


def test_refused_names_exist_and_none_is_both() -> None:
    assert not set(REFUSED) & set(_known())
    assert [name for name in REFUSED if not hasattr(v2, name)] == []


def test_transforms_that_change_nothing_are_found() -> None:
    wanted = transforms(
        {"name": "ColorJitter"},
        {"name": "ColorJitter", "brightness": 0.1},
        {"name": "RandomRotation", "degrees": 0},
        {"name": "RandomHorizontalFlip", "p": 0.01},
        {"name": "RandomHorizontalFlip", "p": 0},
        {"name": "Identity"},
        {"name": "Pad", "padding": 1},
    )
    assert idle_transforms(wanted) == [
        "ColorJitter",
        "RandomRotation",
        "RandomHorizontalFlip",
        "Identity",
    ]
