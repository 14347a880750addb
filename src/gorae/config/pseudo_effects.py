"""What pseudo-labels cannot be had together with."""

from gorae.config.recipe import Recipe


def pseudo_conflicts(recipe: Recipe) -> list[str]:
    """One line for each setting that asks of a picture what pseudo-labels do not say."""
    if recipe.pseudo.labels is None or recipe.model.use != "finetune":
        return []
    lacking = {
        "model.metadata reads columns": recipe.model.metadata != "none",
        "augment.flip_identities doubles individuals": recipe.augment.flip_identities,
        "target.column learns finer labels": recipe.target.column is not None,
    }
    return [
        f"pseudo.labels are classes of pictures alone, and {what}: leave one of them out"
        for what, is_set in lacking.items()
        if is_set
    ]
