"""Where a subject stands is said in both languages, whatever ``eda.subjects`` finds."""

import pandas as pd
import pytest

from gorae.eda.subjects import subject_columns
from gorae.report.eda_subjects import subject_place

PATHS = {
    "column": [f"{n}.png" for n in range(60)],
    "folder": [f"s{n // 3}x/{n}.png" for n in range(60)],
    "part": [f"p{n // 3}_{n % 3}.png" for n in range(60)],
    "number": [f"S{n // 3}T{n % 3}.png" for n in range(60)],
}


@pytest.mark.parametrize("kind", PATHS)
def test_every_place_has_korean_words(kind: str) -> None:
    metadata = pd.DataFrame({"patient": [f"k{n // 4}" for n in range(60)]})
    found = subject_columns(PATHS[kind], metadata if kind == "column" else pd.DataFrame())
    places = [subject_place(each.what) for each in found]
    assert any(kind in place.en for place in places)
    for each, place in zip(found, places, strict=True):
        assert place.en.replace("`", "") == each.what
        assert place.ko != place.en


def test_the_name_of_a_column_is_code() -> None:
    assert subject_place("column a of b").ko == "`a of b` 열"
