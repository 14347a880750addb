"""Options that several commands share, each with its one sentence of help."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gorae.errors import ConfigError

if TYPE_CHECKING:
    from gorae.config import Recipe

Folder = Annotated[
    Path | None,
    typer.Argument(help="Folder of the competition; absent: the folder you stand in."),
]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Folder of the competition, as an option.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.")
]


class Preset(StrEnum):
    """Names of the presets, without the settings behind them: those take long to import."""

    QUICK = "quick"
    STANDARD = "standard"
    BEST = "best"


PresetOption = Annotated[
    Preset | None,
    typer.Option("--preset", help="Start from a preset: quick, standard or best."),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(
        "--recipe", help="Start from a recipe: a TOML file, or a name of `gorae recipes`."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change one setting, such as train.lr=3e-4; docs/config.md lists them all.",
    ),
]
Answers = Annotated[
    list[str] | None,
    typer.Option(
        "--answer",
        metavar="KEY=VALUE",
        help="Answer a question about the layout beforehand.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Read the CSV files in this encoding, such as cp949, instead of UTF-8."),
]
RunArgument = Annotated[
    str | None, typer.Argument(help="Id of the run, or its beginning; absent: the newest.")
]


def place(argument: Path | None, option: Path | None) -> Path:
    """The folder a command works on.

    Raises:
        typer.BadParameter: It is given twice, and not the same.
    """
    if argument is not None and option is not None and argument != option:
        raise typer.BadParameter(f"The folder is given twice: {argument} and {option}.")
    return argument or option or Path()


def parse_answers(answers: Sequence[str] | None) -> dict[str, str]:
    """``["metric=accuracy"]`` as a dict.

    Raises:
        ConfigError: An answer has no ``=``, or a key is answered twice.
    """
    known: dict[str, str] = {}
    for answer in answers or ():
        key, equals, value = answer.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--answer {answer!r} is not of the form key=value.")
        if known.setdefault(key.strip(), value.strip()) != value.strip():
            raise ConfigError(f"--answer {key.strip()} is given twice with different values.")
    return known


def read_recipe(
    preset: Preset | None, path: Path | None, overrides: Sequence[str] | None
) -> "Recipe":
    """The recipe that the three options describe; ``quick`` when all are absent.

    Raises:
        ConfigError: Preset and file are both given, or a setting is wrong.
    """
    from gorae.config import resolve_recipe

    return resolve_recipe(
        preset=preset.value if preset else None, path=path, overrides=tuple(overrides or ())
    )
