"""From a recipe and a fold to what ``training`` takes: its data and its numbers."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gorae.augment.geometry import eval_transform
from gorae.augment.mix import MixPlan
from gorae.augment.named import check_transforms
from gorae.augment.plan import AugmentPlan, resolve_augment
from gorae.augment.policies import augmented, identity_warnings
from gorae.config import Recipe
from gorae.config.effects import MIXING
from gorae.data.boxes_drawn import BoxMix, BoxMixDataset
from gorae.data.dataset import ImageDataset, Sampling, TrainDataset, TrainTransform
from gorae.data.mirrored import TwoSidedDataset
from gorae.data.pixels import PixelSpec
from gorae.data.sources import META_PREFIX
from gorae.errors import ConfigError, DataError
from gorae.files import sha256_file
from gorae.metrics import evaluate
from gorae.models import LoadedModel
from gorae.pipeline.composed import part_weights, parts_in_use
from gorae.pipeline.context import Context
from gorae.pipeline.finer_target import finer_target, learned_names
from gorae.pipeline.job import Job
from gorae.pipeline.part_target import learned_truth
from gorae.pipeline.pixels import training_sizes
from gorae.pipeline.two_sided import both_sides
from gorae.training.average import default_decay
from gorae.training.losses import LossPlan, class_weights
from gorae.training.optim import OptimPlan
from gorae.training.plan import BatchHook, FitPlan, FoldData, Scorer
from gorae.training.schedules import Course, SchedulePlan
from gorae.user_code import error_place, load_function

Mask = NDArray[np.bool_]

# A pretrained backbone wants a tenth of the head's rate (measured: docs/log.md); random
# weights have nothing to lose.
PRETRAINED_LR_SHARE = 0.1


def require_finetuning(recipe: Recipe) -> None:
    """Refuse a recipe that has no learning rate.

    Raises:
        ConfigError: ``model.use`` is not ``finetune``.
    """
    if recipe.model.use != "finetune":
        raise ConfigError(
            f'model.use = "{recipe.model.use}" trains without a learning rate. Set model.use '
            'to "finetune" to look for one or to draw its schedule.'
        )


def fold_data(job: Job, train: Mask, valid: Mask, *, epochs: int) -> FoldData:
    """The images, targets and metric of a fold whose parts the masks over ``job.train`` are."""
    hashes = job.train["sha256"].to_numpy()
    ids = job.train["image_id"].to_numpy()
    has_valid = bool(valid.any())
    first, *later = _changes(job.recipe, job.spec, epochs)
    as_evaluated = partial(eval_transform, spec=job.spec)
    learned = learned_truth(job.context, job.recipe, job.train["image_id"])
    learned = job.truth if learned is None else learned
    finer = finer_target(job.context, job.recipe)
    learned = learned if finer is None else finer.of(job.train["image_id"])
    dataset = _dataset(job, train, epochs)
    data = FoldData(
        task=job.context.competition.task,
        num_classes=len(job.context.columns),
        spec=job.spec,
        train=dataset(
            job.pixels, hashes[train].tolist(), first[1], seed=job.recipe.seed, later=later
        ),
        train_truth=learned[train],
        train_ids=ids[train].tolist(),
        scorer=_scorer(job),
        valid=ImageDataset(job.pixels, hashes[valid].tolist(), as_evaluated)
        if has_valid
        else None,
        valid_truth=job.truth[valid] if has_valid else None,
        train_weights=_image_weights(job, train),
        sampling=fold_sampling(job, learned[train]),
        largest_side=max(training_sizes(job.recipe, job.spec, epochs=epochs)),
        parts=parts_in_use(job.context, job.recipe)
        if job.recipe.model.outputs != "classes"
        else None,
        hook=_batch_hook(job.recipe, job.context.workspace.folder),
        train_metadata=job.known(job.train[train]),
        valid_metadata=job.known(job.train[valid]) if has_valid else None,
    )
    if finer is not None:
        data = finer.learned_in(data, learned[valid])
    return both_sides(data) if job.recipe.augment.flip_identities else data


def _dataset(job: Job, train: Mask, epochs: int) -> Callable[..., TrainDataset]:
    """What makes the dataset of a train part."""
    recipe, images = job.recipe, job.train[train]
    if recipe.augment.flip_identities:
        return TwoSidedDataset
    if not recipe.augment.box_mix:
        return TrainDataset
    mix = BoxMix(
        shares=tuple(each.share for each in recipe.augment.box_mix),
        others=dict(zip(images["sha256"], images["others"], strict=True)),
        # FixRes fits the network to pictures as they are evaluated.
        epochs=epochs if recipe.train.fixres_epochs else None,
    )
    return partial(BoxMixDataset, mix=mix)


def fit_plan(job: Job, loaded: LoadedModel, *, epochs: int) -> FitPlan:
    """The numbers of a training of ``epochs`` epochs."""
    train = job.recipe.train
    augment = job.recipe.augment
    mix = MixPlan(augment.mixup, augment.cutmix, augment.half_cutmix, augment.mix_share)
    course = fold_course(job.recipe, epochs=epochs)
    return FitPlan(
        course=course,
        batch_size=train.batch_size,
        optim=fold_optim(
            job.recipe,
            is_pretrained=loaded.weights_sha256 is not None or train.start is not None,
        ),
        loss=loss_plan(job),
        mix=mix if mix.is_on else None,
        accumulate=train.accumulate,
        clip_norm=train.clip_norm,
        ema_decay=_ema_decay(job, course),
        is_frozen=train.freeze == "backbone",
        frozen_module="backbone.encoder" if train.freeze == "encoder" else None,
        unfreeze_every=train.unfreeze_every,
        patience=train.patience,
        keep_checkpoints=train.keep_checkpoints,
        seed=job.recipe.seed,
        arithmetic=job.arithmetic,
        identity=_identity(job, epochs),
    )


def loss_plan(job: Job) -> LossPlan:
    """The numbers of the loss."""
    others = {"weight_column", "part_weights", "class_weight_as_max"}
    settings = job.recipe.loss.model_dump(exclude=others)
    model = job.recipe.model
    return LossPlan(
        **settings,
        class_weight_as_max=class_places(job.context, job.recipe, "loss.class_weight_as_max"),
        scale=model.scale if model.head == "cosine" else None,
        part_weights=part_weights(job.context, job.recipe),
    )


def fold_optim(recipe: Recipe, *, is_pretrained: bool) -> OptimPlan:
    """The optimiser of a training and its peak learning rates."""
    train = recipe.train
    share = PRETRAINED_LR_SHARE if is_pretrained else 1.0
    return OptimPlan(
        name=train.optimizer,
        lr=train.lr,
        backbone_lr=train.backbone_lr or train.lr * share,
        weight_decay=train.weight_decay,
        momentum=train.momentum,
        layer_decay=train.layer_decay,
    )


def fold_course(recipe: Recipe, *, epochs: int) -> Course:
    """The epochs of a training and the learning rates in them."""
    train = recipe.train
    return Course(
        SchedulePlan(
            kind=train.schedule,
            warmup_epochs=train.warmup_epochs,
            decay_epochs=train.decay_epochs,
            milestones=train.milestones,
            decay_factor=train.decay_factor,
            plateau_patience=train.plateau_patience,
            restart_epochs=train.restart_epochs,
            restart_factor=train.restart_factor,
            min_lr_share=train.min_lr_share,
        ),
        epochs=epochs,
        # The refit may be shorter than what was asked for.
        swa_epochs=min(train.swa_epochs, epochs - 1),
        swa_lr_share=train.swa_lr_share,
        fixres_epochs=train.fixres_epochs,
    )


def _ema_decay(job: Job, course: Course) -> float | None:
    train = job.recipe.train
    if not train.ema:
        return None
    num_shown = len(job.train) * (2 if job.recipe.augment.flip_identities else 1)
    batches = -(-num_shown // train.batch_size)
    steps = course.all_epochs * -(-batches // train.accumulate)
    return train.ema_decay or default_decay(steps)


def _identity(job: Job, epochs: int) -> dict[str, Any]:
    folder, train = job.context.workspace.folder, job.recipe.train
    hook = train.batch_hook
    return {
        "run": job.run.run_id,
        "split": job.split.key,
        "augment": job.recipe.augment.model_dump(mode="json"),
        "model": job.recipe.model.model_dump(mode="json"),
        "sizes": list(training_sizes(job.recipe, job.spec, epochs=epochs)),
        "checkpoint_gradients": train.checkpoint_gradients,
        "classes": list(learned_names(job.context, job.recipe)),
        "batch_hook": sha256_file(folder / hook.rpartition(":")[0]) if hook else None,
        "threads": torch.get_num_threads(),
    }


def first_change(recipe: Recipe, spec: PixelSpec) -> TrainTransform:
    """What happens to a training picture at the full size of the training.

    Raises:
        ConfigError: A transform of ``augment.transforms`` cannot be used.
    """
    plan, size = _augment_plan(recipe), recipe.pixels.train_size or spec.input_size
    check_transforms(plan.transforms, side=size)
    return _change(plan, spec, size)


def augment_warnings(recipe: Recipe) -> list[str]:
    """What of ``[augment]`` changes nothing."""
    return identity_warnings(_augment_plan(recipe))


def _augment_plan(recipe: Recipe) -> AugmentPlan:
    settings = recipe.augment
    return resolve_augment(settings.policy, settings.model_dump(exclude={"policy", *MIXING}))


def _change(plan: AugmentPlan, spec: PixelSpec, size: int) -> TrainTransform:
    return partial(augmented, spec=replace(spec, input_size=size), plan=plan)


def _changes(recipe: Recipe, spec: PixelSpec, epochs: int) -> list[tuple[int, TrainTransform]]:
    """What happens to a training picture, from which epoch on."""
    plan = _augment_plan(recipe)
    changes: list[tuple[int, TrainTransform]] = []
    sizes = training_sizes(recipe, spec, epochs=epochs)
    for epoch, size in enumerate(sizes):
        if epoch == 0 or size != sizes[epoch - 1]:
            changes.append((epoch, _change(plan, spec, size)))
    if recipe.train.fixres_epochs:
        changes.append((epochs, partial(_as_evaluated, spec=spec)))
    return changes


def _as_evaluated(
    image: torch.Tensor, *, spec: PixelSpec, rng: np.random.Generator
) -> torch.Tensor:
    return eval_transform(image, spec)


def _scorer(job: Job) -> Scorer:
    def score(truth: NDArray[np.generic], values: NDArray[np.float32]) -> float:
        return evaluate(job.metric, truth, values)

    return Scorer(job.metric.name, score, job.metric.greater_is_better)


def _image_weights(job: Job, train: Mask) -> NDArray[np.float64] | None:
    """Weights of the images of a train part: of a column, and of the corrections."""
    given, corrected = _column_weights(job, train), job.context.weights
    if corrected is None:
        return given
    known = corrected.loc[job.train["image_id"][train]]
    weights: NDArray[np.float64] = np.asarray(known, dtype=np.float64)
    return weights if given is None else weights * given


def _column_weights(job: Job, train: Mask) -> NDArray[np.float64] | None:
    column = job.recipe.loss.weight_column
    if column is None:
        return None
    table = job.context.tables.train
    names = [str(name) for name in table.columns]
    known = [name.removeprefix(META_PREFIX) for name in names if name.startswith(META_PREFIX)]
    if column not in known:
        raise ConfigError(
            f"loss.weight_column = {column!r} is not in the train table. Its other columns: "
            f"{', '.join(known) or 'none'}."
        )
    cells = table.set_index("image_id")[META_PREFIX + column].loc[job.train["image_id"]]
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    bad = ~np.isfinite(numbers) | (numbers < 0)
    if bad.any():
        raise DataError(
            f"Column {column} must hold weights of 0 or more; {int(bad.sum())} of {len(bad)} "
            f"do not, first {cells.index[bad][0]}: {cells[bad].iloc[0]!r}."
        )
    weights: NDArray[np.float64] = numbers[train]
    if not weights.any():
        raise DataError(f"All weights of column {column} in the train part of a fold are 0.")
    return weights


def fold_sampling(job: Job, truth: NDArray[Any]) -> Sampling:
    """Which images an epoch of a train part shows, (N,) or (N, K) labels."""
    train, augment = job.recipe.train, job.recipe.augment
    weights = None
    if train.sampler == "weighted":
        weights = _drawing_weights(job, truth)
    partners = None
    if augment.rare_classes:
        partners = _partners(job, truth)
    return Sampling(
        shuffle=train.shuffle, drop_last=train.drop_last, weights=weights, partners=partners
    )


def _drawing_weights(job: Job, truth: NDArray[Any]) -> NDArray[np.float64]:
    task = job.context.competition.task
    num_classes = len(learned_names(job.context, job.recipe))
    if task == "regression":
        raise ConfigError(
            'train.sampler = "weighted" draws by class, and a regression has none. Set it to '
            '"all".'
        )
    is_several = task == "multilabel"
    counts = truth.sum(axis=0) if is_several else np.bincount(truth, minlength=num_classes)
    per_class = class_weights(counts, power=job.recipe.train.sampler_power)
    if is_several:
        # As often as its rarest label asks for; a picture without labels as any other.
        rarest: NDArray[np.float64] = np.where(truth > 0, per_class, 1.0).max(axis=1)
        return rarest
    drawn: NDArray[np.float64] = per_class[truth]
    return drawn


def _partners(job: Job, truth: NDArray[Any]) -> NDArray[np.int64]:
    """Positions of the images of the rare classes in the train part."""
    wanted = job.recipe.augment.rare_classes
    places = class_places(job.context, job.recipe, "augment.rare_classes")
    is_rare = np.isin(truth, places) if truth.ndim == 1 else truth[:, list(places)].any(axis=1)
    if not is_rare.any():
        raise DataError(
            f"The train part of a fold has no picture of {', '.join(wanted)} to mix with. Use "
            "fewer folds, or name other augment.rare_classes."
        )
    return np.flatnonzero(is_rare)


# Settings that name classes.
CLASS_SETTINGS = ("loss.class_weight_as_max", "augment.rare_classes")


def class_places(context: Context, recipe: Recipe, setting: str) -> tuple[int, ...]:
    """Places of the classes that one of ``CLASS_SETTINGS`` names, among those learned.

    Raises:
        ConfigError: It names others; those there are listed.
    """
    names: tuple[str, ...] = attrgetter(setting)(recipe)
    if not names:
        return ()
    columns = list(learned_names(context, recipe))
    unknown = [name for name in names if name not in columns]
    if unknown or context.competition.task == "regression":
        raise ConfigError(
            f"{setting} names {', '.join(unknown) or 'classes of a regression'}; "
            f"the classes are: {', '.join(columns)}."
        )
    return tuple(columns.index(name) for name in names)


def _batch_hook(recipe: Recipe, folder: Path) -> BatchHook | None:
    """The user's function of ``train.batch_hook``, which must keep the shapes it is given."""
    wanted = recipe.train.batch_hook
    if wanted is None:
        return None
    function = load_function(wanted, folder, setting="batch hook")
    path = folder / wanted.rpartition(":")[0]

    def hook(pixels: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        try:
            new_pixels, new_targets = function(pixels, targets, step)
            shapes = (*new_pixels.shape[:2], *new_targets.shape)
        except Exception as error:
            raise DataError(
                f"batch hook {wanted!r} failed: {error_place(error, path)}"
            ) from error
        if shapes != (*pixels.shape[:2], *targets.shape):
            raise DataError(
                f"batch hook {wanted!r} must return pixels {tuple(pixels.shape)} and targets "
                f"{tuple(targets.shape)}; it gave {tuple(new_pixels.shape)} and "
                f"{tuple(new_targets.shape)}."
            )
        return new_pixels, new_targets

    return hook
