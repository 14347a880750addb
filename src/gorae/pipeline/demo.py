"""Step ``demo``: the main job on real handwritten digits that ship with scikit-learn."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import write_bytes, write_text
from gorae.pipeline.run import RunResult, run
from gorae.stopping import Stopping, never_stopped

# A fifth of the 1,797 digits (UCI "Optical Recognition of Handwritten Digits", Alpaydin and
# Kaynak, 1998) is kept back; LeNet-5 (LeCun et al., 1998) reads 32 x 32 pixels.
_HIDDEN_SHARE = 0.2
_SIDE_PX = 32
_WRITERS = 16
_SPLIT_SEED = 20_251

# Words and not figures, as figures could as well be grades or numbers to be estimated.
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_OWN_NAMES = {
    ".gorae",
    "competition.toml",
    "recipes",
    "sample_submission.csv",
    "test",
    "train",
    "train.csv",
}

_RECIPE = """\
# LeNet-5 from scratch: nothing is downloaded. A digit has a left and a right, so no flips.
name = "lenet5"

[model]
name = "lenet5"
weights = "none"
use = "finetune"

[pixels]
input_size = 32
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
interpolation = "bilinear"
crop_pct = 1.0
stored_short_side = 32

[augment]
scale = [0.7, 1.0]
ratio = [0.8, 1.25]
hflip = 0.0

[train]
epochs = 20
batch_size = 32
lr = 2e-3
precision = "fp32"
channels_last = false
threads = 1
"""


@dataclass(frozen=True)
class DemoResult:
    """The run on the digits, and how it did on the part that was kept back."""

    run: RunResult
    hidden_score: float
    """Accuracy of the submission on the hidden part."""
    num_hidden: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        return {
            **self.run.to_json(),
            "hidden_score": self.hidden_score,
            "num_hidden": self.num_hidden,
        }


def demo(
    folder: Path, *, on_event: OnEvent = ignore_events, stopping: Stopping = never_stopped
) -> DemoResult:
    """Write the digits as a competition into ``folder``, run it, and score the hidden part.

    The labels of the test pictures are never written anywhere.

    Raises:
        UserError: The folder holds something else.
    """
    on_event(Event("stage", "digits", "writing handwritten digits as a competition"))
    answers = write_digits(folder, on_event=on_event)
    recipe = folder / "recipes" / "lenet5.toml"
    result = run(folder, recipe=recipe, on_event=on_event, stopping=stopping)
    assert result.submission is not None
    return DemoResult(result, hidden_accuracy(result.submission, answers), len(answers))


def write_digits(folder: Path, *, on_event: OnEvent = ignore_events) -> dict[str, str]:
    """Write train.csv, train/, test/, sample_submission.csv and the recipe into ``folder``.

    What is there already with the same content stays, so a stopped demo goes on.

    Returns:
        The label of each test id, which stands in none of the files.

    Raises:
        UserError: A file of the folder is in the way.
    """
    _require_own_folder(folder)
    data = load_digits()
    labels = [WORDS[digit] for digit in data.target]
    is_hidden = hidden_part(data.target, share=_HIDDEN_SHARE, seed=_SPLIT_SEED)
    names = [f"digit-{index:04d}" for index in range(len(labels))]
    paths = [
        folder / ("test" if hidden else "train") / f"{name}.png"
        for name, hidden in zip(names, is_hidden, strict=True)
    ]
    # Each small file waits for the disk: side by side they wait together.
    with ThreadPoolExecutor(_WRITERS) as pool:
        written = pool.map(_write_once, paths, map(digit_png, data.images))
        for done, _ in enumerate(written, start=1):
            if done % 100 == 0 or done == len(names):
                on_event(Event("progress", "digits", "pictures", done, len(names)))
    train = [(names[i], labels[i]) for i in np.flatnonzero(~is_hidden)]
    answers = {names[i]: labels[i] for i in np.flatnonzero(is_hidden)}
    _write_once(folder / "train.csv", _csv_bytes(train))
    _write_once(
        folder / "sample_submission.csv", _csv_bytes([(name, WORDS[0]) for name in answers])
    )
    if not (folder / "recipes" / "lenet5.toml").exists():
        write_text(folder / "recipes" / "lenet5.toml", _RECIPE)
    return answers


def hidden_part(labels: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.bool_]:
    """The same ``share`` of each class, drawn by ``seed``, as a mask (N,)."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        mask[members[: round(share * len(members))]] = True
    return mask


def digit_png(values: NDArray[np.float64]) -> bytes:
    """A digit of 8 x 8 grey values from 0 to 16 as a PNG of 32 x 32 pixels."""
    grey = np.round(values * (255 / 16)).astype(np.uint8)
    picture = Image.fromarray(grey).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def hidden_accuracy(submission: Path, answers: dict[str, str]) -> float:
    """The accuracy of a submission file, after a join on its ids."""
    with submission.open(encoding="utf-8", newline="") as handle:
        given = {line["id"]: line["label"] for line in csv.DictReader(handle)}
    assert given.keys() == answers.keys(), "the submission was checked against its sample"
    correct = [given[id_] == label for id_, label in answers.items()]
    return float(np.mean(correct))


def _require_own_folder(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a new folder: gorae demo FOLDER.")
    others = sorted(path.name for path in folder.iterdir() if path.name not in _OWN_NAMES)
    if others:
        raise UserError(
            f"{folder} holds something else ({', '.join(others[:5])}). Name a new folder: "
            "gorae demo FOLDER."
        )


def _write_once(path: Path, content: bytes) -> None:
    if not path.exists():
        write_bytes(path, content)
    elif path.read_bytes() != content:
        raise UserError(
            f"{path} is there already with other content. Name a new folder: gorae demo FOLDER."
        )


def _csv_bytes(lines: list[tuple[str, str]]) -> bytes:
    text = "".join(f"{name},{label}\n" for name, label in [("id", "label"), *lines])
    return text.encode("utf-8")
