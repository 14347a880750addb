"""Step ``train``: every fold of a recipe, and its predictions."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gorae.config import Recipe
from gorae.data.decode import DecodePolicy
from gorae.data.pixels import PixelSpec
from gorae.data.scan import changed_files
from gorae.errors import DataError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import content_key, exclusive_lock, sweep_temporaries
from gorae.models import LoadedModel
from gorae.pipeline.as_is import train_as_is
from gorae.pipeline.context import (
    Context,
    labels_key,
    open_context,
    read_scan,
    require_trainable,
    usable,
)
from gorae.pipeline.contract import Split, read_split
from gorae.pipeline.finetune import train_finetune
from gorae.pipeline.frozen import train_frozen
from gorae.pipeline.job import Job
from gorae.pipeline.network import (
    arithmetic_of,
    choose_arithmetic,
    load_network,
    weights_key,
)
from gorae.pipeline.pixels import prepare
from gorae.pipeline.runs import find_or_make_run, recorded
from gorae.pipeline.scores import competition_metric
from gorae.training.evaluate import Arithmetic
from gorae.workspace import RunFolder

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
) -> TrainResult:
    """Train the recipe on every fold of its split; finished folds are not done again.

    Args:
        folder: The competition, split already.
        recipe: The settings.
        deadline: ``time.monotonic()`` at which training should have ended; folds that have
            not begun by then are left out, and the run says so.
        on_event: Hears progress.

    Raises:
        ConfigError: There is no split of these data and settings, or a setting is wrong.
    """
    context = open_context(folder)
    require_trainable(context)
    metric = competition_metric(context)
    on_event(Event("stage", "network", f"loading {recipe.model.name}"))
    loaded = load_network(context, recipe)
    for note in loaded.notes:
        on_event(Event("message", "network", note))
    prepared = prepare(context, recipe, loaded.spec, on_event=on_event)
    scan = read_scan(context)
    made = read_split(context, scan, recipe.split)
    weights = weights_key(recipe, loaded, folder=context.workspace.folder)
    run = find_or_make_run(
        context.workspace,
        recipe,
        keys={
            "split": made.key,
            "labels": labels_key(context),
            "pixels": prepared.pixels.folder.name,
            "weights": weights,
            "metric": _metric_key(context),
        },
        choices=lambda: _choices(context, recipe, loaded),
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
        job = Job(
            context=context,
            recipe=recipe,
            run=run,
            split=made,
            metric=metric,
            spec=loaded.spec,
            pixels=prepared.pixels,
            arithmetic=arithmetic,
            train=_train_table(context, scan, made),
            truth=context.truth[usable(scan, context.tables.train["image_id"])],
            test=_test_table(context, scan),
            deadline=deadline,
            on_event=listen,
        )
        if done < len(made.members()):
            _require_unchanged(context, prepared.scan)
        TRAINERS[recipe.model.use](job, loaded)
    return TrainResult(run, len(run.members()))


def _require_unchanged(context: Context, scan: pd.DataFrame) -> None:
    """Stop where a file has other bytes than those that were scanned and prepared.

    The scan goes by size and time of change; here every file is read once more.
    """
    changed = changed_files(scan, root=context.workspace.folder, policy=DecodePolicy())
    if len(changed):
        lines = [f"{line['path']}: {line['problem']}" for line in changed.to_dict("records")]
        raise DataError(
            f"{len(lines)} pictures changed after they were prepared:\n{list_problems(lines)}\n"
            "Put them back, or remove .gorae/scan.parquet and run `gorae run` to take them as "
            "they are now."
        )


def _metric_key(context: Context) -> str:
    competition = context.competition
    return content_key([competition.metric, competition.metric_params])


def _computed_in(run: RunFolder, arithmetic: Arithmetic) -> str:
    text = f"computing in {arithmetic.precision} on {arithmetic.device}"
    measured = run.read_settings()["choices"]["arithmetic"].get("images_per_s", {})
    speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in measured.items())
    return f"{text} (images/s measured: {speeds})" if speeds else text


def _choices(context: Context, recipe: Recipe, loaded: LoadedModel) -> dict[str, Any]:
    """What is measured or looked up once, and stands in run.toml from then on."""
    return {
        "task": context.competition.task,
        "num_outputs": loaded.model.num_outputs,
        "spec": _spec_record(loaded.spec),
        "kwargs": dict(loaded.kwargs),
        "weights_origin": loaded.weights_origin,
        "arithmetic": choose_arithmetic(recipe, loaded),
        "notes": list(loaded.notes),
    }


def _spec_record(spec: PixelSpec) -> dict[str, Any]:
    return {**asdict(spec), "sources": dict(spec.sources)}


def _train_table(context: Context, scan: pd.DataFrame, made: Split) -> pd.DataFrame:
    table = context.tables.train
    table = table[usable(scan, table["image_id"])].reset_index(drop=True)
    first = made.folds[made.folds["repeat"] == 0].set_index("image_id")["group"]
    missing = ~table["image_id"].isin(first.index)
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} training pictures are not in the split, first "
            f"{table['image_id'][missing].iloc[0]}. Run `gorae split` again."
        )
    return pd.DataFrame(
        {
            "image_id": table["image_id"],
            "row_id": table["row_id"],
            "role": table["role"],
            "sha256": scan.loc[table["image_id"], "sha256"].to_numpy(),
            "group": first.loc[table["image_id"]].to_numpy(np.int64),
        }
    )


def _test_table(context: Context, scan: pd.DataFrame) -> pd.DataFrame:
    table = context.tables.test
    table = table[usable(scan, table["image_id"])].reset_index(drop=True)
    return pd.DataFrame(
        {
            "image_id": table["image_id"],
            "row_id": table["row_id"],
            "sha256": scan["sha256"].reindex(table["image_id"]).to_numpy(),
        }
    )
