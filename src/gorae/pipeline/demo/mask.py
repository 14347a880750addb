"""System D, masks: seven pictures of each person, and classes of mask, gender and age group.

Layout of the competition: ``train/train.csv`` (``id,gender,race,age,path``), a folder of seven
pictures per person below ``train/images``, ``eval/info.csv`` (``ImageID,ans``) and
``eval/images``. The class is 6 x mask + 3 x gender + age group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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

# The name of each picture of a person and its mask: worn, worn wrongly, not worn.
SHOTS = (
    *((f"mask{number}", 0) for number in range(1, 6)),
    ("incorrect_mask", 1),
    ("normal", 2),
)
GENDERS = ("male", "female")

# Which digit stands for what.
_MASK_DIGITS, _GENDER_DIGITS, _AGE_DIGITS = (0, 6, 7), (1, 2), (3, 4, 9)

# Shares of people by gender and age group, as in the competition; each pair has its least.
_SHARES = ((0.203, 0.152, 0.031), (0.271, 0.303, 0.040))
_AGES = ((18, 30), (30, 60), (60, 61))
_LEAST = 2

_SIZE = (48, 64)
_EXTENSIONS = ("jpg", "png", "jpeg")
_SEED = 2021


@dataclass(frozen=True)
class _Person:
    gender: int
    group: int
    age: int
    digits: tuple[Image.Image, ...]
    """Of gender, age group and each state of the mask: the same ones in all pictures."""
    backdrop: Image.Image


def mask_set(*, num_train: int = 90, num_test: int = 36) -> DemoSet:
    """``num_train`` persons with labels and ``num_test`` without, each in seven pictures."""
    rng = np.random.default_rng(_SEED)
    train, test = (_draw_people(number, rng) for number in (num_train, num_test))
    lines, pictures, answers = [], {}, {}
    for number, person in enumerate(train, start=1):
        gender = GENDERS[person.gender]
        path = f"{number:06d}_{gender}_Asian_{person.age}"
        lines.append((f"{number:06d}", gender, "Asian", person.age, path))
        extension = _EXTENSIONS[number % len(_EXTENSIONS)]
        for name, mask in SHOTS:
            picture = encoded(_draw(person, mask, rng), extension)
            pictures[f"train/images/{path}/{name}.{extension}"] = picture
    shown = [(person, mask) for person in test for _, mask in SHOTS]
    names = rng.choice(16**8, len(shown), replace=False)
    for place in rng.permutation(len(shown)):
        person, mask = shown[place]
        image = f"{names[place]:08x}.jpg"
        pictures[f"eval/images/{image}"] = encoded(_draw(person, mask, rng))
        answers[image] = str(6 * mask + 3 * person.gender + person.group)
    return DemoSet(
        "mask",
        tables={
            "train/train.csv": csv_text(("id", "gender", "race", "age", "path"), lines),
            "eval/info.csv": csv_text(("ImageID", "ans"), [(image, 0) for image in answers]),
        },
        pictures=pictures,
        answers=answers,
    )


def _draw_people(number: int, rng: np.random.Generator) -> list[_Person]:
    """So many persons: at least two of each gender and age group, the rest by their shares."""
    photographs, digits = read_photographs(), read_digits()
    kinds = [(gender, group) for gender in (0, 1) for group in (0, 1, 2)]
    shares = np.array([_SHARES[gender][group] for gender, group in kinds])
    rest = rng.choice(len(kinds), number - _LEAST * len(kinds), p=shares / shares.sum())
    chosen = [*kinds * _LEAST, *(kinds[int(place)] for place in rest)]

    def one_of(digit: int) -> Image.Image:
        return digits[digit][int(rng.integers(len(digits[digit])))]

    people = []
    for place in rng.permutation(len(chosen)):
        gender, group = chosen[place]
        wanted = (_GENDER_DIGITS[gender], _AGE_DIGITS[group], *_MASK_DIGITS)
        people.append(
            _Person(
                gender,
                group,
                int(rng.integers(*_AGES[group])),
                tuple(map(one_of, wanted)),
                draw_backdrop(photographs, _SIZE, rng=rng),
            )
        )
    return people


def _draw(person: _Person, mask: int, rng: np.random.Generator) -> Image.Image:
    """Gender and age group above, the mask below, before the person's own wall."""
    light = float(rng.uniform(0.45, 0.6))
    canvas = Image.eval(person.backdrop, lambda value: int(value * light))
    shown: Sequence[Image.Image] = (*person.digits[:2], person.digits[2 + mask])
    for digit, (left, top), side in zip(
        shown, ((1, 8), (23, 8), (11, 30)), (22, 22, 24), strict=True
    ):
        right, down = (int(step) for step in rng.integers(0, 3, 2))
        ink = int(rng.integers(200, 256))
        paint(canvas, digit, box=(left + right, top + down, side), colour=(ink, ink, ink))
    return canvas
