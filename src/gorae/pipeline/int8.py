"""Predicting in bytes: between which values maps are, and what the rounding changes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.augment.names import IDENTITY
from gorae.events import Event
from gorae.inference import NamedWeights, measure_ranges, predict_checkpoints
from gorae.models import LoadedModel
from gorae.pipeline.job import Job

# Pictures that ranges are measured on.
NUM_MEASURED = 32

# Pictures on which answers in bytes are compared with those in floats.
NUM_COMPARED = 64

# With fewer equal answers, bytes are coarse for a network.
LEAST_EQUAL = 0.97


def measure_int8(
    job: Job,
    network: LoadedModel,
    weights: Sequence[NamedWeights],
    *,
    learned: pd.DataFrame,
    others: pd.DataFrame,
) -> dict[str, Any]:
    """What predicting in bytes needs to know of checkpoints, for the record of their member.

    Args:
        job: The run.
        network: Its network, whose weights are replaced.
        weights: The checkpoints that predict, best first.
        learned: Rows of ``job.train`` to measure ranges on.
        others: Rows to compare answers on: held-out ones, where there are any.

    Returns:
        ``ranges`` of each checkpoint, and how the best one's answers to the other pictures
        differ from those in floats: ``num_pictures``, ``largest_change`` of a value, and
        ``same_answer``, the share of equal ones (absent for numbers).
    """
    ranges: dict[str, Any] = {}
    for each in weights:
        each.load(network.model)
        ranges[each.name] = measure_ranges(
            network.model, job.pictures(learned), execution=job.execution
        )
    # Several processes may be on processors that round otherwise: the first one's count.
    ranges = json.loads(job.group.texts([json.dumps(ranges)])[0])
    best = weights[0]
    found = predict_checkpoints(
        network.model,
        [
            replace(best, name="floats"),
            replace(best, name="bytes", ranges=ranges[best.name]),
        ],
        job.pictures(others),
        execution=replace(job.execution, compile=False),
    )
    values = {name: by_view[IDENTITY] for name, by_view in found}
    change = float(np.abs(values["bytes"] - values["floats"]).max())
    record = {"ranges": ranges, "num_pictures": len(others), "largest_change": change}
    text = f"int8: values of {len(others)} pictures change by {change:.3f} at most"
    if job.kind != "value":
        answers = {name: _answers(each, job.kind) for name, each in values.items()}
        same = float((answers["bytes"] == answers["floats"]).all(axis=1).mean())
        record["same_answer"] = same
        text += f", {same:.1%} of the answers stay"
        if same < LEAST_EQUAL:
            job.on_event(
                Event(
                    "warning",
                    "train",
                    f"{text}. Bytes are coarse for this network: compare the score with one "
                    'without predict.precision = "int8".',
                )
            )
            return record
    job.on_event(Event("message", "train", text))
    return record


def _answers(values: NDArray[np.float32], kind: str) -> NDArray[np.int64]:
    """The answer to each picture (N, 1), or to each label of each (N, K)."""
    found = values > 0.5 if kind == "multilabel" else values.argmax(axis=1)[:, None]
    return np.asarray(found, dtype=np.int64)
