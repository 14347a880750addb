"""Charts of the page on the data, by name."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gorae.data.sources import META_PREFIX
from gorae.report import data_figures
from gorae.report.drawing import (
    MAX_NAMED_BARS,
    MAX_POINTS,
    Chart,
    diagonal,
    floats,
    make_chart,
    name_axis_down,
    title,
)
from gorae.report.eda_colours import CLASS_COLOURS, PART_COLOURS
from gorae.report.eda_map import embedding_map
from gorae.report.eda_metadata import distribution_chart
from gorae.report.eda_page import Channels, EdaPage, PicturesSummary
from gorae.report.eda_texts import EDA_TEXTS, tell
from gorae.report.numbers import Count, count, number, plotly_text
from gorae.report.texts import Language
from gorae.report.theme import BLUE, GREY, ORANGE

MEASURES = ("brightness", "contrast", "sharpness")
NUM_BINS = 40
# Three such charts stand side by side; the largest classes say enough.
MAX_SPREAD = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_OVERLAID = len(CLASS_COLOURS)

Charts = Iterator[tuple[str, Chart | None]]


def build_eda_charts(page: EdaPage, language: Language) -> dict[str, Chart]:
    """The charts that the sections of ``page`` have data for, labelled in ``language``."""
    found = (*_of_pictures(page, language), *_of_dangers(page, language))
    return {name: chart for name, chart in found if chart is not None}


def _of_pictures(page: EdaPage, language: Language) -> Charts:
    if page.classes is not None:
        yield "eda_classes", data_figures.class_counts(page.classes.counts, language)
    if page.targets is not None:
        axis = _say("axis.target", language)
        yield "eda_targets", data_figures.histogram(page.targets, language, axis=axis)
    if page.pictures is not None:
        yield "eda_sizes", sizes(page.pictures.sizes, language)
        yield "aspects", aspects(page.pictures.sizes, language)
        if page.pictures.measures is not None:
            for measure in MEASURES:
                if measure in page.pictures.measures.columns:
                    yield measure, spread(page.pictures, measure, language)
        if page.pictures.channels is not None:
            yield "grey", greys(page.pictures.channels, language)
    if page.map is not None:
        yield "map", embedding_map(page.map, language)


def _of_dangers(page: EdaPage, language: Language) -> Charts:
    if page.duplicates is not None and page.duplicates.set_sizes is not None:
        yield "set_sizes", set_sizes(page.duplicates.set_sizes, language)
    if page.leaks is not None and len(page.leaks.table):
        yield "leak_scores", leak_scores(page.leaks.table, language)
    if page.shift is not None:
        if len(page.shift.aucs):
            yield "shift_aucs", shift_aucs(page.shift.aucs, language)
        # What a classifier used that tells nothing apart says nothing.
        if page.shift.columns is not None and _is_shifted(page.shift.aucs, "metadata"):
            yield "shift_columns", used_columns(page.shift.columns, language)
    if page.metadata is not None:
        for place, distribution in enumerate(page.metadata.distributions):
            groups = page.metadata.groups
            yield f"column_{place}", distribution_chart(distribution, groups, language)


def _say(key: str, language: Language, **values: object) -> str:
    return str(getattr(tell(key, **values), language))


def sizes(table: pd.DataFrame, language: Language) -> Chart | None:
    """Width against height of the pictures of each part; None when all have one size."""
    unique = table.groupby(["part", "width_px", "height_px"], as_index=False).size()
    if len(unique.drop_duplicates(["width_px", "height_px"])) < 2:
        return None
    unique = unique.sort_values("size", ascending=False, kind="stable").head(MAX_POINTS)
    area = np.sqrt(unique["size"] / unique["size"].max())
    traces = []
    for part, colour in PART_COLOURS.items():
        ours = (unique["part"] == part).to_numpy()
        if not ours.any():
            continue
        line = unique[ours]
        traces.append(
            go.Scatter(
                x=line["width_px"].tolist(),
                y=line["height_px"].tolist(),
                mode="markers",
                name=_say(f"part.{part}", language),
                marker={
                    "color": colour,
                    "opacity": 0.5,
                    "size": floats(5 + 20 * area[ours], 4),
                    "line": {"width": 0},
                },
                customdata=line["size"].tolist(),
                hovertemplate="%{x} × %{y}: %{customdata:,} "
                + _say("axis.pictures", language)
                + "<extra>%{fullData.name}</extra>",
            )
        )
    longest = float(min(unique["width_px"].max(), unique["height_px"].max()))
    square = diagonal(0, longest)
    square.showlegend = False
    return make_chart(
        [square, *traces],
        height_px=340,
        showlegend=len(traces) > 1,
        xaxis={**title(_say("axis.width", language)), "rangemode": "tozero"},
        yaxis={**title(_say("axis.height", language)), "rangemode": "tozero"},
    )


def aspects(table: pd.DataFrame, language: Language) -> Chart | None:
    """How wide pictures are for their height; None when all are alike."""
    ratio = table["width_px"] / table["height_px"]
    if ratio.max() - ratio.min() < 0.01:
        return None
    edges = np.geomspace(ratio.min() * 0.999, ratio.max() * 1.001, NUM_BINS + 1)
    lines = {
        part: ratio[table["part"] == part].to_numpy(np.float64)
        for part in PART_COLOURS
        if (table["part"] == part).any()
    }
    traces = [
        go.Scatter(
            x=floats(np.repeat(edges, 2)[1:-1]),
            y=floats(np.repeat(np.histogram(values, edges)[0] / len(values), 2)),
            mode="lines",
            line={"color": PART_COLOURS[part], "width": 2, "simplify": False},
            fill="tozeroy",
            name=_say(f"part.{part}", language),
            hovertemplate="%{x:.2f}: %{y:.1%}<extra>%{fullData.name}</extra>",
        )
        for part, values in lines.items()
    ]
    return make_chart(
        traces,
        height_px=340,
        showlegend=len(traces) > 1,
        xaxis={**title(_say("axis.aspect", language)), "type": "log", "tickformat": ".3~g"},
        yaxis={**title(_say("axis.part", language)), "tickformat": ".0%"},
    )


def spread(pictures: PicturesSummary, measure: str, language: Language) -> Chart | None:
    """Quantiles of a measure: parts first, then classes."""
    table = pictures.measures
    assert table is not None
    lines = _spread_lines(table, measure, language)
    if not lines:
        return None
    traces: list[Any] = []
    for colour in dict.fromkeys(colour for _, colour, _ in lines):
        ours = [(row, name, cuts) for row, (name, c, cuts) in enumerate(lines) if c == colour]
        for low, high, width in ((0, 4, 1.5), (1, 3, 6)):
            ends = [[cuts[low], cuts[high], None] for _, _, cuts in ours]
            traces.append(
                go.Scatter(
                    x=[end for pair in ends for end in pair],
                    y=[place for row, _, _ in ours for place in (row, row, None)],
                    mode="lines",
                    line={"color": colour, "width": width},
                    opacity=0.75,
                    hoverinfo="skip",
                )
            )
        traces.append(
            go.Scatter(
                x=[cuts[2] for _, _, cuts in ours],
                y=[row for row, _, _ in ours],
                mode="markers",
                marker={"color": colour, "size": 11, "line": {"color": "#fff", "width": 2}},
                customdata=[
                    f"<b>{plotly_text(name)}</b><br>{_cuts_text(cuts, language)}"
                    for _, name, cuts in ours
                ],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    limits = [x for x in (pictures.limits or {}).get(measure, ()) if x is not None]
    reach = [*limits, *(cuts[end] for _, _, cuts in lines for end in (0, 4))]
    return make_chart(
        traces,
        height_px=60 + 26 * len(lines),
        showlegend=False,
        shapes=[_upright(limit) for limit in limits],
        xaxis={"range": _room(reach)},
        yaxis=name_axis_down([name for name, _, _ in lines]),
    )


def _spread_lines(
    table: pd.DataFrame, measure: str, language: Language
) -> list[tuple[str, str, list[float]]]:
    """Name, colour and quantiles of each line."""
    groups: list[tuple[str, str, Any]] = [
        (_say(f"part.{part}", language), colour, table["part"] == part)
        for part, colour in PART_COLOURS.items()
    ]
    largest = (
        table["class"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    )
    if len(largest) > 1:
        names = sorted(largest.index[:MAX_SPREAD])
        groups += [(str(name), GREY, table["class"] == name) for name in names]
    lines = []
    for name, colour, rows in groups:
        values = table.loc[rows, measure].dropna().to_numpy(np.float64)
        if len(values):
            lines.append((name, colour, np.quantile(values, QUANTILES).tolist()))
    return lines


def _cuts_text(cuts: Sequence[float], language: Language) -> str:
    names = ("q05", "q25", "median", "q75", "q95")
    shown = {name: number(cut) for name, cut in zip(names, cuts, strict=True)}
    return _say("axis.spread", language, **shown)


def _room(values: Sequence[float]) -> list[float]:
    """A range that holds ``values`` and a little more."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return [low - room, high + room]


