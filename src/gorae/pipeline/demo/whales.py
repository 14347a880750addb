"""System E, humpback whales: many individuals, most seen rarely, and some never seen before.

Layout of the playground competition: ``train/``, ``test/``, ``train.csv`` (``Image,Id``) and a
sample with five ids per row, of which ``new_whale`` stands for an animal that is not in train.
An individual is one handwritten digit; a picture shows it turned, moved, nearer or farther, in
other light, before another piece of sea.
"""

import numpy as np
from PIL import Image

from gorae.pipeline.demo.sets import (
    DemoSet,
    csv_text,
    draw_backdrop,
    encoded,
    paint,
    read_digits,
    read_photographs,
)

NEW = "new_whale"

_SIZE = (84, 48)
_SEED = 2018


def whales_set(*, num_individuals: int = 90, num_new: int = 23) -> DemoSet:
    """Half of the individuals have one train picture, the others two to eight.

    As kaggle's test set was made from them: each individual of several pictures gives some to
    the test set, one in three of the others gives one, and ``num_new`` are in test alone.
    """
    rng = np.random.default_rng(_SEED)
    digits, photographs = read_digits(), read_photographs()
    everyone = [each for shown in digits.values() for each in shown]
    chosen = [everyone[i] for i in rng.permutation(len(everyone))[: num_individuals + num_new]]
    names = [f"w_{number:07x}" for number in rng.choice(16**7, len(chosen), replace=False)]
    train: list[tuple[str, str]] = []
    pictures: dict[str, bytes] = {}
    answers: dict[str, str] = {}
    files = iter(rng.choice(16**8, 20 * len(chosen), replace=False).tolist())
    for number, (name, digit) in enumerate(zip(names, chosen, strict=True)):
        is_new, is_single = number >= num_individuals, number % 2 == 0
        num_train = 0 if is_new else 1 if is_single else int(rng.integers(2, 9))
        num_test = 1 if is_new or not is_single else int(rng.random() < 1 / 3)
        for place in range(num_train + num_test):
            image = f"{next(files):08x}.jpg"
            part = "train" if place < num_train else "test"
            pictures[f"{part}/{image}"] = _draw(digit, photographs, rng)
            if part == "train":
                train.append((image, name))
            else:
                answers[image] = NEW if is_new else name
    answers = dict(sorted(answers.items()))
    common = sorted({name for _, name in train}, key=lambda name: (_count(train, name), name))
    guess = " ".join([NEW, *common[-4:]])
    return DemoSet(
        "whales",
        tables={
            "train.csv": csv_text(("Image", "Id"), sorted(train)),
            "sample_submission.csv": csv_text(
                ("Image", "Id"), [(image, guess) for image in answers]
            ),
        },
        pictures=pictures,
        answers=answers,
    )


def _count(train: list[tuple[str, str]], name: str) -> int:
    return -sum(other == name for _, other in train)


def _draw(
    digit: Image.Image, photographs: list[Image.Image], rng: np.random.Generator
) -> bytes:
    width, height = _SIZE
    sea = draw_backdrop(photographs, _SIZE, rng=rng)
    # Only a little of the photograph: the sea is no mark of an individual.
    light = float(rng.uniform(0.7, 1.1))
    canvas = Image.eval(sea, lambda value: int((60 + 0.15 * value) * light))
    side = int(rng.integers(38, 47))
    left = int(rng.integers(15, width - side - 15))
    top = int(rng.integers(height - side))
    ink = min(int(215 * light), 255)
    angle = float(rng.uniform(-10, 10))
    paint(canvas, digit, box=(left, top, side), colour=(ink, ink, ink), angle_deg=angle)
    return encoded(canvas)
