"""The map of the pictures: points by class, and all their pictures in one sheet."""

import io
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image

from gorae.report.drawing import Chart, floats, make_chart
from gorae.report.eda_colours import CLASS_COLOURS, OTHER_COLOUR
from gorae.report.eda_page import EmbeddingMap, Sheet
from gorae.report.eda_texts import tell
from gorae.report.numbers import plotly_text, printable
from gorae.report.texts import LANGUAGES, Language

# 2,000 pictures of 48 px: about 2.5 MB, and faces and digits are still recognised at 2.5 times
# the size. Below 70 the blocks of one picture bleed into what is seen of it.
SHEET_QUALITY = 75
SHEET_COLUMNS = 50
HEIGHT_PX = 600


def picture_sheet(pictures: NDArray[np.uint8]) -> Sheet:
    """Lay small square pictures out in one JPEG.

    Args:
        pictures: At least one picture, (N, S, S, 3); S a multiple of 16, or the blocks of one
            picture colour its neighbour.
    """
    num_images, side = pictures.shape[:2]
    columns = min(SHEET_COLUMNS, num_images)
    rows = math.ceil(num_images / columns)
    laid = np.zeros((rows * columns, side, side, 3), np.uint8)
    laid[:num_images] = pictures
    whole = laid.reshape(rows, columns, side, side, 3).swapaxes(1, 2)
    image = Image.fromarray(whole.reshape(rows * side, columns * side, 3))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=SHEET_QUALITY, optimize=True)
    return Sheet(data=buffer.getvalue(), side_px=side, columns=columns)


def class_colours(summary: EmbeddingMap) -> dict[str | None, str]:
    """Colour of each class that has one of its own, the most frequent first; the others and
    pictures without a label are grey."""
    counts = summary.points["class"].dropna().value_counts(sort=False)
    counts = counts.sort_values(ascending=False, kind="stable")
    names = sorted(str(name) for name in counts.index[: len(CLASS_COLOURS)])
    return dict(zip(names, CLASS_COLOURS, strict=False))


def embedding_map(summary: EmbeddingMap, language: Language) -> Chart:
    """The points, coloured by class; the page shows the picture of the one pointed at."""
    points = summary.points
    colours = class_colours(summary)
    named = points["class"].isin(list(colours)).to_numpy()
    has_label = points["class"].notna().to_numpy()
    groups: list[tuple[str, str, str, Any]] = [
        (getattr(tell("map.no_label"), language), OTHER_COLOUR, "circle-open", ~has_label),
        (getattr(tell("map.others"), language), OTHER_COLOUR, "circle", has_label & ~named),
    ]
    for name, colour in colours.items():
        groups.append((str(name), colour, "circle", (points["class"] == name).to_numpy()))
    small = 7 if len(points) > 600 else 9
    traces = [
        go.Scatter(
            x=floats(points.loc[rows, "x"], 5),
            y=floats(points.loc[rows, "y"], 5),
            mode="markers",
            name=plotly_text(name),
            marker={
                "color": colour,
                "symbol": symbol,
                "size": small,
                "opacity": 0.75 if symbol == "circle" else 0.6,
            },
            customdata=np.flatnonzero(rows).tolist(),
            hoverinfo="none",
        )
        for name, colour, symbol, rows in groups
        if rows.any()
    ]
    plain = {"showticklabels": False, "showgrid": False, "visible": False}
    # Unlike elsewhere a click on the legend is of use: it takes a class off the map.
    legend = {"itemclick": "toggle", "itemdoubleclick": "toggleothers"}
    return make_chart(
        traces,
        height_px=HEIGHT_PX,
        showlegend=len(traces) > 1,
        legend=legend,
        xaxis=plain,
        yaxis=plain,
    )


def map_data(summary: EmbeddingMap) -> dict[str, Any]:
    """What the script needs to show pictures: places, names, colours and where each lies in
    the sheet. It is put into the page as text, never as markup."""
    points, sheet = summary.points, summary.sheet
    colours = class_colours(summary)
    labels = [None if name != name or name is None else str(name) for name in points["class"]]
    aspect = points["aspect"] if "aspect" in points.columns else np.ones(len(points))
    parts = list(dict.fromkeys(points["part"]))
    return {
        "x": floats(points["x"], 5),
        "y": floats(points["y"], 5),
        "label": [None if name is None else printable(name) for name in labels],
        "name": [printable(str(name)) for name in points["name"]],
        "part": [parts.index(part) for part in points["part"]],
        "parts": {
            language: [getattr(tell(f"part.{part}"), language) for part in parts]
            for language in LANGUAGES
        },
        "colour": [colours.get(name, OTHER_COLOUR) for name in labels],
        "aspect": floats(aspect, 3),
        "side": None if sheet is None else sheet.side_px,
        "columns": None if sheet is None else sheet.columns,
    }
