"""What all tests share."""

import os
import signal
from pathlib import Path

import pytest

# A shell in the background starts its children deaf to these, and tests send them.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

# Two cores are shared by everything that runs here; more threads only add noise.
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and weights beside a development checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the real pictures of a development machine (../shared)")
    return folder
