"""competition.toml, recipes and presets: text that enters becomes checked values."""

from gorae.config.competition import Competition
from gorae.config.presets import PRESETS
from gorae.config.reading import (
    read_competition,
    resolve_recipe,
    settings_to_toml,
    write_competition,
)
from gorae.config.recipe import Recipe

__all__ = [
    "PRESETS",
    "Competition",
    "Recipe",
    "read_competition",
    "resolve_recipe",
    "settings_to_toml",
    "write_competition",
]
