"""What a recipe leaves open of its arithmetic: measured for the work ahead, and kept.

The search is ``gorae.training.calibrate``; here it is given a network, the settings that the
recipe fixes, and an estimate of the work, and its outcome becomes a record for run.toml.
"""

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gorae.augment.names import expand_views
from gorae.config import Recipe
from gorae.errors import StorageError
from gorae.files import content_key, read_json, write_json
from gorae.inference import MOST_THREADS, Execution
from gorae.inference.network import build_forward
from gorae.machine import machine_fingerprint, num_cores
from gorae.models import LoadedModel
from gorae.training.calibrate import (
    COMPILE_GUESS_S,
    COMPILE_SHARE,
    Ahead,
    Calibration,
    Setting,
    calibrate,
    list_stages,
    measured_workers,
    needed_workers,
)
from gorae.training.speed import (
    Forward,
    Ready,
    Run,
    as_arithmetic,
    images_per_second,
    picture_seconds,
    ready_to_predict,
    ready_to_train,
    time_feed,
    time_network,
)
from gorae.training.step import is_out_of_memory

# In the folder of all that gorae writes.
CALIBRATION_FILE = "calibration.json"

# Images per timed batch: on a CPU the time per image hardly depends on it, a GPU is filled.
TIMED_BATCH_SIZE = {"cpu": 8, "cuda": 32}
SLOW_BATCH_SIZE = 2
TIMED_FEED_BATCH_SIZE = 4

# With fewer images ahead, even timing the default would take more than a tenth of the work.
LEAST_IMAGES = {"cpu": 100, "cuda": 1000}

# What is one image forward and backward beside one forward only (measured: 2.7 to 3.3).
TRAINED_PER_PREDICTED = 3


@dataclass(frozen=True)
class Work:
    """What a network will be used for."""

    num_trained: int
    """Images that go forward and backward, all epochs and folds together."""
    num_predicted: int
    """Images that go forward only."""
    num_models: int = 1
    """Trainings; each compiles its network anew."""
    num_checkpoints: int = 1
    """Sets of weights that predict; each is compiled anew with its weights frozen in."""
    left_s: float | None = None
    """Seconds until all must be done; None without a limit."""

    @property
    def num_images(self) -> int:
        """Images of the part that decides: training where there is any."""
        return self.num_trained or self.num_predicted


@dataclass(frozen=True)
class Samples:
    """Some pictures as training sees them."""

    prepare: Callable[[int], Tensor]
    """Gives one by number: uint8 (3, S, S)."""
    num_pictures: int


def work_ahead(
    recipe: Recipe,
    *,
    num_train: int,
    num_test: int,
    num_folds: int,
    left_s: float | None = None,
) -> Work:
    """About how many images a run shows to its network.

    Args:
        recipe: The settings.
        num_train: Images of the train table.
        num_test: Images of the test table.
        num_folds: Trainings, repeats included and the refit not.
        left_s: Seconds until all must be done; None without a limit.
    """
    views = len(expand_views(recipe.predict.views))
    if recipe.model.use != "finetune":
        return Work(0, views * (num_train + num_test), left_s=left_s)
    train, split = recipe.train, recipe.split
    share = split.holdout_share if num_folds == 1 else 1 / split.num_folds
    epochs, num_models = train.epochs + train.fixres_epochs, num_folds + recipe.refit
    num_valid = num_train * share
    passes = views * recipe.predict.use_checkpoints
    return Work(
        round(num_models * epochs * (num_train - num_valid)),
        round(num_models * (epochs * num_valid + passes * (num_valid + num_test))),
        num_models,
        num_models * recipe.predict.use_checkpoints,
        left_s,
    )


def given_choices(recipe: Recipe) -> dict[str, Any]:
    """What the recipe itself fixes, by the names of the record."""
    train = recipe.train
    asked: dict[str, Any] = {
        "precision": None if train.precision == "auto" else train.precision,
        "channels_last": train.channels_last,
        "threads": train.threads,
        "compile": train.compile,
        "workers": train.workers,
        "predict_compile": recipe.predict.compile,
    }
    if recipe.predict.precision == "int8":
        # It has kernels of its own.
        asked |= {"predict_compile": False, "predict_precision": "int8"}
    return {name: value for name, value in asked.items() if value is not None}


