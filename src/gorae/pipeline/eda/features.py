"""Features of all pictures for ``eda``: the frozen network of the recipe, in one pass."""

import numpy as np
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.events import Event, OnEvent
from gorae.inference import Execution
from gorae.pipeline.calibration import CALIBRATION_FILE, work_ahead
from gorae.pipeline.eda.look import Look
from gorae.pipeline.features import Extractor, backbone_features
from gorae.pipeline.network import (
    PREDICT_BATCH_SIZE,
    as_arithmetic,
    choose_arithmetic,
    load_network,
    weights_key,
)


def look_features(look: Look, *, on_event: OnEvent) -> tuple[NDArray[np.float32], str] | None:
    """Features (N, D) of the pictures of a look and what made them.

    None where the recipe's network starts from random weights, which tell nothing, or where it
    has none.
    """
    recipe = frozen(look.recipe)
    if recipe.model.weights == "none" or look.recipe.model.use == "tabular":
        return None
    on_event(Event("stage", "features", f"features of {recipe.model.name}"))
    context = look.context
    loaded = load_network(context, recipe)
    images = look.images
    num_test = int((images["part"] == "test").sum())
    work = work_ahead(recipe, num_train=len(images) - num_test, num_test=num_test, num_folds=1)
    chosen = choose_arithmetic(
        recipe, loaded, work=work, cache=context.workspace.home / CALIBRATION_FILE
    )

    def warn(text: str) -> None:
        on_event(Event("warning", "features", text))

    arithmetic = as_arithmetic(chosen)
    extractor = Extractor(
        loaded=loaded,
        model=recipe.model,
        weights=weights_key(recipe, loaded, folder=context.workspace.folder),
        execution=Execution(
            batch_size=recipe.predict.batch_size or PREDICT_BATCH_SIZE[arithmetic.device[:4]],
            arithmetic=arithmetic,
            compile=chosen["predict_compile"],
            on_note=warn,
        ),
        pixels=look.prepared.pixels,
        features_root=context.workspace.features,
    )
    features = backbone_features(
        extractor,
        images["key"].tolist(),
        images["image_id"].tolist(),
        view="identity",
        on_event=on_event,
    )
    return features, f"{recipe.model.name}, {features.shape[1]:,} features"


def frozen(recipe: Recipe) -> Recipe:
    """The recipe with its network used for features only."""
    model = recipe.model.model_copy(update={"use": "frozen"})
    return recipe.model_copy(update={"model": model})
