"""gorae.report.texts."""

import re
import string
from pathlib import Path
from typing import get_args

from gorae.metrics import METRICS
from gorae.report import texts
from gorae.report.metric_names import METRIC_NAMES, metric_name
from gorae.report.page import Fit
from gorae.report.texts import TEXTS

HANGUL = re.compile("[가-힣]")
# Written alike in both languages.
SAME = {"answers.f1", "answers.auc"}


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_say_everything_with_the_same_values() -> None:
    for key, text in TEXTS.items():
        assert bool(text.en) == bool(text.ko), key
        assert _places(text.en) == _places(text.ko), key
        assert not HANGUL.search(text.en), key
        assert HANGUL.search(text.ko) or not text.ko or key in SAME, key


def test_every_metric_has_a_name_and_an_unknown_one_keeps_its_own() -> None:
    assert set(METRIC_NAMES) == set(METRICS)
    assert metric_name("metric.py:score").ko == "metric.py:score"


def test_every_text_is_used() -> None:
    folder = Path(texts.__file__).parent
    sources = [*folder.glob("*.py"), folder / "_page.html", folder / "report.html"]
    code = "\n".join(path.read_text("utf-8") for path in sources if path.name != "texts.py")
    charts = ("chart.", "axis.train", "axis.valid")
    families = (*charts, "task.", "part.", "verdict.", "fit.", "compared.", "computed.")
    unused = [k for k in TEXTS if f'"{k}"' not in code and not k.startswith(families)]
    assert unused == []
    names = {k.split(".")[1] for k in TEXTS if k.startswith("verdict.")}
    assert all(f'"{name}"' in code for name in names)
    assert {k.split(".")[1] for k in TEXTS if k.startswith("fit.")} == set(get_args(Fit))