def calibration_key(
    recipe: Recipe, loaded: LoadedModel, *, device: str, given: Mapping[str, Any]
) -> str:
    """A hash of all that decides how fast a network is here."""
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    parts = {
        "model": [recipe.model.name, dict(loaded.kwargs), recipe.model.use],
        "pixels": [loaded.spec.input_size, recipe.pixels.train_size],
        "batch_size": [recipe.train.batch_size, recipe.predict.batch_size],
        "given": dict(given),
        "machine": [machine_fingerprint(), gpu],
        "torch": torch.__version__,
    }
    if loaded.encoder_sha256 is not None:
        parts["encoder"] = loaded.model.in_chans
    return content_key(parts)


def read_calibration(path: Path, key: str, *, work: Work) -> dict[str, Any] | None:
    """What was measured before for the same key and about as much work, or None.

    More than twice the work allows for a longer search; less than half of it no longer pays
    for compiling.

    Raises:
        StorageError: The file is damaged.
    """
    kept = _read_all(path).get(key)
    if kept is None or work.num_images > 2 * kept["num_images"]:
        return None
    chosen: dict[str, Any] = kept["chosen"]
    is_compiled = chosen["compile"] or chosen["predict_compile"]
    if is_compiled and 2 * work.num_images < kept["num_images"]:
        return None
    return chosen | {"origin": f"measured before, kept in {path.name}"}


def write_calibration(path: Path, key: str, chosen: Mapping[str, Any], *, work: Work) -> None:
    """Keep what was measured; two runs at once may lose one of two entries, nothing else."""
    entry = {"chosen": dict(chosen), "num_images": work.num_images}
    write_json(path, _read_all(path) | {key: entry})


