"""gorae.report.eda_texts and eda_suggestions."""

import re
import string
from pathlib import Path
from typing import get_args

from gorae.eda.column_cleaning import ACTIONS, Kind
from gorae.eda.outliers import Kind as OutlierKind
from gorae.eda.suggest import SUGGESTION_KEYS
from gorae.report import eda_page, eda_texts
from gorae.report.eda_galleries import OUTLIER_KINDS
from gorae.report.eda_suggestions import SUGGESTION_TEXTS, suggestion_text
from gorae.report.eda_texts import EDA_TEXTS, tell
from gorae.report.numbers import Count
from gorae.report.texts import TEXTS, Text

HANGUL = re.compile("[가-힣]")
# Written alike in both languages.
SAME = {"axis.auc"}


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_say_everything_with_the_same_values() -> None:
    for key, text in {**EDA_TEXTS, **SUGGESTION_TEXTS}.items():
        assert bool(text.en) == bool(text.ko), key
        assert places(text.en) == places(text.ko), key
        assert not HANGUL.search(text.en), key
        assert HANGUL.search(text.ko) or not text.ko or key in SAME, key
        assert text.en.count("`") % 2 == text.ko.count("`") % 2 == 0, key


def test_no_text_hides_one_of_the_run_report() -> None:
    shared = set(EDA_TEXTS) & set(TEXTS)
    assert shared == set()


def test_every_text_is_used() -> None:
    folder = Path(eda_texts.__file__).parent
    sources = [*folder.glob("eda_*.py"), folder / "eda.html"]
    code = "\n".join(path.read_text("utf-8") for path in sources if path.name != "eda_texts.py")
    families = (
        "chart.", "outlier.", "kind.", "action.", "severity.", "where.", "duplicate.",
        "found_by.", "leak.", "eda.level.", "boxes.", "shift.", "integrity.",
            "column.",
    )  # fmt: skip
    # The titles of sections are looked up by the names of the sections.
    titles = {*get_args(eda_page.Section), "findings"}
    used = {key for key in EDA_TEXTS if f'"{key}"' in code or key.startswith(families)}
    assert set(EDA_TEXTS) - used - titles == set()


def test_every_kind_action_and_outlier_has_words() -> None:
    assert set(get_args(OutlierKind)) == set(OUTLIER_KINDS) == set(
        get_args(eda_page.OutlierKind)
    )  # fmt: skip
    for prefix, names in (
        ("action", set(ACTIONS)),
        ("kind", set(get_args(Kind))),
        ("outlier", set(OUTLIER_KINDS)),
    ):
        assert {key.split(".")[1] for key in EDA_TEXTS if key.startswith(f"{prefix}.")} == names


def test_every_suggestion_has_a_sentence_with_no_value_but_its_own() -> None:
    assert set(SUGGESTION_TEXTS) == set(SUGGESTION_KEYS)
    for key, names in SUGGESTION_KEYS.items():
        assert places(SUGGESTION_TEXTS[key].en) <= set(names), key


def test_values_of_suggestions_are_written_with_their_unit() -> None:
    text = suggestion_text("outliers.look", {"count": 1234, "kind": "dark", "kind_count": 7})
    assert text.en == "1,234 pictures are unlike the others, most often dark (7)."
    assert "‘어두움’(7장)" in text.ko
    assert "25%" in suggestion_text("crop.some", {"share": 0.25}).en
    assert "`a'b`" in suggestion_text("groups.shared", {"column": "a`b", "shared": 2}).en


def test_values_are_put_in_by_language() -> None:
    text = tell("eda.pictures_of", part=Text("train", "학습"))
    assert text == Text("Pictures, train", "학습 사진")
    assert tell("axis.set_of", count=Count(1)) == Text("1 picture", "1장")
