"""Colours and the look of charts, light and dark."""

from typing import Any

# Told apart by people who see no red or green, and at least 3:1 against the white and the
# dark card: after Okabe and Ito, "Color universal design", 2008, blue and orange first.
BLUE = "#1f83c9"
ORANGE = "#d97706"
GREEN = "#0f9d76"
PURPLE = "#b565a7"
GREY = "#8391a1"

FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Apple SD Gothic Neo", "Malgun Gothic", '
    '"Noto Sans KR", "Noto Sans CJK KR", sans-serif'
)


def _template(
    *, ink: str, muted: str, grid: str, plain: str, deep: str, card: str
) -> dict[str, Any]:
    axis = {
        "automargin": True,
        "fixedrange": True,
        "gridcolor": grid,
        "linecolor": grid,
        "zeroline": False,
        "ticks": "",
        "tickfont": {"color": muted, "size": 12},
        "title": {"font": {"color": muted, "size": 12}, "standoff": 8},
    }
    return {
        "layout": {
            "autosize": True,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 13, "color": ink},
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8, "pad": 4},
            "colorway": [BLUE, ORANGE, GREEN, PURPLE, GREY],
            "colorscale": {
                "sequential": [[0, plain], [1, deep]],
                "diverging": [[0, BLUE], [0.5, plain], [1, ORANGE]],
            },
            "xaxis": axis,
            "yaxis": axis,
            "bargap": 0.28,
            "dragmode": False,
            "hovermode": "closest",
            "hoverlabel": {
                "bgcolor": card,
                "bordercolor": muted,
                "font": {"family": FONT, "size": 13, "color": ink},
                "align": "left",
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "xanchor": "left",
                "yanchor": "bottom",
                "itemclick": False,
                "itemdoubleclick": False,
                "font": {"size": 12, "color": ink},
            },
        }
    }


THEMES: dict[str, dict[str, Any]] = {
    "light": _template(
        ink="#1b2430",
        muted="#566270",
        grid="#e3e7ec",
        plain="#f1f4f7",
        deep="#0b5c94",
        card="#fff",
    ),
    "dark": _template(
        ink="#e6eaf0",
        muted="#a3aebb",
        grid="#2f3945",
        plain="#222a34",
        deep="#6cbcf2",
        card="#12161c",
    ),
}
