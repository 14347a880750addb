"""What earlier runs say of pictures without labels, fold by fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.config.reading import validated
from gorae.errors import ConfigError, list_problems
from gorae.events import OnEvent
from gorae.files import sha256_file
from gorae.inference import Pictures
from gorae.pipeline.context import Context, read_scan
from gorae.pipeline.contract import Split, read_split
from gorae.pipeline.opinions import OPINIONS
from gorae.pipeline.part_target import require_one_target
from gorae.pipeline.pixels import pixel_keys, prepare
from gorae.pipeline.predict import load_run, network_of, run_spec
from gorae.workspace import Member, RunFolder, read_predictions

Place = tuple[int, int]
"""A repeat and a fold of it."""

Labels = dict[Place, NDArray[np.float32]]
"""Probabilities of pictures by the models of each fold, (N, K)."""

USES = ("finetune", "frozen", "as_is")
TASKS = ("multiclass", "ordinal")


@dataclass(frozen=True)
class Teacher:
    """One earlier run."""

    run: RunFolder
    recipe: Recipe
    members: Mapping[Place, Member]
    """Its trained folds."""

    def identity(self) -> dict[str, Any]:
        """The run, and hashes of all that its labels come of."""
        weights = {
            member.name: [
                sha256_file(path) for path in sorted(member.checkpoints.glob("*.safetensors"))
            ]
            for member in self.members.values()
        }
        return {
            "run": self.run.run_id,
            "key": self.run.read_settings()["key"],
            "weights": weights,
        }


def read_teachers(
    context: Context, runs: Sequence[str | None]
) -> tuple[tuple[Teacher, ...], Split]:
    """The runs of these ids and the folds that all of them were trained on.

    Raises:
        UserError: There is no such run, or not all answer the same question.
        ConfigError: A run has no folds to label with, or they are not the same folds; each
            with its reason.
    """
    if context.competition.task not in TASKS:
        raise ConfigError(
            f"Pseudo-labels are one class of several, and the task is "
            f"{context.competition.task}. They are made for {' and '.join(TASKS)}."
        )
    found = {run.run_id: run for run in (context.workspace.run(name) for name in runs)}
    problems = [line for run in found.values() if (line := _why_not(run))]
    if problems:
        raise ConfigError(f"{len(problems)} runs cannot label:\n{list_problems(problems)}")
    require_one_target(list(found.values()))
    scan = read_scan(context)
    teachers, splits = [], []
    for run in found.values():
        recipe = validated(Recipe, run.read_settings()["recipe"], origin=str(run.settings))
        split = read_split(context, scan, recipe.split)
        if split.key != run.read_settings()["keys"]["split"]:
            problems.append(f"{run.run_id}: pictures, labels or groups changed since")
        members = {
            (record["repeat"], record["fold"]): member
            for member in run.members()
            if member.is_finished and "fold" in (record := member.read_record())
        }
        if set(members) != set(split.members()):
            number = f"{len(members)} of {len(split.members())}"
            problems.append(f"{run.run_id} has {number} folds: go on with `gorae train`")
        teachers.append(Teacher(run, recipe, members))
        splits.append(split)
    keys = {split.key for split in splits}
    if len(keys) > 1:
        problems.append(
            "they were trained on other folds than each other (other [split], see run.toml), "
            "so that fold k of one has seen what validates fold k of another"
        )
    if problems:
        raise ConfigError(f"These runs cannot label:\n{list_problems(problems)}")
    return tuple(teachers), splits[0]


def _why_not(run: RunFolder) -> str | None:
    settings = run.read_settings()
    if "ensemble" in settings:
        joined = " ".join(settings["ensemble"]["runs"])
        return f"{run.run_id} joins other runs: name these instead, {joined}"
    use = settings["recipe"]["model"]["use"]
    if use not in USES:
        return (
            f'{run.run_id} has model.use = "{use}", and what trees learn of the scores of '
            "other runs comes of all folds"
        )
    return None


def test_labels(teachers: Sequence[Teacher], image_ids: Sequence[str]) -> Labels:
    """Mean probabilities of the test pictures by the members of each fold, (N, K) each.

    The mean is over runs, checkpoints and views, each of which sees pictures as in evaluation.
    """
    return {
        place: _mean(
            [
                read_predictions(path).select(list(image_ids)).values
                for teacher in teachers
                for path in _paths(teacher.members[place], "test")
            ]
        )
        for place in teachers[0].members
    }


def _paths(member: Member, part: str) -> list[Any]:
    record = member.read_record()
    return [
        member.predictions(part, checkpoint, view)
        for checkpoint in record["used_checkpoints"]
        for view in record["views"]
    ]


def _mean(members: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    # float64, or the order of the members would change the last digits.
    stacked = np.stack(members).astype(np.float64)  # (M, N, K)
    mean: NDArray[np.float32] = stacked.mean(axis=0).astype(np.float32)
    return mean


def picture_labels(
    context: Context,
    teachers: Sequence[Teacher],
    image_ids: Sequence[str],
    *,
    on_event: OnEvent,
) -> Labels:
    """The same of any pictures, which the runs' networks are shown.

    Args:
        context: The competition with these pictures in its tables.
        teachers: The runs.
        image_ids: Readable pictures.
        on_event: Hears progress.

    Raises:
        UserError: A run is not finished.
        ConfigError: A run looks at metadata.
    """
    reading = [t.run.run_id for t in teachers if t.recipe.model.metadata != "none"]
    if reading:
        raise ConfigError(
            f"{', '.join(reading)} look at metadata (model.metadata), and pictures of a folder "
            "have none. Put them with their metadata into the test table, or leave these out."
        )
    heard: dict[Place, list[NDArray[np.float32]]] = {}
    for teacher in teachers:
        loaded, spec = load_run(teacher.run.path), run_spec(teacher.run)
        network = network_of(loaded)
        prepared = prepare(context, teacher.recipe, spec, on_event=on_event)
        keys = pixel_keys(context, teacher.recipe, read_scan(context), image_ids)
        pictures = Pictures(prepared.pixels, keys, spec, list(image_ids))
        says = OPINIONS[teacher.recipe.model.use](loaded, network, pictures, on_event)
        place_of = {member.name: place for place, member in teacher.members.items()}
        for (name, _, _), rows in says.items():
            # The refit has no fold of its own.
            if name in place_of:
                heard.setdefault(place_of[name], []).append(rows)
    return {place: _mean(rows) for place, rows in heard.items()}


def held_out_labels(context: Context, teachers: Sequence[Teacher]) -> pd.DataFrame:
    """How sure and how right the same members are of the pictures they held out.

    Returns:
        ``repeat``, ``fold``, ``image_id``, ``confidence`` and ``is_right``.
    """
    classes = np.array(context.tables.classes, dtype=object)
    label_of = context.tables.train.set_index("image_id")["label"]
    parts = []
    for place in teachers[0].members:
        paths = [path for each in teachers for path in _paths(each.members[place], "valid")]
        ids = list(read_predictions(paths[0]).ids)
        proba = _mean([read_predictions(path).select(ids).values for path in paths])
        right = classes[proba.argmax(axis=1)] == label_of.loc[ids].to_numpy(object)
        parts.append(
            pd.DataFrame(
                {
                    "repeat": place[0],
                    "fold": place[1],
                    "image_id": ids,
                    "confidence": proba.max(axis=1),
                    "is_right": right,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
