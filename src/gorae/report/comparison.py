"""The page of a comparison: variants of a recipe on the same folds, beside their base."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from gorae.files import write_text
from gorae.report.answer_figures import gains
from gorae.report.compared import ComparedLine
from gorae.report.comparison_texts import tell
from gorae.report.drawing import (
    MAX_NUMBERED_CELLS,
    Chart,
    fold_labels,
    make_chart,
    name_axis,
    name_axis_down,
)
from gorae.report.html import render_page
from gorae.report.metric_names import metric_name
from gorae.report.numbers import Count, duration, number, plotly_text, signed
from gorae.report.texts import LANGUAGES, Language, Text

Verdict = Literal["base", "better", "worse", "within noise"]

# Settings are longer than classes; what differs stands at their end.
NAME_LENGTH = 40

SAID: dict[Verdict, Literal["better", "worse", "same"]] = {
    "base": "same",
    "better": "better",
    "worse": "worse",
    "within noise": "same",
}


@dataclass(frozen=True, kw_only=True)
class ComparisonLine:
    """One variant, or the base."""

    name: str
    changes: tuple[str, ...]
    """What differs from the base; none for the base."""
    rank: int
    """Place from 1 by score."""
    model: str
    runs: tuple[str, ...]
    """Its run of each seed."""
    score: float
    """Out-of-fold score, mean over the seeds."""
    seed_scores: tuple[float, ...]
    seed_sd: float | None
    """Standard deviation over the seeds; None with one seed."""
    fold_scores: tuple[float | None, ...]
    """Of each fold, mean over the seeds; None where the metric is undefined."""
    fold_gains: tuple[float | None, ...]
    """How much better than the base in each fold; above 0 is better."""
    num_better: int
    """Folds, of each seed, in which it is better than the base ..."""
    num_pairs: int
    """... of so many in which both have a score."""
    gain: float
    """How much better than the base; above 0 is better whatever the metric's direction."""
    interval: tuple[float, float] | None
    """Of the gain, 95 %, for all variants at once; None for the base, or for too few rows."""
    verdict: Verdict
    elapsed_s: float
    """Time of training and predicting all folds, mean over the seeds."""


@dataclass(frozen=True, kw_only=True)
class ComparisonPage:
    """What the page shows."""

    competition: str
    recipe: str
    """Name of the base recipe, and its network."""
    metric: str
    greater_is_better: bool
    lines: tuple[ComparisonLine, ...]
    """Best first."""
    folds: tuple[str, ...]
    num_seeds: int
    num_rows: int
    notes: tuple[str, ...]
    commands: tuple[str, ...]
    """What may be done next."""

    @property
    def base(self) -> ComparisonLine:
        """What the others are compared with."""
        return next(line for line in self.lines if line.verdict == "base")

    @property
    def others(self) -> tuple[ComparisonLine, ...]:
        """The variants, best first."""
        return tuple(line for line in self.lines if line.verdict != "base")

    @property
    def labels(self) -> tuple[str, ...]:
        """``others`` on charts: without the sections of their settings, where that tells them
        apart."""
        whole = tuple(line.name for line in self.others)
        short = tuple(
            ", ".join(_without_section(change) for change in line.changes)
            for line in self.others
        )
        return short if len(set(short)) == len(short) else whole


@dataclass(frozen=True)
class Shown:
    """What the template places, worked out from the page."""

    metric: Text
    tiles: tuple[tuple[Text, str, Text], ...]
    level: Literal["ready", "none"]
    title: Text
    sentences: tuple[Text, ...]


