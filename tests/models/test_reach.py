"""Weights that cannot be had are said at once, before any work and without torch."""

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from gorae.errors import UserError
from gorae.models.plan import ModelPlan
from gorae.models.reach import require_reachable


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_offline_without_a_cache_names_the_place(offline: Path) -> None:
    expected = rf"Expected: {offline}/hub/models--timm--resnet18\*/snapshots"
    with pytest.raises(UserError, match=expected):
        require_reachable(ModelPlan("resnet18", "hub", 2))


@pytest.mark.parametrize(
    "file",
    ["hub/models--timm--resnet18.a1_in1k/snapshots/ab/x", "torch/hub/checkpoints/resnet18.x"],
)
def test_a_cached_file_is_enough(offline: Path, file: str) -> None:
    path = offline / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    require_reachable(ModelPlan("resnet18", "hub", 2))
    with pytest.raises(UserError, match="resnet34"):
        require_reachable(ModelPlan("resnet34", "hub", 2))


@pytest.mark.parametrize(
    ("name", "weights"),
    [("resnet18", "none"), ("resnet18", "a.pth"), ("lenet5", "hub"), ("a.py:B", "hub")],
)
def test_nothing_is_asked_where_no_hub_is_meant(offline: Path, name: str, weights: str) -> None:
    require_reachable(ModelPlan(name, weights, 2))


def test_pixels_and_reach_load_no_torch() -> None:
    program = "import sys, gorae.pipeline.pixels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
