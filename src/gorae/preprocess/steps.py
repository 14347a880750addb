"""A list of steps, done one after another; plain values that can be written as JSON.

>>> apply_steps(pixels, [{"step": "face_crop"}, {"step": "pad_square", "fill": [0, 0, 0]}])
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gorae.preprocess import colour, crops, shape
from gorae.preprocess.framed import Box, Framed, Point, box_corners, moved

# Raised when a step gives other pixels for the same picture, so that no stale store is used.
STEPS_VERSION = 1

# Shares of a box that differ by less are the same: whole pixels and float32 areas.
_CUT_TOLERANCE = 0.002

Step = Callable[..., Framed]


def _on_values(change: Callable[..., NDArray[np.uint8]]) -> Step:
    """A step that changes values and no places."""

    def step(framed: Framed, **arguments: Any) -> Framed:
        return replace(framed, pixels=change(framed.pixels, **arguments))

    return step


STEPS: dict[str, Step] = {
    "crop_box": crops.crop_box,
    "align": shape.align,
    "face_crop": crops.face_crop,
    "fov_crop": crops.fov_crop,
    "border_crop": crops.border_crop,
    "pad_square": shape.pad_square,
    "resize": shape.resize,
    "greyscale": _on_values(colour.greyscale),
    "clahe": _on_values(colour.clahe),
    "brightness": _on_values(colour.brightness),
    "gamma": _on_values(colour.gamma),
    "contrast": _on_values(colour.contrast),
    "saturation": _on_values(colour.saturation),
    "min_max": _on_values(colour.min_max),
    "shades_of_grey": _on_values(colour.shades_of_grey),
    "outline": _on_values(colour.outline),
}
"""Each step by its name: a picture and the step's settings to a picture."""


def steps_version() -> list[Any]:
    """What decides the pixels of a list of steps beside the list itself."""
    return [STEPS_VERSION, cv2.__version__]


def apply_steps(
    pixels: NDArray[np.uint8],
    steps: Sequence[Mapping[str, Any]],
    *,
    box: Box | None = None,
    points: Sequence[Point] = (),
) -> Framed:
    """The picture after all steps.

    Args:
        pixels: RGB, (H, W, 3), uint8.
        steps: Each with its name under ``step`` and its settings.
        box: What must not be cut, in pixels of the picture.
        points: Landmarks in pixels of the picture.

    Returns:
        The picture with where box and points lie now, and notes: no step fails on a picture.

    Raises:
        MemoryError: There is too little of it.
    """
    *_, (_, last) = each_step(pixels, steps, box=box, points=points)
    return last


def each_step(
    pixels: NDArray[np.uint8],
    steps: Sequence[Mapping[str, Any]],
    *,
    box: Box | None = None,
    points: Sequence[Point] = (),
) -> Iterator[tuple[str, Framed]]:
    """The picture as it is ("raw"), and after each step by name; as in ``apply_steps``."""
    framed = Framed(pixels, box, tuple((float(x), float(y)) for x, y in points))
    seen = _share_inside(framed)
    if seen < 1 - _CUT_TOLERANCE:
        framed = framed.noted(
            f"box_cut: the border of the picture leaves {seen:.0%} of the box"
        )
    yield "raw", framed
    for settings in steps:
        arguments = dict(settings)
        name = arguments.pop("step")
        try:
            framed = STEPS[name](framed, **arguments)
        except cv2.error as error:
            # OpenCV's word for what NumPy calls MemoryError.
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError(f"step {name}") from error
            raise
        left = _share_inside(framed)
        if left < seen - _CUT_TOLERANCE:
            framed = framed.noted(f"box_cut: {name} leaves {left:.0%} of the box")
        seen = min(seen, left)
        yield name, framed


def _share_inside(framed: Framed) -> float:
    """Share of the box that lies inside the picture, 0 to 1; 1 where there is no box."""
    if framed.box is None:
        return 1.0
    width, height = framed.size
    corners = moved(framed.matrix, box_corners(framed.box)).astype(np.float32)
    whole = cv2.contourArea(corners)
    frame = box_corners((0, 0, width, height)).astype(np.float32)
    inside, _ = cv2.intersectConvexConvex(corners, frame)
    return float(inside / whole) if whole > 0 else 1.0
