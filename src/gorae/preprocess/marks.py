"""A picture in a small cell with its box and landmarks drawn where they lie."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gorae.preprocess.framed import Framed, box_corners, moved

# Seen on dark and on light pictures, by people who see red and green alike.
BOX_COLOUR, HALO_COLOUR = (255, 196, 0), (20, 20, 20)

_POINT_PX = 3


def marked(framed: Framed, *, side_px: int) -> NDArray[np.uint8]:
    """The picture with its longer side at ``side_px``, its box and landmarks drawn on it.

    Args:
        framed: The picture; a box that was turned is drawn turned, one that is cut as far as
            it is seen.
        side_px: Length of the longer side of the result.

    Returns:
        (H, W, 3).
    """
    width, height = framed.size
    scale = side_px / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(np.ascontiguousarray(framed.pixels))
    small = image.resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(small)
    if framed.box is not None:
        corners = moved(framed.matrix, box_corners(framed.box)) * scale
        # A line on the last pixel is seen, one on the edge behind it is not.
        outline = [tuple(corner) for corner in (*corners.tolist(), corners[0].tolist())]
        outline = [(min(x, size[0] - 1), min(y, size[1] - 1)) for x, y in outline]
        pen.line(outline, fill=HALO_COLOUR, width=4)
        pen.line(outline, fill=BOX_COLOUR, width=2)
    for x, y in (framed.points_here * scale).tolist():
        box = (x - _POINT_PX, y - _POINT_PX, x + _POINT_PX, y + _POINT_PX)
        pen.ellipse(box, fill=BOX_COLOUR, outline=HALO_COLOUR)
    return np.asarray(small)
