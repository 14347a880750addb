"""gorae.report.eda_write: the page on the data as a browser would read it."""

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

from gorae.eda.distributions import Distribution
from gorae.eda.suggest import Suggestion
from gorae.errors import StorageError
from gorae.report import eda_page as e
from gorae.report import page as p
from gorae.report.eda_figures import build_eda_charts
from gorae.report.eda_findings import data_findings
from gorae.report.eda_map import picture_sheet
from gorae.report.eda_write import render_eda, write_eda
from gorae.report.pictures import thumbnail
from gorae.report.texts import Text

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>",
    "<a href='javascript:alert(1)'>x</a>",
    "`<b>` ` {{ 7*7 }} {name} %{x} $x$ &lt;",
    "bad\x1b[31m\u202e",
    "1e5",
)
TAME = tuple("abcdefg")
NAMES = ("고양이", "개", "00123")


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

    def ids(self) -> list[str]:
        sections = [attributes for tag, attributes in self.elements if tag == "section"]
        return [str(attributes["id"]) for attributes in sections if "id" in attributes]

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


def picture(name: str) -> p.Picture:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 36, 3), dtype=np.uint8)
    return p.Picture(data=thumbnail(pixels, side_px=24), name=name)


def make_pictures(names: tuple[str, ...]) -> e.PicturesSummary:
    rng = np.random.default_rng(0)
    n, k = 60, len(names)
    part = np.where(rng.random(n) < 0.7, "train", "test")
    labels = [name if where == "train" else None for name, where in zip(
        np.array(names, object)[rng.integers(0, k, n)], part, strict=True
    )]  # fmt: skip
    shares = rng.random((k + 1, 4, 16))
    return e.PicturesSummary(
        sizes=pd.DataFrame(
            {
                "width_px": rng.integers(50, 90, n),
                "height_px": rng.integers(50, 90, n),
                "part": part,
            }
        ),
        formats=pd.DataFrame({"name": [names[0], "PNG"], "count": [50, 10]}),
        modes=pd.DataFrame({"name": ["RGB"], "count": [n]}),
        measures=pd.DataFrame(
            {
                "part": part,
                "class": labels,
                "brightness": rng.normal(120, 9, n),
                "contrast": rng.normal(50, 9, n),
                "sharpness": [np.nan, *rng.normal(500, 90, n - 1)],
            }
        ),
        limits={"brightness": (50.0, None)},
        channels=e.Channels(
            names=("all", *names),
            shares=shares / shares.sum(axis=-1, keepdims=True),
            mean=np.full((k + 1, 3), 0.4321),
            std=np.full((k + 1, 3), 0.25),
            pictures=tuple(picture(name) for name in ("all", *names)),
        ),
        outliers=tuple(
            e.Outlier(
                kind=kind,
                picture=picture(names[0]),
                value=0.0123,
                limit=0.05,
                part="train",
                label=names[1],
            )
            for kind in ("blurry", "small")
        ),
        num_outliers=4321,
    )


def make_map(names: tuple[str, ...]) -> e.EmbeddingMap:
    rng = np.random.default_rng(0)
    n = 3 * len(names)
    points = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "y": rng.normal(size=n),
            "part": ["train", "test", "train"] * len(names),
            "class": [None if i % 3 == 1 else name for name in names for i in range(3)],
            "name": [name for name in names for _ in range(3)],
            "aspect": 0.75,
        }
    )
    tiles = rng.integers(0, 255, (n, 16, 16, 3), dtype=np.uint8)
    return e.EmbeddingMap(
        points=points, sheet=picture_sheet(tiles), method=names[0], num_images=9999
    )


def make_duplicates(names: tuple[str, ...]) -> e.DuplicatesSummary:
    cases: tuple[tuple[p.Part, tuple[str, str | None]], ...] = (
        ("train", (names[0], names[0])),
        ("test", (names[0], None)),
        ("train", (names[0], names[1])),
    )
    pairs = tuple(
        e.PicturePair(
            first=picture(names[0]),
            second=picture(names[1]),
            kind="near",
            similarity=0.9876,
            parts=("train", part),
            labels=labels,
            is_flipped=True,
            found_by="hash",
        )
        for part, labels in cases
    )
    thresholds = {"threshold": [0.95, 0.99], "num_sets": 3, "num_joined": 44, "largest": 40}
    return e.DuplicatesSummary(
        counts=pd.DataFrame(
            {"where": ["train", "train_test", "test"], "exact": 2, "near": 1, "conflicts": 1}
        ),
        pairs=pairs,
        set_sizes=pd.DataFrame({"size": [2, 3], "sets": [7, 1]}),
        chain=e.Chain(
            num_images=40,
            share=0.4,
            limit=0.1,
            thresholds=pd.DataFrame(thresholds),
            weakest=pairs[:1],
            columns=(names[0],),
        ),
    )


