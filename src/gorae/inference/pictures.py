"""Which pixels a network is shown: pictures by the hash of their file, read and resized once.

What views show of a picture are places seen through symmetries (``gorae.augment.names``).
A place costs a read and a resize, a symmetry next to nothing, so places are what is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gorae.augment.names import split_view
from gorae.augment.views import is_by_id, place_squares, places_of, through_symmetry
from gorae.data.dataset import Pixels
from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError
from gorae.files import sha256_bytes


@dataclass(frozen=True)
class Pictures:
    """Which images are shown to a network, and how."""

    store: Pixels
    hashes: Sequence[str]
    """SHA-256 of each image's file, N; equal ones are computed once."""
    spec: PixelSpec
    ids: Sequence[str] | None = None
    """Id of each image, N; only random crops (``rrc``) depend on it, and need it."""
    metadata: NDArray[np.float32] | None = None
    """What is known of each image beside its pixels, (N, M), NaN where nothing is; for networks
    with a place for it, which without it take it that nothing is known of any."""


def picture_keys(pictures: Pictures, views: Sequence[str]) -> list[str]:
    """A name (64 hexadecimal digits) for all that decides what each image looks like, N.

    The hash of its file; where a view is random by the image's id, a hash of both.

    Raises:
        ConfigError: A view is random by the id, and there are no ids.
    """
    random = [view for view in views if is_by_id(split_view(view)[0])]
    if not random:
        return list(pictures.hashes)
    if pictures.ids is None:
        raise ConfigError(
            f"The view {random[0]} shows a part drawn from the image's id, and these pictures "
            "have no ids. Give Pictures its ids, or leave the rrc views out."
        )
    return [
        sha256_bytes(f"{sha256}/{image_id}".encode())
        for sha256, image_id in zip(pictures.hashes, pictures.ids, strict=True)
    ]


@dataclass(frozen=True)
class Distinct:
    """The different pictures among ``Pictures`` under some views."""

    pictures: Pictures
    views: tuple[str, ...]
    first: NDArray[np.int64]
    """Where each different picture comes first, U numbers below N."""
    rows: NDArray[np.int64]
    """Which different picture each image is, N numbers below U."""


def find_distinct(pictures: Pictures, views: Sequence[str]) -> Distinct:
    """See ``Distinct``; in order of the first occurrence.

    Raises:
        ConfigError: As in ``picture_keys``.
    """
    keys = picture_keys(pictures, views)
    if pictures.metadata is not None:
        # Copies of one picture may be known by different metadata.
        known = [row.tobytes().hex() for row in pictures.metadata]
        keys = [f"{key}/{row}" for key, row in zip(keys, known, strict=True)]
    number = {key: row for row, key in enumerate(dict.fromkeys(keys))}
    rows = np.array([number[key] for key in keys], dtype=np.int64)
    first = np.unique(rows, return_index=True)[1].astype(np.int64)
    return Distinct(pictures, tuple(views), first, rows)


def read_squares(distinct: Distinct, chosen: NDArray[np.int64]) -> Tensor:
    """What the views' places show of some pictures: uint8 (B, P, 3, S, S).

    Args:
        distinct: The pictures and the views.
        chosen: Images by their number in ``Pictures``, B.
    """
    pictures, places = distinct.pictures, places_of(distinct.views)
    squares = []
    for index in chosen.tolist():
        # A copy, because the store's pages cannot be written and torch wants to be able to.
        pixels = pictures.store.read(pictures.hashes[index]).copy()
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        image_id = pictures.ids[index] if pictures.ids is not None else ""
        squares.append(
            place_squares(image, spec=pictures.spec, places=places, image_id=image_id)
        )
    return torch.stack(squares)


def read_metadata(distinct: Distinct, chosen: NDArray[np.int64]) -> Tensor | None:
    """What is known of some pictures, (B, M), by their number in ``Pictures``."""
    metadata = distinct.pictures.metadata
    return None if metadata is None else torch.from_numpy(metadata[chosen])


def square_bytes(distinct: Distinct) -> int:
    """Memory that ``read_squares`` takes per picture."""
    return len(places_of(distinct.views)) * 3 * distinct.pictures.spec.input_size**2


def view_batch(distinct: Distinct, squares: Tensor, view: str) -> Tensor:
    """What one view shows, uint8 (B, 3, S, S), of what ``read_squares`` gave."""
    place, symmetry = split_view(view)
    found = squares[:, places_of(distinct.views).index(place)]
    return through_symmetry(found, symmetry).contiguous()
