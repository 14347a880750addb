"""Pages about learning rates: the schedule of a training, and the sweep that finds a rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from gorae.files import write_text
from gorae.report.drawing import MAX_POINTS, Chart, floats, make_chart, title
from gorae.report.html import render_page
from gorae.report.numbers import count, percent
from gorae.report.texts import LANGUAGES, Language, Text
from gorae.report.theme import BLUE, GREEN, GREY, ORANGE

Floats = NDArray[np.float64]

HEIGHT_PX = 360
# A rate holds from its step to the next; beyond so many steps that cannot be seen.
MAX_STAIRS = 200
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Tile:
    """One number and what it means."""

    label: Text
    value: str
    help: Text


@dataclass(frozen=True)
class SchedulePage:
    """The learning rates of a training, step by step."""

    competition: str
    recipe: str
    steps_per_epoch: int
    head: Floats
    """Learning rate of the head at each step, (T,)."""
    backbone: Floats | None
    """The same of the backbone; None where there is none of its own."""
    first_block: Floats | None
    """The same of the block next to the input, where blocks differ."""
    what: Text
    """The schedule in words."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepPage:
    """Losses under rising learning rates."""

    competition: str
    recipe: str
    rates: Floats
    """Rate of each step, (T,)."""
    losses: Floats
    smoothed: Floats
    suggestion: float | None
    steepest: float | None
    minimum: float | None
    now: float
    """The rate that the recipe has."""
    reason: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Shown:
    """What the template places."""

    title: Text
    competition: str
    recipe: str
    tiles: tuple[Tile, ...]
    help: Text
    notes: tuple[str, ...]


def write_schedule_page(path: Path, page: SchedulePage) -> None:
    """Write the learning rates as one HTML file that needs nothing beside it.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    steps, per_epoch = len(page.head), page.steps_per_epoch
    peak = int(page.head.argmax())
    left = percent(page.head[-1] / page.head[peak])
    shown = _Shown(
        Text("Learning rate, step by step", "단계별 학습률"),
        page.competition,
        page.recipe,
        (
            Tile(
                Text("Peak of the head", "헤드의 최고 학습률"),
                _rate(page.head[peak]),
                Text(
                    f"at step {count(peak + 1)} (epoch {peak / per_epoch:.1f})",
                    f"{count(peak + 1)}단계({peak / per_epoch:.1f} 에폭)",
                ),
            ),
            Tile(
                Text("At the end", "마지막 학습률"),
                _rate(page.head[-1]),
                Text(f"{left} of the peak", f"최고치의 {left}"),
            ),
            Tile(
                Text("Steps", "단계 수"),
                count(steps),
                Text(
                    f"{steps / per_epoch:g} epochs of {count(per_epoch)} steps",
                    f"에폭당 {count(per_epoch)}단계, {steps / per_epoch:g} 에폭",
                ),
            ),
        ),
        page.what,
        page.notes,
    )
    charts = {language: schedule_chart(page, language) for language in LANGUAGES}
    write_text(path, _render(shown, charts))


def write_sweep_page(path: Path, page: SweepPage) -> None:
    """Write the sweep as one HTML file that needs nothing beside it.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    shown = _Shown(
        Text("Learning-rate finder", "학습률 탐색"),
        page.competition,
        page.recipe,
        (
            Tile(
                Text("Suggested train.lr", "권장 train.lr"),
                "–" if page.suggestion is None else _rate(page.suggestion),
                Text(page.reason, page.reason),
            ),
            Tile(
                Text("In the recipe", "현재 레시피의 train.lr"),
                _rate(page.now),
                Text("what it trains with now", "지금 학습에 쓰는 값"),
            ),
            Tile(
                Text("Lowest loss", "최저 손실"),
                f"{page.smoothed.min():.3g}",
                Text(
                    f"from {page.smoothed[0]:.3g}, in {count(len(page.rates))} steps",
                    f"{page.smoothed[0]:.3g}에서 시작, {count(len(page.rates))}단계",
                ),
            ),
        ),
        Text(
            "One step of training at each rate, from low to high, with other pictures each. "
            "Dots are the losses of single steps; the line is their mean over nearby rates. "
            "A good peak rate lies where the line falls, well before it rises for good.",
            "학습률을 단계마다 조금씩 높이며 학습했습니다. 점은 단계별 손실이고, 선은 이웃한 "
            "학습률의 평균입니다. 손실이 잘 내려가면서 치솟는 지점보다 충분히 낮은 값이 "
            "적당합니다.",
        ),
        page.notes,
    )
    charts = {language: sweep_chart(page, language) for language in LANGUAGES}
    write_text(path, _render(shown, charts))


