"""gorae.report.write: the page as a browser would read it."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.data.sources import Task
from gorae.errors import StorageError
from gorae.report import page as p
from gorae.report.figures import build_charts
from gorae.report.pictures import thumbnail
from gorae.report.summaries import build_summaries, class_shares, confident_errors
from gorae.report.texts import Text
from gorae.report.write import render_report, write_report

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<!--<script>",
    "{{ 7*7 }} {name} %{x} $x$ &lt;",
    "bad\x1b[31m\u202e",
    "1e5",
)
SIZE_OF_PLOTLY_BYTES = 5_200_000


class Reader(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    def ids(self) -> set[str | None]:
        return {attributes.get("id") for tag, attributes in self.elements if tag == "section"}

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


def picture(name: str) -> p.Picture:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return p.Picture(data=thumbnail(pixels, side_px=32), name=name)


def make_page(names: tuple[str, ...], *, task: Task = "multiclass") -> p.ReportPage:
    """A page with every section, whose texts and names are ``names``."""
    rng = np.random.default_rng(0)
    n, k = 120, len(names)
    folds = rng.integers(0, 3, n)
    truth: Any = rng.integers(0, k, n)
    values: Any = rng.dirichlet(np.ones(k), n).astype(np.float32)
    balance = pd.crosstab(np.array(names, dtype=object)[truth], folds)
    if task == "multilabel":
        truth = (rng.random((n, k)) < 0.4).astype(np.float32)
    if task == "regression":
        truth, values = rng.normal(50, 9, n).astype(np.float32), rng.normal(50, 9, (n, 1))
    first = names[0]
    table = pd.DataFrame({"set": range(k), "image_id": names, "label": names})
    epochs = pd.DataFrame({"fold": [0, 0, 1, 1], "epoch": [1, 2, 1, 2]})
    errors = confident_errors(truth, values, classes=names, task=task, limit=4)
    return p.ReportPage(
        headline=p.Headline(
            competition=first,
            task=task,
            metric="mae" if task == "regression" else "macro_f1",
            greater_is_better=task != "regression",
            run_id=names[1],
            model=names[-1],
            score=0.8765,
            interval=(0.8412, 0.9034),
            expected=(0.8123, 0.9345),
            num_rows=n,
            num_models=3,
            baseline=0.5 if task != "regression" else 8.0,
            warnings=names,
            created=first,
            elapsed_s=185,
        ),
        data=p.DataSummary(
            parts=(p.PartCount(part="train", num_rows=n, num_images=1234567),),
            class_counts=pd.DataFrame({"class": names, "train": range(1, k + 1), "extra": 2}),
            targets=truth.astype(np.float64) if task == "regression" else None,
            sizes=pd.DataFrame({"width_px": [10, 20, 20], "height_px": [10, 30, 30]}),
            samples=tuple(p.ClassSamples(name=x, pictures=(picture(x),)) for x in names),
            duplicates=table,
            quarantined=pd.DataFrame({"image_id": names, "reason": names, "detail": names}),
            notes=names,
        ),
        split=p.SplitSummary(
            name=first,
            how=first,
            balance=balance,
            num_groups=99,
            largest_deviation=0.0123,
            checks=(p.Check(name=first, passed=False, detail=names[1]),),
        ),
        training=p.TrainingSummary(
            curves=epochs.assign(
                train_loss=0.5, valid_loss=[0.6, np.nan, 0.7, 0.8], score=0.7, lr=1e-3
            ),
            strengths=pd.DataFrame(
                {
                    "fold": names[:2],
                    "strength": [0.1, 1.0],
                    "score": 0.9,
                    "chosen": [True, False],
                }
            ),
        ),
        diagnosis=p.Diagnosis(
            fit="overfits",
            evidence=(Text(names[0], names[1]),),
            remedies=(p.Remedy(setting=names[2], why=Text(names[1], names[0])),),
        ),
        advice=p.TransferAdvice(
            sentence=Text("try `gorae run`", "`gorae run`"), reason=Text(first, first)
        ),
        compared=pd.DataFrame(
            {
                "what": ["view", "without view", "checkpoint", "equal weights", "new kind"],
                "name": [names[0], names[1], "2", names[2], names[-1]],
                "score": 0.87,
                "gain": [0.0123, -0.02, 0.0, 0.1, 0.1],
                "low": [0.001, -0.03, -0.1, np.nan, 0.05],
                "high": [0.02, -0.01, 0.1, np.nan, 0.15],
            }
        ),
        folds=pd.DataFrame({"fold": names[:3], "score": [0.85, 0.87, 0.91], "num_rows": 40}),
        summaries=build_summaries(truth, values, classes=names, task=task),
        errors=tuple(
            p.ErrorPicture(
                picture=picture(first),
                true=str(e.true),
                predicted=str(e.predicted),
                probability=0.9,
            )
            for e in errors.itertuples()
        ),
        submission=p.SubmissionSummary(
            path=first,
            num_rows=42,
            shares=class_shares(names, train=truth, oof=values, test=values, task=task),
            fallback=pd.DataFrame({"id": names, "reason": names}),
        ),
        provenance=p.Provenance(
            settings="\n".join(names),
            environment=((first, names[1]),),
            commands=names,
            arithmetic={
                "device": "cpu",
                "precision": names[0],
                "channels_last": True,
                "compile": False,
                "predict_compile": True,
                "predict_precision": "int8",
                "threads": 2,
                "workers": 1,
                "origin": names[1],
                "images_per_s": {names[2]: 44.3},
            },
        ),
    )


NAMES = ("고양이", "개", "00123", "1e5")


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(make_page(NAMES))


def test_the_page_holds_its_numbers_in_both_languages(html: str) -> None:
    text = Reader(html).text
    shown = (
        "0.876",
        "0.841",
        "0.903",
        "0.812",
        "0.934",
        "0.877 ± 0.031",
        "1,234,567",
        "3 min 5 s",
    )
    for number in shown:
        assert number in text
    for words in ("Out-of-fold score", "교차 검증(OOF) 점수", "Macro F1", "매크로 F1", "1.2%"):
        assert words in text
    assert "고양이" in text


def test_both_languages_have_the_same_charts_and_every_place_has_one(html: str) -> None:
    reader = Reader(html)
    charts = reader.data()["charts"]
    places = [a["data-chart"] for _, a in reader.elements if "data-chart" in a]
    assert list(charts["en"]) == list(charts["ko"])
    assert sorted(charts["en"]) == sorted(str(place) for place in places)
    assert {"confusion", "balance", "loss", "strengths", "folds", "reliability"} <= set(
        charts["en"]
    )


def test_the_page_reaches_for_nothing_outside_itself(html: str) -> None:
    reader = Reader(html)
    for tag, attributes in reader.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        address = attributes.get("src") or attributes.get("href")
        assert address is None or address.startswith(("data:image/jpeg;base64,", "#"))


def test_the_policy_lists_the_hash_of_every_script_that_runs(html: str) -> None:
    reader = Reader(html)
    policy = next(a["content"] for tag, a in reader.elements if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    listed = re.findall(r"'sha256-([^']+)'", policy)
    hashes = [hashlib.sha256(s.encode()).digest() for s in reader.scripts[1:]]
    assert listed == [base64.b64encode(digest).decode() for digest in hashes]
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe" not in policy


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_no_name_becomes_markup(task: Task) -> None:
    tame = Reader(render_report(make_page(tuple("abcdefgh"), task=task)))
    wild = Reader(render_report(make_page(HOSTILE, task=task)))
    assert [tag for tag, _ in wild.elements] == [tag for tag, _ in tame.elements]
    for _, attributes in wild.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert "javascript" not in (attributes.get("href") or "")
    assert HOSTILE[0] in wild.text
    assert "{{ 7*7 }}" in wild.text
    assert "\x1b" not in "".join([wild.text, *wild.scripts[:1]])
    assert not set(wild.scripts[0]) & set("<>&")


def test_plotly_is_given_no_markup_of_names() -> None:
    page = make_page(HOSTILE)
    headline = dataclasses.replace(page.headline, metric=f"{HOSTILE[1]}.py:score")
    figures = build_charts(dataclasses.replace(page, headline=headline), "en")
    text = json.dumps({name: chart.figure for name, chart in figures.items()})
    assert "<script" not in text
    assert "<img" not in text
    assert "<a " not in text


def test_names_that_look_like_numbers_stay_names(html: str) -> None:
    layout = Reader(html).data()["charts"]["en"]["confusion"]["layout"]
    assert layout["xaxis"]["type"] == "category"
    assert layout["xaxis"]["ticktext"] == list(NAMES)


def test_undecodable_file_names_can_be_written(tmp_path: Path) -> None:
    page = make_page(NAMES)
    bad = p.ErrorPicture(picture=picture("caf\udce9.jpg"), true="a", predicted="b")
    write_report(tmp_path / "report.html", dataclasses.replace(page, errors=(bad,)))
    assert "caf\\udce9.jpg" in (tmp_path / "report.html").read_text("utf-8")


def test_the_same_page_gives_the_same_bytes_of_a_bounded_size(
    tmp_path: Path, html: str
) -> None:
    write_report(tmp_path / "report.html", make_page(NAMES))
    data = (tmp_path / "report.html").read_bytes()
    assert data == html.encode("utf-8")
    assert len(data) < SIZE_OF_PLOTLY_BYTES


def test_many_classes_keep_the_page_small() -> None:
    names = tuple(f"개체 {i:03d}" for i in range(400))
    html = render_report(make_page(names))
    reader = Reader(html)
    assert "confusion" not in reader.data()["charts"]["en"]
    assert "Most frequent mistakes" in reader.text
    assert len(html) < SIZE_OF_PLOTLY_BYTES + 1_500_000


def test_sections_without_data_are_absent() -> None:
    page = make_page(NAMES)
    everything = {
        "data", "split", "training", "scores", "compared", "answers", "probabilities",
        "errors", "submission", "provenance",
    }  # fmt: skip
    assert Reader(render_report(page)).ids() - {None} == everything
    bare = p.ReportPage(headline=page.headline)
    reader = Reader(render_report(bare))
    assert reader.ids() == {None}
    assert reader.data()["charts"] == {"en": {}, "ko": {}}
    assert "0.876" in reader.text
    for name, gone in (
        ("data", "data"),
        ("split", "split"),
        ("compared", "compared"),
        ("provenance", "provenance"),
    ):
        one_less: Any = {name: None}
        assert gone not in Reader(render_report(dataclasses.replace(page, **one_less))).ids()


def test_long_tables_say_how_much_is_left_out() -> None:
    page = make_page(NAMES)
    assert page.data is not None
    table = pd.DataFrame(
        {"image_id": [f"{i}.jpg" for i in range(61)], "reason": "empty", "detail": ""}
    )
    text = Reader(
        render_report(
            dataclasses.replace(page, data=dataclasses.replace(page.data, quarantined=table))
        )
    ).text
    assert "11 more are not shown." in text
    assert "나머지 11개는 생략했습니다." in text
    assert "49.jpg" in text
    assert "50.jpg" not in text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        write_report(
            tmp_path / "file" / "report.html", p.ReportPage(headline=make_page(NAMES).headline)
        )


def test_training_is_there_for_curves_a_diagnosis_or_advice() -> None:
    page = make_page(NAMES)
    parts: dict[str, Any] = {"training": None, "diagnosis": None, "advice": None}
    for kept in parts:
        others: dict[str, Any] = {name: None for name in parts if name != kept}
        assert "training" in Reader(render_report(dataclasses.replace(page, **others))).ids()
    assert "training" not in Reader(render_report(dataclasses.replace(page, **parts))).ids()


def test_the_diagnosis_says_evidence_and_settings_in_both_languages(html: str) -> None:
    text = Reader(html).text
    for words in ("It overfits: ", "과적합입니다.", "What to try, one at a time", "00123"):
        assert words in text


def test_commands_in_sentences_are_code_and_names_in_them_are_not_markup() -> None:
    html = render_report(make_page(NAMES))
    assert "try <code>gorae run</code>" in html
    advice = p.TransferAdvice(
        sentence=Text(f"`{HOSTILE[1]}` and `", "`"), reason=Text("a", "b")
    )
    wild = render_report(dataclasses.replace(make_page(NAMES), advice=advice))
    assert "<img src=x" not in wild


def test_each_part_says_whether_it_helps(html: str) -> None:
    reader = Reader(html)
    classes = [a.get("class") for tag, a in reader.elements if tag == "tr"]
    said = [name for name in classes if name in ("better", "worse", "same")]
    assert said == ["better", "worse", "same", "same", "better"]
    shown = ("+0.012", "−0.020", "view 고양이 alone", "without view 개", "뷰 고양이만")
    for words in (*shown, "00123 vote, equal weights", "new kind 1e5"):
        assert words in reader.text


def test_how_it_was_computed_is_said(html: str) -> None:
    text = Reader(html).text
    shown = ("How it was computed", "channels last", "44.3 images/s", "초당 44.3장", "int8")
    for words in shown:
        assert words in text


def test_one_thing_is_not_called_many(html: str) -> None:
    page = make_page(NAMES)
    one = dataclasses.replace(page.headline, num_rows=1, num_models=1)
    text = Reader(render_report(dataclasses.replace(page, headline=one))).text
    assert "1 row scored" in text
    assert "1 trained model" in text
    assert "1 rows" not in text
    assert "120 rows scored" in Reader(html).text