def _upright(place: float) -> dict[str, Any]:
    line = {"color": GREY, "width": 1.5, "dash": "dot"}
    ends = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "x0": place, "x1": place, "line": line, "layer": "below", **ends}


def greys(channels: Channels, language: Language) -> Chart | None:
    """Grey values of the classes, one line each; None for one class or too many lines."""
    if not 1 < len(channels.names) <= MAX_OVERLAID + 1:
        return None
    shares = channels.shares[:, 0]  # (names, bins)
    names = (_say("pictures.all", language), *channels.names[1:])
    centres = (np.arange(shares.shape[1]) + 0.5) * 256 / shares.shape[1]
    traces = [
        go.Scatter(
            x=floats(centres),
            y=floats(line),
            mode="lines",
            line={"color": colour, "width": 2, "shape": "spline", "simplify": False},
            name=plotly_text(name),
            hovertemplate="%{x:.0f}: %{y:.2%}<extra>%{fullData.name}</extra>",
        )
        for name, line, colour in zip(names, shares, (GREY, *CLASS_COLOURS), strict=False)
    ]
    return make_chart(
        traces,
        height_px=330,
        showlegend=True,
        xaxis={**title(_say("axis.grey", language)), "range": [0, 255]},
        yaxis={
            **title(_say("axis.pixels", language)),
            "tickformat": ".1%",
            "rangemode": "tozero",
        },
    )


