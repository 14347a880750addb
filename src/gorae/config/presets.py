"""Recipes to start from: one function each, changed by ``--set`` or a recipe file."""

from collections.abc import Callable

from gorae.config.recipe import ModelSettings, PredictSettings, Recipe
from gorae.config.training import TrainSettings


def quick() -> Recipe:
    """Features of a pretrained backbone, one linear head per fold: minutes on a laptop."""
    return Recipe(name="quick", model=ModelSettings(name="mobilenetv3_large_100", use="frozen"))


def standard() -> Recipe:
    """One backbone fine-tuned on five folds."""
    return Recipe(
        name="standard",
        model=ModelSettings(name="efficientnet_b0", use="finetune"),
        predict=PredictSettings(views=("identity", "hflip")),
    )


def best() -> Recipe:
    """A larger backbone, longer training, two checkpoints and two views per fold."""
    return Recipe(
        name="best",
        model=ModelSettings(name="convnext_tiny", use="finetune", drop_rate=0.1),
        train=TrainSettings(epochs=12, keep_checkpoints=2),
        predict=PredictSettings(views=("identity", "hflip"), use_checkpoints=2),
        refit=True,
    )


PRESETS: dict[str, Callable[[], Recipe]] = {
    "quick": quick,
    "standard": standard,
    "best": best,
}
