"""``train.start``: each fold goes on from the weights of the same fold of an earlier run.

The same fold only: weights of another one have seen the pictures that validate this one.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from gorae.config import Recipe
from gorae.config.reading import validated
from gorae.errors import ConfigError, list_problems
from gorae.events import Event
from gorae.files import content_key, read_json
from gorae.models import LoadedModel
from gorae.models.network import ImageModel
from gorae.pipeline.context import Context
from gorae.pipeline.contract import Split
from gorae.pipeline.job import Job
from gorae.pipeline.pixels import model_parts
from gorae.training.checkpoint import read_tensors, sidecar_path
from gorae.workspace import Member, RunFolder, Workspace

# What decides which tensors a backbone has, and what they were trained to see.
_OF_BACKBONE = ("name", "pooling", "pool_stages", "features")
_OF_PIXELS = ("mean", "std")


def with_named_start(workspace: Workspace, recipe: Recipe) -> Recipe:
    """The recipe with the full id of the run it starts from, by which its own run is known.

    The name of a recipe stands for the newest run of it.

    Raises:
        UserError: There is no such run; the known ones are listed.
    """
    wanted = recipe.train.start
    if wanted is None:
        return recipe
    of_recipe = [
        run
        for run in workspace.run_folders()
        if run.read_settings().get("recipe", {}).get("name") == wanted
    ]
    run = of_recipe[-1] if of_recipe else workspace.run(wanted)
    named = recipe.train.model_copy(update={"start": run.run_id})
    return recipe.model_copy(update={"train": named})


def start_key(
    context: Context, recipe: Recipe, loaded: LoadedModel, *, split: Split
) -> str | None:
    """A hash of the weights that the folds of ``recipe`` start from; None without a start.

    Raises:
        UserError: There is no such run.
        ConfigError: Its weights must not or cannot be taken: they are of another split,
            another network or other pixels, or some are not trained yet.
    """
    if recipe.train.start is None:
        return None
    earlier = context.workspace.run(recipe.train.start)
    _require_same_folds(earlier, recipe, split)
    _require_same_network(earlier, recipe, loaded)
    _require_members(earlier, recipe, split)
    used = {member.name: _best(member) for member in earlier.members()}
    hashes = {
        name: read_json(sidecar_path(earlier.member(name).checkpoints, best))["sha256"]
        for name, best in used.items()
    }
    return content_key(hashes)[:16]


def start_member(job: Job, model: ImageModel, member: Member) -> None:
    """Give a member's network the weights it starts from, in place; nothing without a start.

    The backbone is taken whole. So is each other part, such as the head, that is of the same
    kind, for the same classes and of the same shapes; one that is not stays new, and an event
    says so.

    Raises:
        ConfigError: The backbone is another one.
        StorageError: The weights are missing or damaged.
    """
    if job.recipe.train.start is None:
        return
    earlier = job.context.workspace.run(job.recipe.train.start)
    source = earlier.member(member.name)
    tensors, record = read_tensors(source.checkpoints, _best(source))
    own = model.state_dict()
    _require_same_backbone(own, tensors, earlier=earlier)
    taken, left = fitting_parts(own, tensors)
    if "head" in taken and (why := _why_new_head(job, earlier, record)):
        taken, left = [part for part in taken if part != "head"], {**left, "head": why}
    model.load_state_dict(
        {name: tensors[name] for name in own if part_of(name) in taken}, strict=False
    )
    job.on_event(Event("message", "train", _said(member, earlier, record, taken, left)))


def fitting_parts(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> tuple[list[str], dict[str, str]]:
    """Which parts of a network, such as ``backbone`` and ``head``, have equal tensors in both.

    Args:
        own: Tensors of the network, by name.
        tensors: Those to be taken.

    Returns:
        The parts that fit, and why each other part of the network does not.
    """
    shapes, theirs = _shapes(own), _shapes(tensors)
    taken, left = [], {}
    for part, tensors_of in shapes.items():
        if part not in theirs:
            left[part] = "it has none there"
        elif theirs[part] != tensors_of:
            left[part] = "its tensors are others there"
        else:
            taken.append(part)
    return taken, left


def part_of(name: str) -> str:
    """The part of a network that a tensor is of: the first part of its name."""
    return name.partition(".")[0]


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, tuple[int, ...]]]:
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, value in tensors.items():
        found.setdefault(part_of(name), {})[name] = tuple(value.shape)
    return found


def _best(member: Member) -> str:
    name: str = member.read_record()["used_checkpoints"][0]
    return name


def _require_same_folds(earlier: RunFolder, recipe: Recipe, split: Split) -> None:
    settings = earlier.read_settings()
    if "ensemble" in settings:
        raise ConfigError(
            f"train.start = {recipe.train.start!r}: {earlier.run_id} joins other runs and has "
            f"no weights. Name one of {', '.join(settings['ensemble']['runs'])}."
        )
    use = settings["recipe"]["model"]["use"]
    if use != "finetune":
        raise ConfigError(
            f"train.start = {recipe.train.start!r}: {earlier.run_id} was made with model.use = "
            f'"{use}" and has no trained network. Name a run of model.use = "finetune".'
        )
    if settings["keys"]["split"] == split.key:
        return
    wanted = recipe.split.model_dump(mode="json")
    differing = _differences(settings["recipe"]["split"], wanted, names=wanted)
    what = list_problems([f"split.{line}" for line in differing])
    how = (
        f"They differ in:\n{what}\nTake the [split] of {earlier.recipe}"
        if differing
        else "The settings of [split] are equal, so the pictures, labels or groups changed "
        f"since. Train {earlier.run_id} anew from its recipe ({earlier.recipe})"
    )
    raise ConfigError(
        f"train.start = {recipe.train.start!r}: {earlier.run_id} was trained on other folds "
        f"(split {settings['keys']['split'][:12]}, not {split.key[:12]}). Weights of other "
        "folds have seen pictures that validate here, and the out-of-fold score would be too "
        f"good. {how}, or leave train.start out."
    )


def _require_same_network(earlier: RunFolder, recipe: Recipe, loaded: LoadedModel) -> None:
    settings = earlier.read_settings()
    theirs, choices = settings["recipe"]["model"], settings["choices"]
    own = recipe.model.model_dump(mode="json")
    lines = [f"model.{line}" for line in _differences(theirs, own, names=_OF_BACKBONE)]
    # As TOML gave the others back: lists, no tuples.
    kwargs = json.loads(json.dumps(dict(loaded.kwargs)))
    named = dict.fromkeys([*choices["kwargs"], *kwargs])
    lines += [
        f"model.kwargs.{line}" for line in _differences(choices["kwargs"], kwargs, names=named)
    ]
    spec = {name: list(getattr(loaded.spec, name)) for name in _OF_PIXELS}
    lines += [
        f"pixels.{line}" for line in _differences(choices["spec"], spec, names=_OF_PIXELS)
    ]
    if lines:
        raise ConfigError(
            f"train.start = {recipe.train.start!r}: the weights of {earlier.run_id} are of "
            f"another network or other pixels:\n{list_problems(lines)}\n"
            "Set these as they are there, or leave train.start out."
        )


def _require_members(earlier: RunFolder, recipe: Recipe, split: Split) -> None:
    finished = {member.name for member in earlier.members() if member.is_finished}
    num_folds = len(finished - {"refit"})
    if num_folds < len(split.members()):
        raise ConfigError(
            f"train.start = {recipe.train.start!r}: {earlier.run_id} has {num_folds} of "
            f"{len(split.members())} folds. Go on with it first: `gorae train` with its recipe "
            f"({earlier.recipe})."
        )
    if recipe.refit and "refit" not in finished:
        raise ConfigError(
            f"train.start = {recipe.train.start!r}: {earlier.run_id} has no refit for the "
            "refit to start from. Leave refit out, or train that run with refit = true and "
            "name it here."
        )


def _require_same_backbone(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, earlier: RunFolder
) -> None:
    wanted, there = _shapes(own).get("backbone", {}), _shapes(tensors).get("backbone", {})
    lines = _differences(there, wanted, names=dict.fromkeys([*wanted, *there]))
    if lines:
        raise ConfigError(
            f"train.start: the backbone of {earlier.run_id} has other tensors than this "
            f"one:\n{list_problems(lines, shown=5)}\nSet [model] and pixels.input_size as they "
            "are there, or leave train.start out."
        )


def _differences(
    there: Mapping[str, Any], here: Mapping[str, Any], *, names: Iterable[str]
) -> list[str]:
    """One line for each name whose values differ; absent on one side is None."""
    return [
        f"{name}: {there.get(name)!r} there, {here.get(name)!r} here"
        for name in names
        if there.get(name) != here.get(name)
    ]


def _why_new_head(job: Job, earlier: RunFolder, record: Mapping[str, Any]) -> str | None:
    settings, task = earlier.read_settings(), job.context.competition.task
    recipe = validated(Recipe, settings["recipe"], origin=str(earlier.settings))
    there, here = model_parts(recipe, task, ()), model_parts(job.recipe, task, ())
    for name in ("head", "outputs"):
        if there[name] != here[name]:
            return f'its {name} are "{there[name]}" there and "{here[name]}" here'
    if list(record["identity"]["classes"]) != list(job.context.columns):
        return "its classes are others there"
    return None


def _said(
    member: Member,
    earlier: RunFolder,
    record: Mapping[str, Any],
    taken: list[str],
    left: Mapping[str, str],
) -> str:
    text = (
        f"{member.name} starts from {record['name']} of {earlier.run_id}: {' and '.join(taken)}"
    )
    new = [f"{part} is new, as {why}" for part, why in left.items()]
    return "; ".join([text, *new])
