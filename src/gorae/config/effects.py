"""A setting that has no effect in a recipe is an error that says why."""

from collections.abc import Callable, Iterable

from gorae.augment.plan import idle_fields, resolve_augment
from gorae.config.beside import (
    finer_conflicts,
    metadata_conflicts,
    why_dead_column,
    why_dead_dropout,
    why_dead_merge,
    why_dead_metadata,
    why_dead_metadata_form,
)
from gorae.config.box_mix import box_mix_conflicts
from gorae.config.individuals import (
    individual_conflicts,
    why_dead_neighbours,
    why_dead_retrieval,
    why_dead_unknown_share,
)
from gorae.config.pseudo_effects import pseudo_conflicts
from gorae.config.recipe import Recipe
from gorae.data.sources import Task
from gorae.errors import ConfigError
from gorae.models.plan import CENTRE, HEADS_WITH_DROPOUT, is_user_class
from gorae.training.outputs import LOSS_KINDS, resolve_loss
from gorae.training.schedules import SchedulePlan, used_fields

Reason = str | None
"""Why a setting has no effect, or None where it has one."""

# What a network that is not trained looks at too.
_OF_EVERY_USE = {
    "train.precision",
    "train.channels_last",
    "train.threads",
    "train.devices",
}

MARGINS = ("margin", "margin_range", "margin_power")

MIXING = (
    *("mixup", "cutmix", "half_cutmix", "rare_classes", "mix_share"),
    *("flip_identities", "box_mix"),
)


def dead_settings(recipe: Recipe, given: Iterable[str]) -> list[str]:
    """One line for each setting of ``given`` (dotted names) that ``recipe`` never looks at."""
    lines = []
    for name in given:
        reason = _why_dead(recipe, name)
        if reason:
            lines.append(f"{name} has no effect here: {reason}")
    return lines


def conflicts(recipe: Recipe) -> list[str]:
    """One line for each pair of settings that cannot both be had."""
    train = recipe.train
    lines = [*individual_conflicts(recipe), *_part_conflicts(recipe)]
    lines += [*metadata_conflicts(recipe), *finer_conflicts(recipe)]
    lines += [*pseudo_conflicts(recipe), *box_mix_conflicts(recipe)]
    if recipe.model.use != "finetune":
        return lines
    if train.swa_epochs >= train.epochs:
        lines.append(
            f"train.swa_epochs = {train.swa_epochs} must be less than train.epochs = "
            f"{train.epochs}: something must be learned before it is averaged"
        )
    if recipe.predict.precision == "int8" and recipe.predict.compile:
        lines.append('predict.precision = "int8" leaves predict.compile nothing: choose one')
    if train.swa_epochs and train.ema:
        lines.append("train.ema and train.swa_epochs both average the weights: choose one")
    if train.patience and (train.swa_epochs or train.fixres_epochs):
        lines.append(
            "train.patience would end the training before train.swa_epochs or "
            "train.fixres_epochs: leave it out"
        )
    if train.schedule == "multi_step" and not train.milestones:
        lines.append('train.schedule = "multi_step" needs train.milestones')
    if is_user_class(recipe.model.name) and (
        train.freeze == "backbone" or train.unfreeze_every or train.fixres_epochs
    ):
        lines.append(
            "train.freeze, train.unfreeze_every and train.fixres_epochs need a head that is "
            "told from the backbone, which a class of your own does not have"
        )
    if train.freeze == "encoder" and recipe.model.encoder is None:
        lines.append('train.freeze = "encoder" needs the encoder that model.encoder names')
    if recipe.model.features == "logits" and recipe.model.weights == "none":
        lines.append(
            'model.features = "logits" are those of the classifier that weights bring, and '
            'model.weights is "none"'
        )
    margins = [f"loss.{name}" for name in MARGINS if getattr(recipe.loss, name) is not None]
    if len(margins) > 1:
        lines.append(f"{' and '.join(margins)} say the same thing twice: choose one")
    if recipe.model.head == "cosine" and recipe.model.outputs != "classes":
        lines.append(
            'model.head = "cosine" measures angles to classes, which parts of a label have '
            'none of: set model.outputs to "classes", or choose another head'
        )
    if recipe.loss.kind != "auto":
        lines += _head_problems(recipe, recipe.loss.kind)
    return lines


