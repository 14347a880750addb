"""Boxes around faces by OpenCV's cascade of Haar features, where a person asks for them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gorae.errors import ConfigError

# Settings of the course notebook (RoadVirusHN/boostcamp-AI-TIL).
SCALE_STEP = 1.1
MIN_NEIGHBOURS = 4

CASCADE_NAME = "haarcascade_frontalface_default.xml"

FaceFinder = Callable[[NDArray[np.uint8]], NDArray[np.int64]]
"""Pixels (H, W, 3) to face boxes (n, 4): left, top, right, bottom, largest first."""


def build_face_finder(cascade: Path | None = None) -> FaceFinder:
    """A function that finds frontal, upright faces (Viola and Jones, 2001).

    It misses turned faces and takes some textures for faces: its boxes are for looking at.

    Args:
        cascade: File of a trained cascade; None: the one that OpenCV brings along.

    Raises:
        ConfigError: The file is not there or is no cascade.
    """
    path = cascade or Path(cv2.__file__).parent / "data" / CASCADE_NAME
    try:
        # OpenCV reads files by itself and may abort on what it cannot parse.
        finder = cv2.CascadeClassifier(str(path)) if path.is_file() else None
    except (cv2.error, SystemError) as error:
        raise ConfigError(_NO_CASCADE.format(path=path)) from error
    if finder is None or finder.empty():
        raise ConfigError(_NO_CASCADE.format(path=path))

    def find(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        found = finder.detectMultiScale(
            grey, scaleFactor=SCALE_STEP, minNeighbors=MIN_NEIGHBOURS
        )
        boxes = np.array(found, np.int64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return boxes[np.argsort(-area, kind="stable")]

    return find


_NO_CASCADE = (
    "{path} is not a trained cascade that OpenCV can read. Give the path of a file such as "
    f"{CASCADE_NAME} from OpenCV's sources."
)
