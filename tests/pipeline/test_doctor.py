"""Doctor: broken installations, made for the test, are found and named with their fix."""

import importlib.util
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from gorae.config import PRESETS
from gorae.errors import UserError
from gorae.pipeline.doctor import (
    check_folder,
    check_hub,
    check_shared_memory,
    check_weights,
    doctor,
    hub_folder,
)
from gorae.pipeline.installation import check_bytecode, pillow_copies, unmet_requirements


def diagnose(folder: Path, packages: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Exit code and findings by name of `gorae doctor`, with ``packages`` found first."""
    environment = dict(os.environ)
    if packages is not None:
        environment["PYTHONPATH"] = str(packages)
    done = subprocess.run(
        [sys.executable, "-m", "gorae", "doctor", str(folder), "--json"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert "Traceback" not in done.stderr
    answer = json.loads(done.stdout)
    return done.returncode, {finding["name"]: finding for finding in answer["findings"]}


def install(place: Path, name: str, version: str, *, requires: str = "") -> None:
    """The record of an installed package in ``place``."""
    folder = place / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [
        f"Name: {name}",
        f"Version: {version}",
        f"Requires-Dist: {requires}" * bool(requires),
    ]
    text = "Metadata-Version: 2.1\n" + "\n".join(line for line in lines if line) + "\n"
    (folder / "METADATA").write_text(text, "utf-8")


def test_this_machine_is_sound(tmp_path: Path) -> None:
    code, found = diagnose(tmp_path)
    broken = {
        name: finding["text"]
        for name, finding in found.items()
        if finding["status"] == "broken"
    }
    assert (code, broken) == (0, {})
    assert "operators work" in found["torch"]["text"]
    for name in ("python", "cores", "memory", "disk", "pillow", "shared memory", "cuda", "hub"):
        assert found[name]["text"]


def test_t23_a_torchvision_that_does_not_fit_and_two_pillows(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    install(packages, "torchvision", "0.20.0", requires="torch (==2.5.0)")
    install(packages, "Pillow_SIMD", "9.5.0")
    (packages / "torch.py").touch()
    (packages / "torchvision").mkdir()
    (packages / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')", "utf-8"
    )
    code, found = diagnose(tmp_path, packages)
    assert code == 65
    torch = metadata.version("torch")
    assert found["torch"]["status"] == "broken"
    assert f"torch {torch} with torchvision 0.20.0" in found["torch"]["text"]
    assert "operator torchvision::nms does not exist" in found["torch"]["text"]
    assert found["torch"]["fix"].endswith("torch torchvision")
    assert found["packages"]["status"] == "broken"
    assert f"torchvision 0.20.0 needs torch==2.5.0, but {torch}" in found["packages"]["text"]
    assert found["pillow"]["status"] == "broken"
    assert "pillow-simd 9.5.0" in found["pillow"]["text"]
    assert "uninstall pillow pillow-simd; then" in found["pillow"]["fix"]


def test_t23_a_crash_and_a_hidden_pillow_are_told(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "PIL").mkdir(parents=True)
    (packages / "PIL" / "__init__.py").write_text("__version__ = '7.0.0'", "utf-8")
    (packages / "PIL" / "Image.py").write_text(
        "class Picture:\n    load = save = lambda *a, **k: None\n"
        "new = open = lambda *a, **k: Picture()",
        "utf-8",
    )
    (packages / "torch.py").write_text("import os; os.kill(os.getpid(), 11)", "utf-8")
    (packages / "sklearn.py").write_text("raise ImportError('no BLAS')", "utf-8")
    code, found = diagnose(tmp_path, packages)
    assert code == 65
    assert "crashed with signal 11" in found["torch"]["text"]
    assert "not looked at" in found["cuda"]["text"]
    assert "PIL 7.0.0" in found["pillow"]["text"]
    assert str(packages / "PIL") in found["pillow"]["fix"]
    assert "no BLAS" in found["libraries"]["text"]


def test_unmet_requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "needy", "1.0", requires="pillow>=99")
    install(tmp_path, "needier", "2.0", requires="nosuchpackage")
    install(tmp_path, "modest", "3.0", requires="pillow>=1; python_version >= '3'")
    install(tmp_path, "optional", "4.0", requires='nosuchpackage; extra == "more"')
    monkeypatch.syspath_prepend(tmp_path)
    (problem,) = unmet_requirements("needy")
    assert problem[0].startswith("needy 1.0 needs pillow>=99, but ")
    assert unmet_requirements("needier") == [
        ("needier needs nosuchpackage, which is absent", "nosuchpackage")
    ]
    assert unmet_requirements("modest") == unmet_requirements("optional") == []
    assert unmet_requirements("absent") == [("absent is not installed", "absent")]


def test_pillow_copies_are_told_apart_by_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        install(tmp_path / place, "Pillow", "12.2.0")
    install(tmp_path / "two", "other", "1.0")
    places = [str(tmp_path / "one"), str(tmp_path / "two")]
    copies = pillow_copies(metadata.distributions(path=places))
    assert [(name, version) for name, version, _ in copies] == [("pillow", "12.2.0")] * 2


def test_libraries_that_every_start_compiles_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Elsewhere Python looks for compiled files there, and finds none.
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert check_bytecode().status == "note"
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = check_bytecode()
    assert found.status == "warning"
    assert "compileall" in found.fix
    for name in ("torch", "timm", "pandas", "sklearn"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        compiled = Path(importlib.util.cache_from_source(spec.origin))
        compiled.parent.mkdir(parents=True, exist_ok=True)
        compiled.touch()
    assert check_bytecode().status == "ok"


def test_t10_little_shared_memory_is_warned_of(tmp_path: Path) -> None:
    assert check_shared_memory(tmp_path, small_bytes=10**18).status == "warning"
    found = check_shared_memory(tmp_path, small_bytes=10**18)
    assert "--set train.workers=0" in found.fix
    assert check_shared_memory(tmp_path, small_bytes=1).status == "ok"
    assert check_shared_memory(tmp_path / "none", small_bytes=1).status == "note"


def test_t24_missing_weights_are_named_with_their_path(tmp_path: Path) -> None:
    assert check_weights(tmp_path, {}) == []
    (tmp_path / "competition.toml").write_text("", "utf-8")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "a.toml").write_text('model.weights = "없는 파일.safetensors"', "utf-8")
    (recipes / "b.toml").write_text('model.weights = "there.safetensors"', "utf-8")
    (recipes / "c.toml").write_text('model.name = "lenet5"\nmodel.weights = "none"', "utf-8")
    (recipes / "d.toml").write_text("model.nosuch = 1", "utf-8")
    (tmp_path / "there.safetensors").write_bytes(b"x")
    hub = tmp_path / "hub"
    first = PRESETS["quick"]().model.name
    snapshot = hub / f"models--timm--{first}.tag_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"x")
    findings = check_weights(tmp_path, {"HF_HUB_CACHE": str(hub)})
    by_origin = {finding.text.split(":")[0]: finding for finding in findings}
    assert by_origin["preset quick"].status == "ok"
    assert by_origin["preset best"].status == "note"
    assert "--set model.weights=FILE" in by_origin["preset best"].fix
    missing = by_origin["recipes/a.toml"]
    assert missing.status == "broken"
    assert f"there is no weight file {tmp_path / '없는 파일.safetensors'}" in missing.text
    assert by_origin["recipes/b.toml"].status == by_origin["recipes/c.toml"].status == "ok"
    assert by_origin["recipes/d.toml"].status == "broken"
    assert "nosuch" in by_origin["recipes/d.toml"].text


def test_the_hub_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert hub_folder({"HF_HUB_CACHE": "/a"}) == Path("/a")
    assert hub_folder({"HF_HOME": "/b"}) == Path("/b/hub")
    assert hub_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")
    assert hub_folder({}) == Path.home() / ".cache/huggingface/hub"
    (tmp_path / "models--timm--a").mkdir()
    found = check_hub({"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert found.status == "note"
    assert found.text.startswith("1 downloaded")
    assert "HF_HUB_OFFLINE is set" in found.text


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    assert check_folder(tmp_path).status == "ok"
    (tmp_path / ".gorae").write_text("a file where a folder belongs", "utf-8")
    found = check_folder(tmp_path)
    assert found.status == "broken"
    assert f"{tmp_path / '.gorae'} cannot be written: Not a directory" in found.text


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        doctor(tmp_path / "none")
