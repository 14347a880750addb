"""Candidate search: against looking at all pairs, and with buckets that hold everything."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.eda.neighbours import nearest_codes, nearest_features

Codes = NDArray[np.uint64]


def random_codes(count: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def with_bits_changed(codes: Codes, count: int, rng: np.random.Generator) -> Codes:
    bits = np.argsort(rng.random((len(codes), 64)), axis=1)[:, :count].astype(np.uint64)
    changed: Codes = codes ^ (np.uint64(1) << bits).sum(axis=1, dtype=np.uint64)
    return changed


@pytest.mark.parametrize("num_codes", [2, 10, 300, 4000])
def test_all_pairs_of_few_differing_bits_are_found_and_no_others(num_codes: int) -> None:
    rng = np.random.default_rng(num_codes)
    codes = random_codes(num_codes)
    half = num_codes // 2
    for row in range(half):
        codes[half + row] = with_bits_changed(codes[row : row + 1], row % 8, rng)[0]
    near = nearest_codes(codes, codes[:, None], radius=7, most=4)
    found = set(zip(near.query.tolist(), near.found.tolist(), strict=True))
    apart = np.bitwise_count(codes[:, None] ^ codes)
    np.fill_diagonal(apart, 64)
    expected = set(map(tuple, np.argwhere(apart <= 7).tolist()))
    assert found == expected
    assert (near.distance == apart[near.query, near.found]).all()


def test_the_nearest_variant_is_named() -> None:
    rng = np.random.default_rng(0)
    codes = random_codes(500)
    other = random_codes(500, seed=1)
    other[:250] = with_bits_changed(codes[250:], 3, rng)
    near = nearest_codes(codes, np.stack([codes, other], axis=1), radius=8, most=3)
    assert near.query.tolist() == list(range(250))
    assert near.found.tolist() == list(range(250, 500))
    assert set(near.variant) == {1}
    assert set(near.distance) == {3}


def test_only_the_nearest_are_kept_for_each_query() -> None:
    rng = np.random.default_rng(0)
    start = random_codes(1)
    codes = np.concatenate([with_bits_changed(start, bits, rng) for bits in range(10)])
    near = nearest_codes(codes, codes[:, None], radius=64, most=3)
    assert np.bincount(near.query).tolist() == [3] * 10
    assert near.found[:3].tolist() == [1, 2, 3]


def test_a_bucket_of_equal_codes_costs_no_more_than_others_and_is_linked() -> None:
    codes = random_codes(30_000)
    codes[5_000:25_000] = codes[5_000]
    near = nearest_codes(codes, codes[:, None], radius=4, most=8)
    assert len(near.query) <= 8 * 20_000
    assert len(np.unique(near.query)) == 20_000
    # Equal codes are compared with those of near rows.
    assert np.abs(near.query - near.found).max() < 64


def test_no_rows_and_one_row_have_no_neighbours() -> None:
    for count in (0, 1):
        codes = random_codes(count)
        assert len(nearest_codes(codes, codes[:, None], radius=64, most=8).query) == 0
        assert len(nearest_features(np.ones((count, 4)), most=3, least=-1)[0]) == 0


def test_nearest_features_are_those_of_all_cosines() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 16)) * rng.uniform(0.1, 9, (200, 1))
    first, second = nearest_features(features, most=5, least=0.2)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = units @ units.T
    np.fill_diagonal(cosine, -2)
    expected = {
        (row, int(col))
        for row in range(200)
        for col in np.argsort(-cosine[row])[:5]
        if cosine[row, col] >= 0.2
    }
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected
