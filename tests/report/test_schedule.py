"""gorae.report.schedule: pages, thinning, the line of blocks."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.report.schedule import (
    SchedulePage,
    SweepPage,
    schedule_chart,
    sparkline,
    sweep_chart,
    thinned,
    write_schedule_page,
    write_sweep_page,
)
from gorae.report.texts import Text

HOSTILE = "</script><script>alert(1)</script>"

COSINE = 1e-3 * (0.5 + 0.5 * np.cos(np.pi * np.arange(120) / 120))
SCHEDULE = SchedulePage(
    competition=HOSTILE,
    recipe="base",
    steps_per_epoch=20,
    head=COSINE,
    backbone=COSINE / 10,
    first_block=COSINE / 80,
    what=Text("A cosine.", "코사인."),
    notes=("train.lr = 0.5 is very high",),
)
RATES = np.geomspace(1e-6, 10, 100)
SWEEP = SweepPage(
    competition=HOSTILE,
    recipe="base",
    rates=RATES,
    losses=2 + RATES,
    smoothed=2 + RATES,
    suggestion=0.002,
    steepest=0.002,
    minimum=0.05,
    now=0.001,
    reason="The loss fell fastest at 0.002.",
)


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'id="report-data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.mark.parametrize("kind", ["schedule", "sweep"])
def test_a_page_carries_everything_and_escapes_names(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "page.html"
    if kind == "schedule":
        write_schedule_page(path, SCHEDULE)
    else:
        write_sweep_page(path, SWEEP)
    html = path.read_text("utf-8")
    assert "alert(1)</script>" not in html
    assert not re.search(r'(?:src|href)="(?!data:)', html.split("<style>")[0])
    assert "default-src &#39;none&#39;" in html
    assert set(data_of(path)["charts"]) == {"en", "ko"}
    assert ("very high" in html) == (kind == "schedule")
    before = path.read_bytes()
    path.unlink()
    if kind == "schedule":
        write_schedule_page(path, SCHEDULE)
    else:
        write_sweep_page(path, SWEEP)
    assert path.read_bytes() == before


def test_the_drawn_rates_are_those_of_the_steps() -> None:
    head, backbone, first = schedule_chart(SCHEDULE, "en").figure["data"]
    np.testing.assert_allclose(head["x"], np.arange(120) / 20)
    np.testing.assert_allclose(head["y"], COSINE, rtol=1e-5)
    np.testing.assert_allclose(backbone["y"], COSINE / 10, rtol=1e-5)
    np.testing.assert_allclose(first["y"], COSINE / 80, rtol=1e-5)
    alone = replace(SCHEDULE, backbone=None, first_block=None)
    assert len(schedule_chart(alone, "ko").figure["data"]) == 1


def test_the_suggestion_is_marked_and_may_be_absent() -> None:
    marked = sweep_chart(SWEEP, "en").figure["layout"]
    assert [shape["x0"] for shape in marked["shapes"]] == [0.002, 0.001]
    assert marked["annotations"][0]["x"] == pytest.approx(np.log10(0.002))
    without = sweep_chart(replace(SWEEP, suggestion=None), "en").figure["layout"]
    assert [shape["x0"] for shape in without["shapes"]] == [0.001]


@given(seed=st.integers(0, 20), size=st.integers(1, 30_000))
def test_thinning_keeps_ends_and_extremes(seed: int, size: int) -> None:
    values = np.random.default_rng(seed).random(size)
    kept = thinned(values)
    assert len(kept) <= 2000
    assert (np.diff(kept) > 0).all()
    assert {0, size - 1, int(values.argmax()), int(values.argmin())} <= set(kept.tolist())


def test_thinning_keeps_both_sides_of_every_jump() -> None:
    values = np.repeat([1.0, 0.1, 0.01], 10_001)
    kept = thinned(values)
    edges = np.diff(values[kept])
    jumps = kept[1:][edges < 0] - kept[:-1][edges < 0]
    assert len(jumps) == 2
    assert jumps.max() < len(values) / 400


def test_a_sparkline_shows_the_shape() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([1.0] * 3) == "███"
    assert sparkline([0.0, 0.0]) == "▁▁"
    spike = np.zeros(1000)
    spike[777] = 1
    line = sparkline(spike, width=50)
    assert len(line) == 50
    assert line.count("█") == 1