def make_columns(names: tuple[str, ...]) -> e.MetadataSummary:
    k = len(names)
    number = Distribution(
        column=names[0], kind="number", names=(), edges=(0.0, 1.0, 2.0),
        counts=np.full((k, 2), 3), test_counts=np.array([1, 1]), num_missing=2,
        num_test_missing=0,
    )  # fmt: skip
    category = dataclasses.replace(
        number, column=names[1], kind="category", names=(*names[:2], ""), edges=(),
        counts=np.full((k, 3), 3), test_counts=np.array([1, 1, 0]),
    )  # fmt: skip
    record = {"column": names, "kind": "age", "action": "merged", "count": 2, "example": names}
    return e.MetadataSummary(
        distributions=(number, category), groups=names, record=pd.DataFrame(record)
    )


def make_page(names: tuple[str, ...]) -> e.EdaPage:
    """A page with every section, whose names are ``names``."""
    first, text = names[0], Text(names[0], names[1])
    table = pd.DataFrame({"image_id": names, "reason": names, "detail": names})
    leaks = pd.DataFrame(
        {
            "column": [first, f"meta.{names[1]}", "row_order"],
            "kind": ["artefact", "metadata", "order"],
            "measure": "AUC",
            "score": [0.97, 0.7, 0.6],
            "low": [0.95, 0.65, 0.55],
            "high": [0.99, 0.75, 0.65],
            "is_reported": True,
        }
    )
    subjects = {"what": names, "setting": names, "groups": 9, "largest": 3, "example": names}
    scored = e.ScoredPicture(picture=picture(first), score=0.91, part="train", label=first)
    page = e.EdaPage(
        head=e.EdaHead(
            competition=first,
            task="multiclass",
            parts=(p.PartCount(part="train", num_rows=40, num_images=41, num_quarantined=1),),
            num_classes=len(names),
            embeddings=names[1],
            created=first,
            elapsed_s=74,
        ),
        problem=e.ProblemForm(
            answers=(
                e.ProblemAnswer(key="input", question=text, value=first),
                e.ProblemAnswer(
                    key="colour_matters", question=text, value=None, guess='"no"', reason=text
                ),
            ),
            augmentations=(p.Remedy(setting=first, why=text),),
        ),
        classes=e.ClassesSummary(
            counts=pd.DataFrame({"class": names, "train": range(1, len(names) + 1)}),
            samples=tuple(p.ClassSamples(name=x, pictures=(picture(x),)) for x in names),
            never_seen=names[:1],
        ),
        targets=np.arange(20.0),
        pictures=make_pictures(names),
        map=make_map(names),
        eigen=e.EigenPictures(mean=picture(first), components=(picture(first),), shares=(0.3,)),
        integrity=e.IntegritySummary(
            num_files=41, quarantined=table, unlisted=table, missing=table, notes=names
        ),
        duplicates=make_duplicates(names),
        leaks=e.LeaksSummary(table=leaks, subjects=pd.DataFrame(subjects)),
        shift=e.ShiftSummary(
            aucs=pd.DataFrame(
                {
                    "name": ["embeddings", "metadata"],
                    "auc": [0.8, 0.5],
                    "low": [0.75, 0.4],
                    "high": [0.85, 0.6],
                    "is_shifted": [True, False],
                }
            ),
            test_like=(scored,),
            train_like=(scored,),
            columns=pd.DataFrame({"name": names, "share": 0.2}),
        ),
        suspects=e.SuspectsSummary(
            suspects=(
                e.Suspect(picture=picture(first), given=first, suggested=names[1], score=0.987),
            ),
            num_suspects=12,
            num_rows=400,
            run=first,
            labels_path=names[1],
        ),
        metadata=make_columns(names),
        boxes=(
            e.BoxesSummary(
                kind="faces",
                pictures=(
                    e.BoxedPicture(
                        picture=picture(first),
                        size_px=(100, 50),
                        boxes=((10, 10, 60, 70),),
                        label=first,
                    ),
                ),
                num_images=41,
                num_with=1,
                num_outside=1,
            ),
        ),
        suggestions=(
            Suggestion(
                "groups.shared",
                {"column": first, "shared": 3},
                (names[1], first),
                "competition",
            ),
        ),
    )
    return dataclasses.replace(page, findings=data_findings(page))


@pytest.fixture(scope="module")
def html() -> str:
    return render_eda(make_page(NAMES))


def test_the_page_holds_its_numbers_in_both_languages(html: str) -> None:
    text = Reader(html).text
    for shown in ("4,321", "0.432", "98.8% alike", "유사도 98.8%", "1 min 14 s", "9,999"):
        assert shown in text
    for words in (
        "Settle this before you train",
        "학습 전에 해결해야 합니다",
        "고양이",
        "mirrored",
    ):
        assert words in text


def test_sections_stand_in_the_order_of_the_story(html: str) -> None:
    reader = Reader(html)
    assert reader.ids() == [
        "problem", "classes", "map", "pictures", "outliers", "integrity", "duplicates", "leaks",
        "shift", "suspects", "metadata", "boxes", "findings", "suggestions",
    ]  # fmt: skip
    links = [a["href"] for tag, a in reader.elements if tag == "a"]
    assert {f"#{section}" for section in reader.ids()} <= set(links)


