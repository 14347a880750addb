"""From a recipe to the pixels its network is shown, without torch.

torch takes seconds to load; the pictures can be decoded meanwhile.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from gorae.config import Recipe
from gorae.config.preparing import plain_steps
from gorae.data.composed import part_sizes
from gorae.data.pixels import PixelSpec, pixel_key
from gorae.data.sources import Task
from gorae.errors import ConfigError, UserError
from gorae.events import Event, OnEvent
from gorae.machine import num_cores
from gorae.models.plan import CosinePlan, ModelPlan
from gorae.models.reach import require_reachable
from gorae.models.resolve import find_pixels
from gorae.pipeline.composed import parts_in_use
from gorae.pipeline.context import Context, decode_policy, usable
from gorae.pipeline.encoders import find_encoder
from gorae.pipeline.finer_target import learned_names
from gorae.pipeline.metadata import metadata_plan
from gorae.pipeline.part_target import as_target
from gorae.pipeline.pictures import listed_pictures
from gorae.stores.prepared import Prepared, ensure_prepared
from gorae.tabular import require_booster
from gorae.training.outputs import LOSS_KINDS, num_outputs, resolve_loss

# Stored pictures keep this much more than the network sees, so that random crops have room.
STORED_MARGIN = 1.15


# Pictures of runs without a network are checked, and kept so large for people to look at.
LOOKED_AT = PixelSpec(
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    input_size=160,
    interpolation="bicubic",
    crop_pct=1.0,
    sources=dict.fromkeys(
        ("mean", "std", "input_size", "interpolation", "crop_pct"), "default"
    ),
)

# Sizes of progressive training are multiples of this: most networks halve five times.
SIZE_STEP = 32


def model_plan(context: Context, recipe: Recipe) -> ModelPlan:
    """What network ``recipe`` asks for, for the competition's classes."""
    context = as_target(context, recipe.target)
    model, parts = recipe.model, parts_in_use(context, recipe)
    sizes = () if parts is None else part_sizes(parts)
    return ModelPlan(
        name=model.name,
        weights=model.weights,
        num_outputs=_num_outputs(context, recipe, sizes),
        kwargs=model.kwargs,
        pixels=recipe.pixels.model_dump(exclude={"stored_short_side", "train_size"}),
        layer=model.layer,
        seed=recipe.seed,
        encoder=find_encoder(context.workspace, model.encoder),
        metadata=metadata_plan(context, recipe),
        **model_parts(recipe, context.competition.task, sizes),
    )


def model_parts(recipe: Recipe, task: Task, part_sizes: Sequence[int]) -> dict[str, Any]:
    """How the network of ``recipe`` differs from its library's, as fields of ``Parts``.

    Args:
        recipe: The settings.
        task: What the competition asks.
        part_sizes: Values of each part of a composed label, where the network is about parts.
    """
    model = recipe.model
    parts: dict[str, Any] = {"pooling": model.pooling}
    if model.use != "finetune":
        return parts
    return {
        **parts,
        "head": LOSS_KINDS[resolve_loss(recipe.loss.kind, task)].head or model.head,
        "outputs": model.outputs,
        "part_sizes": tuple(part_sizes),
        "cosine": CosinePlan(
            neck=model.neck,
            embedding=model.embedding,
            centres=model.centres,
            scale=model.scale,
        ),
        "features": model.features,
        "drop_rate": model.drop_rate,
        "drop_copies": model.drop_copies,
        "drop_path": model.drop_path,
        "pool_stages": model.pool_stages,
    }


def _num_outputs(context: Context, recipe: Recipe, part_sizes: Sequence[int]) -> int | None:
    """Outputs of a new head; None where the network keeps its own classifier."""
    columns, use = len(learned_names(context, recipe)), recipe.model.use
    if use == "as_is":
        return None
    if use == "frozen":
        return columns
    kind = resolve_loss(recipe.loss.kind, context.competition.task)
    if recipe.augment.flip_identities:
        columns *= 2
    return num_outputs(
        kind, num_columns=columns, outputs=recipe.model.outputs, part_sizes=part_sizes
    )


def input_pixels(context: Context, recipe: Recipe) -> PixelSpec:
    """What the network of ``recipe`` is shown, without building it.

    Raises:
        UserError: Its pretrained weights are nowhere to be had.
        ConfigError: A recipe without a network names no model of tables.
    """
    if recipe.model.use == "tabular":
        require_booster(recipe.model.name)
        return LOOKED_AT
    plan = model_plan(context, recipe)
    require_reachable(plan)
    return find_pixels(plan, folder=context.workspace.folder)


def describe_pixels(spec: PixelSpec) -> str:
    """One line: every value with where it came from."""
    parts = [
        f"{name} {getattr(spec, name)} ({spec.sources[name]})"
        for name in ("input_size", "mean", "std", "interpolation", "crop_pct")
    ]
    return "input pixels: " + ", ".join(parts)


