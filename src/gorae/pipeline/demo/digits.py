"""The digits as they are: a competition in the plainest layout, and a recipe of its own."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from gorae.pipeline.demo.sets import DemoSet, csv_text, hidden_part

# A fifth of the digits is kept back; LeNet-5 (LeCun et al., 1998) reads 32 x 32 pixels.
_HIDDEN_SHARE = 0.2
_SIDE_PX = 32
_SPLIT_SEED = 20_251

# Words and not figures, as figures could as well be grades or numbers to be estimated.
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

RECIPE = """\
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


def digits_set() -> DemoSet:
    """All 1,797 digits in train/ and test/, train.csv, a sample and ``recipes/lenet5.toml``."""
    data = load_digits()
    labels = [WORDS[digit] for digit in data.target]
    is_hidden = hidden_part(data.target, share=_HIDDEN_SHARE, seed=_SPLIT_SEED)
    names = [f"digit-{index:04d}" for index in range(len(labels))]
    paths = [
        f"{'test' if hidden else 'train'}/{name}.png"
        for name, hidden in zip(names, is_hidden, strict=True)
    ]
    train = [(names[i], labels[i]) for i in np.flatnonzero(~is_hidden)]
    answers = {names[i]: labels[i] for i in np.flatnonzero(is_hidden)}
    sample = [(name, WORDS[0]) for name in answers]
    return DemoSet(
        "digits",
        tables={
            "train.csv": csv_text(("id", "label"), train),
            "sample_submission.csv": csv_text(("id", "label"), sample),
            "recipes/lenet5.toml": RECIPE,
        },
        pictures=dict(zip(paths, map(digit_png, data.images), strict=True)),
        answers=answers,
    )


def digit_png(values: NDArray[np.float64]) -> bytes:
    """A digit of 8 x 8 grey values from 0 to 16 as a PNG of 32 x 32 pixels."""
    grey = np.round(values * (255 / 16)).astype(np.uint8)
    picture = Image.fromarray(grey).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
