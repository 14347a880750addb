"""What all tests share."""

import os
from pathlib import Path

import pytest

# Two cores are shared by everything that runs here; more threads only add noise.
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and weights beside a development checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the real pictures of a development machine (../shared)")
    return folder
