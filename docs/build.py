"""Write docs/config.md and docs/commands.md from the code: `make docs`.

A setting is documented once, under its field; a command once, in its docstring. A test holds
the written pages to what this script makes.
"""

import dataclasses
import inspect
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel, TypeAdapter

from gorae.augment.names import KNOWN_VIEWS
from gorae.cli.app import app
from gorae.config import PRESETS, Competition, Recipe
from gorae.config.preparing import PrepareStep
from gorae.config.problem import Problem
from gorae.data.sources import LabelPart, TableSource
from gorae.metrics import METRICS
from gorae.submission import SubmissionFormat
from gorae.training.outputs import LOSS_KINDS

HERE = Path(__file__).parent

# Name, values, default and meaning of a setting.
Row = tuple[str, str, Any, str]


def config_page() -> str:
    """docs/config.md."""
    lines = [
        "# Settings",
        "",
        "Made by `make docs` from the code; edit the fields, not this page.",
        "",
        "`competition.toml` says what is predicted from which files; `gorae init` writes it",
        "and you may edit it. A recipe (`recipes/*.toml`, or a preset) says how; single",
        "settings are changed by `--set train.lr=3e-4`. A setting that has no effect in a",
        "recipe is an error. Named losses, optimisers, schedules, policies, views and votes",
        "stand with their sources and tests in [options.md](options.md).",
        "",
        "## competition.toml",
        "",
    ]
    lines += _model_table(Competition)
    for title, kind in (
        ("`[train]`, `[holdout]`, `[[extra]]`, `[test]`", TableSource),
        ("`[[train.compose]]`: composed labels", LabelPart),
        ("`[submission]`", SubmissionFormat),
    ):
        lines += [f"### {title}", "", *_dataclass_table(kind)]
    lines += ["### `[problem]`", "", *_model_table(Problem), "## Recipes", ""]
    lines += [
        'A recipe file may start from a preset: `preset = "standard"`. Presets:',
        "",
        *(f"- `{name}`: {inspect.getdoc(make)}" for name, make in PRESETS.items()),
        "",
        *_model_table(Recipe),
    ]
    for name, field in Recipe.model_fields.items():
        kind = field.annotation
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            lines += [f"### `[{name}]`", "", *_model_table(kind)]
    lines += [
        "### `[[preprocess]]`",
        "",
        "Steps from the decoded picture to the stored one, done once, in the order given.",
        "",
    ]
    for kind in get_args(get_args(PrepareStep)[0]):
        name = get_args(kind.model_fields["step"].annotation)[0]
        lines += [f'`step = "{name}"`: {_prose(inspect.getdoc(kind) or "")}', ""]
        rows = _model_rows(kind)
        lines += _table([row for row in rows if row[0] != "step"]) if len(rows) > 1 else []
    lines += [
        "## Metrics",
        "",
        "| name | better | tasks | what it is |",
        "| --- | --- | --- | --- |",
    ]
    for metric in METRICS.values():
        better = "higher" if metric.greater_is_better else "lower"
        lines.append(
            f"| `{metric.name}` | {better} | {', '.join(metric.tasks)} | {metric.doc} |"
        )
    lines += [
        "",
        'A metric of your own: `metric = "metric.py:function"`, the file in the competition\'s',
        "folder, with `function(truth, values) -> float` and, where less is better,",
        "`function.greater_is_better = False`.",
        "",
    ]
    return "\n".join(lines)


def _model_table(model: type[BaseModel]) -> list[str]:
    return _table(_model_rows(model))


def _model_rows(model: type[BaseModel]) -> list[Row]:
    schema = model.model_json_schema()["properties"]
    rows = []
    for name, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            continue
        rows.append(
            (name, _shape(schema[name]), field.get_default(), schema[name]["description"])
        )
    return rows


def _dataclass_table(kind: Any) -> list[str]:
    schema = TypeAdapter(kind).json_schema()["properties"]
    rows = []
    for field in dataclasses.fields(kind):
        default = None if field.default is dataclasses.MISSING else field.default
        rows.append(
            (field.name, _shape(schema[field.name]), default, schema[field.name]["description"])
        )
    return _table(rows)


