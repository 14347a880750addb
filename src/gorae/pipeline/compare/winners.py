"""What was better than the base goes into the recipe of the larger network."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorae.config import Recipe, resolve_recipe, settings_to_toml
from gorae.config.varying import parse_variants
from gorae.errors import ConfigError, UserError
from gorae.files import atomic_path
from gorae.pipeline.compare.judge import Judged
from gorae.pipeline.compare.variants import (
    Field,
    Resolve,
    require_own_weights,
    setting_of,
)
from gorae.report.comparison import ComparisonLine


@dataclass(frozen=True)
class Larger:
    """The recipe that is to be written."""

    path: Path
    changes: tuple[str, ...]
    """What it has of its own, the larger network above all."""
    resolve: Resolve


@dataclass(frozen=True)
class Winners:
    """The recipe that was written."""

    path: Path
    taken: tuple[str, ...]
    """Variants whose changes are in it."""
    left_out: tuple[tuple[str, str], ...]
    """Variants that are better than the base and not in it, and why."""

    @property
    def summary(self) -> str:
        """One sentence on what is in it."""
        if not self.taken:
            return "the base as it is, since no variant that fits is better beyond noise"
        together = "" if len(self.taken) == 1 else ". They were not measured together"
        return f"with {', '.join(self.taken)}{together}"

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        return {
            "path": str(self.path),
            "taken": list(self.taken),
            "left_out": [list(pair) for pair in self.left_out],
        }


def read_larger(write: Path | str | None, write_for: str, *, field: Field) -> Larger | None:
    """What is to be written, checked before anything is trained; None where nothing is.

    Raises:
        ConfigError: A change of ``write_for`` cannot be used on the base.
        UserError: There is no file to write it to, or the file is there already.
    """
    if write is None:
        if write_for:
            raise UserError("--for says what --write FILE is to hold; name the file as well.")
        return None
    path = Path(write)
    require_new_file(path)
    if path.suffix != ".toml":
        raise UserError(f"--write {path}: a recipe is a TOML file; name it {path.stem}.toml.")
    changes: tuple[str, ...] = ()
    if write_for:
        wanted = parse_variants([write_for])
        if len(wanted) != 1:
            raise ConfigError(
                f"--for {write_for!r} names {len(wanted)} recipes, and one is written: give "
                "each setting one value."
            )
        changes = wanted[0]
    require_own_weights(field.base.recipe, field.resolve(changes), changes)
    return Larger(path, changes, field.resolve)


def require_new_file(path: Path) -> None:
    """Stop where a recipe would be overwritten.

    Raises:
        UserError: The file is there.
    """
    if path.exists():
        raise UserError(
            f"{path} is there already, and a recipe is never overwritten. Name another file "
            "with --write, or move that one."
        )


def write_winners(larger: Larger, judged: Judged, *, comparison: str) -> Winners:
    """Write the base, the changes that are better than it, and those of the larger network.

    The best comes first; a change of a setting that a better one, or the larger network,
    already has is left out, and so is one that does not go together with those taken. Changes
    of several settings are taken whole or not at all, as they were measured.

    Raises:
        UserError: The file came into being meanwhile.
    """
    taken: list[ComparisonLine] = []
    left_out: list[tuple[ComparisonLine, str]] = []
    for line in judged.lines:
        if line.verdict != "better":
            continue
        reason = _why_not(larger, taken, line)
        if reason is None:
            taken.append(line)
        else:
            left_out.append((line, reason))
    recipe = larger.resolve(_merged(larger, taken))
    name = re.sub(r"[^\w.-]+", "-", larger.path.stem)
    header = _header(larger, judged, taken, left_out, comparison=comparison)
    text = settings_to_toml(recipe.model_copy(update={"name": name}), only_set=True)
    require_new_file(larger.path)
    with atomic_path(larger.path) as temporary:
        comments = "".join(f"# {line}".rstrip() + "\n" for line in header)
        temporary.write_text(f"{comments}\n{text}", "utf-8")
        _require_same(temporary, recipe)
    return Winners(
        larger.path,
        tuple(line.name for line in taken),
        tuple((line.name, reason) for line, reason in left_out),
    )


def _merged(larger: Larger, taken: Sequence[ComparisonLine]) -> tuple[str, ...]:
    return (*(change for line in taken for change in line.changes), *larger.changes)


def _why_not(
    larger: Larger, taken: Sequence[ComparisonLine], line: ComparisonLine
) -> str | None:
    """Why a variant cannot join those taken; None where it can."""
    for change in line.changes:
        name = setting_of(change)
        if any(_is_same(name, setting_of(own)) for own in larger.changes):
            return f"--for sets {name}"
        for better in taken:
            if any(_is_same(name, setting_of(other)) for other in better.changes):
                return f"{better.name} is better and sets {name} too"
    try:
        larger.resolve(_merged(larger, [*taken, line]))
    except ConfigError as error:
        return "it does not go together with the rest: " + " ".join(str(error).split())
    return None


def _is_same(first: str, second: str) -> bool:
    """Whether two settings are one, or one is a part of the other (``model.kwargs``)."""
    shorter, longer = sorted((first.split("."), second.split(".")), key=len)
    return longer[: len(shorter)] == shorter


def _require_same(path: Path, recipe: Recipe) -> None:
    """A file that reads as another recipe than the one it was made of must not stay."""
    read = resolve_recipe(path=path)
    assert read.model_dump(exclude={"name"}) == recipe.model_dump(exclude={"name"})


def _header(
    larger: Larger,
    judged: Judged,
    taken: Sequence[ComparisonLine],
    left_out: Sequence[tuple[ComparisonLine, str]],
    *,
    comparison: str,
) -> list[str]:
    """The comments on top: what came from where, with its figures."""
    base = next(line for line in judged.lines if line.verdict == "base")
    lines = [
        f"Written by gorae compare (comparison {comparison}, metric {judged.metric.name}): the "
        f"base {base.runs[0]}",
        f"scored {base.score:.4f} on {judged.num_rows} rows, {len(judged.folds)} fold(s), "
        f"{len(base.runs)} seed(s); intervals are 95 %, for all variants at once.",
    ]
    lines += [f"Better than the base: {_figures(line)}" for line in taken]
    if not taken:
        lines.append("No variant that fits here was better than the base beyond noise.")
    lines += [f"Left out: {_figures(line)}; {reason}" for line, reason in left_out]
    lines += [f"Of --for: {change}" for change in larger.changes]
    if len(taken) > 1:
        lines.append("These were measured one by one, not together.")
    if larger.changes and taken:
        lines.append("All this was measured on the base, not with the settings of --for.")
    return [" ".join(line.split()) for line in lines]


def _figures(line: ComparisonLine) -> str:
    assert line.interval is not None
    low, high = line.interval
    return f"{line.name}: {line.gain:+.4f} ({low:+.4f} to {high:+.4f}), {', '.join(line.runs)}"
