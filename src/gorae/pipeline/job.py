"""Everything the training of one run needs, gathered once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.augment.names import expand_views
from gorae.config import Recipe
from gorae.data.pixels import PixelSpec
from gorae.data.sources import Task
from gorae.data.store import PixelStore
from gorae.errors import DataError
from gorae.events import Event, OnEvent, ignore_events
from gorae.inference import Execution, Pictures
from gorae.metrics import Metric
from gorae.models import LoadedModel
from gorae.pipeline.box_mix import with_other_keys
from gorae.pipeline.context import Context, read_scan, usable
from gorae.pipeline.contract import Split, read_split
from gorae.pipeline.individuals import Individuals, individuals_of
from gorae.pipeline.metadata import read_metadata, with_metadata
from gorae.pipeline.network import execution_of
from gorae.pipeline.pixels import pixel_keys
from gorae.pipeline.scores import competition_metric
from gorae.predictions import Kind, Predictions
from gorae.stopping import Stopping, never_stopped
from gorae.training.evaluate import Arithmetic
from gorae.training.group import SOLO, Group
from gorae.workspace import Member, RunFolder, write_member_record, write_predictions

KINDS: dict[Task, Kind] = {
    "multiclass": "multiclass",
    "ordinal": "multiclass",
    "multilabel": "multilabel",
    "regression": "value",
}


def kind_of(task: Task, recipe: Recipe) -> Kind:
    """What the members of a recipe predict: cosines to neighbours are no probabilities."""
    return "score" if recipe.predict.retrieval_share else KINDS[task]


@dataclass(frozen=True)
class Job:
    """A run about to be trained."""

    context: Context
    recipe: Recipe
    run: RunFolder
    split: Split
    metric: Metric
    spec: PixelSpec
    pixels: PixelStore
    execution: Execution
    """How forward passes are run; training is computed in its ``arithmetic``."""
    train: pd.DataFrame
    """Usable train images: ``image_id``, ``row_id``, ``role``, ``sha256`` (the key of their
    pixels), ``group``; under ``augment.box_mix`` also ``others``, keys under its sources."""
    truth: NDArray[Any]
    """Encoded labels of ``train``, (N,) or (N, K)."""
    test: pd.DataFrame
    """Usable test images: ``image_id``, ``row_id``, ``sha256``."""
    workers: int
    """Processes that prepare batches of training."""
    deadline: float | None
    """Monotonic second at which training should have ended; None without a budget."""
    on_event: OnEvent
    stopping: Stopping
    """Opened around each training."""
    metadata: NDArray[np.float32] | None = None
    """What is known of the images of ``train`` and ``test``, for a network with a place for it;
    then both have a column ``known``, the row of each image here."""
    group: Group = SOLO
    """The processes that train it together; each has the same job but this."""

    def known(self, images: pd.DataFrame) -> NDArray[np.float32] | None:
        """What is known of some images of ``train`` and ``test``, (N, M); None as metadata."""
        if self.metadata is None:
            return None
        rows: NDArray[np.float32] = self.metadata[images["known"].to_numpy(np.int64)]
        return rows

    def pictures(self, images: pd.DataFrame) -> Pictures:
        """Some images of ``train`` and ``test``, as a network is shown them."""
        return Pictures(
            self.pixels,
            images["sha256"].tolist(),
            self.spec,
            images["image_id"].tolist(),
            self.known(images),
        )

    @property
    def image_ids(self) -> list[str]:
        """Ids of the train images, then of the test images."""
        return [*self.train["image_id"], *self.test["image_id"]]

    @property
    def arithmetic(self) -> Arithmetic:
        """Where and in which numbers training computes."""
        return self.execution.arithmetic

    @property
    def views(self) -> tuple[str, ...]:
        """The single views of the prediction."""
        return expand_views(self.recipe.predict.views)

    @property
    def kind(self) -> Kind:
        """What the predictions are."""
        return kind_of(self.context.competition.task, self.recipe)

    @property
    def individuals(self) -> Individuals | None:
        """How its networks speak of individuals; None where they do as any others."""
        return individuals_of(self.recipe, num_classes=len(self.context.columns))

    @property
    def refit_part(self) -> NDArray[np.bool_]:
        """Who trains the refit: everything but a given validation set."""
        is_idle = self.train["image_id"].isin(self.split.idle)
        return ((self.train["role"] != "holdout") & ~is_idle).to_numpy(bool)

    def member_name(self, repeat: int, fold: int) -> str:
        """Name of the folder of one fold."""
        prefix = f"repeat-{repeat}-" if self.split.record["repeats"] > 1 else ""
        return f"{prefix}fold-{fold}"


def open_job(
    context: Context,
    recipe: Recipe,
    loaded: LoadedModel,
    run: RunFolder,
    *,
    deadline: float | None,
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> Job:
    """The job of a run whose folder, split and prepared pictures are there."""
    scan, settings = read_scan(context), run.read_settings()
    made = read_split(context, scan, recipe.split)
    train, test, metadata = with_metadata(
        read_metadata(context, recipe, scan),
        train_table(context, recipe, scan, made),
        test_table(context, recipe, scan),
    )

    def warn(text: str) -> None:
        on_event(Event("warning", "train", text))

    return Job(
        context=context,
        recipe=recipe,
        run=run,
        split=made,
        metric=competition_metric(context),
        spec=loaded.spec,
        pixels=PixelStore(context.workspace.prepared / settings["keys"]["pixels"]),
        execution=execution_of(run, recipe, on_note=warn),
        train=train,
        truth=context.truth[usable(scan, context.tables.train["image_id"])],
        test=test,
        workers=settings["choices"]["arithmetic"]["workers"],
        deadline=deadline,
        on_event=on_event,
        stopping=stopping,
        metadata=metadata,
    )


def keep_predictions(
    job: Job,
    member: Member,
    part: str,
    image_ids: Sequence[str],
    values: NDArray[np.float32],
    *,
    checkpoint: str,
    view: str,
) -> None:
    """Write predictions per image of one member, checkpoint and view."""
    predictions = Predictions(tuple(image_ids), job.context.columns, values, job.kind)
    write_predictions(member.predictions(part, checkpoint, view), predictions)


def finish_member(
    job: Job,
    member: Member,
    *,
    place: tuple[int, int] | None,
    used: Sequence[str],
    sizes: tuple[int, int],
    elapsed_s: float,
    extra: dict[str, Any],
) -> None:
    """Mark a member as done.

    Args:
        job: The run.
        member: Its folder; weights and predictions must lie there.
        place: (repeat, fold), or None for the refit.
        used: Names of the checkpoints that vote, best first.
        sizes: Number of images that trained and that validated.
        elapsed_s: Time it took.
        extra: What else is worth keeping.
    """
    record: dict[str, Any] = {
        "name": member.name,
        "used_checkpoints": list(used),
        "views": list(job.views),
        "num_train": sizes[0],
        "num_valid": sizes[1],
        "elapsed_s": round(elapsed_s, 2),
        **extra,
    }
    if place is not None:
        record |= {"repeat": place[0], "fold": place[1]}
    write_member_record(member, record)


def train_table(
    context: Context, recipe: Recipe, scan: pd.DataFrame, made: Split
) -> pd.DataFrame:
    """The usable train images, as ``Job.train`` has them."""
    table = context.tables.train
    table = table[usable(scan, table["image_id"])].reset_index(drop=True)
    first = made.folds[made.folds["repeat"] == 0].set_index("image_id")["group"]
    missing = ~table["image_id"].isin(first.index)
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} training pictures are not in the split, first "
            f"{table['image_id'][missing].iloc[0]}. Run `gorae split` again."
        )
    images = pd.DataFrame(
        {
            "image_id": table["image_id"],
            "row_id": table["row_id"],
            "role": table["role"],
            "sha256": pixel_keys(context, recipe, scan, table["image_id"].tolist()),
            "group": first.loc[table["image_id"]].to_numpy(np.int64),
        }
    )
    return with_other_keys(context, recipe, scan, images)


def test_table(context: Context, recipe: Recipe, scan: pd.DataFrame) -> pd.DataFrame:
    """The usable test images, as ``Job.test`` has them."""
    table = context.tables.test
    table = table[usable(scan, table["image_id"])].reset_index(drop=True)
    return pd.DataFrame(
        {
            "image_id": table["image_id"],
            "row_id": table["row_id"],
            "sha256": pixel_keys(context, recipe, scan, table["image_id"].tolist()),
        }
    )
