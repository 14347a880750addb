"""The variants of a comparison: recipes that differ from a base, checked before any trains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gorae.config import Recipe, resolve_recipe
from gorae.config.varying import parse_variants
from gorae.errors import ConfigError, UserError, list_problems
from gorae.pipeline.contract import Split
from gorae.workspace import RunFolder, Workspace

BASE = "base"

Resolve = Callable[[Sequence[str]], Recipe]
"""The base with changes on top, ``["train.lr=1e-3"]``."""

_REFUSED = {
    "split": "all variants share the folds of the base, or their scores could not be compared; "
    "change it for all with --set",
    "name": "it is only a name and nothing that is trained",
    "refit": "the model of a refit has seen every row, so no out-of-fold score can tell",
}


@dataclass(frozen=True)
class Variant:
    """One recipe of a comparison."""

    changes: tuple[str, ...]
    """What differs from the base, as ``--set`` takes it; none for the base itself."""
    recipe: Recipe

    @property
    def name(self) -> str:
        """What it is called on screen and page."""
        return " ".join(self.changes) or BASE

    def with_seed(self, number: int) -> Recipe:
        """The recipe with its own seed for 0, and the next ones for 1, 2 ..."""
        if number == 0:
            return self.recipe
        return self.recipe.model_copy(update={"seed": self.recipe.seed + number})


@dataclass(frozen=True)
class Field:
    """All recipes of a comparison."""

    variants: tuple[Variant, ...]
    """The base first."""
    notes: tuple[str, ...]
    """What was left out, and why."""
    resolve: Resolve

    @property
    def base(self) -> Variant:
        """What the others are compared with."""
        return self.variants[0]


def read_field(
    vary: Sequence[str],
    *,
    preset: str | None,
    path: Path | None,
    overrides: Sequence[str],
) -> Field:
    """The base and all that ``vary`` says of it, each checked as a recipe.

    Raises:
        ConfigError: A variant has a setting that is unknown, wrong, without effect in it, or
            not fit for a comparison; all such variants are named at once.
        UserError: Nothing is varied.
    """

    def resolve(changes: Sequence[str]) -> Recipe:
        return resolve_recipe(preset=preset, path=path, overrides=(*overrides, *changes))

    base = Variant((), resolve(()))
    notes, kept = [], [base]
    if base.recipe.refit:
        base = Variant((), base.recipe.model_copy(update={"refit": False}))
        kept = [base]
        notes.append("refit is left out: its model has seen every row and is never scored")
    for variant in _resolved(parse_variants(vary), resolve, base):
        same = next((v for v in kept if v.recipe == variant.recipe), None)
        if same is None:
            kept.append(variant)
        else:
            notes.append(f"{variant.name} is left out: it is the same as {same.name}")
    if len(kept) == 1:
        raise UserError(
            "There is nothing to compare with the base. Name at least one change, such as "
            '--vary "augment.policy=none" or --vary "train.lr=1e-3,3e-4".'
        )
    return Field(tuple(kept), tuple(notes), resolve)


def _resolved(
    wanted: Sequence[tuple[str, ...]], resolve: Resolve, base: Variant
) -> list[Variant]:
    found, problems = [], []
    for changes in wanted:
        variant = replace(base, changes=changes)
        try:
            refuse_unfit(changes)
            # No run of a comparison is trained on everything.
            recipe = resolve(changes).model_copy(update={"refit": False})
            require_own_weights(base.recipe, recipe, changes)
        except ConfigError as error:
            problems.append(f"{variant.name}: {error}")
        else:
            found.append(replace(variant, recipe=recipe))
    if problems:
        raise ConfigError(
            f"{len(problems)} variant(s) cannot be used, and nothing was trained:\n"
            + list_problems(problems)
        )
    return found


def refuse_unfit(changes: Sequence[str]) -> None:
    """Stop at settings whose effect a comparison on shared folds cannot show.

    Raises:
        ConfigError: There is one; with the reason.
    """
    for change in changes:
        name = setting_of(change)
        if reason := _REFUSED.get(name.partition(".")[0]):
            raise ConfigError(f"{name} cannot be varied: {reason}.")


def setting_of(change: str) -> str:
    """``train.lr`` of ``train.lr=1e-3``."""
    return change.partition("=")[0].strip()


def require_own_weights(base: Recipe, recipe: Recipe, changes: Sequence[str]) -> None:
    """Stop where another network would be given the weight file of the base.

    Raises:
        ConfigError: That is so.
    """
    names_weights = any(setting_of(change) == "model.weights" for change in changes)
    is_file = base.model.weights not in ("hub", "none")
    if recipe.model.name != base.model.name and is_file and not names_weights:
        raise ConfigError(
            f"model.weights is still {base.model.weights}, the file of {base.model.name}. Add "
            f"model.weights=FILE (or hub, or none) for {recipe.model.name}."
        )


def existing_members(workspace: Workspace, recipe: Recipe, split: Split) -> int:
    """How many models of ``recipe`` on this split are trained already.

    Told from what the runs say of themselves; a weight file that changed since is seen when
    the run is looked for by its key.
    """
    wanted = _plain(recipe.model_dump(mode="json"))
    found = [
        len(run.members())
        for run in workspace.run_folders()
        if _is_run_of(run, wanted, split.key)
    ]
    return max(found, default=0)


def _is_run_of(run: RunFolder, wanted: Any, split_key: str) -> bool:
    settings = run.read_settings()
    keys = settings.get("keys", {})
    return bool(settings.get("recipe") == wanted and keys.get("split") == split_key)


def _plain(value: Any) -> Any:
    """As run.toml holds it: an absent setting is an absent line."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
