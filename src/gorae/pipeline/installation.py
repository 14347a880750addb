"""What is installed, tried out: packages that do not fit together, for the step ``doctor``."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Status = Literal["ok", "note", "warning", "broken"]

# Importing torch takes seconds; a hanging driver or network drive takes for ever.
_PROBE_TIMEOUT_S = 120

# Run in a child: a mismatched pair can crash the interpreter, not only raise.
_TORCH_PROBE = """
import json, torch, torchvision
boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9]])
kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist()
assert kept == [0], f"torchvision.ops.nms gave {kept} instead of [0]"
devices = []
for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    square = torch.ones(64, 64, device=f"cuda:{index}")
    assert (square @ square).sum().item() == 64**3, f"cuda:{index} computes wrongly"
    free_bytes, total_bytes = torch.cuda.mem_get_info(index)
    devices.append([torch.cuda.get_device_name(index), free_bytes, total_bytes])
print(json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__,
                  "cuda": torch.version.cuda, "devices": devices}))
"""

_LIBRARY_PROBE = """
import json, numpy, pandas, pyarrow.parquet, pydantic, safetensors.numpy, scipy.optimize
import sklearn.linear_model
print(json.dumps({"numpy": numpy.__version__, "pandas": pandas.__version__,
                  "pyarrow": pyarrow.__version__, "scikit-learn": sklearn.__version__}))
"""

_PILLOW_PROBE = """
import io, json, PIL
from PIL import Image
data = io.BytesIO()
Image.new("RGB", (8, 8), (200, 30, 30)).save(data, "JPEG")
Image.open(io.BytesIO(data.getvalue()), formats=("JPEG",)).load()
print(json.dumps({"version": PIL.__version__, "folder": PIL.__path__[0]}))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: Status
    text: str
    fix: str = ""
    """What to do; empty where nothing needs doing."""


def check_packages() -> Finding:
    """Whether what gorae, torchvision and timm ask for is there, in a version they accept."""
    problems, names = [], []
    for owner in ("gorae", "torchvision", "timm"):
        wrong = unmet_requirements(owner)
        problems += [problem for problem, _ in wrong]
        names += [name for _, name in wrong]
    if not problems:
        return Finding(
            "packages", "ok", "all that gorae, torchvision and timm ask for is there"
        )
    return Finding(
        "packages",
        "broken",
        "; ".join(problems),
        f"{_pip('install --upgrade')} {' '.join(dict.fromkeys(names))}",
    )


def unmet_requirements(owner: str) -> list[tuple[str, str]]:
    """What the installed ``owner`` asks for and does not have: (sentence, package) each."""
    try:
        wanted = metadata.requires(owner) or []
    except metadata.PackageNotFoundError:
        return [(f"{owner} is not installed", owner)]
    unmet = []
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        installed = _version(requirement.name)
        if installed is None:
            unmet.append(
                (f"{owner} needs {requirement.name}, which is absent", requirement.name)
            )
        elif not requirement.specifier.contains(installed, prereleases=True):
            sentence = (
                f"{owner} {_version(owner)} needs {requirement.name}{requirement.specifier}, "
                f"but {installed} is installed"
            )
            pair = f"{owner} {requirement.name}" if owner != "gorae" else requirement.name
            unmet.append((sentence, pair))
    return unmet


def check_libraries() -> Finding:
    """Whether the libraries for tables and arithmetic can be imported."""
    found, problem = _probe(_LIBRARY_PROBE)
    if found is None:
        return Finding(
            "libraries",
            "broken",
            f"a library does not work: {problem}",
            f"{_pip('install --upgrade --force-reinstall')} gorae",
        )
    return Finding("libraries", "ok", ", ".join(f"{name} {v}" for name, v in found.items()))


def check_bytecode() -> Finding:
    """Whether Python finds its libraries compiled: else every start compiles them."""
    found = [find_spec(name) for name in ("torch", "timm", "pandas", "sklearn")]
    files = [spec.origin for spec in found if spec is not None and spec.origin is not None]
    if all(Path(cache_from_source(file)).exists() for file in files):
        return Finding("bytecode", "ok", "the libraries are compiled")
    if not sys.dont_write_bytecode:
        return Finding("bytecode", "note", "the first start compiles the libraries: seconds")
    return Finding(
        "bytecode",
        "warning",
        "the libraries are not compiled, and PYTHONDONTWRITEBYTECODE forbids to keep what a "
        "start compiles: every command takes seconds longer",
        f"{sys.executable} -m compileall -q -j 0 {Path(files[0]).parents[1]}",
    )


