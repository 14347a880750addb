"""Eigen-pictures agree with a full decomposition; the map repeats and keeps neighbours."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from gorae.eda.maps import eigen_picture, embedding_map, principal_pictures
from gorae.errors import DataError


def digits(count: int) -> NDArray[np.uint8]:
    grey = (load_digits().images[:count] * 15).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)


def test_eigen_pictures_are_those_of_a_full_decomposition() -> None:
    thumbnails = digits(200)
    found = principal_pictures(thumbnails, num_components=10)
    flat = thumbnails[..., 0].reshape(200, -1).astype(np.float64)
    _, sizes, right = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    # Grey weights are float32 and sum to 1 within a rounding error.
    np.testing.assert_allclose(found.mean, flat.mean(axis=0).reshape(8, 8), rtol=1e-5)
    np.testing.assert_allclose(found.explained, (sizes**2 / (sizes**2).sum())[:10], rtol=1e-5)
    cosines = np.abs((found.components.reshape(10, -1) * right[:10]).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, rtol=1e-6)


def test_few_or_equal_pictures_have_few_or_no_eigen_pictures() -> None:
    assert principal_pictures(digits(3)).components.shape == (2, 8, 8)
    equal = principal_pictures(np.full((5, 4, 4, 3), 9, np.uint8))
    assert equal.components.shape == (0, 4, 4)
    assert equal.mean == pytest.approx(np.full((4, 4), 9))
    with pytest.raises(DataError, match="at least 2 pictures, got 1"):
        principal_pictures(digits(1))


def test_an_eigen_picture_is_shown_around_mid_grey() -> None:
    shown = eigen_picture(np.array([[-0.5, 0.0], [0.25, 0.5]]))
    assert shown.tolist() == [[0, 128], [191, 255]]
    assert eigen_picture(np.zeros((2, 2))).tolist() == [[128, 128], [128, 128]]


def test_the_map_repeats_bit_by_bit_and_keeps_neighbours() -> None:
    features = load_digits().data[:250].astype(np.float32)
    rows, places = embedding_map(features, seed=3)
    again = embedding_map(features, seed=3)
    assert rows.tolist() == list(range(250))
    np.testing.assert_array_equal(places, again[1])
    assert trustworthiness(features, places, n_neighbors=10, metric="cosine") > 0.95


def test_a_drawn_subset_is_named_by_its_rows() -> None:
    features = load_digits().data[:300].astype(np.float32)
    rows, places = embedding_map(features, num_points=40, seed=1)
    assert places.shape == (40, 2)
    assert (np.diff(rows) > 0).all()
    assert rows.max() < 300
    assert embedding_map(features, num_points=40, seed=2)[0].tolist() != rows.tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 20])
def test_any_number_of_points_has_a_place(count: int) -> None:
    features = load_digits().data[:count].astype(np.float32)
    rows, places = embedding_map(features)
    assert places.shape == (count, 2)
    assert len(rows) == count
    assert np.isfinite(places).all()


def test_equal_features_lie_in_one_place() -> None:
    _, places = embedding_map(np.ones((30, 4), np.float32))
    assert not places.any()
