import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.augment.occlude import clipped_box, cutout, random_erasing
from gorae.data.dataset import philox


def white(side: int = 64) -> NDArray[np.uint8]:
    return np.full((side, side, 3), 255, np.uint8)


def test_a_box_is_cut_off_at_the_edge() -> None:
    assert clipped_box((10, 6), (20, 20), width=64, height=64) == (15, 17, 25, 23)
    assert clipped_box((10, 6), (0, 63), width=64, height=64) == (0, 60, 5, 64)


@pytest.mark.parametrize(
    ("centre", "area"), [((0.5, 0.5), 24 * 24), ((0.0, 0.5), 12 * 24), ((0.0, 0.0), 12 * 12)]
)
def test_cutout_covers_a_square_around_any_place(
    centre: tuple[float, float], area: int
) -> None:
    image = white()
    covered = cutout(image, np.array(centre), side=0.375)
    assert (covered == 0).all(axis=2).sum() == area
    assert (image == 255).all(), "the picture given stays as it is"


def test_erased_boxes_have_the_areas_and_shapes_of_the_paper() -> None:
    shares, ratios = [], []
    for index in range(200):
        covered = random_erasing(white(200), philox(0, 0, index).random(5))
        rows, columns = np.nonzero((covered != 255).any(axis=2))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        shares.append(height * width / 200**2)
        ratios.append(height / width)
        assert len(rows) / (height * width) > 0.99, "noise, wholly inside its box"
    assert 0.015 <= min(shares) < 0.05
    assert 0.33 < max(shares) <= 0.405
    assert 0.27 <= min(ratios) < 0.4
    assert 2.5 < max(ratios) <= 3.7


def test_erasing_is_noise_and_depends_on_its_numbers_alone() -> None:
    numbers = np.array([0.9, 0.5, 0.1, 0.2, 0.3])
    covered = random_erasing(white(), numbers)
    assert np.array_equal(covered, random_erasing(white(), numbers))
    values = covered[(covered != 255).any(axis=2)]
    assert abs(float(values.mean()) - 127.5) < 10
    assert len(np.unique(values)) > 200
