"""From a recipe to the pixels its network is shown, without torch.

torch takes seconds to load; the pictures can be decoded meanwhile.
"""

import os

from gorae.config import Recipe
from gorae.data.decode import DecodePolicy
from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError
from gorae.events import Event, OnEvent
from gorae.models.plan import ModelPlan
from gorae.models.reach import require_reachable
from gorae.models.resolve import find_pixels
from gorae.pipeline.context import Context, listed_images
from gorae.stores.prepared import Prepared, ensure_prepared

# Stored pictures keep this much more than the network sees, so that random crops have room.
STORED_MARGIN = 1.15


def model_plan(context: Context, recipe: Recipe) -> ModelPlan:
    """What network ``recipe`` asks for, for the competition's classes."""
    model = recipe.model
    outputs = None if model.use == "as_is" else len(context.columns)
    return ModelPlan(
        name=model.name,
        weights=model.weights,
        num_outputs=outputs,
        kwargs=model.kwargs,
        pixels=recipe.pixels.model_dump(exclude={"stored_short_side"}),
        drop_rate=model.drop_rate,
        seed=recipe.seed,
    )


def input_pixels(context: Context, recipe: Recipe) -> PixelSpec:
    """What the network of ``recipe`` is shown, without building it.

    Raises:
        UserError: Its pretrained weights are nowhere to be had.
    """
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
    short_side = recipe.pixels.stored_short_side or round(STORED_MARGIN * spec.input_size)
    if short_side < spec.input_size:
        raise ConfigError(
            f"pixels.stored_short_side = {short_side} is smaller than the network's input of "
            f"{spec.input_size} pixels. Set it to {spec.input_size} or more."
        )
    return short_side


def num_cores() -> int:
    """Cores this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )


def prepare(
    context: Context, recipe: Recipe, spec: PixelSpec, *, on_event: OnEvent
) -> Prepared:
    """The scan and the pixels of every listed picture, decoding only what is new."""

    has_work = False

    def on_progress(done: int, total: int) -> None:
        nonlocal has_work
        has_work = has_work or done < total
        if not has_work:
            return
        on_event(Event("progress", "prepare", "pictures", done, total))

    return ensure_prepared(
        listed_images(context.tables),
        root=context.workspace.folder,
        policy=DecodePolicy(),
        num_workers=num_cores(),
        prepared_root=context.workspace.prepared,
        scan_path=context.workspace.scan,
        short_side=stored_short_side(recipe, spec),
        interpolation=spec.interpolation,
        on_progress=on_progress,
    )
