"""Recipes that ship with the package: whole systems, by name."""

from dataclasses import dataclass
from pathlib import Path

from gorae.errors import ConfigError

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class ShippedRecipe:
    """One of them."""

    name: str
    """What ``--recipe`` takes."""
    title: str
    """What it is and where it comes from: its first line."""
    path: Path


def shipped_recipes() -> dict[str, ShippedRecipe]:
    """All of them, by name."""
    found = {}
    for path in sorted(RECIPES.glob("*.toml")):
        title = path.read_text(encoding="utf-8").partition("\n")[0]
        found[path.stem] = ShippedRecipe(path.stem, title.lstrip("# ").strip(), path)
    return found


def find_recipe(given: Path) -> Path:
    """The recipe file that a user names: a file of theirs, or else a shipped recipe.

    Raises:
        ConfigError: There is neither.
    """
    if given.is_file():
        return given
    shipped = shipped_recipes()
    if str(given) in shipped:
        return shipped[str(given)].path
    raise ConfigError(
        f"There is no recipe file {given}, and none of that name ships with gorae. Shipped: "
        f"{', '.join(shipped)}. `gorae recipes` says what they are."
    )
