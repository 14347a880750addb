"""The parts all charts are made of.

Names of classes and folds stand on number axes as tick texts, so that a class called
``00123`` or ``1e5`` stays a name, and every name passes ``plotly_text``.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gorae.report.numbers import CHART_NAME_LENGTH, Count, chart_name, plotly_text
from gorae.report.texts import Language, say
from gorae.report.theme import GREY

# More bars or cells with names than this do not fit one screen.
MAX_NAMED_BARS = 40
MAX_NUMBERED_CELLS = 30
# A scatter with more points is a blot, and every point is bytes of the page.
MAX_POINTS = 2000


@dataclass(frozen=True)
class Chart:
    """One figure and the room it needs."""

    figure: dict[str, Any]
    """``data`` and ``layout`` of plotly.js, without a template."""
    height_px: int
    min_width_px: int = 0
    """Below this width the chart scrolls sideways."""


def make_chart(
    traces: Sequence[Any],
    *,
    height_px: int,
    min_width_px: int = 0,
    **layout: Any,
) -> Chart:
    """A chart of plotly traces; ``layout`` holds what differs from the page's template."""
    figure = go.Figure(data=list(traces), layout={**layout, "template": "none"})
    plain: dict[str, Any] = json.loads(figure.to_json(engine="json"))
    # The page brings the template, light or dark.
    del plain["layout"]["template"]
    plain["layout"]["height"] = height_px
    return Chart(plain, height_px, min_width_px)


def name_axis(
    names: Sequence[str], *, length: int = CHART_NAME_LENGTH, **more: Any
) -> dict[str, Any]:
    """A number axis from 0 whose ticks are names, cut to ``length``."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": [chart_name(name, length=length) for name in names],
        "range": [-0.5, len(names) - 0.5],
        "showgrid": False,
        **more,
    }


def name_axis_down(names: Sequence[str], **more: Any) -> dict[str, Any]:
    """The same, the first name on top."""
    return name_axis(names, **{**more, "range": [len(names) - 0.5, -0.5]})


def floats(values: Any, digits: int = 6) -> list[float | None]:
    """Numbers with the digits a chart can show; what is not finite is left out."""
    array = np.asarray(values, dtype=np.float64)
    return [
        float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in array.tolist()
    ]


def title(text: str) -> dict[str, Any]:
    """The title of an axis, as a part of its layout."""
    return {"title": {"text": text}}


def diagonal(low: float, high: float) -> Any:
    """The dotted line on which both axes say the same."""
    return go.Scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        line={"color": GREY, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )


def fold_labels(folds: Iterable[Any], language: Language) -> list[str]:
    """Names of folds, fit for hover texts."""
    return [say("axis.fold", language, name=plotly_text(str(fold))) for fold in folds]


def row_counts(counts: Iterable[Any], language: Language) -> list[str]:
    """Numbers of rows, for hover texts."""
    return [say("axis.num_rows", language, count=Count(n)) for n in counts]
