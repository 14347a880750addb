"""From a recipe to a network and the arithmetic it computes in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gorae.config import Recipe
from gorae.errors import ConfigError
from gorae.files import content_key, sha256_file
from gorae.inference import Execution
from gorae.models import LoadedModel, load_model, write_weights
from gorae.models.plan import is_user_class
from gorae.pipeline.context import Context
from gorae.pipeline.pixels import model_plan
from gorae.training.evaluate import Arithmetic
from gorae.training.speed import faster_precision
from gorae.workspace import RunFolder, Workspace

# Enough for a stable time per image, few enough to take a second or two.
TIMED_BATCH_SIZE = 8

# Small batches stay in a CPU's caches (docs/log.md); a GPU wants to be filled.
PREDICT_BATCH_SIZE = {"cpu": 8, "cuda": 64}


def load_network(context: Context, recipe: Recipe) -> LoadedModel:
    """The network of ``recipe`` with its weights; see ``gorae.models.load_model``."""
    return load_model(model_plan(context, recipe), folder=context.workspace.folder)


def weights_key(recipe: Recipe, loaded: LoadedModel, *, folder: Path) -> str:
    """A hash of what the network starts as: its weights, and the user's file it comes from.

    Random weights are known by their seed.
    """
    key = (loaded.weights_sha256 or f"random-{recipe.seed}")[:16]
    if is_user_class(recipe.model.name):
        key += "-" + sha256_file(folder / recipe.model.name.rpartition(":")[0])[:16]
    return key


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
        precision, speeds = faster_precision(
            loaded.model,
            loaded.spec,
            device=device,
            channels_last=train.channels_last,
            batch_size=TIMED_BATCH_SIZE,
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
        batch_size=recipe.predict.batch_size or PREDICT_BATCH_SIZE[arithmetic.device[:4]],
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
