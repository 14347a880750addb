"""A finished run, and what each of its models says of any pictures."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gorae.augment.names import expand_views
from gorae.config import Recipe
from gorae.data.sources import Task
from gorae.errors import DataError, list_problems
from gorae.events import Event, OnEvent
from gorae.inference import (
    Execution,
    NamedWeights,
    Pictures,
    extract_features,
    predict_checkpoints,
    predict_probabilities,
)
from gorae.models import LoadedModel, map_class_probabilities
from gorae.pipeline.individuals import individuals_of, load_gallery, said_of_features
from gorae.pipeline.network import checkpoint_weights, execution_of
from gorae.training.checkpoint import read_checkpoints
from gorae.training.outputs import OutputForm
from gorae.workspace import RunFolder, Workspace, read_head

Says = dict[tuple[str, str, str], NDArray[np.float32]]
"""What each member, checkpoint and view says of the pictures, (N, K)."""


@dataclass(frozen=True)
class FinishedRun:
    """What predicting needs to know of a run."""

    run: RunFolder
    workspace: Workspace
    recipe: Recipe
    task: Task
    columns: tuple[str, ...]
    """Class names, in the order of the prediction columns."""


def _execution(loaded: FinishedRun, on_event: OnEvent) -> Execution:
    def warn(text: str) -> None:
        on_event(Event("warning", "predict", text))

    return execution_of(loaded.run, loaded.recipe, on_note=warn)


def _frozen(
    loaded: FinishedRun, network: LoadedModel, pictures: Pictures, on_event: OnEvent
) -> Says:
    says: Says = {}
    individuals = individuals_of(loaded.recipe, num_classes=len(loaded.columns))
    for view in expand_views(loaded.recipe.predict.views):
        features = extract_features(
            network.model,
            pictures,
            view=view,
            execution=_execution(loaded, on_event),
            on_progress=_on_progress(on_event, f"features ({view})"),
        )
        for member in loaded.run.members():
            for name in member.read_record()["used_checkpoints"]:
                head = gallery = None
                if individuals is None or individuals.share < 1:
                    head = read_head(member.checkpoints / f"{name}.safetensors")
                if individuals is not None:
                    gallery = load_gallery(member, name)
                said = said_of_features(individuals, head, gallery, features, view=view)
                says[member.name, name, view] = said
    return says


def _finetuned(
    loaded: FinishedRun, network: LoadedModel, pictures: Pictures, on_event: OnEvent
) -> Says:
    wanted: list[tuple[str, NamedWeights]] = []
    for member in loaded.run.members():
        record = member.read_record()
        used, ranges = record["used_checkpoints"], record.get("int8", {}).get("ranges", {})
        known, notes = read_checkpoints(member.checkpoints)
        if notes:
            raise DataError(f"{member.path} is damaged:\n{list_problems(notes)}")
        wanted += [
            (member.name, checkpoint_weights(member, checkpoint, ranges.get(checkpoint.name)))
            for checkpoint in known
            if checkpoint.name in used
        ]
    individuals = individuals_of(loaded.recipe, num_classes=len(loaded.columns))
    named = [replace(weights, name=f"{weights.name} of {member}") for member, weights in wanted]
    # Every picture is read and resized once for all folds and checkpoints.
    found = predict_checkpoints(
        network.model,
        named if individuals is None else individuals.as_raw(named),
        pictures,
        views=expand_views(loaded.recipe.predict.views),
        embedded=individuals is not None and individuals.needs_gallery,
        execution=_execution(loaded, on_event),
        on_progress=_on_progress(on_event, "pictures, all checkpoints"),
    )
    says: Says = {}
    for (name, weights), (_, values) in zip(wanted, found, strict=True):
        said = values
        if individuals is not None:
            gallery = None
            if individuals.needs_gallery:
                gallery = load_gallery(loaded.run.member(name), weights.name)
            said = individuals.judge(values, weights.form, gallery=gallery)
        says |= {(name, weights.name, view): rows for view, rows in said.items()}
    return says


def _as_is(
    loaded: FinishedRun, network: LoadedModel, pictures: Pictures, on_event: OnEvent
) -> Says:
    members = loaded.run.members()
    record = members[0].read_record()
    table = {int(index): name for index, name in record["class_table"].items()}
    found = predict_probabilities(
        network.model,
        pictures,
        form=OutputForm("softmax"),
        views=record["views"],
        execution=_execution(loaded, on_event),
        on_progress=_on_progress(on_event, "pictures"),
    )
    # All folds hold the same network.
    return {
        (member.name, checkpoint, view): map_class_probabilities(rows, table, loaded.columns)
        for member in members
        for checkpoint in record["used_checkpoints"]
        for view, rows in found.items()
    }


def _on_progress(on_event: OnEvent, text: str) -> Callable[[int, int], None]:
    return lambda done, total: on_event(Event("progress", "predict", text, done, total))


OPINIONS = {"frozen": _frozen, "finetune": _finetuned, "as_is": _as_is}
