"""The face crop on tensors is that of preprocessing."""

import numpy as np
import torch

from gorae.augment.face import face_box
from gorae.preprocess import face


def test_tensors_and_arrays_have_the_same_box() -> None:
    rng = np.random.default_rng(0)
    for height, width in ((512, 384), (90, 200), (3, 2)):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        assert face_box(image) == face.face_box(pixels)


def test_a_bright_rectangle() -> None:
    image = torch.full((3, 512, 384), 30, dtype=torch.uint8)
    image[:, 128:384, 112:272] = 200
    assert face_box(image) == (39, 35, 309, 397)
