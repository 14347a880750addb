"""Charts of the data, the split and the submission: how much of what is where."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gorae.report.drawing import (
    MAX_NAMED_BARS,
    MAX_NUMBERED_CELLS,
    MAX_POINTS,
    Chart,
    floats,
    make_chart,
    name_axis,
    name_axis_down,
    title,
)
from gorae.report.numbers import count, number, percent, plotly_text
from gorae.report.texts import Language, say
from gorae.report.theme import BLUE, GREEN, GREY, ORANGE

# A class share this far off in a fold gets the full colour: what chance leaves on a
# hundred rows is about this much.
FULL_COLOUR_DEVIATION = 0.05
NUM_BINS = 40

PART_COLOURS = {"train": BLUE, "holdout": ORANGE, "extra": GREEN}
SHARE_MARKS = {
    "train": (GREY, "line-ns-open"),
    "oof": (BLUE, "circle"),
    "test": (ORANGE, "diamond"),
}


def class_counts(counts: pd.DataFrame, language: Language) -> Chart:
    """Rows of each class, parts stacked: class names down, or a falling curve for many."""
    parts = [part for part in PART_COLOURS if part in counts.columns]
    total = counts[parts].sum(axis=1)
    is_named = len(counts) <= MAX_NAMED_BARS
    if not is_named:
        counts = counts.loc[total.sort_values(ascending=False, kind="stable").index]
    names = [plotly_text(str(name)) for name in counts["class"]]
    traces = []
    for part in parts:
        places, values = list(range(len(counts))), counts[part].tolist()
        traces.append(
            go.Bar(
                x=values if is_named else places,
                y=places if is_named else values,
                orientation="h" if is_named else "v",
                name=say(f"part.{part}", language),
                marker={"color": PART_COLOURS[part]},
                text=[count(int(n)) for n in values] if is_named and len(parts) == 1 else None,
                textposition="auto",
                insidetextanchor="end",
                textangle=0,
                customdata=names,
                hovertemplate="%{customdata}: %{" + ("x" if is_named else "y") + ":,}"
                "<extra>%{fullData.name}</extra>",
            )
        )
    length = {**title(say("axis.rows", language)), "rangemode": "tozero"}
    layout: dict[str, Any] = {"barmode": "stack", "showlegend": len(parts) > 1}
    layout["legend"] = {"traceorder": "normal"}
    if is_named:
        axis = name_axis_down([str(name) for name in counts["class"]])
        height_px = 70 + 26 * len(counts) + 24 * (len(parts) > 1)
        return make_chart(traces, height_px=height_px, xaxis=length, yaxis=axis, **layout)
    rank = {**title(say("axis.class_rank", language)), "showticklabels": False}
    return make_chart(traces, height_px=300, xaxis=rank, yaxis=length, bargap=0, **layout)


def histogram(values: Any, language: Language, *, axis: str) -> Chart:
    """How often numbers fall into equal bins."""
    heights, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=NUM_BINS)
    bars = go.Bar(
        x=floats((edges[:-1] + edges[1:]) / 2),
        y=heights.tolist(),
        width=floats(np.diff(edges)),
        marker={"color": BLUE, "line": {"width": 0}},
        customdata=[f"{number(a)} – {number(b)}" for a, b in itertools.pairwise(edges)],
        hovertemplate="%{customdata}: %{y:,}<extra></extra>",
    )
    axes: dict[str, Any] = {"xaxis": title(axis), "yaxis": title(say("axis.rows", language))}
    return make_chart([bars], height_px=280, bargap=0.04, **axes)


def picture_sizes(sizes: pd.DataFrame, language: Language) -> Chart | None:
    """Width against height of the pictures; None when all have one size."""
    unique = sizes.groupby(["width_px", "height_px"], as_index=False).size()
    if len(unique) < 2:
        return None
    unique = unique.sort_values("size", ascending=False, kind="stable").head(MAX_POINTS)
    area = np.sqrt(unique["size"] / unique["size"].max())
    dots = go.Scatter(
        x=unique["width_px"].tolist(),
        y=unique["height_px"].tolist(),
        mode="markers",
        marker={"color": BLUE, "opacity": 0.45, "size": floats(6 + 22 * area, 4)},
        customdata=unique["size"].tolist(),
        hovertemplate="%{x} × %{y}: %{customdata:,} "
        + say("axis.pictures", language)
        + "<extra></extra>",
    )
    return make_chart(
        [dots],
        height_px=320,
        xaxis={**title(say("axis.width", language)), "rangemode": "tozero"},
        yaxis={**title(say("axis.height", language)), "rangemode": "tozero"},
    )


def balance(table: pd.DataFrame, language: Language) -> Chart:
    """Rows of each class in each fold; colour: how far its share is from the overall one."""
    counts = table.to_numpy(np.float64)  # (K, folds)
    share = counts / counts.sum(axis=0, keepdims=True).clip(1)
    overall = counts.sum(axis=1, keepdims=True) / max(counts.sum(), 1)
    names = [str(name) for name in table.index]
    folds = [say("axis.fold", language, name=name) for name in table.columns]
    hover = [
        [
            f"{plotly_text(name)}, {plotly_text(fold)}: {count(int(counts[i, j]))}<br>"
            + say(
                "axis.share_of_fold",
                language,
                share=percent(share[i, j]),
                overall=percent(overall[i, 0]),
            )
            for j, fold in enumerate(folds)
        ]
        for i, name in enumerate(names)
    ]
    is_numbered = len(names) <= MAX_NUMBERED_CELLS
    cells = go.Heatmap(
        z=[floats(row, 4) for row in share - overall],
        zmin=-FULL_COLOUR_DEVIATION,
        zmax=FULL_COLOUR_DEVIATION,
        autocolorscale=True,
        text=[[count(int(cell)) for cell in row] for row in counts] if is_numbered else None,
        texttemplate="%{text}" if is_numbered else None,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        showscale=False,
        xgap=2,
        ygap=2 if is_numbered else 0,
    )
    return make_chart(
        [cells],
        height_px=60 + (28 * len(names) if is_numbered else min(10 * len(names), 900)),
        min_width_px=60 + 44 * len(folds),
        xaxis=name_axis(folds, side="top"),
        yaxis=name_axis_down(names, showticklabels=is_numbered),
    )


def shares(table: pd.DataFrame, language: Language) -> Chart:
    """Shares of each class in train labels, out-of-fold and test answers; at most 40 classes,
    those whose test share moved most."""
    if len(table) > MAX_NAMED_BARS:
        moved = (table["test"] - table["oof"]).abs()
        kept = moved.sort_values(ascending=False, kind="stable").index[:MAX_NAMED_BARS]
        table = table.loc[kept.sort_values()]
    names = {"train": "part.train_labels", "oof": "part.oof", "test": "part.test_answers"}
    traces = [
        go.Scatter(
            x=floats(table[part]),
            y=list(range(len(table))),
            mode="markers",
            name=say(names[part], language),
            marker={"color": colour, "size": 10, "symbol": symbol, "line": {"width": 2}},
            customdata=[plotly_text(str(name)) for name in table["class"]],
            hovertemplate="%{customdata}: %{x:.1%}<extra>%{fullData.name}</extra>",
        )
        for part, (colour, symbol) in SHARE_MARKS.items()
    ]
    return make_chart(
        traces,
        height_px=100 + 28 * len(table),
        xaxis={
            **title(say("axis.share", language)),
            "tickformat": ".0%",
            "rangemode": "tozero",
        },
        yaxis=name_axis_down([str(name) for name in table["class"]], showgrid=True),
    )
