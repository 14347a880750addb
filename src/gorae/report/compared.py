"""What the views, checkpoints and votes of a run add: lines to show."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from gorae.report.texts import TEXTS, Text

Said = Literal["better", "worse", "same"]


@dataclass(frozen=True)
class ComparedLine:
    """The answers of a run beside one other way to join its models."""

    label: Text
    """What the other way is; holds names as they are."""
    score: float
    gain: float
    """How much better the run is; above 0 is better whatever the metric's direction."""
    low: float
    high: float
    """Ends of the 95 % interval of ``gain``; NaN where there are too few rows."""
    said: Said
    """Whether 0 lies outside the interval, and on which side."""


def compared_lines(table: pd.DataFrame | None) -> tuple[ComparedLine, ...]:
    """The lines of ``ReportPage.compared``; none where there is no table."""
    if table is None:
        return ()
    return tuple(
        ComparedLine(
            label=_label(str(row["what"]), str(row["name"])),
            score=float(row["score"]),
            gain=float(row["gain"]),
            low=float(row["low"]),
            high=float(row["high"]),
            said=_said(float(row["low"]), float(row["high"])),
        )
        for row in table.to_dict("records")
    )


def _label(what: str, name: str) -> Text:
    # A kind that has no words yet is shown as it is called.
    plain = Text(f"{what} {{name}}", f"{what} {{name}}")
    text = TEXTS.get(f"compared.{what.replace(' ', '_')}", plain)
    return Text(text.en.format(name=name), text.ko.format(name=name))


def _said(low: float, high: float) -> Said:
    if low > 0:
        return "better"
    return "worse" if high < 0 else "same"
