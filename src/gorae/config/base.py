"""What every settings class shares."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings refuse what they do not know and never change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