def write_comparison(path: Path, page: ComparisonPage) -> None:
    """Write ``page`` as one HTML file that needs nothing beside it.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    write_text(path, render_comparison(page))


def render_comparison(page: ComparisonPage) -> str:
    """The HTML of ``page``."""
    charts = {language: build_comparison_charts(page, language) for language in LANGUAGES}
    values = {"page": page, "shown": _shown(page)}
    return render_page("compare.html", values, charts=charts, tell=tell)


def build_comparison_charts(page: ComparisonPage, language: Language) -> dict[str, Chart]:
    """Gains with their intervals, and gains fold by fold."""
    metric = plotly_text(getattr(metric_name(page.metric), language))
    charts = {"against": gains(_compared(page), language, metric=metric, length=NAME_LENGTH)}
    if len(page.folds) > 1:
        charts["by_fold"] = fold_strip(page, language)
    return charts


def _without_section(change: str) -> str:
    """``lr=1e-3`` of ``train.lr=1e-3``."""
    name, equals, value = change.partition("=")
    return f"{name.rpartition('.')[2]}{equals}{value}"


def _compared(page: ComparisonPage) -> list[ComparedLine]:
    nothing = (float("nan"), float("nan"))
    return [
        ComparedLine(
            Text(label, label),
            line.score,
            line.gain,
            *(line.interval or nothing),
            SAID[line.verdict],
        )
        for line, label in zip(page.others, page.labels, strict=True)
    ]


def fold_strip(page: ComparisonPage, language: Language) -> Chart:
    """Gain of each variant in each fold; colour: blue is better than the base, orange worse."""
    lines = page.others
    table = np.array(
        [[np.nan if gain is None else gain for gain in line.fold_gains] for line in lines]
    )
    largest = float(np.nanmax(np.abs(table), initial=0)) or 1.0
    labels = fold_labels(page.folds, language)
    hover = [
        [
            f"{plotly_text(line.name)}, {label}: {number(score)}" if score is not None else "–"
            for label, score in zip(labels, line.fold_scores, strict=True)
        ]
        for line in lines
    ]
    is_numbered = len(lines) <= MAX_NUMBERED_CELLS
    cells = go.Heatmap(
        # The scale runs from blue to orange.
        z=[[None if np.isnan(gain) else -float(gain) for gain in row] for row in table],
        zmin=-largest,
        zmax=largest,
        autocolorscale=True,
        text=[[signed(float(gain)) for gain in row] for row in table] if is_numbered else None,
        texttemplate="%{text}" if is_numbered else None,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        showscale=False,
        xgap=2,
        ygap=2,
    )
    return make_chart(
        [cells],
        height_px=60 + 30 * len(lines),
        min_width_px=300 + 64 * len(page.folds),
        xaxis=name_axis(labels, side="top"),
        yaxis=name_axis_down(page.labels, length=NAME_LENGTH),
    )


def _shown(page: ComparisonPage) -> Shown:
    best, base = page.lines[0], page.base
    better = [line for line in page.others if line.verdict == "better"]
    worse = [line for line in page.others if line.verdict == "worse"]
    num_others = len(page.others)
    sentences = [
        tell(
            "comparison.one_better",
            name=line.name,
            gain=signed(line.gain),
            low=signed(_bounds(line)[0]),
            high=signed(_bounds(line)[1]),
        )
        for line in better
    ]
    if not better:
        sentences.append(tell("comparison.none_better", count=Count(num_others)))
    if worse:
        names = ", ".join(line.name for line in worse)
        sentences.append(tell("comparison.worse_ones", names=names))
    sentences.append(tell("comparison.chance_many" if page.num_seeds > 1 else "comparison.one"))
    total = sum(line.elapsed_s * len(line.runs) for line in page.lines)
    tiles = (
        (tell("comparison.best"), number(best.score), Text(best.name, best.name)),
        (tell("comparison.base"), number(base.score), Text(base.model, base.model)),
        (
            tell("comparison.variants"),
            str(num_others),
            tell("comparison.counts", better=len(better), worse=len(worse)),
        ),
        (
            tell("comparison.time"),
            duration(total),
            tell(
                "comparison.trained",
                folds=Count(len(page.folds)),
                seeds=Count(page.num_seeds),
                rows=Count(page.num_rows),
            ),
        ),
    )
    title = tell("comparison.found", count=Count(len(better))) if better else None
    return Shown(
        metric_name(page.metric),
        tiles,
        "ready" if better else "none",
        title or tell("comparison.nothing"),
        tuple(sentences),
    )


def _bounds(line: ComparisonLine) -> tuple[float, float]:
    assert line.interval is not None
    return line.interval
