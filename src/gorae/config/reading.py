"""Reading and writing of settings: TOML files, presets and ``--set`` changes."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from gorae.config.competition import Competition
from gorae.config.effects import conflicts, dead_settings
from gorae.config.presets import PRESETS
from gorae.config.recipe import Recipe
from gorae.config.shipped import find_recipe
from gorae.errors import ConfigError, list_problems
from gorae.files import write_text

SettingsT = TypeVar("SettingsT", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML table in ``path``.

    Raises:
        ConfigError: The file is missing, is not UTF-8 or is not TOML; with its line.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no {path}.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}.") from error


def read_competition(path: Path) -> Competition:
    """The competition of ``path`` (competition.toml).

    Raises:
        ConfigError: The file is missing or a setting is unknown or wrong.
    """
    return validated(Competition, read_toml(path), origin=str(path))


def write_competition(
    path: Path, settings: Mapping[str, Any], *, header: str = ""
) -> Competition:
    """Check ``settings`` and write them as competition.toml; ``header`` becomes comments."""
    competition = validated(Competition, settings, origin=path.name)
    comments = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    write_text(path, comments + ("\n" if comments else "") + tomli_w.dumps(_plain(settings)))
    return competition


def settings_to_toml(settings: BaseModel, *, only_set: bool = False) -> str:
    """The settings as TOML text: every field, or only those that were set."""
    return tomli_w.dumps(_plain(settings.model_dump(mode="json", exclude_unset=only_set)))


def resolve_recipe(
    *,
    preset: str | None = None,
    path: Path | None = None,
    overrides: Sequence[str] = (),
) -> Recipe:
    """A recipe from a preset or a file, with ``a.b=value`` changes on top.

    ``path`` is a file, or the name of a recipe that ships with gorae. A recipe file may start
    from a preset with ``preset = "standard"``.

    Raises:
        ConfigError: Preset and file are both given, a name is unknown, a value is wrong or a
            change cannot be read.
    """
    table: dict[str, Any] = {}
    if preset is not None and path is not None:
        raise ConfigError(
            "Give a preset or a recipe file, not both; a file may name its preset."
        )
    if path is not None:
        path = find_recipe(path)
        table = read_toml(path)
        preset = table.pop("preset", preset)
        table.setdefault("name", path.stem)
    base = _preset(preset or "quick").model_dump(mode="json", exclude_unset=True)
    merged = _merge(base, table)
    given = _dotted(table)
    for override in overrides:
        keys, value = _parse_override(override)
        nested: Any = value
        for key in reversed(keys):
            nested = {key: nested}
        merged = _merge(merged, nested, replace=keys)
        given.append(".".join(keys[:2]))
    # A table that was set whole has lost what the file said of it.
    given = [name for name in given if _is_in(merged, name)]
    origin = str(path) if path else "the recipe"
    recipe = validated(Recipe, merged, origin=origin)
    problems = [*dead_settings(recipe, dict.fromkeys(given)), *conflicts(recipe)]
    if problems:
        raise ConfigError(f"{len(problems)} setting(s) of {origin}:\n{list_problems(problems)}")
    return recipe


def _dotted(table: Mapping[str, Any]) -> list[str]:
    names = []
    for key, value in table.items():
        names += [f"{key}.{below}" for below in value] if isinstance(value, Mapping) else [key]
    return names


def _is_in(table: Mapping[str, Any], name: str) -> bool:
    section, _, field = name.partition(".")
    below = table.get(section)
    return not field or (isinstance(below, Mapping) and field in below)


def _preset(name: str) -> Recipe:
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}. Presets: {', '.join(PRESETS)}.")
    return PRESETS[name]()


def _merge(
    base: Mapping[str, Any], change: Mapping[str, Any], *, replace: Sequence[str] = ()
) -> dict[str, Any]:
    """``base`` with the tables of ``change`` over it; the one at ``replace`` is set whole."""
    merged = dict(base)
    for key, value in change.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping) and list(replace) != [key]:
            merged[key] = _merge(below, value, replace=replace[1:])
        else:
            merged[key] = value
    return merged


def _parse_override(text: str) -> tuple[list[str], Any]:
    name, equals, raw = text.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(
            f"--set {text!r} is not of the form name=value, such as train.lr=3e-4."
        )
    try:
        return keys, tomllib.loads(f"value = {raw.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        # A bare word or path is meant as text; anything that looks like TOML must be TOML.
        if raw.strip()[:1] in "[{\"'":
            raise ConfigError(
                f'--set {text!r}: the value is not valid TOML. Write text as "text", lists '
                'as [1, 2] and tables as {key = "value"}.'
            ) from None
        return keys, raw.strip()


def validated(model: type[SettingsT], table: Mapping[str, Any], *, origin: str) -> SettingsT:
    """``table`` as settings of class ``model``; every wrong setting is named at once.

    Raises:
        ConfigError: With all problems and, for unknown names, the nearest known ones.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems = [_describe(model, item) for item in error.errors(include_url=False)]
        raise ConfigError(
            f"{len(problems)} setting(s) in {origin} cannot be used:\n{list_problems(problems)}"
        ) from error


def _describe(model: type[BaseModel], item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        names = known_settings(model)
        near = difflib.get_close_matches(place, names, n=3, cutoff=0.5)
        same_end = [name for name in names if name.split(".")[-1] == place.split(".")[-1]]
        hints = list(dict.fromkeys(same_end + near))[:3]
        return f"{place}: no such setting" + (f"; near: {', '.join(hints)}" if hints else "")
    message = item["msg"].removeprefix("Value error, ")
    shown = repr(item["input"])
    return f"{place}: {message}" + (f" (got {shown})" if len(shown) <= 60 else "")


def known_settings(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all settings of ``model``, in order."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += known_settings(field.annotation, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _plain(value: Any) -> Any:
    """Without None (TOML has none) and with tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