def set_sizes(table: pd.DataFrame, language: Language) -> Chart | None:
    """How many sets of duplicates have how many pictures; None where there is no set."""
    if not len(table):
        return None
    names = [_say("axis.set_of", language, count=Count(size)) for size in table["size"]]
    bars = go.Bar(
        x=table["sets"].tolist(),
        y=list(range(len(table))),
        orientation="h",
        marker={"color": BLUE},
        text=[count(int(n)) for n in table["sets"]],
        textposition="auto",
        textangle=0,
        hoverinfo="skip",
    )
    return make_chart(
        [bars],
        height_px=90 + 26 * len(table),
        xaxis={
            **title(_say("axis.sets", language)),
            "rangemode": "tozero",
            # There is no half of a set.
            **({"dtick": 1} if table["sets"].max() < 5 else {}),
        },
        yaxis=name_axis_down(names),
    )


def leak_scores(table: pd.DataFrame, language: Language) -> Chart:
    """How well each column predicts the label, those that are reported in orange."""
    is_auc = str(table["measure"].iloc[0]) == "AUC"
    return _dots(
        table.rename(columns={"is_reported": "stands_out"}),
        [leak_name(name, language) for name in table["column"]],
        axis=_say("axis.auc" if is_auc else "axis.rank", language),
        chance=0.5 if is_auc else 0.0,
    )


def leak_name(name: Any, language: Language) -> str:
    """The name of a column; those that are ours in words."""
    key = f"leak.{name}"
    return _say(key, language) if key in EDA_TEXTS else str(name).removeprefix(META_PREFIX)


def shift_aucs(table: pd.DataFrame, language: Language) -> Chart:
    """How well train and test can be told apart, by pictures and by metadata."""
    return _dots(
        table.rename(columns={"is_shifted": "stands_out", "auc": "score"}),
        [_say(f"shift.{name}", language) for name in table["name"]],
        axis=_say("axis.auc", language),
        chance=0.5,
    )


def _is_shifted(aucs: pd.DataFrame, name: str) -> bool:
    return bool(aucs.loc[aucs["name"] == name, "is_shifted"].any())


def _dots(table: pd.DataFrame, names: Sequence[str], *, axis: str, chance: float) -> Chart:
    """Scores with their intervals, in the order of the table; a dotted line is chance."""
    table = table.head(MAX_NAMED_BARS)
    names = names[:MAX_NAMED_BARS]
    scores = table[["score", "low", "high"]].to_numpy(np.float64)
    dots = go.Scatter(
        x=floats(scores[:, 0]),
        y=list(range(len(table))),
        mode="markers",
        marker={"color": [ORANGE if out else GREY for out in table["stands_out"]], "size": 11},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": floats(scores[:, 2] - scores[:, 0]),
            "arrayminus": floats(scores[:, 0] - scores[:, 1]),
            "color": GREY,
            "thickness": 2,
            "width": 5,
        },
        customdata=[
            f"{plotly_text(name)}: {number(score)} ({number(low)} – {number(high)})"
            for name, (score, low, high) in zip(names, scores.tolist(), strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    lowest = min(chance - 0.05, float(np.nanmin(scores)) - 0.03)
    return make_chart(
        [dots],
        height_px=84 + 32 * len(table),
        showlegend=False,
        shapes=[_upright(chance)],
        xaxis={**title(axis), "range": [lowest, 1.02]},
        yaxis=name_axis_down(names, showgrid=True),
    )


def used_columns(table: pd.DataFrame, language: Language) -> Chart:
    """What a classifier on columns used, the most first."""
    table = table.sort_values("share", ascending=False, kind="stable").head(MAX_NAMED_BARS)
    names = [leak_name(name, language) for name in table["name"]]
    bars = go.Bar(
        x=floats(table["share"]),
        y=list(range(len(table))),
        orientation="h",
        marker={"color": BLUE},
        customdata=[plotly_text(name) for name in names],
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
    )
    return make_chart(
        [bars],
        height_px=84 + 28 * len(table),
        xaxis={"tickformat": ".0%", "rangemode": "tozero"},
        yaxis=name_axis_down(names),
    )
