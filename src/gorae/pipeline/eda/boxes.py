"""What ``eda`` shows of boxes: those that the tables give, and faces that it looks for."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gorae.pipeline.eda.look import PICTURE_PX, Look
from gorae.pipeline.pictures import Box, table_boxes
from gorae.report.eda_page import BoxedPicture, BoxesSummary
from gorae.report.page import Picture
from gorae.report.pictures import thumbnail

if TYPE_CHECKING:
    # It loads OpenCV, which few looks at the data need.
    from gorae.eda.faces import FaceFinder

# Pictures in which faces are looked for: some seconds, and enough to see whether there are any.
MAX_SEARCHED = 500
MAX_SHOWN = 24
# Of those shown, pictures whose box reaches outside.
MAX_SHOWN_OUTSIDE = 8
# Tables that count pixels from 1, or the last pixel with the box, are off by one.
OUTSIDE_PX = 1.0


def boxes_section(look: Look) -> BoxesSummary | None:
    """Boxes of the tables and pictures with theirs; None where the tables name no boxes."""
    boxes, faults = _given(look)
    if not boxes and not faults:
        return None
    sizes = _sizes(look)
    outside = [row for row, box in boxes.items() if _is_outside(box, sizes[row])]
    inside = [row for row in boxes if row not in set(outside)]
    shown = outside[:MAX_SHOWN_OUTSIDE]
    shown += [inside[at] for at in spread(len(inside), MAX_SHOWN - len(shown)).tolist()]
    return BoxesSummary(
        kind="boxes",
        pictures=tuple(_boxed(look, row, look.decode(row), [boxes[row]]) for row in shown),
        num_images=len(look.images),
        num_with=len(boxes),
        num_outside=len(outside),
        faults=tuple(faults),
    )


def box_shares(look: Look) -> NDArray[np.float64] | None:
    """(left, top, right, bottom) of the tables' boxes as shares of their pictures, (n, 4);
    None where there are none."""
    boxes, _ = _given(look)
    if not boxes:
        return None
    sides = np.tile(_sizes(look)[list(boxes)], 2)
    shares: NDArray[np.float64] = np.array(list(boxes.values()), np.float64) / sides
    return shares


def _given(look: Look) -> tuple[dict[int, Box], list[str]]:
    """Box of each picture that has one, by row, and what is wrong with others."""
    given, faults = table_boxes(look.context)
    ids = look.images["image_id"].tolist()
    return {row: given[ids[row]] for row in range(len(ids)) if ids[row] in given}, faults


def _sizes(look: Look) -> NDArray[np.float64]:
    """Width and height of each picture, (N, 2)."""
    return look.images[["width_px", "height_px"]].to_numpy(np.float64)


def _is_outside(box: Box, size: NDArray[np.float64]) -> bool:
    left, top, right, bottom = box
    width, height = size.tolist()
    return (
        left < -OUTSIDE_PX
        or top < -OUTSIDE_PX
        or right > width + OUTSIDE_PX
        or bottom > height + OUTSIDE_PX
    )


def faces_section(
    look: Look, find: "FaceFinder", *, on_progress: Callable[[int, int], None]
) -> BoxesSummary:
    """Faces in at most MAX_SEARCHED pictures, as they are stored."""
    rows = spread(len(look.images), MAX_SEARCHED).tolist()
    found: dict[int, list[Box]] = {}
    for done, row in enumerate(rows):
        faces = find(look.read(row))
        if len(faces):
            found[row] = [tuple(face) for face in faces.tolist()]
        on_progress(done + 1, len(rows))
    shown = [list(found)[at] for at in spread(len(found), MAX_SHOWN).tolist()]
    return BoxesSummary(
        kind="faces",
        pictures=tuple(_boxed(look, row, look.read(row), found[row]) for row in shown),
        num_images=len(rows),
        num_with=len(found),
    )


def _boxed(
    look: Look, row: int, pixels: NDArray[np.uint8], boxes: Sequence[Box]
) -> BoxedPicture:
    height, width = pixels.shape[:2]
    name = str(look.images["image_id"].iat[row])
    return BoxedPicture(
        picture=Picture(data=thumbnail(pixels, side_px=2 * PICTURE_PX), name=name),
        size_px=(width, height),
        boxes=tuple(boxes),
        label=look.label(row),
    )


def spread(total: int, most: int) -> NDArray[np.int64]:
    """At most so many places of ``total``, evenly spaced from the first to the last."""
    return np.linspace(0, total - 1, min(most, total)).round().astype(np.int64)
