"""Step ``doctor``: what this machine has, what is broken, and how to mend it."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from gorae.errors import ConfigError, UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.machine import num_cores
from gorae.pipeline.installation import (
    Finding,
    check_bytecode,
    check_libraries,
    check_packages,
    check_pillow,
    check_torch_and_cuda,
    gigabytes,
)

if TYPE_CHECKING:
    from gorae.config import Recipe

# Batches of 32 pictures of 224 pixels are 19 MB; with some of them per worker, less than
# this ends in a bus error (TRUST T10; Docker gives 64 MB).
_SMALL_SHARED_BYTES = 1_000_000_000
_SMALL_MEMORY_BYTES = 2_000_000_000
_SMALL_DISK_BYTES = 5_000_000_000

# Weights may come from the hub when nothing is cached; these variables forbid it.
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order they were made."""

    findings: tuple[Finding, ...]

    @property
    def is_broken(self) -> bool:
        """Something must be mended before gorae can work."""
        return any(finding.status == "broken" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        return {
            "is_broken": self.is_broken,
            "findings": [asdict(finding) for finding in self.findings],
        }


def doctor(folder: Path, *, on_event: OnEvent = ignore_events) -> Diagnosis:
    """Look at this machine and, where there is one, at the competition in ``folder``.

    What could crash is tried in a child process.

    Raises:
        UserError: There is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    on_event(Event("stage", "doctor", "trying out what is installed"))
    torch_finding, cuda_finding = check_torch_and_cuda()
    libraries = check_libraries()
    findings = [
        _python(),
        _cores(),
        _memory(),
        _disk(folder),
        check_packages(),
        libraries,
        check_bytecode(),
        torch_finding,
        check_pillow(),
        check_shared_memory(Path("/dev/shm")),  # noqa: S108 - the system's own place, only looked at
        cuda_finding,
        check_folder(folder),
        check_hub(os.environ),
        _fonts(),
    ]
    if libraries.status == "ok":  # settings are read with them
        findings += check_weights(folder, os.environ)
    return Diagnosis(tuple(findings))


def _python() -> Finding:
    text = f"{platform.python_version()}, {platform.system()} {platform.release()}, "
    text += f"{platform.machine()}, {sys.executable}"
    encoding = sys.getfilesystemencoding()
    if encoding.lower() != "utf-8":
        return Finding(
            "python",
            "warning",
            f"{text}; file names are read as {encoding}, so Korean names can fail",
            "Set PYTHONUTF8=1.",
        )
    return Finding("python", "ok", text)


def _cores() -> Finding:
    text = f"{num_cores()} of {os.cpu_count()} cores usable"
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        text += f"; OMP_NUM_THREADS={threads} sets the threads of the arithmetic"
    return Finding("cores", "ok", text)


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    text = f"{gigabytes(memory.available)} of {gigabytes(memory.total)} free"
    if memory.available < _SMALL_MEMORY_BYTES:
        return Finding(
            "memory",
            "warning",
            text,
            "Close other programs, or use --set train.batch_size=8 and a small model.",
        )
    return Finding("memory", "ok", text)


def _disk(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    text = f"{gigabytes(usage.free)} of {gigabytes(usage.total)} free at {folder.resolve()}"
    if usage.free < _SMALL_DISK_BYTES:
        return Finding(
            "disk", "warning", text, "Free some space; `gorae clean` shows what can go."
        )
    return Finding("disk", "ok", text)


def check_shared_memory(place: Path, *, small_bytes: int = _SMALL_SHARED_BYTES) -> Finding:
    """Whether batches of several workers fit into ``place``."""
    if not place.is_dir():
        return Finding("shared memory", "note", f"no {place} on this system")
    total_bytes = shutil.disk_usage(place).total
    text = f"{gigabytes(total_bytes)} at {place}"
    if total_bytes < small_bytes:
        return Finding(
            "shared memory",
            "warning",
            f"{text}: workers hand over batches there and can crash when it is full",
            "Use --set train.workers=0, or start the container with --shm-size=4g.",
        )
    return Finding("shared memory", "ok", text)


def check_folder(folder: Path) -> Finding:
    """Whether ``.gorae``, or the folder it would be made in, can be written."""
    home = folder.resolve() / ".gorae"
    place = home if home.exists() else folder.resolve()
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Finding(
            "folder",
            "broken",
            f"{place} cannot be written: {error.strerror}",
            "Make it writable, or work on a copy of the competition elsewhere.",
        )
    return Finding("folder", "ok", f"{place} can be written")


def hub_folder(environment: Mapping[str, str]) -> Path:
    """Where downloaded weights are kept, as huggingface_hub decides it."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    cache = environment.get("XDG_CACHE_HOME", "~/.cache")
    return Path(environment.get("HF_HOME", f"{cache}/huggingface")).expanduser() / "hub"


def check_hub(environment: Mapping[str, str]) -> Finding:
    """Where downloaded weights are, and whether more may be downloaded."""
    place = hub_folder(environment)
    names = sorted(place.glob("models--*")) if place.is_dir() else []
    text = f"{len(names)} downloaded models in {place}"
    offline = [
        name for name in _OFFLINE_VARIABLES if environment.get(name, "0") not in ("", "0")
    ]
    if offline:
        return Finding("hub", "note", f"{text}; {offline[0]} is set, nothing is downloaded")
    return Finding("hub", "ok", text)


def check_weights(folder: Path, environment: Mapping[str, str]) -> list[Finding]:
    """One finding for each preset and recipe of the competition in ``folder``."""
    from gorae.config import PRESETS, resolve_recipe

    if not (folder / "competition.toml").exists():
        return []
    readers: dict[str, Callable[[], Recipe]] = {
        f"preset {name}": PRESETS[name] for name in PRESETS
    }
    for path in sorted((folder / "recipes").glob("*.toml")):
        readers[f"recipes/{path.name}"] = partial(resolve_recipe, path=path)
    findings = []
    for origin, read in readers.items():
        try:
            recipe = read()
        except ConfigError as error:
            findings.append(
                Finding("recipe", "broken", f"{origin}: {error}", f"Edit {origin}.")
            )
            continue
        findings.append(_weights_of(origin, recipe, folder, hub_folder(environment)))
    return findings


def _weights_of(origin: str, recipe: "Recipe", folder: Path, hub: Path) -> Finding:
    name, weights = recipe.model.name, recipe.model.weights
    if weights == "none":
        return Finding("weights", "ok", f"{origin}: {name} starts without weights")
    if weights != "hub":
        path = folder / Path(weights).expanduser()
        if path.is_file():
            return Finding("weights", "ok", f"{origin}: {name} from {path}")
        return Finding(
            "weights",
            "broken",
            f"{origin}: there is no weight file {path}",
            "Put the file there or change model.weights.",
        )
    if any(hub.glob(f"models--timm--{name.split('.')[0]}*/snapshots/*/*.safetensors")):
        return Finding("weights", "ok", f"{origin}: {name} is downloaded")
    return Finding(
        "weights",
        "note",
        f"{origin}: {name} is not downloaded yet; the first run fetches it",
        "Without a network, give a file: --set model.weights=FILE.",
    )


def _fonts() -> Finding:
    lister = shutil.which("fc-list")
    if lister is None:
        return Finding("fonts", "note", "not looked at, as there is no fc-list")
    listed = subprocess.run(  # noqa: S603 - nothing of a user is in the command
        [lister, ":lang=ko", "family"], capture_output=True, text=True, timeout=30, check=False
    )
    families = sorted(
        {line.split(",")[0] for line in listed.stdout.splitlines() if line.strip()}
    )
    if families:
        return Finding("fonts", "ok", f"Korean: {families[0]}")
    return Finding(
        "fonts",
        "note",
        "no font with Korean letters; a browser on this machine shows boxes for them",
        "Install one, such as the package fonts-noto-cjk.",
    )
