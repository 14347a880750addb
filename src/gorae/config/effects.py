"""A setting that has no effect in a recipe is an error that says why."""

from collections.abc import Iterable

from gorae.config.recipe import Recipe

_ARITHMETIC = {
    "train.precision",
    "train.channels_last",
    "train.threads",
    "train.workers",
    "train.device",
}


def dead_settings(recipe: Recipe, given: Iterable[str]) -> list[str]:
    """One line for each setting of ``given`` (dotted names) that ``recipe`` never looks at."""
    problems = []
    for name in given:
        reason = _why_dead(recipe, name)
        if reason:
            problems.append(f"{name} has no effect here: {reason}")
    return problems


def _why_dead(recipe: Recipe, name: str) -> str | None:
    section = name.split(".")[0]
    checks = {
        "model": _why_dead_model,
        "head": _why_dead_head,
        "train": _why_dead_training,
        "augment": _why_dead_training,
        "split": _why_dead_split,
        "predict": _why_dead_predict,
        "refit": _why_dead_refit,
    }
    return checks[section](recipe, name) if section in checks else None


def _why_dead_model(recipe: Recipe, name: str) -> str | None:
    use = recipe.model.use
    if name == "model.class_table" and use != "as_is":
        return 'only model.use = "as_is" maps classes'
    if name == "model.drop_rate" and use != "finetune":
        return 'dropout belongs to model.use = "finetune"'
    return None


def _why_dead_head(recipe: Recipe, name: str) -> str | None:
    if recipe.model.use != "frozen":
        return 'a head on fixed features belongs to model.use = "frozen"'
    if name == "head.hidden" and recipe.head.kind != "mlp":
        return 'only head.kind = "mlp" has a hidden layer'
    return None


def _why_dead_training(recipe: Recipe, name: str) -> str | None:
    use = recipe.model.use
    if use == "finetune":
        if recipe.augment.policy == "none" and name in (
            "augment.scale",
            "augment.ratio",
            "augment.hflip",
        ):
            return 'augment.policy is "none"'
        return None
    if name in _ARITHMETIC:
        return None
    if use == "frozen":
        return (
            "the backbone is frozen and its features are computed once per picture; "
            'use model.use = "finetune" to train with it'
        )
    return 'nothing is trained with model.use = "as_is"'


def _why_dead_split(recipe: Recipe, name: str) -> str | None:
    split = recipe.split
    if name == "split.num_folds" and split.kind == "holdout":
        return 'split.kind is "holdout"'
    if name == "split.repeats" and split.kind == "holdout":
        return 'split.kind is "holdout"'
    if name == "split.holdout_share" and split.kind != "holdout":
        return 'only split.kind = "holdout" has one'
    if name == "split.stratify_columns" and not split.stratify:
        return "split.stratify is off"
    return None


def _why_dead_predict(recipe: Recipe, name: str) -> str | None:
    if name == "predict.use_checkpoints":
        if recipe.model.use != "finetune":
            return 'only model.use = "finetune" has several checkpoints'
        if recipe.predict.use_checkpoints > recipe.train.keep_checkpoints:
            return (
                f"{recipe.predict.use_checkpoints} are used but only "
                f"train.keep_checkpoints = {recipe.train.keep_checkpoints} are kept"
            )
    return None


def _why_dead_refit(recipe: Recipe, name: str) -> str | None:
    if recipe.refit and recipe.model.use == "as_is":
        return 'nothing is trained with model.use = "as_is"'
    return None