def check_torch_and_cuda() -> tuple[Finding, Finding]:
    found, problem = _probe(_TORCH_PROBE)
    if found is None:
        pair = f"torch {_version('torch')} with torchvision {_version('torchvision')}"
        fix = (
            f"Install both in one command, from one index, so that they fit: "
            f"{_pip('install --upgrade --force-reinstall')} torch torchvision"
        )
        return (
            Finding("torch", "broken", f"{pair} does not work: {problem}", fix),
            Finding("cuda", "note", "not looked at, as torch does not work"),
        )
    text = f"torch {found['torch']}, torchvision {found['torchvision']}, operators work"
    return Finding("torch", "ok", text), _cuda(found)


def _cuda(found: Mapping[str, Any]) -> Finding:
    if found["devices"]:
        devices = [
            f"{name} ({gigabytes(free)} of {gigabytes(total)} free)"
            for name, free, total in found["devices"]
        ]
        return Finding("cuda", "ok", f"CUDA {found['cuda']}: {', '.join(devices)}")
    if shutil.which("nvidia-smi") is None:
        return Finding("cuda", "note", "no GPU; everything runs on the processor")
    if found["cuda"] is None:
        return Finding(
            "cuda",
            "warning",
            "there is a GPU driver, but this torch is built for the processor only",
            f"{_pip('install --upgrade --force-reinstall')} torch torchvision, from an index "
            "with CUDA builds",
        )
    return Finding(
        "cuda",
        "warning",
        f"there is a GPU driver, but torch (CUDA {found['cuda']}) sees no GPU",
        "Compare `nvidia-smi` with that version, update the driver, and check "
        "CUDA_VISIBLE_DEVICES and the container's --gpus option.",
    )


def check_pillow() -> Finding:
    copies = pillow_copies(metadata.distributions())
    names = {name for name, _, _ in copies}
    listing = ", ".join(f"{name} {version} in {place}" for name, version, place in copies)
    if len(copies) > 1:
        return Finding(
            "pillow",
            "broken",
            f"two packages provide PIL: {listing}; which one is used is left to chance",
            f"{_pip('uninstall')} {' '.join(sorted(names))}; then {_pip('install')} pillow",
        )
    found, problem = _probe(_PILLOW_PROBE)
    if found is None:
        fix = f"{_pip('install --force-reinstall')} pillow"
        return Finding("pillow", "broken", f"Pillow does not work: {problem}", fix)
    if not copies or found["version"] != copies[0][1]:
        return Finding(
            "pillow",
            "broken",
            f"PIL {found['version']} in {found['folder']} is not the installed one "
            f"({listing or 'none'})",
            f"Remove {found['folder']}; then {_pip('install --force-reinstall')} pillow",
        )
    return Finding("pillow", "ok", f"{listing}")


def pillow_copies(
    distributions: Iterable[metadata.Distribution],
) -> list[tuple[str, str, str]]:
    """Every installed package that provides ``PIL``: its name, version and folder."""
    copies = {
        (name, distribution.version, str(distribution.locate_file("")))
        for distribution in distributions
        if (name := canonicalize_name(distribution.metadata["Name"] or ""))
        in ("pillow", "pillow-simd", "pillow-avx")
    }
    return sorted(copies)


def _probe(code: str) -> tuple[dict[str, Any] | None, str]:
    """What ``code`` prints as JSON in a child, or None and the last line of its complaint."""
    try:
        # -P: a file named torch.py in this folder is not meant.
        child = subprocess.run(  # noqa: S603 - the code is one of the probes above
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_PROBE_TIMEOUT_S} s"
    if child.returncode == 0:
        return json.loads(child.stdout.splitlines()[-1]), ""
    if child.returncode < 0:
        return None, f"it crashed with signal {-child.returncode}"
    lines = child.stderr.strip().splitlines()
    return None, lines[-1] if lines else f"it ended with code {child.returncode}"


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip {arguments}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
