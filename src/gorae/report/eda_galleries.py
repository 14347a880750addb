"""Pictures of the page on the data, in the order and with the words they are shown with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from gorae.data.sources import META_PREFIX
from gorae.report.eda_page import (
    BoxedPicture,
    Channels,
    Outlier,
    OutlierKind,
    PicturePair,
    PicturesSummary,
)
from gorae.report.eda_texts import EDA_TEXTS, tell
from gorae.report.numbers import count, number, percent
from gorae.report.page import Picture
from gorae.report.texts import Text

OUTLIER_KINDS: tuple[OutlierKind, ...] = (
    "dark", "bright", "low_contrast", "blurry", "one_colour", "small", "large", "tall", "wide",
)  # fmt: skip
# With the one of all pictures; more is a table, not a look.
MAX_PORTRAITS = 24
# Of channel 0 to 3: grey as an area, then red, green and blue as lines.
CHANNEL_STYLES = ("grey", "red", "green", "blue")
DRAWING_WIDTH, DRAWING_HEIGHT = 256, 64


@dataclass(frozen=True)
class Portrait:
    """Light and colour of one class."""

    name: str | None
    """None: all pictures."""
    picture: Picture | None
    swatch: str
    """Its mean colour, as CSS writes it."""
    mean: str
    std: str
    histogram: Markup


def portraits(channels: Channels) -> tuple[Portrait, ...]:
    """A portrait of all pictures, then of each name that has any, as many as can be shown."""
    found = []
    for place, name in enumerate(channels.names):
        mean, std = channels.mean[place], channels.std[place]
        if not np.isfinite(mean).all():
            continue
        levels = ", ".join(str(round(255 * float(value))) for value in mean)
        found.append(
            Portrait(
                name=name if place else None,
                picture=channels.pictures[place] if place < len(channels.pictures) else None,
                swatch=f"rgb({levels})",
                mean=constants(mean),
                std=constants(std),
                histogram=histogram(channels.shares[place]),
            )
        )
    return tuple(found[:MAX_PORTRAITS])


def constants(values: NDArray[np.float64]) -> str:
    """Numbers of the channels as a setting would hold them."""
    return ", ".join(f"{float(value):.3f}" for value in values)


def histogram(shares: NDArray[np.float64]) -> Markup:
    """Four histograms (4, bins) as one drawing: grey filled, the colours as lines.

    Black borders and burnt-out skies pile up in the outermost bins; they may leave the drawing,
    so that what lies between is seen.
    """
    inner = shares[:, 1:-1] if shares.shape[1] > 2 else shares
    highest = float(np.nanmax(inner)) or 1.0
    heights = np.clip(shares / (1.08 * highest), 0, 1)
    places = (np.arange(shares.shape[1]) + 0.5) * DRAWING_WIDTH / shares.shape[1]
    paths = []
    for style, line in zip(CHANNEL_STYLES, heights, strict=True):
        points = " ".join(
            f"{x:.4g},{(1 - y) * DRAWING_HEIGHT:.4g}"
            for x, y in zip(places.tolist(), line.tolist(), strict=True)
        )
        if style == "grey":
            first, last = places[0], places[-1]
            points = f"{first:.4g},{DRAWING_HEIGHT} {points} {last:.4g},{DRAWING_HEIGHT}"
            paths.append(f'<polygon class="grey" points="{points}"/>')
        else:
            paths.append(f'<polyline class="{style}" points="{points}"/>')
    # Only numbers are put in.
    return Markup(  # noqa: S704
        f'<svg class="levels" viewBox="0 0 {DRAWING_WIDTH} {DRAWING_HEIGHT}" '
        f'preserveAspectRatio="none" aria-hidden="true">{"".join(paths)}</svg>'
    )


def ordered_pairs(pairs: Sequence[PicturePair]) -> tuple[PicturePair, ...]:
    """Conflicting labels first, then pairs of train and test, then as they came."""
    return tuple(sorted(pairs, key=lambda p: (not is_conflict(p), p.parts[0] == p.parts[1])))


def is_conflict(pair: PicturePair) -> bool:
    """Whether both pictures have a label and the labels differ."""
    first, second = pair.labels
    return first is not None and second is not None and first != second


def badge(pair: PicturePair) -> Text:
    """How alike the pictures of a pair are."""
    return tell(f"duplicate.{pair.kind}", share=percent(pair.similarity))


def outlier_groups(outliers: Sequence[Outlier]) -> dict[OutlierKind, tuple[Outlier, ...]]:
    """Outliers by kind, in the order of OUTLIER_KINDS."""
    groups = {kind: tuple(o for o in outliers if o.kind == kind) for kind in OUTLIER_KINDS}
    return {kind: found for kind, found in groups.items() if found}


def outlier_value(outlier: Outlier) -> Text:
    """What was measured and the limit, with their unit."""

    def shown(value: float) -> str:
        if outlier.kind in ("small", "large"):
            return f"{count(round(value))} px"
        return percent(value) if outlier.kind == "one_colour" else number(value)

    return tell("outliers.limit", value=shown(outlier.value), limit=shown(outlier.limit))


def bare(column: str) -> str:
    """The name of a column of metadata, as the table has it."""
    return column.removeprefix(META_PREFIX)


def heading(column: str) -> Text:
    """The name of a column of a list of files, in words."""
    return EDA_TEXTS.get(f"column.{column}", Text(column, column))


def placed_boxes(boxed: BoxedPicture) -> tuple[str, ...]:
    """Style of each box, in per cent of the picture; what lies outside is cut off."""
    width, height = boxed.size_px
    styles = []
    for left, top, right, bottom in boxed.boxes:
        x = np.clip([left / width, right / width], 0, 1) * 100
        y = np.clip([top / height, bottom / height], 0, 1) * 100
        styles.append(
            f"left:{x[0]:.2f}%;top:{y[0]:.2f}%;"
            f"width:{x[1] - x[0]:.2f}%;height:{y[1] - y[0]:.2f}%"
        )
    return tuple(styles)


def picture_facts(summary: PicturesSummary) -> tuple[tuple[Text, str], ...]:
    """Sizes, formats and modes in few words."""
    facts = []
    sizes = summary.sizes
    if len(sizes):
        width, height = sizes["width_px"], sizes["height_px"]
        facts.append(
            (EDA_TEXTS["pictures.size"], _size(float(width.median()), float(height.median())))
        )
        area = (width * height).reset_index(drop=True)
        if area.min() < area.max():
            for key, row in (
                ("pictures.smallest", area.argmin()),
                ("pictures.largest", area.argmax()),
            ):
                shown = _size(float(width.iloc[row]), float(height.iloc[row]))
                facts.append((EDA_TEXTS[key], shown))
    for key, table in (
        ("pictures.formats", summary.formats),
        ("pictures.modes", summary.modes),
    ):
        if table is not None and len(table):
            facts.append((EDA_TEXTS[key], _listed(table)))
    if summary.channels is not None and len(summary.channels.names):
        for key, values in (
            ("pictures.rgb_mean", summary.channels.mean),
            ("pictures.rgb_std", summary.channels.std),
        ):
            facts.append((EDA_TEXTS[key], constants(values[0])))
    return tuple(facts)


def _size(width: float, height: float) -> str:
    return f"{width:.0f} × {height:.0f} px"


def _listed(table: pd.DataFrame) -> str:
    shown = table.sort_values("count", ascending=False, kind="stable")
    if len(shown) == 1:
        return str(shown["name"].iloc[0])
    return ", ".join(
        f"{name} {count(int(n))}" for name, n in zip(shown["name"], shown["count"], strict=True)
    )
