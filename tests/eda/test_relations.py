"""Relations: 0 for chance, 1 for certainty, and p-values that hold what they say."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from gorae.eda.metadata import CleanTable, clean_metadata
from gorae.eda.relations import (
    ASSOCIATION_COLUMNS,
    association,
    correlation_ratio,
    cramers_v,
    label_associations,
)


def cleaned(**columns: list[str]) -> CleanTable:
    train = pd.DataFrame(columns, dtype="str")
    return clean_metadata(train, train.head(0))[0]


def codes(count: int, num: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, num, count)


def test_certainty_is_one() -> None:
    labels = codes(200, 3, 0)
    assert cramers_v(labels, 2 - labels) == pytest.approx(1)
    assert correlation_ratio(labels, (labels * 2.5).astype(np.float64)) == pytest.approx(1)
    assert association(labels.astype(np.float64), -(labels.astype(np.float64) ** 3))[
        1
    ] == pytest.approx(1)


def test_chance_is_nothing_however_many_categories() -> None:
    for seed in range(5):
        labels = codes(500, 2, seed)
        assert cramers_v(codes(500, 100, seed + 10), labels) < 0.25
        assert correlation_ratio(codes(500, 100, seed + 10), labels.astype(np.float64)) < 0.25
    mean = np.mean([cramers_v(codes(500, 100, s + 9), codes(500, 2, s)) for s in range(20)])
    # Without the correction it would be about the root of 99 / 500: 0.45.
    assert mean < 0.1


def test_cramers_v_agrees_with_scipy_where_the_correction_is_small() -> None:
    first = codes(200_000, 3, 0)
    second = np.where(codes(200_000, 2, 1) == 0, first, codes(200_000, 4, 2))
    table = pd.crosstab(first, second).to_numpy()
    assert cramers_v(first, second) == pytest.approx(
        stats.contingency.association(table, method="cramer"), abs=1e-4
    )


def test_correlation_ratio_agrees_with_the_f_test() -> None:
    groups = codes(300, 4, 0)
    values = groups * 0.3 + np.random.default_rng(1).normal(size=300)
    f = stats.f_oneway(*(values[groups == group] for group in range(4))).statistic
    # Epsilon squared of an F value: (F - 1) a / (F a + b) with a = 3 and b = 296.
    assert correlation_ratio(groups, values) ** 2 == pytest.approx(3 * (f - 1) / (3 * f + 296))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_pictures_say_nothing(count: int) -> None:
    labels = np.arange(count)
    assert cramers_v(labels, labels) in (0, 1)
    assert correlation_ratio(labels, labels.astype(np.float64)) == 0


def test_a_planted_relation_is_found_and_the_others_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    is_told = rng.random(300) < 0.7
    site = np.where(is_told, labels, rng.integers(0, 2, 300))
    depth = rng.normal(size=300)
    clean = cleaned(
        site=[f"s{s}" for s in site],
        depth=[
            f"{d:.4f}" if (lab == 0 or at % 2) else ""
            for at, (d, lab) in enumerate(zip(depth, labels, strict=True))
        ],
        patient_id=[str(n) for n in range(300)],
    )
    found = label_associations(clean, labels)
    assert tuple(found.columns) == ASSOCIATION_COLUMNS
    assert "patient_id" not in set(found["column"])
    cases = list(zip(found["column"], found["of"], strict=True))
    values = dict(zip(cases, found["value"].tolist(), strict=True))
    p_values = dict(zip(cases, found["p_value"].tolist(), strict=True))
    assert values["site", "value"] > 0.6
    assert p_values["site", "value"] == p_values["depth", "missing"] == 0.001
    assert p_values["depth", "value"] > 0.05
    assert found["value"].is_monotonic_decreasing


def test_p_values_of_nothing_are_small_as_seldom_as_they_say() -> None:
    p_values = []
    for seed in range(25):
        clean = cleaned(site=[f"s{s}" for s in codes(80, 3, seed)])
        p_values += label_associations(clean, codes(80, 2, 100 + seed))["p_value"].tolist()
    assert np.mean(np.array(p_values) <= 0.1) <= 0.3


def test_pictures_of_one_patient_are_one_witness() -> None:
    alone, grouped = [], []
    patients = np.repeat(np.arange(12), 40)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 12)[patients]
        clean = cleaned(age=[str(a) for a in rng.integers(20, 80, 12)[patients]])
        alone += label_associations(clean, labels)["p_value"].tolist()
        grouped += label_associations(clean, labels, groups=patients)["p_value"].tolist()
    assert np.mean(np.array(alone) <= 0.01) >= 0.5, "each patient is counted forty times"
    assert np.mean(np.array(grouped) <= 0.05) <= 0.2


def test_labels_may_be_numbers_or_missing() -> None:
    clean = cleaned(age=[str(n) for n in range(40)], sex=["M", "F"] * 20)
    labels = np.arange(40).astype(np.float64)
    labels[3] = np.nan
    found = label_associations(clean, labels).set_index("column")
    assert found.loc["age", "measure"] == "spearman"
    assert found.loc["age", "value"] == pytest.approx(1)
    assert found.loc["sex", "measure"] == "correlation_ratio"
    assert found["pictures"].tolist() == [39, 39]
    with_gaps = label_associations(clean, np.array([-1, *[0, 1] * 19, 0]))
    assert with_gaps["pictures"].tolist() == [39, 39]
