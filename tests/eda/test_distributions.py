"""Counts are complete, and balances agree with what is known of simple cases."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.eda.distributions import (
    class_balance,
    metadata_distributions,
    size_summary,
    value_counts,
)
from gorae.eda.metadata import CleanTable, clean_metadata


def cleaned(train: dict[str, list[str]], test: dict[str, list[str]]) -> CleanTable:
    return clean_metadata(pd.DataFrame(train, dtype="str"), pd.DataFrame(test, dtype="str"))[0]


@given(st.integers(2, 30), st.integers(1, 20))
def test_even_classes_are_even(num_classes: int, each: int) -> None:
    found = class_balance(np.repeat(np.arange(num_classes), each), num_classes=num_classes)
    assert (found.ratio, found.num_absent) == (1, 0)
    assert found.gini == pytest.approx(0)
    assert found.effective_classes == pytest.approx(num_classes)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_gini_is_half_the_mean_difference_of_counts(counts: list[int]) -> None:
    found = class_balance(np.repeat(np.arange(len(counts)), counts), num_classes=len(counts))
    given_counts = np.array(counts, np.float64)
    differences = np.abs(given_counts[:, None] - given_counts).mean()
    mean = given_counts.mean() or 1.0
    assert found.gini == pytest.approx(differences / (2 * mean))
    assert found.counts == tuple(counts)
    assert found.num_absent == counts.count(0)


def test_counts_of_the_mask_competition_by_hand() -> None:
    counts = (
        *(2745, 2050, 415, 3660, 4085, 545, 549, 410, 83),
        *(732, 817, 109, 549, 410, 83, 732, 817, 109),
    )
    found = class_balance(np.repeat(np.arange(18), counts), num_classes=18)
    assert found.ratio == pytest.approx(4085 / 83)
    shares = np.array(counts) / 18900
    assert found.effective_classes == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_labels_that_are_missing_and_classes_without_pictures() -> None:
    found = class_balance(np.array([2, 2, -1]), num_classes=4)
    assert (found.counts, found.ratio, found.num_absent) == ((0, 0, 2, 0), 1, 3)
    assert found.effective_classes == pytest.approx(1)
    assert class_balance(np.array([], np.int64), num_classes=2).effective_classes == 0


SCAN = pd.DataFrame(
    {
        "width_px": [400, 300, 400, 0],
        "height_px": [300, 300, 300, 0],
        "size_bytes": [10, 20, 30, 5],
        "format": ["JPEG", "PNG", "JPEG", ""],
        "mode": ["RGB", "L", "RGB", ""],
        "verdict": ["ok", "note", "ok", "quarantined"],
    }
)


def test_sizes_and_formats_of_readable_pictures() -> None:
    summary = size_summary(SCAN).set_index("quantity")
    widths = [summary.at["width_px", name] for name in ("min", "median", "max")]
    assert widths == [300, 400, 400]
    assert summary.loc["aspect", "max"] == pytest.approx(4 / 3)
    assert summary.loc["size_bytes", "mean"] == 20
    counts = value_counts(SCAN, ("format", "mode"))
    assert counts[["format", "mode", "count"]].to_numpy().tolist() == [
        ["JPEG", "RGB", 2],
        ["PNG", "L", 1],
    ]
    assert counts["share"].sum() == pytest.approx(1)
    assert not len(size_summary(SCAN.tail(1)))
    assert not len(value_counts(SCAN.tail(1), ("format",)))


def test_every_picture_is_in_one_bin_or_missing() -> None:
    rng = np.random.default_rng(0)
    train = {
        "meta.depth": [*(f"{x:.3f}" for x in rng.normal(size=90)), *[""] * 10],
        "meta.count": [str(n) for n in rng.integers(0, 5, 100)],
        "meta.site": [f"s{n}" for n in rng.integers(0, 80, 100)],
    }
    test = {name: cells[:7] for name, cells in train.items()}
    classes = rng.integers(0, 3, 100)
    found = metadata_distributions(cleaned(train, test), classes=classes, num_classes=3)
    assert [part.column for part in found] == list(train)
    for part in found:
        assert part.counts.sum() + part.num_missing == 100
        assert part.test_counts.sum() + part.num_test_missing == 7
        assert part.counts.shape == (3, len(part.names) or len(part.edges) - 1)
    depth, count, site = found
    assert depth.num_missing == 10
    assert count.edges == (-0.5, 0.5, 1.5, 2.5, 3.5, 4.5)
    assert (
        count.counts.sum(axis=0).tolist()
        == np.bincount(np.array(train["meta.count"], int)).tolist()
    )
    assert (len(site.names), site.names[-1]) == (30, "")
    assert site.counts.sum(axis=0)[-1] > 0


def test_bins_agree_with_numpy() -> None:
    # Eighths from 0 to 30 fall on edges of the bins, which are 1.5 wide.
    values = np.arange(241) / 8
    (found,) = metadata_distributions(
        cleaned({"meta.x": [repr(v) for v in values.tolist()]}, {})
    )
    expected, edges = np.histogram(values, bins=20)
    assert found.edges == pytest.approx(edges.tolist())
    assert found.counts.tolist() == [expected.tolist()]
    assert found.num_test_missing == 0


def test_ids_and_texts_have_no_distribution() -> None:
    train = {"meta.patient_id": [str(n) for n in range(30)], "meta.none": [""] * 30}
    assert metadata_distributions(cleaned(train, {})) == ()