def _part_conflicts(recipe: Recipe) -> list[str]:
    """One line for each setting that asks for another label than the target says."""
    if recipe.target.part is None:
        is_twice = bool(recipe.train.part_thresholds) and recipe.target.column is not None
        text = "train.part_thresholds and target.column both change what is learned: choose one"
        return [text] if is_twice else []
    of_all = {
        f'model.outputs = "{recipe.model.outputs}"': recipe.model.outputs != "classes",
        'model.head = "thanet"': recipe.model.head == "thanet",
        'predict.vote = "subtask"': recipe.predict.vote == "subtask",
        "target.column": recipe.target.column is not None,
    }
    return [
        f'{name} is about the whole label, and target.part = "{recipe.target.part}" learns one '
        "part of it: choose one"
        for name, is_set in of_all.items()
        if is_set
    ]


def _head_problems(recipe: Recipe, kind: str) -> list[str]:
    """One line for each way in which a loss and ``[model]`` do not fit."""
    head, outputs, loss = recipe.model.head, recipe.model.outputs, LOSS_KINDS[kind]
    lines = []
    if loss.head is not None and head != "linear":
        lines.append(
            f'model.head = "{head}": the loss {kind} brings a head of its own; leave it out'
        )
    if head == "cosine" and "margin" not in loss.uses:
        fitting = [name for name, each in LOSS_KINDS.items() if "margin" in each.uses]
        lines.append(
            f'model.head = "cosine" gives cosines to classes, of which one is true: the loss '
            f"{kind} asks something else. It fits {', '.join(fitting)}"
        )
    if outputs != "classes" and not loss.composes:
        fitting = [name for name, each in LOSS_KINDS.items() if each.composes]
        lines.append(
            f'model.outputs = "{outputs}" adds up the losses of parts, which the loss {kind} '
            f"cannot be split into. It fits {', '.join(fitting)}"
        )
    return lines


def loss_problems(recipe: Recipe, task: Task) -> list[str]:
    """What is wrong with ``[loss]`` once the task is known.

    Returns:
        One line for each setting that is never looked at, or that does not fit the loss.

    Raises:
        ConfigError: The loss does not fit the task.
    """
    kind = resolve_loss(recipe.loss.kind, task)
    changed = [
        name
        for name in recipe.loss.model_fields_set
        if getattr(recipe.loss, name) != type(recipe.loss).model_fields[name].default
    ]
    idle = [
        f"loss.{name} has no effect here: the loss {kind} does not look at it"
        for name in changed
        if name not in {"kind", "weight_column", *LOSS_KINDS[kind].uses}
    ]
    return [*idle, *_head_problems(recipe, kind)]


def _why_dead(recipe: Recipe, name: str) -> Reason:
    if recipe.model.use == "tabular" and not _is_of_tables(name):
        return 'model.use = "tabular" has no network and looks at no picture'
    if name in _RULES and (reason := _RULES[name](recipe)):
        return reason
    section, _, field = name.partition(".")
    return _SECTIONS[section](recipe, field) if section in _SECTIONS else None


def _unless(condition: Callable[[Recipe], bool], reason: str) -> Callable[[Recipe], Reason]:
    return lambda recipe: None if condition(recipe) else reason


def _is_finetuned(recipe: Recipe) -> bool:
    return recipe.model.use == "finetune"


def _why_dead_head(recipe: Recipe, field: str) -> Reason:
    if recipe.model.use != "frozen":
        return 'a head on fixed features belongs to model.use = "frozen"'
    if recipe.predict.retrieval_share == 1:
        return "predict.retrieval_share is 1: neighbours alone decide, no head is solved"
    return None


def _why_dead_training(recipe: Recipe, field: str) -> Reason:
    use = recipe.model.use
    if use == "frozen":
        return (
            "the backbone is frozen and its features are computed once per picture; "
            'use model.use = "finetune" to train with it (train.freeze = "backbone" trains the '
            "head alone)"
        )
    return 'nothing is trained with model.use = "as_is"' if use == "as_is" else None


def _why_dead_loop(recipe: Recipe, field: str) -> Reason:
    train = recipe.train
    if f"train.{field}" in _OF_EVERY_USE:
        return None
    if reason := _why_dead_training(recipe, field):
        return reason
    if field in SchedulePlan.__dataclass_fields__ and field not in used_fields(train.schedule):
        return f'train.schedule is "{train.schedule}"'
    return None


def _why_dead_augment(recipe: Recipe, field: str) -> Reason:
    if reason := _why_dead_training(recipe, field):
        return reason
    settings = recipe.augment
    if field in ("policy", *MIXING):
        return None
    try:
        plan = resolve_augment(
            settings.policy, settings.model_dump(exclude={"policy", *MIXING})
        )
    except ConfigError:
        # Told with its reason where the plan is used.
        return None
    return idle_fields(plan).get(field)


