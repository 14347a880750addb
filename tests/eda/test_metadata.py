"""Train and test are cleaned alike, what test has of its own is told, and codes are numbers."""

import numpy as np
import pandas as pd
import pytest

from gorae.eda.metadata import RECORD_COLUMNS, clean_metadata, encode_metadata


def table(**columns: list[str]) -> pd.DataFrame:
    named = {f"meta.{name}": pd.Series(cells, dtype="str") for name, cells in columns.items()}
    return pd.DataFrame(named)


def lines(record: pd.DataFrame) -> dict[tuple[str, str], int]:
    keys = zip(record["column"].str.removeprefix("meta."), record["action"], strict=True)
    return dict(zip(keys, record["count"].tolist(), strict=True))


TRAIN = table(
    age=["045Y", "006M", "410", "NA"],
    sex=["M", "F", "f", "M"],
    view=["PA", "AP", "PA", "unknown"],
    taken=["2020-01-02", "2020-01-03", "", "2020-01-05"],
)
TEST = table(age=["30", "31"], sex=["F", "X"], view=["LL", "PA"], room=["1", "2"])


def test_types_and_record() -> None:
    clean, record = clean_metadata(TRAIN, TEST)
    assert tuple(record.columns) == RECORD_COLUMNS
    assert dict(clean.kinds) == {
        "meta.age": "age",
        "meta.sex": "category",
        "meta.view": "category",
        "meta.taken": "date",
    }
    np.testing.assert_equal(clean.train["meta.age"].to_numpy(), [45, 0.5, np.nan, np.nan])
    assert clean.train["meta.sex"].tolist() == ["M", "F", "F", "M"]
    assert clean.test["meta.taken"].isna().all()
    assert clean.test["meta.taken"].dtype == np.float64
    assert dict(clean.levels) == {"meta.sex": ("F", "M"), "meta.view": ("AP", "PA")}
    assert lines(record) == {
        ("age", "kept"): 4,
        ("age", "missing"): 1,
        ("age", "implausible"): 1,
        ("sex", "kept"): 6,
        ("sex", "merged"): 1,
        ("sex", "unseen_in_test"): 1,
        ("view", "kept"): 5,
        ("view", "missing"): 1,
        ("view", "unseen_in_test"): 1,
        ("taken", "kept"): 3,
        ("taken", "missing"): 1,
        ("taken", "absent_in_test"): 2,
        ("room", "absent_in_train"): 2,
    }


def test_codes_are_numbers_and_what_train_does_not_know_is_missing() -> None:
    encoded = encode_metadata(clean_metadata(TRAIN, TEST)[0])
    assert encoded.names == ("meta.age", "meta.sex", "meta.view", "meta.taken")
    assert encoded.is_category.tolist() == [False, True, True, False]
    np.testing.assert_equal(encoded.train[:, 1], [1, 0, 0, 1])
    np.testing.assert_equal(encoded.test[:, 1], [0, np.nan])
    np.testing.assert_equal(encoded.test[:, 2], [np.nan, 1])
    assert {encoded.train.dtype, encoded.test.dtype} == {np.dtype(np.float64)}


def test_ids_take_part_only_when_asked_as_their_last_number() -> None:
    train = table(patient_id=[f"s1-{n:03}b" for n in range(30)])
    clean, record = clean_metadata(train, train.head(2))
    assert lines(record)["patient_id", "shared_with_test"] == 2
    assert encode_metadata(clean).names == ()
    assert encode_metadata(clean).train.shape == (30, 0)
    with_ids = encode_metadata(clean, with_ids=True)
    assert with_ids.train[:, 0].tolist() == list(range(30))
    assert not with_ids.is_category[0]


def test_cleaning_twice_changes_nothing() -> None:
    clean, _ = clean_metadata(TRAIN, TEST)
    again = clean.train.astype("str").where(clean.train.notna(), "")
    twice, record = clean_metadata(again[["meta.sex", "meta.view"]], TEST.head(0))
    pd.testing.assert_frame_equal(twice.train, clean.train[["meta.sex", "meta.view"]])
    assert "merged" not in set(record["action"])


@pytest.mark.parametrize("test", [TEST.head(0), pd.DataFrame(index=range(2))])
def test_a_test_table_may_be_empty_or_without_columns(test: pd.DataFrame) -> None:
    clean, _ = clean_metadata(TRAIN, test)
    assert clean.test.shape == (len(test), 4)
    assert clean.test.columns.tolist() == clean.train.columns.tolist()


def test_a_table_without_metadata_gives_nothing() -> None:
    clean, record = clean_metadata(pd.DataFrame(index=range(3)), pd.DataFrame(index=range(2)))
    assert (clean.train.shape, clean.test.shape, len(record)) == ((3, 0), (2, 0), 0)
    assert encode_metadata(clean).test.shape == (2, 0)
