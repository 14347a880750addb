"""Colours of classes and parts; each at least 3:1 against the white and the dark card."""

from gorae.report.theme import BLUE, GREEN, GREY, ORANGE, PURPLE

# The page's own four first, then further ones in the order in which they stand out from those
# before. Beyond ten, colours can no longer be told apart in a legend.
CLASS_COLOURS = (
    BLUE,
    ORANGE,
    GREEN,
    PURPLE,
    "#d1495b",
    "#2f9fae",
    "#9a7d0a",
    "#6f74d8",
    "#b0623a",
    "#5f9a2f",
)
PART_COLOURS = {"train": BLUE, "holdout": GREEN, "extra": PURPLE, "test": ORANGE}
OTHER_COLOUR = GREY


def translucent(colour: str, opacity: float) -> str:
    """``#rrggbb`` as plotly's ``rgba()``."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"