def _table(rows: list[Row]) -> list[str]:
    lines = ["| setting | values | default | meaning |", "| --- | --- | --- | --- |"]
    for name, shape, default, text in rows:
        shown = "" if repr(default).startswith("PydanticUndefined") else _shown(default)
        lines.append(f"| `{name}` | {shape} | {shown} | {_prose(text)} |")
    return [*lines, ""]


def _prose(text: str) -> str:
    """One line of Markdown from a docstring."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _shown(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    return f"`{default}`"


def _shape(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(
            _shape(part) for part in schema["anyOf"] if part.get("type") != "null"
        )
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        return "table"
    kind = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true, false",
        "array": "list",
        "object": "table",
    }[schema["type"]]
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in schema
    ]
    return f"{kind} {', '.join(bounds)}".strip()


def commands_page() -> str:
    """docs/commands.md."""
    lines = [
        "# Commands",
        "",
        "Made by `make docs` from the code.",
        "",
        "Every command works on the folder one stands in, or on `gorae COMMAND FOLDER`. With",
        "`--json` a command prints one JSON object on standard output and everything else on",
        "standard error. Exit codes: 0 done, 64 usage, 65 data, 70 a bug of gorae, 71 memory,",
        "74 disk, 130 and 143 stopped (the same command goes on).",
        "",
    ]
    group = typer.main.get_command(app)
    for name, command in sorted(_flat(group)):
        lines += [f"## gorae {name}", "", textwrap.dedent(command.help or "").strip(), ""]
        lines += ["| argument | meaning |", "| --- | --- |"]
        for parameter in command.params:
            if parameter.name == "help":
                continue
            is_option = parameter.param_type_name == "option"
            spelt = ", ".join(parameter.opts) if is_option else (parameter.name or "").upper()
            lines.append(f"| `{spelt}` | {_prose(parameter.help or '')} |")
        lines.append("")
    return "\n".join(lines)


def _flat(group: Any) -> Iterator[tuple[str, Any]]:
    """Name and command, with the commands of groups under both names."""
    for name, command in group.commands.items():
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        else:
            yield from ((f"{name} {sub}", found) for sub, found in below.items())


def options_page() -> str:
    """docs/options.md."""
    table = tomllib.loads((HERE / "options.toml").read_text("utf-8"))
    lines = [
        "# Named choices, their sources and their tests",
        "",
        "Made by `make docs` from docs/options.toml and the code. Settings are explained in",
        "[config.md](config.md); that switching each of them changes what is learned is shown",
        "by `tests/pipeline/test_options.py`.",
        "",
    ]
    titles = {
        "loss": "Losses (`loss.kind`)",
        "head": "Heads (`model.head`)",
        "neck": "Necks of the head `cosine` (`model.neck`)",
        "metadata": "Networks on metadata (`model.metadata`)",
        "optimizer": "Optimisers (`train.optimizer`)",
        "schedule": "Schedules (`train.schedule`)",
        "policy": "Augmentation policies (`augment.policy`)",
        "mixing": "Mixing (`augment.NAME`)",
        "family": "Families of views (`predict.views`)",
        "vote": "Votes (`predict.vote`)",
    }
    losses = {
        name: f"{kind.source} ({', '.join(kind.tasks)})" for name, kind in LOSS_KINDS.items()
    }
    for section, title in titles.items():
        sources = dict(table[section])
        test = sources.pop("test")
        lines += [
            f"## {title}",
            "",
            f"Test: `{test}`",
            "",
            "| name | source |",
            "| --- | --- |",
        ]
        named = losses if section == "loss" else sources
        lines += [f"| `{name}` | {source} |" for name, source in named.items()]
        lines.append("")
    lines += ["Single views:", "", *(f"- {view}" for view in KNOWN_VIEWS), ""]
    return "\n".join(lines)


PAGES = {"config.md": config_page, "commands.md": commands_page, "options.md": options_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (HERE / page).write_text(make(), encoding="utf-8")
