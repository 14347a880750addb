"""gorae.report.comparison: the page of a comparison."""

import re
import string
from dataclasses import replace
from pathlib import Path

import pytest

from gorae.report import comparison_texts
from gorae.report.comparison import (
    ComparisonLine,
    ComparisonPage,
    Verdict,
    build_comparison_charts,
    render_comparison,
)
from gorae.report.comparison_texts import COMPARISON_TEXTS
from gorae.report.texts import LANGUAGES, TEXTS

HANGUL = re.compile("[가-힣]")
HOSTILE = "model.name=</script><img src=x>"


def make_line(change: str, gain: float, verdict: Verdict, rank: int) -> ComparisonLine:
    is_base = verdict == "base"
    return ComparisonLine(
        name=change,
        changes=() if is_base else tuple(change.split(" ")),
        rank=rank,
        model="lenet5",
        runs=(f"000{rank}-a", f"000{rank}-b"),
        score=0.8 + gain,
        seed_scores=(0.8 + gain,) * 2,
        seed_sd=0.0125,
        fold_scores=(0.8 + gain, None),
        fold_gains=(gain, None),
        num_better=int(gain > 0),
        num_pairs=2,
        gain=gain,
        interval=None if is_base else (gain - 0.02, gain + 0.02),
        verdict=verdict,
        elapsed_s=61.0,
    )


PAGE = ComparisonPage(
    competition="<b>고래</b>",
    recipe="standard",
    metric="log_loss",
    greater_is_better=False,
    lines=(
        make_line("train.lr=1e-3 augment.mixup=0.2", 0.05, "better", 1),
        make_line("base", 0.0, "base", 2),
        make_line("seed=1", -0.001, "within noise", 3),
        make_line("train.lr=1", -0.3, "worse", 4),
    ),
    folds=("0", "1"),
    num_seeds=2,
    num_rows=1234,
    notes=("<i>note</i>",),
    commands=("gorae run --recipe a&b.toml",),
)


def test_names_are_escaped_and_every_verdict_is_said_in_both_languages() -> None:
    lines = (make_line(HOSTILE, 0.01, "within noise", 5), *PAGE.lines)
    html = render_comparison(replace(PAGE, lines=lines))
    assert "<img src=x>" not in html
    assert "<b>고래" not in html
    assert "<i>note" not in html
    assert "a&amp;b.toml" in html
    for verdict in ("better", "worse", "within noise", "base"):
        said = COMPARISON_TEXTS[f"said.{verdict}"]
        assert said.en in html
        assert said.ko in html
    assert "Worse beyond noise: train.lr=1." in html
    assert "+0.050 (95%: +0.030 to +0.070)" in html


def test_charts_name_variants_without_sections_where_that_is_enough() -> None:
    assert PAGE.labels == ("lr=1e-3, mixup=0.2", "seed=1", "lr=1")
    twins = (make_line("model.name=x", 0, "within noise", 5),
             make_line("name=x", 0, "within noise", 6))  # fmt: skip
    assert replace(PAGE, lines=(*PAGE.lines, *twins)).labels[-2:] == ("model.name=x", "name=x")


def test_one_fold_has_no_strip_and_a_fold_without_score_no_cell() -> None:
    for language in LANGUAGES:
        charts = build_comparison_charts(PAGE, language)
        cells = charts["by_fold"].figure["data"][0]["z"]
        assert cells == [[-0.05, None], [0.001, None], [0.3, None]], "blue, below 0, is better"
    one = [replace(line, fold_gains=line.fold_gains[:1]) for line in PAGE.lines]
    charts = build_comparison_charts(replace(PAGE, folds=("0",), lines=tuple(one)), "en")
    assert set(charts) == {"against"}


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_one_seed_says_what_it_does_not_know(num_seeds: int) -> None:
    html = render_comparison(replace(PAGE, num_seeds=num_seeds))
    assert ("not that of training" in html) == (num_seeds == 1)
    assert ("0.013" in html) == (num_seeds > 1), "the spread over seeds"


def test_both_languages_say_everything_and_every_text_is_used() -> None:
    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    folder = Path(comparison_texts.__file__).parent
    code = "".join(
        (folder / name).read_text("utf-8") for name in ("comparison.py", "compare.html")
    )
    for key, text in COMPARISON_TEXTS.items():
        assert places(text.en) == places(text.ko), key
        assert HANGUL.search(text.ko), key
        assert not HANGUL.search(text.en), key
        assert f'"{key}"' in code or key.startswith(("chart.", "said.")), key
    assert not set(COMPARISON_TEXTS) & set(TEXTS)
