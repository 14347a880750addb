"""From a recipe to a network, its input pixels and the store that feeds it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gorae.config import Recipe
from gorae.data.decode import DecodePolicy
from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError
from gorae.events import Event, OnEvent
from gorae.files import content_key
from gorae.inference import Execution
from gorae.models import LoadedModel, ModelPlan, load_model, write_weights
from gorae.pipeline.context import Context, listed_images
from gorae.stores.prepared import Prepared, ensure_prepared
from gorae.training.evaluate import Arithmetic
from gorae.training.speed import faster_precision
from gorae.workspace import RunFolder, Workspace

# Stored pictures keep this much more than the network sees, so that random crops have room.
STORED_MARGIN = 1.15

# Enough for a stable time per image, few enough to take a second or two.
TIMED_BATCH_SIZE = 8


def model_plan(context: Context, recipe: Recipe, *, seed: int | None = None) -> ModelPlan:
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
        seed=recipe.seed if seed is None else seed,
    )


def load_network(context: Context, recipe: Recipe, *, seed: int | None = None) -> LoadedModel:
    """The network of ``recipe`` with its weights; see ``gorae.models.load_model``."""
    return load_model(model_plan(context, recipe, seed=seed), folder=context.workspace.folder)


def input_pixels(context: Context, recipe: Recipe) -> PixelSpec:
    """What the network of ``recipe`` is shown, without building it."""
    return load_network(context, recipe).spec


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

    def on_progress(done: int, total: int) -> None:
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


def weights_key(context: Context, recipe: Recipe, loaded: LoadedModel) -> str:
    """A hash of the weights the network starts with; pretrained ones are kept for later.

    Random weights are known by their seed.
    """
    if loaded.weights_sha256 is None:
        return f"random-{recipe.seed}"
    return loaded.weights_sha256[:16]


def choose_arithmetic(recipe: Recipe, loaded: LoadedModel) -> dict[str, Any]:
    """Device, number format, layout and threads; measured where the recipe says ``auto``."""
    train = recipe.train
    device = _device(train.device)
    chosen: dict[str, Any] = {
        "device": device,
        "precision": train.precision,
        "channels_last": train.channels_last,
        "threads": train.threads or torch.get_num_threads(),
    }
    if train.precision == "auto":
        is_training = recipe.model.use == "finetune"
        size = train.batch_size if is_training else recipe.predict.batch_size
        precision, speeds = faster_precision(
            loaded.model,
            loaded.spec,
            device=device,
            channels_last=train.channels_last,
            batch_size=min(TIMED_BATCH_SIZE, size),
            is_training=is_training,
        )
        measured = {name: round(value, 1) for name, value in speeds.items()}
        chosen |= {"precision": precision, "images_per_s": measured}
    return chosen


def _device(wanted: str) -> str:
    """``auto``, ``cpu`` or ``cuda:N`` as the device that is there.

    Raises:
        ConfigError: No such device; those there are listed.
    """
    known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if wanted == "auto":
        return known[1] if len(known) > 1 else "cpu"
    name = "cuda:0" if wanted == "cuda" else wanted
    if name not in known:
        raise ConfigError(
            f"train.device = {wanted!r} is not here. Devices: {', '.join(known)}."
        )
    return name


def arithmetic_of(run: RunFolder) -> Arithmetic:
    """The arithmetic that was fixed for a run; also sets this process's threads to it."""
    return as_arithmetic(run.read_settings()["choices"]["arithmetic"])


def as_arithmetic(chosen: Mapping[str, Any]) -> Arithmetic:
    """The value of ``choose_arithmetic``'s record; sets this process's threads to it."""
    torch.set_num_threads(chosen["threads"])
    return Arithmetic(chosen["device"], chosen["precision"], chosen["channels_last"])


def execution_of(recipe: Recipe, arithmetic: Arithmetic) -> Execution:
    """How forward passes are run."""
    return Execution(
        batch_size=recipe.predict.batch_size,
        arithmetic=arithmetic,
    )


def keep_backbone(
    workspace: Workspace, run: RunFolder, loaded: LoadedModel, *, with_head: bool = False
) -> None:
    """Keep the weights of a backbone that is not trained, so that the run predicts later."""
    path = backbone_path(workspace, run)
    if not path.exists():
        part = loaded.model if with_head else loaded.model.backbone
        write_weights(path, part.state_dict())


def backbone_path(workspace: Workspace, run: RunFolder) -> Path:
    """Where the untrained backbone of a run lies; runs with the same weights share it."""
    settings = run.read_settings()
    model = settings["recipe"]["model"]
    weights = settings["keys"]["weights"]
    key = content_key([model["name"], settings["choices"]["kwargs"], weights, model["use"]])
    return workspace.weights / f"{key}.safetensors"
