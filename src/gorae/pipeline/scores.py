"""The competition's metric and the truth of rows: shared by the steps that score."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gorae.data.tables import encode_targets
from gorae.files import content_key
from gorae.metrics import Metric, bind_metric, load_metric
from gorae.pipeline.context import Context


def competition_metric(context: Context) -> Metric:
    """The competition's metric with its settings."""
    competition = context.competition
    if ":" in competition.metric:
        return load_metric(
            competition.metric, context.workspace.folder, params=competition.metric_params
        )
    return bind_metric(
        competition.metric, params=competition.metric_params, task=competition.task
    )


def metric_key(context: Context) -> str:
    """A hash of the metric and its settings: runs of another one cannot be compared."""
    return content_key([context.competition.metric, context.competition.metric_params])


def row_truth(context: Context, row_ids: Sequence[str]) -> NDArray[Any]:
    """Encoded labels of rows of the train table, in the order of ``row_ids``."""
    labels = context.tables.train.drop_duplicates("row_id").set_index("row_id")["label"]
    return encode_targets(
        labels.loc[list(row_ids)], classes=context.tables.classes, task=context.competition.task
    )