def stored_short_side(recipe: Recipe, spec: PixelSpec) -> int:
    """Short side of the pictures in the prepared store, in pixels.

    Raises:
        ConfigError: The recipe's own is smaller than what the network is shown.
    """
    largest = max(spec.input_size, *training_sizes(recipe, spec, epochs=1))
    short_side = recipe.pixels.stored_short_side or round(STORED_MARGIN * largest)
    if short_side < largest:
        raise ConfigError(
            f"pixels.stored_short_side = {short_side} is smaller than the network's input of "
            f"{largest} pixels. Set it to {largest} or more."
        )
    return short_side


def steps_for(recipe: Recipe, short_side: int) -> list[dict[str, Any]]:
    """The recipe's steps as plain values.

    Raises:
        ConfigError: A step makes what the store would shrink again.
    """
    for step in recipe.preprocess:
        made = None
        if step.step == "align":
            made = min(step.size)
        elif step.step == "resize" and step.how != "long_side":
            made = step.side if step.size is None else min(step.size)
        if made is not None and made > short_side:
            raise ConfigError(
                f"preprocess.{step.step} makes pictures with a short side of {made} pixels, "
                f"stored with {short_side}. Set pixels.stored_short_side to {made}, "
                "or make the step smaller."
            )
    return plain_steps(recipe.preprocess)


def steps_for_new(recipe: Recipe, short_side: int) -> list[dict[str, Any]]:
    """The recipe's steps for pictures that no table describes.

    Raises:
        UserError: A step needs a box or landmarks of each picture.
    """
    needy = [step.step for step in recipe.preprocess if step.step in ("crop_box", "align")]
    if needy:
        raise UserError(
            f"This run was trained on pictures prepared by {' and '.join(needy)}, which need a "
            "box or landmarks of each picture, and these have none: predictions of whole "
            "pictures would be of another kind. Put them into the test table instead."
        )
    return steps_for(recipe, short_side)


def pixel_keys(
    context: Context, recipe: Recipe, scan: pd.DataFrame, image_ids: Sequence[str]
) -> list[str]:
    """Under which key the pixels of each image lie in the store of ``recipe``.

    Args:
        context: The competition.
        recipe: The settings; boxes and landmarks of its steps are part of the key.
        scan: Indexed by ``image_id``.
        image_ids: Images that were scanned and can be used, any number of times.
    """
    keys = key_of_pixels(context, recipe, scan)
    return [keys[image_id] for image_id in image_ids]


def key_of_pixels(context: Context, recipe: Recipe, scan: pd.DataFrame) -> dict[str, str]:
    """The key of the pixels of every listed image that can be used; see ``pixel_keys``."""
    listed = listed_pictures(context, recipe)
    listed = listed[usable(scan, listed["image_id"])]
    hashes = scan.loc[listed["image_id"], "sha256"]
    return {
        image_id: pixel_key(sha256, arguments)
        for image_id, sha256, arguments in zip(
            listed["image_id"], hashes, listed["arguments"], strict=True
        )
    }


def training_sizes(recipe: Recipe, spec: PixelSpec, *, epochs: int) -> tuple[int, ...]:
    """Side of the training pictures in each epoch, in pixels."""
    full, shares = recipe.pixels.train_size or spec.input_size, recipe.train.progressive
    if not shares:
        return (full,) * epochs
    wanted = [
        full if share == 1 else max(SIZE_STEP, round(share * full / SIZE_STEP) * SIZE_STEP)
        for share in shares
    ]
    if set(wanted) == {full}:
        raise ConfigError(
            f"train.progressive = {list(shares)} changes nothing at {full} pixels: sizes are "
            f"multiples of {SIZE_STEP}. Leave it out, or choose smaller shares."
        )
    return tuple(wanted[epoch * len(wanted) // epochs] for epoch in range(epochs))


def prepare(
    context: Context,
    recipe: Recipe,
    spec: PixelSpec,
    *,
    listed: pd.DataFrame | None = None,
    on_event: OnEvent,
) -> Prepared:
    """The scan and the pixels of every listed picture, decoding only what is new.

    ``listed`` stands in place of ``listed_pictures`` of the recipe.
    """

    has_work = False

    def on_progress(done: int, total: int) -> None:
        nonlocal has_work
        has_work = has_work or done < total
        if not has_work:
            return
        on_event(Event("progress", "prepare", "pictures", done, total))

    short_side = stored_short_side(recipe, spec)
    return ensure_prepared(
        listed_pictures(context, recipe) if listed is None else listed,
        root=context.workspace.folder,
        policy=decode_policy(context),
        num_workers=num_cores(),
        prepared_root=context.workspace.prepared,
        scan_path=context.workspace.scan,
        short_side=short_side,
        interpolation=spec.interpolation,
        steps=steps_for(recipe, short_side),
        on_progress=on_progress,
    )
