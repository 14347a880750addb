"""Charts of the training: curves, strengths tried, scores of the folds."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gorae.report.drawing import (
    Chart,
    floats,
    fold_labels,
    make_chart,
    name_axis_down,
    row_counts,
    title,
)
from gorae.report.numbers import number, plotly_text
from gorae.report.texts import Language, say
from gorae.report.theme import BLUE, GREY, ORANGE


def _fold_lines(
    curves: pd.DataFrame, column: str, *, name: str, colour: str, dash: str = "solid"
) -> list[Any]:
    """A thin line per fold and a thick one for their mean where all folds have the epoch."""
    table = curves.pivot_table(index="epoch", columns="fold", values=column)
    epochs = table.index.tolist()
    is_alone = table.shape[1] == 1
    lines = [
        go.Scatter(
            x=epochs,
            y=floats(table[fold]),
            mode="lines",
            line={"color": colour, "width": 2.5 if is_alone else 1, "dash": dash},
            opacity=1 if is_alone else 0.45,
            name=f"{name}, {plotly_text(str(fold))}" if not is_alone else name,
            showlegend=is_alone,
            hovertemplate="%{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
        )
        for fold in table.columns
    ]
    if not is_alone:
        whole = table.dropna()
        lines.append(
            go.Scatter(
                x=whole.index.tolist(),
                y=floats(whole.mean(axis=1)),
                mode="lines",
                line={"color": colour, "width": 3, "dash": dash},
                name=name,
                hovertemplate="%{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
            )
        )
    return lines


def loss_curves(curves: pd.DataFrame, language: Language) -> Chart:
    """Loss of the train and validation parts over the epochs."""
    traces: list[Any] = []
    for column, part, colour in (
        ("train_loss", "train", ORANGE),
        ("valid_loss", "valid", BLUE),
    ):
        if column in curves.columns:
            name = say(f"axis.{part}", language)
            traces += _fold_lines(curves, column, name=name, colour=colour)
    axes: dict[str, Any] = {"xaxis": title(say("axis.epoch", language))}
    axes["yaxis"] = {"rangemode": "tozero"}
    return make_chart(traces, height_px=310, showlegend=True, **axes)


def score_curves(
    curves: pd.DataFrame, language: Language, *, metric: str, greater_is_better: bool
) -> Chart:
    """Validation score over the epochs, the best epoch of each fold marked."""
    traces = _fold_lines(curves, "score", name=metric, colour=BLUE)
    by_fold = curves.dropna(subset="score").groupby("fold", sort=False)["score"]
    best = curves.loc[by_fold.idxmax() if greater_is_better else by_fold.idxmin()]
    traces.append(
        go.Scatter(
            x=best["epoch"].tolist(),
            y=floats(best["score"]),
            mode="markers",
            marker={"color": BLUE, "size": 8},
            customdata=fold_labels(best["fold"], language),
            hovertemplate="%{customdata}, %{x}: %{y:.4g}<extra></extra>",
        )
    )
    axes: dict[str, Any] = {"xaxis": title(say("axis.epoch", language)), "yaxis": title(metric)}
    return make_chart(traces, height_px=310, showlegend=False, **axes)


def lr_curve(curves: pd.DataFrame, language: Language) -> Chart:
    """Learning rate over the epochs of the first fold; it is planned alike in all."""
    first = curves[curves["fold"] == curves["fold"].iloc[0]]
    lines = _fold_lines(first, "lr", name=say("chart.lr", language), colour=GREY)
    axes: dict[str, Any] = {"xaxis": title(say("axis.epoch", language))}
    axes["yaxis"] = {"rangemode": "tozero"}
    return make_chart(lines, height_px=310, showlegend=False, **axes)


def strengths(tried: pd.DataFrame, language: Language) -> Chart:
    """Inner score of each strength in each fold; the chosen ones marked."""
    traces = [
        go.Scatter(
            x=floats(part["strength"]),
            y=floats(part["score"]),
            mode="lines",
            line={"color": BLUE, "width": 1.2},
            opacity=0.6,
            name=say("axis.fold", language, name=plotly_text(str(fold))),
            hovertemplate="%{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
        )
        for fold, part in tried.sort_values("strength", kind="stable").groupby(
            "fold", sort=False
        )
    ]
    chosen = tried[tried["chosen"]]
    traces.append(
        go.Scatter(
            x=floats(chosen["strength"]),
            y=floats(chosen["score"]),
            mode="markers",
            marker={"color": ORANGE, "size": 9},
            customdata=fold_labels(chosen["fold"], language),
            hovertemplate="%{customdata}, %{x}: %{y:.4g}<extra></extra>",
        )
    )
    ticks = sorted(tried["strength"].unique().tolist())
    return make_chart(
        traces,
        height_px=310,
        showlegend=False,
        xaxis={
            **title(say("axis.strength", language)),
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
        },
        yaxis=title(say("axis.inner_score", language)),
    )


def fold_scores(folds: pd.DataFrame, language: Language, *, metric: str) -> Chart:
    """Score of each fold, their mean and standard deviation."""
    names = [say("axis.fold", language, name=name) for name in folds["fold"]]
    mean, deviation = float(folds["score"].mean()), float(folds["score"].std())
    dots = go.Scatter(
        x=floats(folds["score"]),
        y=list(range(len(folds))),
        mode="markers+text",
        marker={"color": BLUE, "size": 11},
        text=[number(score) for score in folds["score"]],
        textposition="top center",
        cliponaxis=False,
        customdata=row_counts(folds["num_rows"], language),
        hovertemplate="%{text}, %{customdata}<extra></extra>",
    )
    shapes: list[dict[str, Any]] = [
        {
            "type": "line",
            "x0": mean,
            "x1": mean,
            "line": {"color": BLUE, "width": 1.5, "dash": "dot"},
        }
    ]
    if np.isfinite(deviation):
        band = {
            "x0": mean - deviation,
            "x1": mean + deviation,
            "fillcolor": BLUE,
            "opacity": 0.13,
        }
        shapes.append({"type": "rect", "line": {"width": 0}, "layer": "below", **band})
    for shape in shapes:
        shape.update({"xref": "x", "yref": "paper", "y0": 0, "y1": 1})
    return make_chart(
        [dots],
        height_px=80 + 40 * len(folds),
        xaxis=title(metric),
        yaxis=name_axis_down(names),
        shapes=shapes,
        showlegend=False,
    )
