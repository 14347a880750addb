"""[problem] of competition.toml: what is asked, and what the pictures are like."""

from typing import Self

from pydantic import model_validator

from gorae.config.base import Settings
from gorae.eda.augmentation import contradictions
from gorae.eda.problem import QUESTIONS, Answer, Question


class Problem(Settings):
    """[problem]: what is asked, and what the pictures are like; it proposes augmentation."""

    question: str = ""
    """Which problem is solved, in a sentence."""
    input: str = ""
    """What is given: one picture, several of a patient, a part of a scan ..."""
    output: str = ""
    """What is answered: a class, a probability for each label, a number ..."""
    use: str = ""
    """Where and how the answer is used, and what a wrong one costs."""
    orientation_fixed: Answer = "unknown"
    """Whether all pictures have the same side up: portraits yes, aerial pictures no."""
    mirror_left_right: Answer = "unknown"
    """Whether a picture mirrored left to right keeps its label and could occur: writing no."""
    mirror_up_down: Answer = "unknown"
    """Whether a picture put upside down by a mirror keeps its label and could occur."""
    lighting_varies: Answer = "unknown"
    """Whether pictures are taken in different light: day and night, flash, shadow."""
    cameras_vary: Answer = "unknown"
    """Whether pictures come from several cameras, devices or places."""
    scale_varies: Answer = "unknown"
    """Whether the same thing is shown large in some pictures and small in others."""
    position_varies: Answer = "unknown"
    """Whether it may be anywhere in the picture, before any background."""
    colour_matters: Answer = "unknown"
    """Whether colour tells classes apart: ripe fruit yes, x-rays no."""

    @property
    def answers(self) -> dict[Question, Answer]:
        """The answers by question."""
        return {question: getattr(self, question) for question in QUESTIONS}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = contradictions(self.answers)
        if problems:
            raise ValueError("; ".join(problems))
        return self
