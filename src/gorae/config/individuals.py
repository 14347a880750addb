"""Which settings of individuals and open sets go together."""

from gorae.augment.plan import resolve_augment
from gorae.config.recipe import Recipe
from gorae.config.training import AugmentSettings
from gorae.errors import ConfigError

MIRRORING = ("hflip", "vflip", "transpose")

MIRRORED_VIEWS = {"identity": False, "hflip": True}
"""Views that can be used where a mirrored individual is another one: whether they mirror."""


def is_open_set(recipe: Recipe) -> bool:
    """Whether predictions have a column for individuals that are not known."""
    return recipe.split.unknown_share > 0 or recipe.predict.unknown != "none"


def individual_conflicts(recipe: Recipe) -> list[str]:
    """One line for each pair of settings of individuals that cannot both be had."""
    lines = []
    if is_open_set(recipe) and recipe.split.repeats > 1:
        lines.append(
            f"split.repeats = {recipe.split.repeats} would hold the same individual out in one "
            "repeat and not in another, and a row has one truth: leave it out, or "
            "split.unknown_share and predict.unknown"
        )
    if is_open_set(recipe) and recipe.model.use in ("as_is", "tabular"):
        lines.append(
            f'model.use = "{recipe.model.use}" knows no individuals that are unknown: leave '
            "split.unknown_share and predict.unknown out"
        )
    if recipe.augment.flip_identities and recipe.model.use == "finetune":
        lines += _flip_conflicts(recipe)
    return lines


def _flip_conflicts(recipe: Recipe) -> list[str]:
    lines = []
    drawn = [name for name in MIRRORING if _chance(recipe.augment, name)]
    if drawn:
        settings = " and ".join(f"augment.{name} = 0" for name in drawn)
        lines.append(
            "augment.flip_identities learns mirrored pictures as other individuals, so they "
            f"must not be mirrored by chance: set {settings}"
        )
    foreign = [view for view in recipe.predict.views if view not in MIRRORED_VIEWS]
    if foreign:
        lines.append(
            f"augment.flip_identities: predict.views {', '.join(foreign)} show neither the "
            'picture nor its mirror image alone: use "identity" and "hflip"'
        )
    if recipe.model.outputs != "classes":
        lines.append(
            "augment.flip_identities doubles classes, which parts of a label have none of: "
            'set model.outputs to "classes"'
        )
    return lines


def _chance(augment: AugmentSettings, name: str) -> float:
    given: float | None = getattr(augment, name)
    if given is not None:
        return given
    try:
        chance: float = getattr(resolve_augment(augment.policy, {}), name)
    except ConfigError:
        # Told with its reason where the plan is used.
        return 0.0
    return chance


def why_dead_retrieval(recipe: Recipe) -> str | None:
    """Why ``predict.retrieval_share`` is not looked at."""
    if recipe.model.use in ("frozen", "finetune"):
        return None
    return f'model.use is "{recipe.model.use}", and neighbours need features of pictures'


def why_dead_neighbours(recipe: Recipe) -> str | None:
    """Why ``predict.retrieval_neighbours`` is not looked at."""
    if reason := why_dead_retrieval(recipe):
        return reason
    return None if recipe.predict.retrieval_share else "predict.retrieval_share is 0"


def why_dead_unknown_share(recipe: Recipe) -> str | None:
    """Why ``split.unknown_share`` is not looked at."""
    if recipe.model.use in ("frozen", "finetune"):
        return None
    return f'model.use = "{recipe.model.use}" learns no individuals'
