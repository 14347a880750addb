"""A network's classes to the competition's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.errors import ConfigError
from gorae.models import map_class_probabilities


def test_mapped_probabilities_are_summed_and_normalised() -> None:
    own = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 1.0]], dtype=np.float32)
    mapped = map_class_probabilities(own, {0: "개", 2: "고양이", 1: "개"}, ["고양이", "개"])
    np.testing.assert_allclose(mapped, [[0.5, 0.5], [0.5, 0.5]], rtol=1e-6)


@given(st.integers(0, 1000), st.integers(2, 5))
def test_rows_sum_to_one_and_a_full_table_is_a_renaming(seed: int, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    own = rng.dirichlet(np.ones(num_classes), size=4).astype(np.float32)
    order = rng.permutation(num_classes)
    classes = [f"c{index}" for index in range(num_classes)]
    mapped = map_class_probabilities(
        own, {int(own_): classes[at] for at, own_ in enumerate(order)}, classes
    )
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(mapped, own[:, order], rtol=1e-5)


def test_all_that_does_not_fit_is_named_at_once() -> None:
    own = np.full((1, 3), 1 / 3, dtype=np.float32)
    with pytest.raises(ConfigError) as caught:
        map_class_probabilities(own, {0: "a", 3: "a", 1: "c"}, ["a", "b"])
    for part in (
        "model_class 3 is not within 0 to 2",
        "model_class 1 is mapped to 'c', which is no class",
        "class 'b' has no model_class",
    ):
        assert part in str(caught.value)
