"""What every settings class shares."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings refuse what they do not know and never change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def equals(default: Any) -> Callable[[Any], bool]:
    """For ``exclude_if`` of a setting that came later than the rest.

    It is left out of a dump where it says nothing, so that runs and splits that were made
    before it was there are found again.
    """
    return lambda value: bool(value == default)
