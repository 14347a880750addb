"""Command ``recipes``: what ships with the package."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gorae.cli.options import AsJson
from gorae.cli.perform import perform
from gorae.cli.screen import Screen

if TYPE_CHECKING:
    from gorae.config.shipped import ShippedRecipe


@dataclass(frozen=True)
class RecipesResult:
    """The recipes, and the text of one that was asked for."""

    recipes: "dict[str, ShippedRecipe]"
    text: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        titles = {name: recipe.title for name, recipe in self.recipes.items()}
        return {"recipes": titles} if self.text is None else {"text": self.text}


def recipes(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Print this recipe, such as to keep and change it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes that ship with gorae, or print one."""

    def step(screen: Screen) -> RecipesResult:
        from gorae.config.shipped import find_recipe, shipped_recipes

        shipped = shipped_recipes()
        if name is None:
            return RecipesResult(shipped, None)
        return RecipesResult(shipped, find_recipe(Path(name)).read_text(encoding="utf-8"))

    perform(step, folder=Path(), as_json=as_json, is_debug=context.obj, draw=show_recipes)


def show_recipes(console: Console, result: RecipesResult) -> None:
    """The text of the recipe, or a table of all."""
    if result.text is not None:
        # Exactly as it stands in the file, for `gorae recipes NAME > FILE`.
        console.file.write(result.text)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    table.add_column("what it is")
    for recipe in result.recipes.values():
        table.add_row(recipe.name, recipe.title)
    console.print(table)
    console.print("\nUse one by `gorae run --recipe NAME`; print it by `gorae recipes NAME`.")
