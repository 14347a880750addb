"""Metadata become numbers by what the train part knows, and by no other cell."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.tabular import encode_columns, fit_columns


def table(**columns: list[str]) -> pd.DataFrame:
    named = {f"meta.{name}": pd.Series(cells, dtype="str") for name, cells in columns.items()}
    return pd.DataFrame(named)


TRAIN = table(
    age=["045Y", "30", "NA", "7"],
    sex=["M", "F", "f", "M"],
    site=["Head", "upper  arm", "head", "unknown"],
    taken=["13/02/2020", "01/03/2020", "", "05/03/2020"],
    weight=["70.5", "-", "1,080", "3e1"],
    same=["x", "x", "x", "x"],
    patient_id=["a", "b", "c", "d"],
)


def test_each_kind_of_cell_by_hand() -> None:
    other = table(
        age=["6 months", "old"],
        sex=["m", "X"],
        site=[" HEAD ", "leg"],
        taken=["2020-02-13", "04/03/2020"],
        weight=["1e999", "2"],
        same=["y", "x"],
        patient_id=["a", "z"],
    )
    found = encode_columns(pd.concat([TRAIN, other]), fit_columns(TRAIN))
    assert found.names == ("age", "sex", "site", "taken", "weight", "patient_id")
    nan = np.nan
    expected = [
        [45, 1, 0, 18305, 70.5, 0],
        [30, 0, 1, 18322, nan, 1],
        [nan, 0, 0, nan, 1080, 2],
        [7, 1, nan, 18326, 30, 3],
        [0.5, 1, 0, 18305, nan, 0],
        [nan, nan, nan, 18325, 2, nan],
    ]
    np.testing.assert_equal(found.values, np.array(expected))
    assert found.is_category.tolist() == [False, True, True, False, False, True]


def test_ids_texts_and_empty_columns_are_left_out() -> None:
    rows = range(40)
    found = fit_columns(
        table(
            patient_id=[f"p{row}" for row in rows],
            report=[f"a sentence of some forty letters, with number {row}" for row in rows],
            nothing=["NA" for _ in rows],
            age=[str(row) for row in rows],
        )
    )
    assert [code.column for code in found] == ["meta.age"]


CELLS = st.sampled_from(
    ["", "1", "2.5", "NA", "M", "f", "2020-01-02", "03/04/2021", "45Y", "한"]
)


@settings(max_examples=60, deadline=None)
@given(
    train=st.lists(CELLS, min_size=1, max_size=12),
    first=st.lists(CELLS, max_size=4),
    second=st.lists(CELLS, max_size=4),
)
def test_a_cell_means_the_same_whatever_stands_beside_it(
    train: list[str], first: list[str], second: list[str]
) -> None:
    codes = fit_columns(table(x=train))
    together = encode_columns(table(x=[*train, *first, *second]), codes).values
    alone = [encode_columns(table(x=part), codes).values for part in (train, first, second)]
    np.testing.assert_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_train_part_does_not_matter(seed: int) -> None:
    shuffled = TRAIN.sample(frac=1, random_state=seed)
    assert fit_columns(shuffled) == fit_columns(TRAIN)
