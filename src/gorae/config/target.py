"""Settings of what the network learns, where that is not the competition's label itself."""

from typing import Literal

from pydantic import Field

from gorae.config.base import Settings, equals


class TargetSettings(Settings):
    """[target]: what the network learns in place of the label; predictions stay the label's."""

    column: str | None = Field(None, exclude_if=equals(None))
    """Column of the train table with finer classes, each of which belongs to one class of the
    competition: they are learned, and the probabilities of a class's finer ones are added up
    (haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution: 9 diagnoses)."""
    merge: dict[str, str] = Field(default_factory=dict, exclude_if=equals({}))
    """Values of ``column`` that count as another: ``"seborrheic keratosis" = "BKL"``;
    ``"" = "unknown"`` gives the rows without a value a class of their own. Values that do not
    occur are passed over, as long as one does."""
    part: str | None = Field(None, exclude_if=equals(None))
    """Learn one part of a composed label alone, by its name: its values are the classes, or
    see ``part_as``. `gorae ensemble --compose` makes classes of a run of each part."""
    part_as: Literal["classes", "number", "each"] = Field(
        "classes", exclude_if=equals("classes")
    )
    """Of a part that comes of a number by thresholds, such as an age: its groups, the number
    itself (RMSE), or each number that occurs a class."""