def test_every_finding_leads_to_a_section_that_is_there(html: str) -> None:
    reader = Reader(html)
    links = {str(a["href"]) for tag, a in reader.elements if tag == "a"}
    assert links <= {f"#{section}" for section in reader.ids()}


def test_every_place_has_a_chart_in_both_languages(html: str) -> None:
    reader = Reader(html)
    charts = reader.data()["charts"]
    places = [str(a["data-chart"]) for _, a in reader.elements if "data-chart" in a]
    assert sorted(places) == sorted(charts["en"]) == sorted(charts["ko"])
    assert {"map", "brightness", "sharpness", "leak_scores", "column_1", "grey"} <= set(places)


def test_the_page_reaches_for_nothing_outside_itself(html: str) -> None:
    for tag, attributes in Reader(html).elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        address = attributes.get("src") or attributes.get("href")
        assert address is None or address.startswith(("data:image/jpeg;base64,", "#"))


def test_the_policy_lists_the_hash_of_every_script_that_runs(html: str) -> None:
    reader = Reader(html)
    policy = next(str(a["content"]) for _, a in reader.elements if a.get("http-equiv"))
    listed = re.findall(r"'sha256-([^']+)'", policy)
    hashes = [hashlib.sha256(s.encode()).digest() for s in reader.scripts[1:]]
    assert listed == [base64.b64encode(digest).decode() for digest in hashes]
    assert len(listed) == 3
    assert "unsafe-eval" not in policy


def test_no_name_becomes_markup() -> None:
    tame, wild = Reader(render_eda(make_page(TAME))), Reader(render_eda(make_page(HOSTILE)))
    code = [tag for tag, _ in tame.elements if tag != "code"]
    assert [tag for tag, _ in wild.elements if tag != "code"] == code
    for _, attributes in wild.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert "javascript" not in (attributes.get("href") or "")
        assert not re.search(r"[<>;]\s*\w+\(", attributes.get("style") or "")
    assert HOSTILE[0] in wild.text
    assert "{{ 7*7 }}" in wild.text
    assert "\x1b" not in wild.text + wild.scripts[0]
    assert not set(wild.scripts[0]) & set("<>&")


def test_plotly_is_given_no_markup_of_names() -> None:
    figures = build_eda_charts(make_page(HOSTILE), "en")
    text = json.dumps({name: chart.figure for name, chart in figures.items()})
    for markup in ("<script", "<img", "<a ", "<svg"):
        assert markup not in text


def test_sections_without_data_are_absent() -> None:
    bare = e.EdaPage(head=make_page(NAMES).head)
    reader = Reader(render_eda(bare))
    assert reader.ids() == []
    assert reader.data()["charts"] == {"en": {}, "ko": {}}
    assert len(reader.scripts) == 3  # data, plotly, report.js: no map, no script of it
    assert "Nothing was judged" in reader.text


@pytest.mark.parametrize(
    "name", ["problem", "classes", "integrity", "duplicates", "leaks", "shift", "metadata"]
)
def test_one_section_can_be_left_out(name: str) -> None:
    gone: dict[str, Any] = {name: None, "targets": None, "findings": ()}
    ids = Reader(render_eda(dataclasses.replace(make_page(NAMES), **gone))).ids()
    assert name not in ids
    assert "pictures" in ids


def test_conflicting_labels_stand_first_then_train_and_test(html: str) -> None:
    # The first card is the weakest link of the chain.
    cards = re.findall(r'<article class="card( conflict)?"><div class="two">', html)
    assert cards == ["", " conflict", "", ""]
    first, second = html.split("Side by side")[1].split("<article")[2:4]
    assert "part test" in first
    assert "part test" not in second


def test_boxes_are_placed_in_per_cent_and_cut_at_the_border(html: str) -> None:
    assert '<i style="left:10.00%;top:20.00%;width:50.00%;height:80.00%"></i>' in html


def test_guesses_of_the_data_can_be_copied_and_answers_stay(html: str) -> None:
    reader = Reader(html)
    assert "under [problem]" in reader.text
    assert 'colour_matters = "no"' in reader.text
    assert "input = " not in reader.text


def test_the_same_page_gives_the_same_bytes(tmp_path: Path, html: str) -> None:
    write_eda(tmp_path / "eda.html", make_page(NAMES))
    assert (tmp_path / "eda.html").read_bytes() == html.encode("utf-8")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        write_eda(tmp_path / "file" / "eda.html", e.EdaPage(head=make_page(NAMES).head))


def test_undecodable_file_names_can_be_written(tmp_path: Path) -> None:
    page = make_page(NAMES)
    assert page.suspects is not None
    suspect = dataclasses.replace(page.suspects.suspects[0], picture=picture("caf\udce9.jpg"))
    suspects = dataclasses.replace(page.suspects, suspects=(suspect,))
    write_eda(tmp_path / "eda.html", dataclasses.replace(page, suspects=suspects))
    assert "caf\\udce9.jpg" in (tmp_path / "eda.html").read_text("utf-8")