def _why_dead_loss(recipe: Recipe, field: str) -> Reason:
    if reason := _why_dead_training(recipe, field):
        return reason
    kind = recipe.loss.kind
    if kind == "auto" or field in ("kind", "weight_column"):
        return None
    return None if field in LOSS_KINDS[kind].uses else f'loss.kind is "{kind}"'


def _is_of_tables(name: str) -> bool:
    """Whether trees on tables look at a setting."""
    section = name.partition(".")[0]
    return section in _TABLE_SECTIONS or name in _TABLE_SETTINGS


_TABLE_SECTIONS = {"name", "seed", "split", "tabular", "refit"}
_TABLE_SETTINGS = {"model.name", "model.use", "predict.vote"}


def _why_dead_tables(recipe: Recipe, field: str) -> Reason:
    if recipe.model.use != "tabular":
        return 'trees on tables belong to model.use = "tabular"'
    return None


def _why_dead_pseudo(recipe: Recipe, field: str) -> Reason:
    if reason := _why_dead_training(recipe, field):
        return reason
    if field == "labels" or recipe.pseudo.labels is not None:
        return None
    return "pseudo.labels names no labels"


_SECTIONS: dict[str, Callable[[Recipe, str], Reason]] = {
    "pseudo": _why_dead_pseudo,
    "head": _why_dead_head,
    "augment": _why_dead_augment,
    "loss": _why_dead_loss,
    "train": _why_dead_loop,
    "tabular": _why_dead_tables,
}

_trained_backbone = _unless(
    lambda recipe: recipe.train.freeze != "backbone", 'train.freeze is "backbone"'
)
_finetuned = _unless(_is_finetuned, 'it belongs to model.use = "finetune"')
_holdout = _unless(lambda r: r.split.kind != "holdout", 'split.kind is "holdout"')


def _why_dead_copies(recipe: Recipe) -> Reason:
    if reason := why_dead_dropout(recipe):
        return reason
    if recipe.model.head in HEADS_WITH_DROPOUT:
        return f'model.head = "{recipe.model.head}" has its dropout behind a norm of its own'
    return None if recipe.model.drop_rate else "model.drop_rate is 0: all copies are equal"


def _why_dead_stages(recipe: Recipe) -> Reason:
    if reason := _finetuned(recipe):
        return reason
    is_pooled = recipe.model.features == "pooled"
    return None if is_pooled else 'model.features = "logits" are of no maps'


def _why_dead_cosine(recipe: Recipe) -> Reason:
    if reason := _finetuned(recipe):
        return reason
    return None if recipe.model.head == "cosine" else f'model.head is "{recipe.model.head}"'


def _why_dead_embedding(recipe: Recipe) -> Reason:
    if reason := _why_dead_cosine(recipe):
        return reason
    return 'model.neck is "none"' if recipe.model.neck == "none" else None


def _why_dead_margin(recipe: Recipe) -> Reason:
    if reason := _finetuned(recipe):
        return reason
    if recipe.model.head == "cosine":
        return None
    return f'model.head is "{recipe.model.head}", and only "cosine" has angles to classes'


def _why_dead_part_weights(recipe: Recipe) -> Reason:
    if reason := _finetuned(recipe):
        return reason
    if recipe.model.outputs != "classes":
        return None
    return 'model.outputs is "classes", so nothing is learned of the parts by themselves'


def _why_dead_checkpoints(recipe: Recipe) -> Reason:
    if not _is_finetuned(recipe):
        return 'only model.use = "finetune" has several checkpoints'
    used, kept = recipe.predict.use_checkpoints, recipe.train.keep_checkpoints
    if used > kept:
        return f"{used} are used but only train.keep_checkpoints = {kept} are kept"
    return None


_OF_ENCODER = "the encoder of model.encoder takes values from 0 to 1"

