"""The face crop on tensors; where the face is likely to be: ``gorae.preprocess.face``."""

import torch

from gorae.augment.occlude import Box
from gorae.preprocess import face


def face_box(image: torch.Tensor) -> Box:
    """Where the face of an upright portrait is likely to be; no chance is involved.

    Args:
        image: uint8 (3, H, W).

    Returns:
        (left, top, right, bottom), as ``gorae.preprocess.face.face_box`` has it.
    """
    return face.face_box(image.permute(1, 2, 0).numpy())
