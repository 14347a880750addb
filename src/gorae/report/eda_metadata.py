"""Columns beside the pictures, drawn against the label."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from gorae.eda.distributions import Distribution
from gorae.report.drawing import Chart, floats, make_chart, name_axis_down, title
from gorae.report.eda_colours import CLASS_COLOURS, OTHER_COLOUR, translucent
from gorae.report.eda_texts import tell
from gorae.report.numbers import plotly_text
from gorae.report.texts import Language

# More lines or bars side by side cannot be told apart.
MAX_GROUPS = 5
MAX_VALUES = 15


def distribution_chart(
    distribution: Distribution, groups: Sequence[str], language: Language
) -> Chart | None:
    """Shares of a column's values within each class and in test; None where none is known.

    Args:
        distribution: From ``metadata_distributions``.
        groups: Names of the lines of its counts; empty where there is one, all of train.
        language: Of the labels.
    """
    lines = _lines(distribution, groups, language)
    if not lines:
        return None
    draw = _numbers if distribution.edges else _categories
    return draw(distribution, lines, language)


_Lines = list[tuple[str, str, NDArray[np.float64]]]


def _lines(distribution: Distribution, groups: Sequence[str], language: Language) -> _Lines:
    """Name, colour and shares of the largest classes and of test."""
    counts = distribution.counts
    names = list(groups) or [getattr(tell("part.train"), language)]
    largest = np.argsort(-counts.sum(axis=1), kind="stable")[:MAX_GROUPS]
    lines = [
        (names[row], colour, counts[row])
        for row, colour in zip(np.sort(largest).tolist(), CLASS_COLOURS, strict=False)
    ]
    lines.append((getattr(tell("part.test"), language), OTHER_COLOUR, distribution.test_counts))
    return [
        (plotly_text(name), colour, line / line.sum())
        for name, colour, line in lines
        if line.sum()
    ]


def _share_axis(language: Language) -> dict[str, Any]:
    axis = {"tickformat": ".0%", "rangemode": "tozero"}
    return {**title(getattr(tell("axis.group"), language)), **axis}


def _numbers(distribution: Distribution, lines: _Lines, language: Language) -> Chart:
    traces = [
        go.Scatter(
            x=floats(np.repeat(distribution.edges, 2)),
            y=[0, *floats(np.repeat(shares, 2)), 0],
            mode="lines",
            line={"color": colour, "width": 2, "simplify": False},
            fill="tozeroy",
            fillcolor=translucent(colour, 0.12),
            name=name,
            hovertemplate="%{x:.4~g}: %{y:.1%}<extra>%{fullData.name}</extra>",
        )
        for name, colour, shares in lines
    ]
    return make_chart(
        traces, height_px=270, showlegend=len(traces) > 1, yaxis=_share_axis(language)
    )


def _categories(distribution: Distribution, lines: _Lines, language: Language) -> Chart:
    values = [
        name or getattr(tell("metadata.rarer"), language)
        for name in distribution.names[:MAX_VALUES]
    ]
    traces = [
        go.Bar(
            x=floats(shares[: len(values)]),
            y=list(range(len(values))),
            orientation="h",
            marker={"color": colour},
            name=name,
            customdata=[plotly_text(value) for value in values],
            hovertemplate="%{customdata}: %{x:.1%}<extra>%{fullData.name}</extra>",
        )
        for name, colour, shares in lines
    ]
    return make_chart(
        traces,
        height_px=90 + (8 + 10 * len(lines)) * len(values),
        showlegend=len(traces) > 1,
        xaxis=_share_axis(language),
        yaxis=name_axis_down(values),
    )