_RULES: dict[str, Callable[[Recipe], Reason]] = {
    "detect.kwargs": _unless(
        lambda r: r.detect.model.startswith(CENTRE), f"only {CENTRE}NAME takes arguments"
    ),
    "tabular.top_ranks": _unless(
        lambda r: bool(r.tabular.scores), "tabular.scores names no run whose classes have ranks"
    ),
    "model.class_table": _unless(
        lambda r: r.model.use == "as_is", 'only model.use = "as_is" maps classes'
    ),
    "model.head": _finetuned,
    "model.outputs": _finetuned,
    "model.features": _finetuned,
    "model.neck": _why_dead_cosine,
    "model.embedding": _why_dead_embedding,
    "model.centres": _why_dead_cosine,
    "model.scale": _why_dead_cosine,
    "model.drop_rate": why_dead_dropout,
    "model.metadata": why_dead_metadata,
    "model.metadata_columns": why_dead_metadata_form,
    "model.metadata_widths": why_dead_metadata_form,
    "target.column": why_dead_column,
    "target.merge": why_dead_merge,
    "model.drop_copies": _why_dead_copies,
    "model.drop_path": _finetuned,
    "predict.precision": _finetuned,
    "model.pooling": _unless(
        lambda r: r.model.use != "as_is", 'model.use = "as_is" keeps the network as it is'
    ),
    "model.pool_stages": _why_dead_stages,
    "model.encoder": _unless(
        lambda r: r.model.use in ("frozen", "finetune"),
        'model.use = "as_is" keeps the network, and its classes, as they are',
    ),
    "pixels.mean": _unless(lambda r: r.model.encoder is None, _OF_ENCODER),
    "pixels.std": _unless(lambda r: r.model.encoder is None, _OF_ENCODER),
    "model.layer": _unless(
        lambda r: r.model.use == "frozen", 'only model.use = "frozen" takes features at a layer'
    ),
    "pixels.train_size": _finetuned,
    "head.hidden": _unless(
        lambda r: r.head.kind == "mlp", 'only head.kind = "mlp" has a hidden layer'
    ),
    "augment.rare_classes": _unless(
        lambda r: bool(r.augment.half_cutmix or r.augment.cutmix),
        "neither augment.half_cutmix nor augment.cutmix is on",
    ),
    "augment.mix_share": _unless(
        lambda r: bool(r.augment.mixup or r.augment.cutmix),
        "neither augment.mixup nor augment.cutmix is on",
    ),
    "loss.smoothing_form": _unless(
        lambda r: r.loss.label_smoothing > 0, "loss.label_smoothing is 0"
    ),
    "loss.class_weight_cap": _unless(
        lambda r: r.loss.class_weight_power > 0, "loss.class_weight_power is 0"
    ),
    "loss.class_weight_as_max": _unless(
        lambda r: r.loss.class_weight_power > 0, "loss.class_weight_power is 0"
    ),
    **dict.fromkeys([f"loss.{name}" for name in MARGINS], _why_dead_margin),
    "loss.part_weights": _why_dead_part_weights,
    "pseudo.fill": _unless(
        lambda r: r.pseudo.per_class is not None, "pseudo.per_class says no number"
    ),
    "pseudo.weight": _unless(
        lambda r: not r.pseudo.only, "pseudo.only is on: all pictures would weigh it"
    ),
    "train.backbone_lr": _trained_backbone,
    "train.layer_decay": _trained_backbone,
    "train.unfreeze_every": _trained_backbone,
    "train.momentum": _unless(
        lambda r: r.train.optimizer == "momentum", "only the optimiser momentum has it"
    ),
    "train.ema_decay": _unless(lambda r: r.train.ema, "train.ema is off"),
    "train.swa_lr_share": _unless(lambda r: r.train.swa_epochs > 0, "train.swa_epochs is 0"),
    "target.part_as": _unless(
        lambda r: r.target.part is not None, "target.part names no part to be learned"
    ),
    "train.part_thresholds": _unless(
        lambda r: r.target.part_as == "classes",
        'target.part_as makes no groups: it is not "classes"',
    ),
    "train.shuffle": _unless(
        lambda r: r.train.sampler == "all", 'train.sampler = "weighted" draws anew each time'
    ),
    "train.sampler_power": _unless(
        lambda r: r.train.sampler == "weighted", 'train.sampler is "all"'
    ),
    "split.num_folds": _holdout,
    "split.repeats": _holdout,
    "split.holdout_share": _unless(
        lambda r: r.split.kind == "holdout", 'only split.kind = "holdout" has one'
    ),
    "split.near_duplicates": _unless(lambda r: r.split.group, "split.group is off"),
    "split.similarity": _unless(
        lambda r: r.split.group and r.split.near_duplicates,
        "split.group or split.near_duplicates is off",
    ),
    "split.stratify_columns": _unless(lambda r: r.split.stratify, "split.stratify is off"),
    "split.unknown_share": why_dead_unknown_share,
    "predict.use_checkpoints": _why_dead_checkpoints,
    "predict.retrieval_share": why_dead_retrieval,
    "predict.retrieval_neighbours": why_dead_neighbours,
    "refit": _unless(
        lambda r: not (r.refit and r.model.use == "as_is"),
        'nothing is trained with model.use = "as_is"',
    ),
}
