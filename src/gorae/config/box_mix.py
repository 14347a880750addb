"""What a mixture of boxes needs, and what it cannot be had together with."""

from gorae.config.preparing import CropBoxStep
from gorae.config.recipe import Recipe


def box_mix_conflicts(recipe: Recipe) -> list[str]:
    """One line for each reason why ``augment.box_mix`` cannot be had with ``recipe``."""
    mix = recipe.augment.box_mix
    if not mix or recipe.model.use != "finetune":
        return []
    steps = [step for step in recipe.preprocess if isinstance(step, CropBoxStep)]
    lines = []
    if not steps:
        lines.append(
            "augment.box_mix gives shares to other boxes than those of the [[preprocess]] step "
            "crop_box, and there is no such step: add it, its boxes keep the rest of the share"
        )
    same = [each.boxes for each in mix for step in steps if each.boxes == step.annotations]
    if same:
        lines.append(
            f"augment.box_mix names {same[0]}, which the step crop_box has already: its boxes "
            "keep the rest of the share, leave it out"
        )
    if recipe.augment.flip_identities:
        lines.append(
            "augment.box_mix and augment.flip_identities: which box a picture has is not drawn "
            "for pictures that are learned both ways, leave one of them out"
        )
    return lines
