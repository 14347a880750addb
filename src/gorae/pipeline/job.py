"""Everything the training of one run needs, gathered once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.data.pixels import PixelSpec
from gorae.data.store import PixelStore
from gorae.events import OnEvent
from gorae.metrics import Metric
from gorae.pipeline.context import Context
from gorae.pipeline.contract import Split
from gorae.predictions import Kind, Predictions
from gorae.training.evaluate import Arithmetic
from gorae.workspace import Member, RunFolder, write_member_record, write_predictions

KINDS: dict[str, Kind] = {
    "multiclass": "multiclass",
    "ordinal": "multiclass",
    "multilabel": "multilabel",
    "regression": "value",
}


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
    arithmetic: Arithmetic
    train: pd.DataFrame
    """Usable train images: ``image_id``, ``row_id``, ``role``, ``sha256``, ``group``."""
    truth: NDArray[Any]
    """Encoded labels of ``train``, (N,) or (N, K)."""
    test: pd.DataFrame
    """Usable test images: ``image_id``, ``row_id``, ``sha256``."""
    deadline: float | None
    """Monotonic second at which training should have ended; None without a budget."""
    on_event: OnEvent

    @property
    def kind(self) -> Kind:
        """What the predictions are."""
        return KINDS[self.context.competition.task]

    @property
    def refit_part(self) -> NDArray[np.bool_]:
        """Who trains the refit: everything but a given validation set."""
        return (self.train["role"] != "holdout").to_numpy(bool)

    def member_name(self, repeat: int, fold: int) -> str:
        """Name of the folder of one fold."""
        prefix = f"repeat-{repeat}-" if self.split.record["repeats"] > 1 else ""
        return f"{prefix}fold-{fold}"


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
        "views": list(job.recipe.predict.views),
        "num_train": sizes[0],
        "num_valid": sizes[1],
        "elapsed_s": round(elapsed_s, 2),
        **extra,
    }
    if place is not None:
        record |= {"repeat": place[0], "fold": place[1]}
    write_member_record(member, record)
