"""A small competition of drawn pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw


def draw(kind: str, rng: np.random.Generator) -> Image.Image:
    """A disc or a box of some colour at some place, 40 x 48 pixels."""
    background = tuple(int(v) for v in rng.integers(0, 90, 3))
    image = Image.new("RGB", (48, 40), background)
    left, top = (int(v) for v in rng.integers(4, 16, 2))
    size = int(rng.integers(12, 20))
    colour = tuple(int(v) for v in rng.integers(150, 255, 3))
    box = (left, top, left + size, top + size)
    pen = ImageDraw.Draw(image)
    (pen.ellipse if kind == "원" else pen.rectangle)(box, fill=colour)
    return image


@pytest.fixture
def make_competition(tmp_path: Path) -> Callable[..., Path]:
    """Write a competition of discs and boxes: two pictures per subject, Korean names."""

    def make(num_subjects: int = 20, num_test: int = 8, *, name: str = "도형") -> Path:
        folder = tmp_path / name
        rng = np.random.default_rng(0)
        (folder / "train").mkdir(parents=True)
        (folder / "test").mkdir()
        lines = ["id,label,subject"]
        for subject in range(num_subjects):
            kind = ("원", "상자")[subject % 2]
            for shot in range(2):
                draw(kind, rng).save(folder / "train" / f"{subject:03d}_{shot}.png")
                lines.append(f"{subject:03d}_{shot},{kind},s{subject}")
        (folder / "train.csv").write_text("\n".join(lines) + "\n", "utf-8")
        sample = ["id,label"]
        for number in range(num_test):
            draw(("원", "상자")[number % 2], rng).save(folder / "test" / f"t{number}.png")
            sample.append(f"t{number},원")
        (folder / "sample_submission.csv").write_text("\n".join(sample) + "\n", "utf-8")
        return folder

    return make