def schedule_chart(page: SchedulePage, language: Language) -> Chart:
    """Learning rates over the epochs."""
    chosen = thinned(page.head)
    epochs = chosen / page.steps_per_epoch
    names = {
        "head": Text("Head", "헤드"),
        "backbone": Text("Backbone", "백본"),
        "first": Text("Its first block", "백본의 첫 블록"),
    }
    lines = [("head", page.head, ORANGE), ("backbone", page.backbone, BLUE)]
    lines.append(("first", page.first_block, GREEN))
    shape = "hv" if len(page.head) <= MAX_STAIRS else "linear"
    traces = [
        go.Scatter(
            x=floats(epochs),
            y=floats(rates[chosen]),
            mode="lines",
            line={"color": colour, "width": 2.5, "shape": shape, "simplify": False},
            name=getattr(names[key], language),
            hovertemplate="%{x:.2f}: %{y:.3g}<extra>%{fullData.name}</extra>",
        )
        for key, rates, colour in lines
        if rates is not None
    ]
    axis = Text("Epochs", "에폭")
    rate = Text("Learning rate", "학습률")
    return make_chart(
        traces,
        height_px=HEIGHT_PX,
        showlegend=True,
        xaxis=title(getattr(axis, language)),
        yaxis={
            **title(getattr(rate, language)),
            "rangemode": "tozero",
            "exponentformat": "power",
            "tickformat": "~g",
        },
    )


def sweep_chart(page: SweepPage, language: Language) -> Chart:
    """Loss over the learning rate, on a scale of decades."""
    losses = go.Scatter(
        x=floats(page.rates),
        y=floats(page.losses),
        mode="markers",
        marker={"color": GREY, "size": 5},
        opacity=0.55,
        hovertemplate="%{x:.3g}: %{y:.4g}<extra></extra>",
        showlegend=False,
    )
    smoothed = go.Scatter(
        x=floats(page.rates),
        y=floats(page.smoothed),
        mode="lines",
        line={"color": BLUE, "width": 3},
        hovertemplate="%{x:.3g}: %{y:.4g}<extra></extra>",
        showlegend=False,
    )
    marks = [
        (page.suggestion, Text("suggested", "권장"), ORANGE, "solid", 1.0),
        (page.now, Text("recipe", "레시피"), GREY, "dot", 0.0),
    ]
    shapes: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for rate, text, colour, dash, place in marks:
        if rate is None:
            continue
        line = {"color": colour, "width": 2, "dash": dash}
        across = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
        shapes.append({"type": "line", "x0": rate, "x1": rate, "line": line, **across})
        # Each label on the side away from the other line.
        is_left = rate is page.now and page.now < (page.suggestion or 0)
        annotations.append(
            {
                # On an axis of decades plotly wants the exponent here, unlike in shapes.
                "x": float(np.log10(rate)),
                "y": place,
                "xref": "x",
                "yref": "paper",
                "text": f"{getattr(text, language)} {_rate(rate)}",
                "showarrow": False,
                "xanchor": "right" if is_left else "left",
                "yanchor": "top" if place else "bottom",
                "xshift": -5 if is_left else 5,
                "font": {"color": colour, "size": 13},
            }
        )
    rate_axis = Text("Learning rate of the head (train.lr)", "헤드의 학습률(train.lr)")
    loss_axis = Text("Training loss", "학습 손실")
    return make_chart(
        [losses, smoothed],
        height_px=HEIGHT_PX,
        shapes=shapes,
        annotations=annotations,
        xaxis={
            **title(getattr(rate_axis, language)),
            "type": "log",
            "exponentformat": "power",
            "dtick": 1,
        },
        yaxis={**title(getattr(loss_axis, language)), "range": _loss_range(page)},
    )


def _loss_range(page: SweepPage) -> list[float]:
    """From below the lowest loss to above the first: what comes after divergence is cut off."""
    low, first = float(page.smoothed.min()), float(page.smoothed[0])
    top = max(first, float(page.losses[: len(page.losses) // 2 + 1].max()))
    room = 0.15 * max(top - low, 1e-9)
    return [min(low, float(page.losses.min())) - room, top + 3 * room]


def thinned(values: Floats, *, most: int = MAX_POINTS) -> NDArray[np.int64]:
    """Indices of ``values`` (T,) that are enough to draw them: of each stretch its ends and its
    lowest and highest, so that no jump and no peak is lost."""
    if len(values) <= most:
        return np.arange(len(values))
    kept = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), most // 4):
        part = values[stretch]
        kept |= {int(stretch[0]), int(stretch[-1])}
        kept |= {int(stretch[part.argmin()]), int(stretch[part.argmax()])}
    return np.array(sorted(kept))


def sparkline(values: Sequence[float] | Floats, *, width: int = 60) -> str:
    """Values from 0 up as a line of blocks, at most ``width`` characters."""
    array = np.asarray(values, dtype=np.float64)
    highest = array.max()
    # The highest of each stretch: the peak is what one looks for.
    stretches = np.array_split(array, min(width, len(array)))
    levels = np.array([stretch.max() for stretch in stretches]) / (highest or 1.0)
    places = np.minimum((levels * len(BLOCKS)).astype(int), len(BLOCKS) - 1)
    return "".join(BLOCKS[place] for place in places)


def _rate(value: float) -> str:
    return f"{float(value):.2g}"


def _render(page: _Shown, charts: dict[Language, Chart]) -> str:
    return render_page(
        "schedule.html",
        {"page": page, "height_px": HEIGHT_PX},
        charts={language: {"plot": chart} for language, chart in charts.items()},
    )
