"""The parts of a competition's composed labels, as a recipe uses them."""

from gorae.config import Recipe
from gorae.data.composed import Indices, part_indices
from gorae.errors import ConfigError
from gorae.pipeline.context import Context


def label_parts(context: Context) -> Indices | None:
    """Index of each part of a composed label in each class, (K, P); None where none is."""
    parts = context.competition.train.compose
    return part_indices(parts, context.tables.classes) if parts else None


def parts_in_use(context: Context, recipe: Recipe) -> Indices | None:
    """The parts, (K, P), where the network of ``recipe`` is about them, else None.

    Raises:
        ConfigError: It is, and the competition's label is not composed.
    """
    setting = _about_parts(recipe)
    if setting is None:
        return None
    parts = label_parts(context)
    if parts is None or context.competition.task not in ("multiclass", "ordinal"):
        raise ConfigError(
            f"{setting} needs classes that are made of parts, and competition.toml declares "
            f"none (task {context.competition.task}). Where the label is a number, the sum of "
            "weight x index of its parts, write a table for each part, such as\n"
            '[[train.compose]]\nname = "gender"\nweight = 3\ncolumn = "gender"\n'
            "values = {male = 0, female = 1}\n"
            'or set model.head = "linear" and model.outputs = "classes".'
        )
    return parts


def _about_parts(recipe: Recipe) -> str | None:
    """The setting that makes a recipe one about parts."""
    model = recipe.model
    if model.use != "finetune":
        return None
    if model.outputs != "classes":
        return f'model.outputs = "{model.outputs}"'
    return 'model.head = "thanet"' if model.head == "thanet" else None


def part_weights(context: Context, recipe: Recipe) -> tuple[float, ...] | None:
    """What the loss of each part counts, P numbers; None where the recipe names none.

    Raises:
        ConfigError: A name is of no part.
    """
    weights = recipe.loss.part_weights
    if not weights:
        return None
    names = [part.name for part in context.competition.train.compose]
    unknown = [name for name in weights if name not in names]
    if unknown:
        raise ConfigError(
            f"loss.part_weights names {', '.join(unknown)}; the parts in competition.toml are: "
            f"{', '.join(names) or 'none'}."
        )
    return tuple(weights.get(name, 1.0) for name in names)