def _read_all(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        entries: dict[str, Any] = read_json(path)
    except StorageError as error:
        raise StorageError(f"{error} Remove it: speeds are then measured again.") from error
    return entries


def measure_choices(
    recipe: Recipe,
    loaded: LoadedModel,
    *,
    work: Work,
    device: str,
    given: Mapping[str, Any],
    samples: Samples | None,
) -> dict[str, Any]:
    """The choices that suit the work best; see ``gorae.pipeline.network.choose_arithmetic``."""
    if work.num_images < LEAST_IMAGES[device[:4]]:
        return _record(_default(given), given, origin="not measured: too little work ahead")
    try:
        if recipe.model.use == "finetune":
            return _measure_training(
                recipe, loaded, work=work, device=device, given=given, samples=samples
            )
        return _measure_prediction(loaded, work=work, device=device, given=given)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _record(_default(given), given, origin="not measured: memory ran out")


def _default(given: Mapping[str, Any]) -> Setting:
    """Where a search starts: what is given, and what is never much worse than anything."""
    return Setting(
        threads=given.get("threads", torch.get_num_threads()),
        precision=given.get("precision", "fp32"),
        channels_last=given.get("channels_last", True),
        workers=given.get("workers", 1),
    )


def _record(
    setting: Setting,
    given: Mapping[str, Any],
    *,
    origin: str,
    speeds: Mapping[Setting, float] | None = None,
    failed: Mapping[Setting, str] | None = None,
) -> dict[str, Any]:
    """The record of run.toml; what is given is kept as it is."""
    record: dict[str, Any] = {
        "precision": setting.precision,
        "channels_last": setting.channels_last,
        "compile": setting.compile,
        "predict_compile": False,
        "threads": setting.threads,
        "workers": setting.workers,
        **given,
        "origin": origin,
    }
    if speeds:
        record["images_per_s"] = {each.describe(): round(v, 1) for each, v in speeds.items()}
    if failed:
        record["impossible"] = {each.describe(): reason for each, reason in failed.items()}
    return record


def _origin(found: Calibration, spent_s: float) -> str:
    text = f"measured in {spent_s:.1f} s"
    return text if found.is_complete else f"{text}, the likeliest gains only"


def _measure_training(
    recipe: Recipe,
    loaded: LoadedModel,
    *,
    work: Work,
    device: str,
    given: Mapping[str, Any],
    samples: Samples | None,
) -> dict[str, Any]:
    started = time.monotonic()
    size = recipe.pixels.train_size or loaded.spec.input_size
    spec = replace(loaded.spec, input_size=size)
    batch_size = min(TIMED_BATCH_SIZE[device[:4]], recipe.train.batch_size)
    ahead = Ahead(work.num_trained, work.num_models, work.left_s)
    # Where the recipe says "compile", the rest is measured without: compiling each candidate
    # would take longer than all of them.
    default = _default(given)
    stages = list_stages(default, device=device, cores=num_cores(), fixed=given)
    with ready_to_train(loaded.model, spec, device=device) as ready:
        measure = time_network(
            ready, spec, batch_size=batch_size, least=min(SLOW_BATCH_SIZE, batch_size)
        )
        found = calibrate(measure, default, stages, ahead=ahead)
        setting, image_s = found.setting, 1 / found.speeds[found.setting]
        if "workers" not in given and samples is not None:
            workers = _choose_workers(
                ready, samples, setting, image_s=image_s, device=device, ahead=ahead
            )
            setting = replace(setting, workers=workers)
    predict_compile = False
    predicted_s = work.num_predicted * image_s / TRAINED_PER_PREDICTED
    if COMPILE_SHARE * predicted_s >= COMPILE_GUESS_S and "predict_compile" not in given:
        plain = replace(setting, compile=False)
        stages = [[{"compile": True}]]
        search = _search_prediction(loaded, plain, stages, work=work, device=device)
        predict_compile = search.setting.compile
    origin = _origin(found, time.monotonic() - started)
    record = _record(setting, given, origin=origin, speeds=found.speeds, failed=found.failed)
    return {**record, "predict_compile": given.get("predict_compile", predict_compile)}


def _measure_prediction(
    loaded: LoadedModel, *, work: Work, device: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    # Inference divides the threads itself (docs/log.md).
    fixed = {*given, "threads"} - {"compile"}
    if "predict_compile" in given:
        fixed.add("compile")
    default = _default(given)
    stages = list_stages(default, device=device, cores=num_cores(), fixed=fixed)
    found = _search_prediction(loaded, default, stages, work=work, device=device)
    record = _record(
        replace(found.setting, compile=False),
        given,
        origin=_origin(found, found.spent_s),
        speeds=found.speeds,
        failed=found.failed,
    )
    predict_compile = given.get("predict_compile", found.setting.compile)
    return {**record, "predict_compile": predict_compile}


def _search_prediction(
    loaded: LoadedModel,
    default: Setting,
    stages: list[list[dict[str, Any]]],
    *,
    work: Work,
    device: str,
) -> Calibration:
    with _ready_to_predict(loaded, default, device) as ready:
        return calibrate(
            time_network(ready, loaded.spec, batch_size=TIMED_BATCH_SIZE[device[:4]]),
            default,
            stages,
            ahead=Ahead(work.num_predicted, work.num_checkpoints, work.left_s),
        )


def _ready_to_predict(
    loaded: LoadedModel, setting: Setting, device: str
) -> AbstractContextManager[Ready]:
    """Passes as ``gorae.inference`` makes them, each on a copy of the network."""
    num_threads = min(MOST_THREADS, setting.threads) if device == "cpu" else 1

    def build(each: Setting, run: Run) -> Forward:
        execution = Execution(
            batch_size=TIMED_BATCH_SIZE[device[:4]] // num_threads,
            arithmetic=as_arithmetic(each, device),
            compile=each.compile,
            on_note=_refuse,
        )
        network = copy.deepcopy(loaded.model)
        return build_forward(network, loaded.spec, execution=execution, run=run)

    return ready_to_predict(
        build, device=device, num_threads=num_threads, threads=setting.threads
    )


def _refuse(note: str) -> None:
    """What inference would do without, a search must know of."""
    raise RuntimeError(note)


def _choose_workers(
    ready: Ready,
    samples: Samples,
    setting: Setting,
    *,
    image_s: float,
    device: str,
    ahead: Ahead,
) -> int:
    """Processes that prepare batches: by rule, or by trying on a small machine."""
    picture_s = picture_seconds(samples.prepare, num_pictures=samples.num_pictures)
    needed = needed_workers(picture_s, image_s, cores=num_cores(), is_cpu=device == "cpu")
    if needed is not None:
        return needed
    measure = time_feed(
        ready,
        samples.prepare,
        num_pictures=samples.num_pictures,
        batch_size=TIMED_FEED_BATCH_SIZE,
    )
    return measured_workers(measure, setting, ahead=ahead)


def measure_speeds(loaded: LoadedModel, chosen: Mapping[str, Any]) -> tuple[float, float]:
    """Images per second in training and in prediction, in the arithmetic that was chosen."""
    device, spec = chosen["device"], loaded.spec
    setting = Setting(chosen["threads"], chosen["precision"], chosen["channels_last"])
    batch_size = TIMED_BATCH_SIZE[device[:4]]
    with ready_to_train(loaded.model, spec, device=device) as ready:
        training = images_per_second(ready, spec, setting=setting, batch_size=batch_size)
    with _ready_to_predict(loaded, setting, device) as ready:
        prediction = images_per_second(ready, spec, setting=setting, batch_size=batch_size)
    return training, prediction
