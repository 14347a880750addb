"""What the benchmarks share: where the real pictures are, and how a process is timed."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
GORAE = ROOT / ".venv" / "bin" / "gorae"


def shared_folder() -> Path:
    """Pictures and weights of a development machine: $GORAE_SHARED, or ../shared."""
    folder = Path(os.environ.get("GORAE_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        print(f"skipped: needs real pictures in {folder} (set GORAE_SHARED)")
        sys.exit(0)
    return folder


def photographs(scratch: Path, count: int) -> list[Path]:
    """``count`` real photographs in one folder, or drawn ones written to ``scratch``."""
    real = (
        Path(os.environ.get("GORAE_SHARED", ROOT.parent / "shared")) / "data" / "cats-and-dogs"
    )
    if (real / "train").is_dir():
        return sorted((real / "train").glob("*.jpg"))[:count]
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        path = scratch / f"{number:04d}.jpg"
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def copied(source: Path, target: Path) -> Path:
    """A fresh, writable copy of a competition's folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def timed(command: list[str]) -> tuple[float, str]:
    """Wall seconds of a whole process, and what it printed on standard output."""
    start = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    elapsed_s = time.perf_counter() - start
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        sys.exit(f"{command[0]} ended with {done.returncode}")
    return elapsed_s, done.stdout
