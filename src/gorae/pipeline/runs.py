"""Making and finding runs: equal work has one run, an unfinished one is gone on with."""

import platform
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gorae.config import Recipe, settings_to_toml
from gorae.events import Event, OnEvent
from gorae.files import content_key, write_json, write_text
from gorae.machine import num_cores, processor_name
from gorae.workspace import RunFolder, Workspace, append_line, next_number

RECORDED_PACKAGES = (
    "gorae",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "scikit-learn",
    "lightgbm",
)


def find_or_make_run(
    workspace: Workspace,
    recipe: Recipe,
    *,
    keys: Mapping[str, str],
    choices: Callable[[], Mapping[str, Any]],
) -> RunFolder:
    """The run of this recipe on these data; a new folder when there is none yet.

    Args:
        workspace: The competition.
        recipe: The settings.
        keys: Hashes of everything else the run depends on: split, labels, pixels, weights.
        choices: Measures or looks up what a new run fixes (precision, pixels ...); a run
            that is there keeps its own.
    """
    # What [detect] finds lies in a file, whose boxes are among the keys.
    key = content_key([recipe.model_dump(mode="json", exclude={"detect"}), dict(keys)])
    for run in workspace.run_folders():
        if run.read_settings().get("key") == key:
            return run
    number = next_number([path.name for path in workspace.runs.glob("*")])
    model = re.sub(r"[^\w.-]+", "-", recipe.model.name).strip("-.")[:40]
    run = RunFolder(workspace.runs / f"{number:04d}-{recipe.name}-{model}")
    write_json(run.environment, environment())
    write_text(run.recipe, settings_to_toml(recipe, only_set=True))
    run.write_settings(
        {
            "run_id": run.run_id,
            "key": key,
            "recipe": _without_none(recipe.model_dump(mode="json")),
            "keys": dict(keys),
            "choices": _without_none(choices()),
        }
    )
    return run


def _without_none(value: Any) -> Any:
    """TOML has no null: an absent setting is an absent line."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return (
        [_without_none(item) for item in value] if isinstance(value, (list, tuple)) else value
    )


def environment() -> dict[str, Any]:
    """Versions and machine, for the record; the only place where the time of day stands."""
    packages = {}
    for name in RECORDED_PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": f"{processor_name()}, {num_cores()} cores",
        "packages": packages,
    }


def recorded(run: RunFolder, on_event: OnEvent) -> OnEvent:
    """``on_event`` that also writes stages, messages and warnings into events.jsonl."""

    def listen(event: Event) -> None:
        if event.kind != "progress":
            line = {
                "utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "kind": event.kind,
                "stage": event.stage,
                "text": event.text,
            }
            append_line(run.events, line)
        on_event(event)

    return listen
