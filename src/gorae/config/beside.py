"""Which settings of metadata and of finer classes go with which others."""

from gorae.config.recipe import Recipe
from gorae.models.plan import is_user_class

ORDERED_LOSSES = ("coral", "cumulative")


def metadata_conflicts(recipe: Recipe) -> list[str]:
    """One line for each setting that a network on metadata cannot be had with."""
    model, augment = recipe.model, recipe.augment
    if model.metadata == "none" or model.use != "finetune":
        return []
    mixed = [name for name in ("mixup", "cutmix", "half_cutmix") if getattr(augment, name)]
    why = {
        "a blend of two pictures has no metadata": [f"augment.{name}" for name in mixed],
        "mirrored pictures as other individuals have no metadata of their own": [
            "augment.flip_identities"
        ]
        * augment.flip_identities,
        "the network on metadata ends in a linear head of its own": [
            *[f'model.head = "{model.head}"'] * (model.head != "linear"),
            *[f'loss.kind = "{recipe.loss.kind}"'] * (recipe.loss.kind == "coral"),
        ],
        "pictures of pseudo-labels come without any": ["pseudo.labels"]
        * (recipe.pseudo.labels is not None),
        "it learns classes, not parts of a label": [f'model.outputs = "{model.outputs}"']
        * (model.outputs != "classes"),
        "neighbours are looked for among features of pictures alone": [
            "predict.retrieval_share"
        ]
        * (recipe.predict.retrieval_share > 0),
        "a class of your own ends in its own outputs": [f"model.name = {model.name!r}"]
        * is_user_class(model.name),
    }
    return [
        f'model.metadata = "{model.metadata}" and {" and ".join(settings)}: {reason}'
        for reason, settings in why.items()
        if settings
    ]


def finer_conflicts(recipe: Recipe) -> list[str]:
    """One line for each setting that finer classes cannot be had with."""
    model = recipe.model
    if recipe.target.column is None or model.use != "finetune":
        return []
    why = {
        f'model.outputs = "{model.outputs}" is about parts of the label': (
            model.outputs != "classes"
        ),
        'model.head = "thanet" is about parts of the label': model.head == "thanet",
        f'loss.kind = "{recipe.loss.kind}" needs an order, which finer classes have none of': (
            recipe.loss.kind in ORDERED_LOSSES
        ),
        "augment.flip_identities is about individuals": recipe.augment.flip_identities,
        "predict.retrieval_share is about individuals": recipe.predict.retrieval_share > 0,
    }
    return [
        f"target.column learns finer classes, and {reason}"
        for reason, is_set in why.items()
        if is_set
    ]


def why_dead_metadata(recipe: Recipe) -> str | None:
    """Why the network on metadata has no effect."""
    if recipe.model.use == "finetune":
        return None
    return 'it belongs to model.use = "finetune"; trees on metadata: model.use = "tabular"'


def why_dead_metadata_form(recipe: Recipe) -> str | None:
    """Why its columns and widths have no effect."""
    if reason := why_dead_metadata(recipe):
        return reason
    return 'model.metadata is "none"' if recipe.model.metadata == "none" else None


def why_dead_dropout(recipe: Recipe) -> str | None:
    """Why the dropout before the head has no effect."""
    if recipe.model.use != "finetune":
        return 'dropout belongs to model.use = "finetune"'
    if recipe.model.metadata != "none":
        return f'model.metadata = "{recipe.model.metadata}" has dropouts of its own'
    return None


def why_dead_column(recipe: Recipe) -> str | None:
    """Why finer classes have no effect."""
    if recipe.model.use == "finetune":
        return None
    return 'finer classes are learned with model.use = "finetune" only'


def why_dead_merge(recipe: Recipe) -> str | None:
    """Why their merging has no effect."""
    if reason := why_dead_column(recipe):
        return reason
    return "target.column names no finer classes" if recipe.target.column is None else None
