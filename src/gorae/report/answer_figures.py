"""Charts of the answers: what was said against what is true."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gorae.report.compared import ComparedLine
from gorae.report.drawing import (
    MAX_NUMBERED_CELLS,
    MAX_POINTS,
    Chart,
    diagonal,
    floats,
    make_chart,
    name_axis_down,
    row_counts,
    title,
)
from gorae.report.numbers import (
    CHART_NAME_LENGTH,
    chart_name,
    count,
    number,
    percent,
    plotly_text,
)
from gorae.report.page import Confusion, RegressionFit, Reliability, Roc
from gorae.report.texts import Language, say
from gorae.report.theme import BLUE, GREY, ORANGE

# Up to here a cell has room for its share below its count.
MAX_SHARED_CELLS = 8
MAX_DRAWN_CLASSES = 150

GAIN_COLOURS = {"better": BLUE, "worse": ORANGE, "same": GREY}


def confusion_matrix(confusion: Confusion, language: Language) -> Chart | None:
    """Counts as numbers (few classes: shares, too), shares of the true class as colour.

    None beyond 150 classes: a cell would be smaller than a dot, and bytes of the page.
    """
    counts = confusion.counts
    size = len(counts)
    if size > MAX_DRAWN_CLASSES:
        return None
    share = counts / counts.sum(axis=1, keepdims=True).clip(1)
    names = [plotly_text(name) for name in confusion.classes]
    is_numbered = size <= MAX_NUMBERED_CELLS
    said = f"{say('axis.true', language)}: %{{y}}<br>{say('axis.predicted', language)}: %{{x}}"
    cells = go.Heatmap(
        x=names,
        y=names,
        z=[floats(row, 3) for row in np.sqrt(share)],
        zmin=0,
        zmax=1,
        autocolorscale=True,
        text=_cell_texts(confusion) if is_numbered else None,
        texttemplate="%{text}" if is_numbered else None,
        customdata=_hover_texts(confusion),
        hovertemplate=f"{said}<br><b>%{{customdata}}</b><extra></extra>",
        showscale=False,
        xgap=2 if is_numbered else 0,
        ygap=2 if is_numbered else 0,
    )
    cell_px = 72 if size <= 4 else 52 if size <= MAX_SHARED_CELLS else 34 if is_numbered else 10
    # Every name of many classes would overlap the next one.
    step = -(-size // 60)
    # A category stays a name, also one that looks like a number.
    axis = {
        "type": "category",
        "tickmode": "array",
        "tickvals": names[::step],
        "ticktext": [chart_name(name) for name in confusion.classes[::step]],
        "showgrid": False,
    }
    across = {**axis, "side": "top", "tickangle": -45 if size > 4 else 0}
    return make_chart(
        [cells],
        height_px=110 + max(min(cell_px * size, 1100), 120),
        min_width_px=120 + min(cell_px * size, 1100),
        xaxis={**across, **title(say("axis.predicted", language))},
        yaxis={**axis, **title(say("axis.true", language)), "autorange": "reversed"},
    )


def _hover_texts(confusion: Confusion) -> list[list[str]]:
    """``12 (4.3%)``: the count and its share of the true class; 0 is short, as most are."""
    share = confusion.counts / confusion.counts.sum(axis=1, keepdims=True).clip(1)
    return [
        [f"{count(c)} ({percent(s)})" if c else "0" for c, s in zip(row, part, strict=True)]
        for row, part in zip(confusion.counts.tolist(), share.tolist(), strict=True)
    ]


def _cell_texts(confusion: Confusion) -> list[list[str]]:
    counts = confusion.counts
    if len(counts) > MAX_SHARED_CELLS:
        return [[count(int(cell)) if cell else "" for cell in row] for row in counts]
    share = counts / counts.sum(axis=1, keepdims=True).clip(1)
    return [
        [f"{count(int(c))}<br>{percent(s)}" for c, s in zip(row, part, strict=True)]
        for row, part in zip(counts, share, strict=True)
    ]


def reliability(found: Reliability, language: Language) -> Chart:
    """Said probability against how often it came true, with the count of each bin below."""
    bins = found.bins
    dots = go.Scatter(
        x=floats(bins["said"]),
        y=floats(bins["happened"]),
        mode="lines+markers",
        line={"color": BLUE, "width": 2},
        marker={"size": 8},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": floats(bins["happened_high"] - bins["happened"]),
            "arrayminus": floats(bins["happened"] - bins["happened_low"]),
            "thickness": 1.2,
            "width": 3,
        },
        customdata=row_counts(bins["count"], language),
        hovertemplate="%{x:.1%} → %{y:.1%}<br>%{customdata}<extra></extra>",
    )
    bars = go.Bar(
        x=floats((bins["low"] + bins["high"]) / 2),
        y=bins["count"].tolist(),
        width=floats(bins["high"] - bins["low"]),
        marker={"color": GREY},
        yaxis="y2",
        hovertemplate="%{y:,}<extra></extra>",
    )
    said = say("axis.said", language)
    if found.positive is not None:
        said = say("axis.said_of", language, name=chart_name(found.positive))
    chance = {"tickformat": ".0%", "range": [-0.02, 1.02]}
    return make_chart(
        [diagonal(0, 1), dots, bars],
        height_px=400,
        showlegend=False,
        bargap=0.04,
        xaxis={**title(said), **chance, "anchor": "y2"},
        yaxis={**title(say("axis.happened", language)), **chance, "domain": [0.27, 1]},
        yaxis2={**title(say("axis.rows", language)), "domain": [0, 0.2], "nticks": 3},
    )


def roc(found: Roc, language: Language) -> Chart:
    """The ROC curve."""
    line = go.Scatter(
        x=floats(found.false_alarms),
        y=floats(found.hits),
        mode="lines",
        line={"color": BLUE, "width": 2.5},
        fill="tozeroy",
        fillcolor="rgba(31,131,201,0.10)",
        hovertemplate="%{x:.1%} → %{y:.1%}<extra></extra>",
    )
    chance = {"tickformat": ".0%", "range": [-0.02, 1.02]}
    return make_chart(
        [diagonal(0, 1), line],
        height_px=400,
        showlegend=False,
        xaxis={**title(say("axis.false_alarms", language)), **chance},
        yaxis={**title(say("axis.hits", language)), **chance},
    )


def fit(found: RegressionFit, language: Language) -> Chart:
    """Answered against true numbers; of many, every n-th by size of the truth."""
    order = np.argsort(found.truth, kind="stable")[:: -(-len(found.truth) // MAX_POINTS)]
    both = np.concatenate([found.truth, found.predicted])
    dots = go.Scatter(
        x=floats(found.truth[order]),
        y=floats(found.predicted[order]),
        mode="markers",
        marker={"color": BLUE, "size": 6, "opacity": 0.45},
        hovertemplate="%{x:.4g} → %{y:.4g}<extra></extra>",
    )
    return make_chart(
        [diagonal(float(both.min()), float(both.max())), dots],
        height_px=400,
        showlegend=False,
        xaxis=title(say("axis.true", language)),
        yaxis=title(say("axis.predicted", language)),
    )


def gains(
    lines: Sequence[ComparedLine],
    language: Language,
    *,
    metric: str,
    length: int = CHART_NAME_LENGTH,
) -> Chart:
    """How much better one of two is, with intervals; ``length``: where names are cut."""
    values = [line.gain for line in lines]
    dots = go.Scatter(
        x=floats(values),
        y=list(range(len(lines))),
        mode="markers",
        marker={"size": 9, "color": [GAIN_COLOURS[line.said] for line in lines]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": floats([line.high - line.gain for line in lines]),
            "arrayminus": floats([line.gain - line.low for line in lines]),
            "thickness": 1.5,
            "width": 4,
            "color": GREY,
        },
        customdata=[number(line.score) for line in lines],
        hovertemplate="%{x:+.4g} (%{customdata})<extra></extra>",
    )
    zero = {"type": "line", "x0": 0, "x1": 0, "xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    return make_chart(
        [dots],
        height_px=70 + 26 * len(lines),
        showlegend=False,
        shapes=[{**zero, "line": {"color": GREY, "width": 1.5, "dash": "dot"}}],
        xaxis={**title(say("axis.gain", language, metric=metric)), "tickformat": "+~g"},
        yaxis=name_axis_down(
            [getattr(line.label, language) for line in lines], length=length, showgrid=True
        ),
    )
