"""System C, cats and dogs: the label stands in the file name, and the test files have numbers.

Layout of the competition of 2013: ``train/train/cat.0.jpg``, ``test/test1/1.jpg`` and a sample
``id,label`` in which 1 is a dog.
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

# Kinds that are not told apart by one stroke, as breeds differ within a species.
KINDS = {"cat": (3, 6), "dog": (5, 9)}

# Photographs are wide, high or square: what is squashed to a square looks different.
_SIZES = ((64, 48), (48, 64), (60, 60))
_SEED = 2013


def cats_set(*, num_train: int = 500, num_test: int = 160) -> DemoSet:
    """Digits in front of pieces of photographs, half of them cats and half dogs."""
    rng = np.random.default_rng(_SEED)
    digits, photographs = read_digits(), read_photographs()
    pictures, answers = {}, {}
    # Each handwritten digit is shown once, so that the test set shows none of train.
    unused = {
        kind: [digits[digit][i] for i in rng.permutation(170) for digit in shown]
        for kind, shown in KINDS.items()
    }
    hidden = rng.permutation([("cat", "dog")[number % 2] for number in range(num_test)])
    kinds = [*(("cat", "dog")[number % 2] for number in range(num_train)), *hidden.tolist()]
    for number, kind in enumerate(kinds):
        picture = _draw(unused[kind].pop(), photographs, rng)
        if number < num_train:
            pictures[f"train/train/{kind}.{number // 2}.jpg"] = picture
        else:
            id_ = str(number - num_train + 1)
            pictures[f"test/test1/{id_}.jpg"] = picture
            answers[id_] = "1" if kind == "dog" else "0"
    sample = csv_text(("id", "label"), [(id_, 0) for id_ in answers])
    return DemoSet("cats", {"sampleSubmission.csv": sample}, pictures, answers)


def _draw(
    digit: Image.Image, photographs: list[Image.Image], rng: np.random.Generator
) -> bytes:
    width, height = _SIZES[int(rng.integers(len(_SIZES)))]
    canvas = draw_backdrop(photographs, (width, height), rng=rng)
    # Dark enough that light ink is seen on it, as an animal in front of a garden.
    canvas = Image.eval(canvas, lambda value: int(value * 0.55))
    side = int(rng.integers(32, 43))
    # About the middle, as people take pictures of animals.
    left = (width - side) // 2 + int(rng.integers(-4, 5))
    top = (height - side) // 2 + int(rng.integers(-4, 5))
    red, green, blue = (int(value) for value in rng.integers(150, 256, 3))
    angle = float(rng.uniform(-12, 12))
    paint(canvas, digit, box=(left, top, side), colour=(red, green, blue), angle_deg=angle)
    return encoded(canvas)
