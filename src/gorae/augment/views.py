"""The deterministic views of test-time augmentation: what a network is shown of a picture.

A view is a place in the picture, seen through a symmetry (names: ``gorae.augment.names``).
No place squashes the picture; what a picture that is not square loses is said with each.
"The resized picture" is the whole one, its short side brought to ``input_size / crop_pct``,
S is ``input_size``:

``identity``
    The centre square S of the resized picture, as in evaluation: the far ends of the long
    side are not seen.
``corner_tl``, ``corner_tr``, ``corner_bl``, ``corner_br``
    The squares S at the corners (top or bottom, left or right) of the resized picture; of a
    long picture they show the ends, not the middle. Where ``crop_pct`` is 1 a square
    picture's corners are all the same as ``identity``.
``gridN.K``
    Square K, row by row from the top left, of sqrt(N) x sqrt(N) squares S spread evenly from
    edge to edge over the resized picture. They overlap more along the short side; a picture
    longer than sqrt(N) S has gaps between them.
``scaleX``
    The centre square whose side is X times the short side, at size S: ``scale1`` is all
    the short side holds, smaller numbers zoom in. A share, not pixels as in the source:
    stored pictures are little larger than S, and below that all its scales would be equal.
``rrc.K``
    A random part of the whole picture (35 to 100 % of the area, as training's ``standard``),
    drawn from the image's id and K alone. The part has a ratio of 3/4 to 4/3 and is resized
    to the square as in training.
``facecrop``
    The box around the face (``gorae.augment.face``), then as ``identity``: a box that is
    higher than wide loses its top and bottom.

Symmetries act on the square, so they lose nothing. The resized picture holds the middle of
a picture that is longer than eight times its width, as in evaluation.

Sources: haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution (the eight symmetries),
ngessert/isic2019 (grids, scales with flips), iloveslowfood/ImageClassfication (face crop).
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gorae.augment.face import face_box
from gorae.augment.geometry import (
    crop_box,
    eval_transform,
    resize_whole,
    resized_box,
)
from gorae.augment.names import (
    CORNERS,
    IDENTITY,
    SYMMETRIES,
    grid_of,
    random_crop_of,
    scale_of,
    split_view,
)
from gorae.data.pixels import PixelSpec

# As the policy "standard": a tenth of a picture says little of it.
RANDOM_SCALE = (0.35, 1.0)
RANDOM_RATIO = (3 / 4, 4 / 3)

_TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda squares: squares,
    "hflip": lambda squares: squares.flip(-1),
    "vflip": lambda squares: squares.flip(-2),
    "rot180": lambda squares: squares.flip(-1, -2),
    "transpose": lambda squares: squares.transpose(-1, -2),
    # Counter-clockwise, as in NumPy.
    "rot90": lambda squares: squares.rot90(1, (-2, -1)),
    "rot270": lambda squares: squares.rot90(3, (-2, -1)),
    # Mirrored at the diagonal that ``transpose`` leaves: from top right to bottom left.
    "transverse": lambda squares: squares.transpose(-1, -2).flip(-1, -2),
}
assert tuple(_TURNS) == SYMMETRIES


def view_square(image: Tensor, *, spec: PixelSpec, view: str, image_id: str) -> Tensor:
    """What one view shows of a stored image.

    Args:
        image: uint8 (3, H, W).
        spec: Size, crop and interpolation of the network.
        view: Name of a single view.
        image_id: Whose image it is; decides the part that ``rrc`` views show.

    Returns:
        uint8 (3, S, S) with S = ``spec.input_size``.

    Raises:
        ConfigError: There is no such view.
    """
    place, symmetry = split_view(view)
    square = place_squares(image, spec=spec, places=(place,), image_id=image_id)[0]
    return through_symmetry(square, symmetry).contiguous()


def through_symmetry(squares: Tensor, symmetry: str) -> Tensor:
    """Squares (..., S, S) through one of ``SYMMETRIES``; may share memory with its input."""
    return _TURNS[symmetry](squares)


def places_of(views: Sequence[str]) -> tuple[str, ...]:
    """The different places that views look at, in order: each needs a resize of its own."""
    return tuple(dict.fromkeys(split_view(view)[0] for view in views))


def is_by_id(place: str) -> bool:
    """Whether a place depends on the image's id: equal pictures then differ."""
    return random_crop_of(place) is not None


def place_squares(
    image: Tensor, *, spec: PixelSpec, places: Sequence[str], image_id: str
) -> Tensor:
    """What several places show of one image; the resize of the whole is done once.

    Args:
        image: uint8 (3, H, W).
        spec: Size, crop and interpolation of the network.
        places: Places, as in ``split_view``, P of them.
        image_id: Whose image it is.

    Returns:
        uint8 (P, 3, S, S).
    """
    whole: Tensor | None = None
    squares = []
    for place in places:
        offset = _offset(place)
        if offset is None:
            squares.append(_own_square(image, spec=spec, place=place, image_id=image_id))
            continue
        if whole is None:
            whole = resize_whole(image, spec)
        squares.append(_cut(whole, offset, spec.input_size))
    return torch.stack(squares)


def _offset(place: str) -> tuple[int, int, int] | None:
    """Where a square of the resized picture lies: down and right of so many steps in all."""
    if place == IDENTITY:
        return 1, 1, 2
    if place in CORNERS:
        return int(place.endswith(("bl", "br"))), int(place.endswith(("tr", "br"))), 1
    cell = grid_of(place)
    return None if cell is None else (cell[1], cell[2], cell[0] - 1)


def _cut(whole: Tensor, offset: tuple[int, int, int], size: int) -> Tensor:
    down, right, steps = offset
    top = (whole.shape[-2] - size) * down // steps
    left = (whole.shape[-1] - size) * right // steps
    return whole[..., top : top + size, left : left + size]


def _own_square(image: Tensor, *, spec: PixelSpec, place: str, image_id: str) -> Tensor:
    """A place that needs a resize of its own."""
    height, width = image.shape[-2:]
    number, scale = random_crop_of(place), scale_of(place)
    if number is not None:
        box = crop_box(
            width, height, scale=RANDOM_SCALE, ratio=RANDOM_RATIO, rng=_chance(image_id, number)
        )
        return resized_box(image, box, spec)
    if scale is not None:
        side = max(1, round(scale * min(height, width)))
        left, top = (width - side) // 2, (height - side) // 2
        return resized_box(image, (left, top, left + side, top + side), spec)
    assert place == "facecrop"
    left, top, right, bottom = face_box(image)
    return eval_transform(image[..., top:bottom, left:right], spec)


def _chance(image_id: str, number: int) -> np.random.Generator:
    """The chance of one random view of one image: the same in every run."""
    digest = hashlib.sha256(image_id.encode()).digest()
    key = np.array([int.from_bytes(digest[:8], "little"), number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
