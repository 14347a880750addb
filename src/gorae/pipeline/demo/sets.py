"""What the demonstration sets share: how they are drawn, written and scored.

Their pictures are real ones that ship with scikit-learn: 1,797 handwritten digits (UCI "Optical
Recognition of Handwritten Digits", Alpaydin and Kaynak, 1998) and two photographs.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import write_bytes
from gorae.metrics import evaluate, macro_f1, map_at_k

Colour = tuple[int, int, int]
Size = tuple[int, int]
"""Width and height in pixels."""

_WRITERS = 16

# What the steps leave in the folder of a competition.
_MADE_LATER = {".gorae", "competition.toml"}


@dataclass(frozen=True)
class DemoSet:
    """A small competition in memory."""

    name: str
    """What it is called while it is written."""
    tables: Mapping[str, str]
    """Text of each table and recipe, by its path in the folder."""
    pictures: Mapping[str, bytes]
    """Bytes of each picture, by its path in the folder."""
    answers: Mapping[str, str]
    """The label of each test id as the submission writes it, which stands in no file."""


def write_set(folder: Path, made: DemoSet, *, on_event: OnEvent = ignore_events) -> None:
    """Write the set into ``folder``; what is there already with the same content stays.

    Raises:
        UserError: The folder is a file or holds something else, or a file of it has other
            content; a recipe may have other content, and is kept.
    """
    _require_own_folder(folder, made)
    for name, text in made.tables.items():
        # A recipe is there to be changed.
        if not (name.endswith(".toml") and (folder / name).exists()):
            _write_once(folder / name, text.encode("utf-8"))
    paths = [folder / name for name in made.pictures]
    # Each small file waits for the disk: side by side they wait together.
    with ThreadPoolExecutor(_WRITERS) as pool:
        written = pool.map(_write_once, paths, made.pictures.values())
        for done, _ in enumerate(written, start=1):
            if done % 100 == 0 or done == len(paths):
                on_event(Event("progress", made.name, "pictures", done, len(paths)))


def _require_own_folder(folder: Path, made: DemoSet) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a new folder: gorae demo SYSTEM FOLDER.")
    own = {name.partition("/")[0] for name in (*made.tables, *made.pictures)} | _MADE_LATER
    others = sorted(path.name for path in folder.iterdir() if path.name not in own)
    if others:
        raise UserError(
            f"{folder} holds something else ({', '.join(others[:5])}). Name a new folder: "
            "gorae demo SYSTEM FOLDER."
        )


def _write_once(path: Path, content: bytes) -> None:
    if not path.exists():
        write_bytes(path, content)
    elif path.read_bytes() != content:
        raise UserError(
            f"{path} is there already with other content. Name a new folder: gorae demo "
            "SYSTEM FOLDER."
        )


def csv_text(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A CSV table as text, with a line break after each line."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([columns, *lines])
    return buffer.getvalue()


def hidden_part(labels: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.bool_]:
    """The same ``share`` of each class, drawn by ``seed``, as a mask (N,)."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        mask[members[: round(share * len(members))]] = True
    return mask


def read_digits() -> dict[int, list[Image.Image]]:
    """All handwritten digits by what they show: grey masks of 8 x 8 pixels, ink white."""
    data = load_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
    return {
        digit: [Image.fromarray(each) for each in grey[data.target == digit]]
        for digit in range(10)
    }


def read_photographs() -> list[Image.Image]:
    """The two photographs of scikit-learn, a temple and a flower, 640 x 427."""
    return [Image.fromarray(np.asarray(each)) for each in load_sample_images().images]


def draw_backdrop(
    photographs: Sequence[Image.Image], size: Size, *, rng: np.random.Generator
) -> Image.Image:
    """A piece of a photograph, at random in place, zoom and mirroring."""
    whole = photographs[int(rng.integers(len(photographs)))]
    zoom = rng.uniform(1.0, 2.5)
    width, height = (round(side * zoom) for side in size)
    left = int(rng.integers(whole.width - width))
    top = int(rng.integers(whole.height - height))
    piece = whole.resize(
        size, Image.Resampling.BILINEAR, box=(left, top, left + width, top + height)
    )
    return piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else piece


def paint(
    canvas: Image.Image,
    digit: Image.Image,
    *,
    box: tuple[int, int, int],
    colour: Colour,
    angle_deg: float = 0.0,
) -> None:
    """Paint a digit into ``canvas``.

    Args:
        canvas: Changed in place.
        digit: Grey mask, ink white.
        box: Left, top and side in pixels of the square it fills.
        colour: Of the ink.
        angle_deg: How far it is turned, against the clock.
    """
    left, top, side = box
    ink = digit.resize((side, side), Image.Resampling.BICUBIC)
    canvas.paste(colour, (left, top), ink.rotate(angle_deg, Image.Resampling.BICUBIC))


def encoded(picture: Image.Image, extension: str = "jpg") -> bytes:
    """The picture as a file of that extension: ``jpg``, ``jpeg`` or ``png``."""
    buffer = io.BytesIO()
    if extension == "png":
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def hidden_score(submission: Path, answers: Mapping[str, str], *, score: str) -> float:
    """The score of a submission file, after a join on its ids.

    Args:
        submission: CSV of an id and one answer per line.
        answers: What is true, by id.
        score: A name in ``SCORES``.
    """
    with submission.open(encoding="utf-8", newline="") as handle:
        given = {line[0]: line[1] for line in list(csv.reader(handle))[1:]}
    assert given.keys() == answers.keys(), "the submission was checked against its sample"
    return SCORES[score]([given[id_] for id_ in answers], list(answers.values()))


def _accuracy(given: Sequence[str], truth: Sequence[str]) -> float:
    return float(np.mean([one == other for one, other in zip(given, truth, strict=True)]))


def _roc_auc(given: Sequence[str], truth: Sequence[str]) -> float:
    positive = np.array([float(text) for text in given])
    values = np.stack([1 - positive, positive], axis=1)
    return evaluate("roc_auc", np.array([int(text) for text in truth]), values)


def _macro_f1(given: Sequence[str], truth: Sequence[str]) -> float:
    return macro_f1(*(np.array([int(text) for text in texts]) for texts in (truth, given)))


def _map_at_5(given: Sequence[str], truth: Sequence[str]) -> float:
    return map_at_k([{label} for label in truth], [text.split() for text in given], k=5)


SCORES: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "accuracy": _accuracy,
    "roc_auc": _roc_auc,
    "macro_f1": _macro_f1,
    "map_at_5": _map_at_5,
}
