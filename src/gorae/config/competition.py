"""competition.toml: what is predicted from which files, and how it is scored."""

from typing import Literal, Self

from pydantic import Field, model_validator

from gorae.config.base import Settings
from gorae.config.problem import Problem
from gorae.data.sources import TableSource, Task
from gorae.metrics import METRICS
from gorae.submission import SubmissionFormat


class Competition(Settings):
    """competition.toml: what is predicted from which files, and how it is scored."""

    name: str = Field(min_length=1)
    """Name shown in reports and lists."""
    task: Task
    """What a label is: one class, several classes, an ordered class, or a number."""
    metric: str
    """Score of the competition: a name of the metric table, or ``file.py:function``."""
    metric_params: dict[str, float | int | str | list[float] | list[str]] = Field(
        default_factory=dict
    )
    """Arguments of the metric, such as ``k`` of map_at_k or ``beta`` of f_beta."""
    classes: tuple[str, ...] = ()
    """Class names in order; absent: the sorted labels of the train table."""
    aggregate: Literal["mean", "max"] = "mean"
    """How the images of one row are joined into one prediction."""
    train: TableSource
    """Pictures with labels."""
    holdout: TableSource | None = None
    """A given validation set: never trained on, always the part that is validated."""
    extra: tuple[TableSource, ...] = ()
    """More labelled pictures: they train and never validate."""
    test: TableSource | None = None
    """Pictures to predict; absent: there is nothing to submit."""
    corrections: str | None = None
    """CSV file of corrected labels and weights, as `gorae eda` writes it for review."""
    phi: bool = False
    """Read the personal fields of DICOM headers too (names, dates); they become metadata."""
    submission: SubmissionFormat | None = None
    """Form of the CSV that is sent."""
    problem: Problem | None = None
    """What is asked and what the pictures are like; `gorae eda` proposes augmentation by it."""

    @model_validator(mode="after")
    def _known_metric(self) -> Self:
        if ":" not in self.metric and self.metric not in METRICS:
            raise ValueError(f"metric {self.metric!r} is not one of {', '.join(METRICS)}")
        return self
