import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from gorae.augment.distort import (
    affine,
    distorted,
    grid_places,
    lens_places,
    resampled,
    wave_places,
)
from gorae.augment.plan import Affine

Pixels = NDArray[np.uint8]
NOWHERE = Affine(1.0, 0.0, (1.0, 1.0), 0.0, 0.0)


def smooth_picture(side: int = 64) -> Pixels:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return np.array(small.resize((side, side), Image.Resampling.BICUBIC))


def draws(**at: float) -> NDArray[np.float64]:
    """The middle of every range, but for those named: x, y, zoom, turn, slant."""
    values = np.full(16, 0.5)
    for name, value in at.items():
        values[["x", "y", "zoom", "turn", "slant"].index(name)] = value
    return values


@pytest.mark.parametrize(
    ("limits", "at", "reference"),
    [
        (Affine(1, 0.25, (1, 1), 0, 0), {"x": 1.0}, {"translate": [16, 0]}),
        (Affine(1, 0.25, (1, 1), 0, 0), {"y": 0.25}, {"translate": [0, -8]}),
        (Affine(1, 0, (0.8, 1.2), 0, 0), {"zoom": 1.0}, {"scale": 1.2}),
        (Affine(1, 0, (1, 1), 15, 0), {"turn": 1.0}, {"angle": -15}),
        (Affine(1, 0, (1, 1), 180, 0), {"turn": 0.75}, {"angle": -90}),
        (Affine(1, 0, (1, 1), 0, 10), {"slant": 0.0}, {"shear": [10, 0]}),
        (
            Affine(1, 0.25, (0.8, 1.2), 15, 0),
            {"x": 1.0, "y": 0.25, "zoom": 0.0, "turn": 0.0},
            {"translate": [16, -8], "scale": 0.8, "angle": 15},
        ),
    ],
)
def test_affine_maps_are_torchvisions(
    limits: Affine, at: dict[str, float], reference: dict[str, object]
) -> None:
    image = smooth_picture()
    arguments = {"angle": 0, "translate": [0, 0], "scale": 1.0, "shear": [0, 0], **reference}
    expected = v2.functional.affine(
        torch.from_numpy(image).permute(2, 0, 1),
        interpolation=InterpolationMode.BILINEAR,
        **arguments,
    )
    result = affine(image, draws(**at), limits=limits).astype(int)
    difference = np.abs(result - expected.permute(1, 2, 0).numpy())
    # Their pixels at the border of the picture are blended with black in another way.
    assert np.median(difference) == 0
    assert np.percentile(difference, 96) <= 1


def test_nothing_moves_at_the_middle_of_every_range() -> None:
    image = smooth_picture()
    side = len(image)
    assert np.array_equal(affine(image, draws(), limits=NOWHERE), image)
    ones = np.ones(5)
    for places in (lens_places(side, 0.0), grid_places(side, ones, ones)):
        assert np.array_equal(resampled(image, places, outside="reflection"), image)


def test_what_comes_from_outside_is_black() -> None:
    white = np.full((32, 32, 3), 255, np.uint8)
    shifted = affine(white, draws(x=1.0), limits=NOWHERE._replace(shift=0.5))
    assert (shifted[:, :15] == 0).all()
    assert (shifted[:, 17:] == 255).all()


def test_a_lens_by_hand() -> None:
    # At the middle of the right edge r is 0.5: 1 + 0.25 + 0.0625 of the way.
    places = lens_places(1001, 1.0)[0]
    edge = 1 - 1 / 1001
    r2 = (edge / 2) ** 2
    assert places[500, 1000].tolist() == pytest.approx([edge * (1 + r2 + r2**2), 0], abs=1e-6)
    assert places[500, 500].tolist() == pytest.approx([0, 0], abs=1e-6)
    inwards = lens_places(1001, -1.0)[0]
    assert inwards[500, 1000, 0].item() == pytest.approx(edge * (1 - r2 - r2**2), abs=1e-6)


def test_a_grid_of_uneven_cells_by_hand() -> None:
    # Columns taken from 0, 2, 1, 1, 1 fifths: the first cell shows the left edge alone.
    columns, rows = np.array([0.0, 2, 1, 1, 1]), np.ones(5)
    places = grid_places(500, columns, rows)[0]
    across = (places[0, :, 0] + 1) / 2
    assert across[:100].abs().max() <= 1e-6
    assert across[150].item() == pytest.approx(0.202, abs=1e-6)
    assert across[300].item() == pytest.approx(0.601, abs=1e-6)
    assert torch.allclose((places[:, 0, 1] + 1) / 2, (torch.arange(500) + 0.5) / 500, atol=1e-6)


def test_waves_are_a_few_pixels_high_and_soft() -> None:
    side = 224
    still = grid_places(side, np.ones(5), np.ones(5))
    moves = torch.stack(
        [
            (wave_places(side, np.random.default_rng(seed)) - still) * side / 2
            for seed in range(20)
        ]
    )
    assert 1.5 <= moves.std().item() <= 3.5
    assert moves.diff(dim=2).abs().max() < 1, "no fold: neighbours keep their order"


def test_each_kind_has_a_third_and_all_depend_on_their_numbers_alone() -> None:
    image = smooth_picture()
    results = set()
    for kind in (0.0, 0.32, 0.34, 0.66, 0.67, 0.99):
        numbers = np.array([kind, *np.linspace(0.1, 0.9, 15)])
        result = distorted(image, numbers)
        assert result.dtype == np.uint8
        assert result.shape == image.shape
        assert np.array_equal(result, distorted(image, numbers))
        results.add(result.tobytes())
    assert len(results) == 3
