"""Step ``train``: every fold of a recipe, and its predictions."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gorae.config import Recipe
from gorae.config.effects import loss_problems
from gorae.data.dataset import TrainDataset
from gorae.data.pixels import PixelSpec
from gorae.data.scan import changed_files
from gorae.errors import ConfigError, DataError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import exclusive_lock, sweep_temporaries
from gorae.models import LoadedModel
from gorae.pipeline.as_is import train_as_is
from gorae.pipeline.box_mix import box_mix_choices, box_mix_key, prepare_training
from gorae.pipeline.calibration import CALIBRATION_FILE, Samples, work_ahead
from gorae.pipeline.composed import part_weights
from gorae.pipeline.context import (
    Context,
    decode_policy,
    labels_key,
    open_context,
    read_scan,
    require_trainable,
)
from gorae.pipeline.contract import Split, read_split
from gorae.pipeline.encoders import with_named_encoder
from gorae.pipeline.finer_target import finer_key
from gorae.pipeline.finetune import train_finetune
from gorae.pipeline.frozen import train_frozen
from gorae.pipeline.individuals import require_individuals
from gorae.pipeline.job import open_job
from gorae.pipeline.launch import require_processes
from gorae.pipeline.learning import CLASS_SETTINGS, class_places, first_change
from gorae.pipeline.metadata import metadata_code, metadata_key
from gorae.pipeline.network import (
    arithmetic_of,
    choose_arithmetic,
    load_network,
    require_fitting_precision,
    weights_key,
)
from gorae.pipeline.part_target import as_target, learned_key
from gorae.pipeline.pictures import arguments_key
from gorae.pipeline.pixels import model_plan
from gorae.pipeline.pseudo_labels import (
    pseudo_choices,
    with_labelled_pictures,
    with_named_labels,
)
from gorae.pipeline.runs import find_or_make_run, recorded
from gorae.pipeline.scores import competition_metric, metric_key
from gorae.pipeline.start import start_key, with_named_start
from gorae.pipeline.tabular import train_tabular
from gorae.pipeline.together import together
from gorae.stopping import Stopping, never_stopped
from gorae.stores.prepared import Prepared
from gorae.training.evaluate import Arithmetic
from gorae.workspace import RunFolder

# Enough to tell how long one takes.
NUM_SAMPLES = 64

TRAINERS = {"frozen": train_frozen, "finetune": train_finetune, "as_is": train_as_is}


@dataclass(frozen=True)
class TrainResult:
    """The trained run."""

    run: RunFolder
    num_members: int

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.run.run_id

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "run_id": self.run_id,
            "members": self.num_members,
            "folder": str(self.run.path),
        }


def train(
    folder: Path,
    *,
    recipe: Recipe,
    deadline: float | None = None,
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> TrainResult:
    """Train the recipe on every fold of its split; finished folds are not done again.

    Args:
        folder: The competition, split already.
        recipe: The settings.
        deadline: ``time.monotonic()`` at which training should have ended; folds that have
            not begun by then are left out, and the run says so.
        on_event: Hears progress.
        stopping: Opened while a training runs, which then ends in order when it is asked to.

    Raises:
        Interrupted: It was asked to; the state is written, and the same call goes on from it.
        ConfigError: There is no split of these data and settings, or a setting is wrong; a
            recipe with several devices needs a process for each (``NeedsProcesses``).
    """
    require_processes(recipe)
    context = as_target(open_context(folder), recipe.target)
    require_trainable(context)
    # By name: a newer one may be finished while this one trains.
    recipe = with_named_encoder(context.workspace, recipe)
    recipe = with_named_start(context.workspace, with_named_labels(context.workspace, recipe))
    _require_fitting_settings(context, recipe)
    learned = learned_key(context, recipe)
    # Refuses a metric that cannot be used before a picture is decoded.
    require_individuals(context, recipe, competition_metric(context))
    if recipe.model.use == "tabular":
        fitted = train_tabular(context, recipe, on_event=on_event)
        return TrainResult(fitted, len(fitted.members()))
    on_event(Event("stage", "network", f"loading {recipe.model.name}"))
    loaded = load_network(context, recipe)
    if recipe.model.use == "finetune":
        # Refuses what cannot be used before a picture is decoded.
        first_change(recipe, loaded.spec)
        require_fitting_precision(recipe, loaded)
    for note in loaded.notes:
        on_event(Event("message", "network", note))
    shown = with_labelled_pictures(context, recipe)
    prepared = prepare_training(shown, recipe, loaded.spec, on_event=on_event)
    scan = read_scan(context)
    made = read_split(context, scan, recipe.split)
    weights = weights_key(recipe, loaded, folder=context.workspace.folder)
    arguments = arguments_key(context, recipe)
    start = start_key(context, recipe, loaded, split=made)
    pseudo = pseudo_choices(context, recipe, made, on_event=on_event)
    run = find_or_make_run(
        context.workspace,
        recipe,
        keys={
            "split": made.key,
            "labels": labels_key(context),
            "pixels": prepared.pixels.folder.name,
            "weights": weights,
            "metric": metric_key(context),
            # Boxes and landmarks; absent where there are none, as in runs before there were.
            **({"arguments": arguments} if arguments else {}),
            **box_mix_key(context, recipe),
            **({"start": start} if start else {}),
            **learned,
            **finer_key(context, recipe),
            **metadata_key(context, recipe, scan),
        },
        choices=lambda: {
            **_choices(context, recipe, loaded, made, prepared, deadline),
            **pseudo,
            **box_mix_choices(context, recipe),
        },
    )
    arithmetic = arithmetic_of(run)
    on_event(Event("message", "network", _computed_in(run, arithmetic)))
    with exclusive_lock(run.lock, purpose=f"training {run.run_id}"):
        sweep_temporaries(run.path)
        listen = recorded(run, on_event)
        listen(Event("stage", "train", f"training {run.run_id}"))
        done = len(run.members())
        if done:
            listen(Event("message", "train", f"{done} of its models are there already"))
        job = open_job(
            context,
            recipe,
            loaded,
            run,
            deadline=deadline,
            on_event=listen,
            stopping=stopping,
        )
        if done < len(made.members()):
            _require_unchanged(context, prepared.scan)
        with together(job) as job:
            TRAINERS[recipe.model.use](job, loaded)
    return TrainResult(run, len(run.members()))


def _require_fitting_settings(context: Context, recipe: Recipe) -> None:
    if recipe.model.use == "finetune":
        part_weights(context, recipe)
        for setting in CLASS_SETTINGS:
            class_places(context, recipe, setting)
        problems = loss_problems(recipe, context.competition.task)
        if problems:
            raise ConfigError(f"{len(problems)} setting(s):\n{list_problems(problems)}")


def _require_unchanged(context: Context, scan: pd.DataFrame) -> None:
    """Stop where a file has other bytes than those that were scanned and prepared.

    The scan goes by size and time of change; here every file is read once more.
    """
    changed = changed_files(scan, root=context.workspace.folder, policy=decode_policy(context))
    if len(changed):
        lines = [f"{line['path']}: {line['problem']}" for line in changed.to_dict("records")]
        raise DataError(
            f"{len(lines)} pictures changed after they were prepared:\n{list_problems(lines)}\n"
            "Put them back, or remove .gorae/scan.parquet and run `gorae run` to take them as "
            "they are now."
        )


def _computed_in(run: RunFolder, arithmetic: Arithmetic) -> str:
    text = f"computing in {arithmetic.precision} on {arithmetic.device}"
    measured = run.read_settings()["choices"]["arithmetic"].get("images_per_s", {})
    speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in measured.items())
    return f"{text} (images/s measured: {speeds})" if speeds else text


def _choices(
    context: Context,
    recipe: Recipe,
    loaded: LoadedModel,
    made: Split,
    prepared: Prepared,
    deadline: float | None,
) -> dict[str, Any]:
    """What is measured or looked up once, and stands in run.toml from then on."""
    work = work_ahead(
        recipe,
        num_train=len(context.tables.train),
        num_test=len(context.tables.test),
        num_folds=len(made.members()),
        left_s=None if deadline is None else deadline - time.monotonic(),
    )
    return {
        "task": context.competition.task,
        "num_outputs": loaded.model.num_outputs,
        **_parts_of(context, recipe, loaded),
        "spec": _spec_record(loaded.spec),
        "kwargs": dict(loaded.kwargs),
        "weights_origin": loaded.weights_origin,
        "arithmetic": choose_arithmetic(
            recipe,
            loaded,
            work=work,
            cache=context.workspace.home / CALIBRATION_FILE,
            samples=_samples(recipe, loaded.spec, prepared),
        ),
        "notes": list(loaded.notes),
    }


def _parts_of(context: Context, recipe: Recipe, loaded: LoadedModel) -> dict[str, Any]:
    """What else the network of the run is built by; nothing for most."""
    plan = model_plan(context, recipe)
    found: dict[str, Any] = {}
    if plan.part_sizes:
        found["part_sizes"] = list(plan.part_sizes)
    if plan.features == "logits":
        found["num_logits"] = loaded.model.num_features
    if plan.metadata is not None:
        code = metadata_code(context, recipe)
        assert code is not None
        found["metadata"] = code.to_json()
    if plan.encoder is not None:
        found["encoder_channels"] = loaded.model.in_chans
    return found


def _samples(recipe: Recipe, spec: PixelSpec, prepared: Prepared) -> Samples | None:
    """Some pictures as training sees them, to time how fast they are made."""
    if recipe.model.use != "finetune":
        return None
    hashes = list(dict.fromkeys(key for key in prepared.keys if key))[:NUM_SAMPLES]
    changed = TrainDataset(
        prepared.pixels, hashes, first_change(recipe, spec), seed=recipe.seed
    )
    return Samples(lambda number: changed[0, number][0], len(hashes))


def _spec_record(spec: PixelSpec) -> dict[str, Any]:
    return {**asdict(spec), "sources": dict(spec.sources)}
