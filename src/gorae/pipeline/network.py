"""From a recipe to a network and the arithmetic it computes in."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gorae.config import Recipe
from gorae.errors import ConfigError
from gorae.files import content_key, sha256_file
from gorae.inference import Execution, NamedWeights
from gorae.models import LoadedModel, load_model, write_weights
from gorae.models.int8 import Ranges, traced
from gorae.models.network import ImageModel
from gorae.models.plan import is_user_class
from gorae.pipeline.calibration import (
    Samples,
    Work,
    calibration_key,
    given_choices,
    measure_choices,
    read_calibration,
    write_calibration,
)
from gorae.pipeline.context import Context
from gorae.pipeline.encoders import encoder_notes
from gorae.pipeline.pixels import model_plan
from gorae.training.checkpoint import Checkpoint, load_first_good
from gorae.training.evaluate import Arithmetic
from gorae.workspace import Member, RunFolder, Workspace

# Small batches stay in a CPU's caches (docs/log.md); a GPU wants to be filled.
PREDICT_BATCH_SIZE = {"cpu": 8, "cuda": 64}


def load_network(context: Context, recipe: Recipe) -> LoadedModel:
    """The network of ``recipe`` with its weights; see ``gorae.models.load_model``."""
    plan = model_plan(context, recipe)
    loaded = load_model(plan, folder=context.workspace.folder)
    if plan.encoder is None:
        return loaded
    return replace(loaded, notes=(*loaded.notes, *encoder_notes(plan.encoder, recipe)))


def weights_key(recipe: Recipe, loaded: LoadedModel, *, folder: Path) -> str:
    """A hash of what the network starts as: its weights, the user's file it comes from, and
    the encoder before it.

    Random weights are known by their seed.
    """
    key = (loaded.weights_sha256 or f"random-{recipe.seed}")[:16]
    if is_user_class(recipe.model.name):
        key += "-" + sha256_file(folder / recipe.model.name.rpartition(":")[0])[:16]
    if loaded.encoder_sha256 is not None:
        key += f"-{loaded.encoder_sha256[:16]}"
    return key


def choose_arithmetic(
    recipe: Recipe,
    loaded: LoadedModel,
    *,
    work: Work,
    cache: Path,
    samples: Samples | None = None,
) -> dict[str, Any]:
    """Devices, number format, layout, compiling, threads and workers, as run.toml keeps them.

    What the recipe leaves open is measured, or taken from what was measured before for the
    same network, sizes, machine and torch. Where there is too little work ahead to pay for
    that, the defaults are taken: float32, channels last, torch's threads, one worker.

    Args:
        recipe: The settings.
        loaded: Its network.
        work: What the network will be used for.
        cache: JSON file of earlier measurements.
        samples: Pictures as training sees them; without, the number of workers is a default.

    Raises:
        ConfigError: A device is not here.
    """
    found = devices(recipe.train.devices)
    given = given_choices(recipe)
    key = calibration_key(recipe, loaded, device=found[0], given=given)
    chosen = read_calibration(cache, key, work=work)
    if chosen is None:
        chosen = measure_choices(
            recipe, loaded, work=work, device=found[0], given=given, samples=samples
        )
        if "images_per_s" in chosen:
            write_calibration(cache, key, chosen, work=work)
    return {"device": found[0], "devices": found, **chosen}


def devices(wanted: str) -> list[str]:
    """The devices that ``train.devices`` names, such as ``["cuda:0", "cuda:2"]``.

    Args:
        wanted: ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda``, ``cuda:1``, or
            ``cuda:0,2`` for several in one training.

    Raises:
        ConfigError: No such device; those there are listed.
    """
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if wanted == "auto":
        return gpus[:1] or ["cpu"]
    kind, _, numbers = wanted.partition(":")
    named = [f"cuda:{number.strip()}" for number in (numbers or "0").split(",")]
    named = named if kind == "cuda" else [wanted]
    if any(name not in ["cpu", *gpus] for name in named) or len(set(named)) < len(named):
        example = ' Several GPUs are written "cuda:0,1".' if len(gpus) > 1 else ""
        raise ConfigError(
            f"train.devices = {wanted!r} names no devices of this machine, each once. It has: "
            f"{', '.join(['cpu', *gpus])}.{example}"
        )
    return named


def arithmetic_of(run: RunFolder) -> Arithmetic:
    """The arithmetic that was fixed for a run; also sets this process's threads to it."""
    return as_arithmetic(run.read_settings()["choices"]["arithmetic"])


def as_arithmetic(chosen: Mapping[str, Any]) -> Arithmetic:
    """The value of ``choose_arithmetic``'s record; sets this process's threads to it."""
    torch.set_num_threads(chosen["threads"])
    return Arithmetic(
        chosen["device"], chosen["precision"], chosen["channels_last"], chosen["compile"]
    )


def execution_of(
    run: RunFolder, recipe: Recipe, *, on_note: Callable[[str], None]
) -> Execution:
    """How the forward passes of a run are computed, as was fixed for it."""
    arithmetic = arithmetic_of(run)
    return Execution(
        batch_size=recipe.predict.batch_size or PREDICT_BATCH_SIZE[arithmetic.device[:4]],
        arithmetic=arithmetic,
        compile=run.read_settings()["choices"]["arithmetic"]["predict_compile"],
        on_note=on_note,
    )


def require_fitting_precision(recipe: Recipe, loaded: LoadedModel) -> None:
    """Refuse to predict in bytes what cannot.

    Raises:
        ConfigError: The device, the processor or the network cannot.
    """
    if recipe.predict.precision != "int8":
        return
    device = devices(recipe.train.devices)[0]
    if device != "cpu":
        raise ConfigError(
            f'predict.precision = "int8" is for a CPU, and this run would compute on {device}. '
            'Leave it out, or set train.devices = "cpu".'
        )
    traced(loaded.model, input_size=loaded.spec.input_size)


def checkpoint_weights(
    member: Member, checkpoint: Checkpoint, ranges: Ranges | None = None
) -> NamedWeights:
    """A checkpoint of a member, to predict with; in bytes, where its ranges are given."""

    def load(model: ImageModel) -> None:
        load_first_good(member.checkpoints, [checkpoint], model)

    return NamedWeights(checkpoint.name, checkpoint.form, load, ranges)


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
    kwargs = settings["choices"]["kwargs"]
    key = content_key([model["name"], kwargs, weights, model["use"], model["pooling"]])
    return workspace.weights / f"{key}.safetensors"
