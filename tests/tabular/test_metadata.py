"""Columns of metadata as the numbers a network is given, and the codes it fits to them."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gorae.models.metadata_net import MetadataInput, fit_metadata_codes
from gorae.models.plan import MetadataStyle
from gorae.tabular.metadata import amounts, code_of, encode_metadata, fit_code

SITES = (
    *("torso", "head/neck", "upper extremity", "lower extremity", "palms/soles"),
    *("oral/genital", "anterior torso", "posterior torso", "lateral torso"),
)


def isic_table(num_sites: int, *, seed: int = 0, num_rows: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sites = [SITES[place % num_sites] for place in range(num_rows)]
    return pd.DataFrame(
        {
            "meta.sex": rng.choice(["male", "female", ""], num_rows),
            "meta.age_approx": rng.choice(["45", "90", "30", ""], num_rows),
            "meta.anatom_site": np.where(rng.random(num_rows) < 0.1, "", sites),
        }
    )


def seen(
    table: pd.DataFrame,
    style: MetadataStyle,
    *,
    train: pd.DataFrame | None = None,
    made: dict[str, NDArray[np.float64]] | None = None,
) -> tuple[NDArray[np.float32], list[str]]:
    """What the network's first layer is given, and of what each number is."""
    made = made or {}
    code, why = fit_code(table, style=style, made=tuple(made))
    assert not why
    plan, known = code.plan(()), encode_metadata(table, code, made)
    part = known if train is None else encode_metadata(train, code, made)
    layer = MetadataInput(fit_metadata_codes(part, plan), drop_rate=0.0).eval()
    names = [f"{each.column} {each.kind}" for each in plan.features]
    return layer(torch.from_numpy(known)).numpy(), names


def test_the_fourteen_numbers_of_2020() -> None:
    table = isic_table(9)
    counts, sizes = np.full(120, 7.0), np.full(120, 54_321.0)
    made = {"images_of_group": amounts(counts, plus=1), "file_bytes": amounts(sizes, plus=0)}
    found, names = seen(table, "isic2020", made=made)
    assert found.shape == (120, 14)
    sex = table["meta.sex"].map({"male": 1, "female": 0, "": -1})
    np.testing.assert_array_equal(found[:, names.index("sex yes_no")], sex)
    age = pd.to_numeric(table["meta.age_approx"]).fillna(0) / 90
    np.testing.assert_allclose(found[:, names.index("age_approx age")], age, rtol=1e-6)
    one_hot = found[:, 2:12]
    np.testing.assert_array_equal(one_hot.sum(axis=1), 1)
    is_missing = (table["meta.anatom_site"] == "").to_numpy()
    np.testing.assert_array_equal(one_hot[:, 9] == 1, is_missing)
    np.testing.assert_allclose(found[:, 12], np.log1p(7.0), rtol=1e-6)
    np.testing.assert_allclose(found[:, 13], np.log(54_321.0), rtol=1e-6)


def test_the_eleven_numbers_of_2019() -> None:
    from sklearn.preprocessing import StandardScaler

    table = isic_table(8)
    found, names = seen(table, "isic2019")
    assert found.shape == (120, 11)
    age = pd.to_numeric(table["meta.age_approx"]).fillna(-5).to_numpy()
    sex = [(table["meta.sex"] == name).to_numpy(float) for name in ("female", "male")]
    sites = [(table["meta.anatom_site"] == name).to_numpy(float) for name in sorted(SITES[:8])]
    expected = StandardScaler().fit_transform(np.column_stack([*sex, age, *sites]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert names.index("age_approx age") == 2


@pytest.mark.parametrize("style", ["isic2019", "isic2020"])
def test_a_category_that_the_train_part_lacks_is_missing(style: MetadataStyle) -> None:
    table = isic_table(5)
    train = table[table["meta.anatom_site"] != "torso"].reset_index(drop=True)
    found, names = seen(table, style, train=train)
    at_site = [place for place, name in enumerate(names) if name.startswith("anatom_site")]
    is_strange = (table["meta.anatom_site"] == "torso").to_numpy()
    is_missing = (table["meta.anatom_site"] == "").to_numpy()
    [missing] = np.unique(found[is_missing][:, at_site], axis=0)
    assert is_strange.any()
    assert (found[is_strange][:, at_site] == missing).all()
    # And its other columns are what they were.
    others = [place for place in range(len(names)) if place not in at_site]
    whole, _ = seen(table, "isic2020")
    if style == "isic2020":
        np.testing.assert_array_equal(found[:, others], whole[:, others])


@given(seed=st.integers(0, 50), style=st.sampled_from(["isic2019", "isic2020"]))
def test_rows_keep_their_numbers_in_any_order(seed: int, style: MetadataStyle) -> None:
    table = isic_table(6, seed=seed)
    code, _ = fit_code(table, style=style)
    assert code_of(code.to_json()) == code
    known = encode_metadata(table, code, {})
    order = np.random.default_rng(seed).permutation(len(table))
    turned = table.iloc[order].reset_index(drop=True)
    again, _ = fit_code(turned, style=style)
    assert again == code
    np.testing.assert_array_equal(encode_metadata(turned, code, {}), known[order])
    # What comes of one cell is known or missing together, and missing is finite.
    names = [each.column for each in code.features]
    for name in set(names):
        at = [place for place, each in enumerate(names) if each == name]
        rows = np.isnan(known[:, at])
        np.testing.assert_array_equal(rows.all(axis=1), rows.any(axis=1))
    layer = MetadataInput(fit_metadata_codes(known, code.plan(())), drop_rate=0.5).train()
    assert bool(layer(torch.from_numpy(known)).isfinite().all())


def test_columns_without_use_are_told() -> None:
    table = pd.DataFrame(
        {
            "meta.patient_id": [f"p{place}" for place in range(400)],
            "meta.same": "x",
            "meta.ward": [f"ward {place % 150}" for place in range(400)],
            "meta.score": [str(place / 7) for place in range(400)],
        }
    )
    code, why = fit_code(table, style="isic2020")
    assert [each.column for each in code.features] == ["score"]
    assert why["meta.ward"] == "it has 150 categories, more than 100"
    assert set(why) == {"meta.patient_id", "meta.same", "meta.ward"}
