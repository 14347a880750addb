"""Views: one geometry with evaluation, the same pixels every time, all parts of the picture."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from gorae.augment.face import face_box
from gorae.augment.geometry import eval_transform, resize_whole
from gorae.augment.names import CORNERS, GRID_SIZES, SYMMETRIES, VIEW_FAMILIES, split_view
from gorae.augment.views import (
    place_squares,
    places_of,
    through_symmetry,
    view_square,
)
from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError

ALL_VIEWS = sorted({view for family in VIEW_FAMILIES.values() for view in family})


def _spec(size: int = 16, crop_pct: float = 0.8) -> PixelSpec:
    return PixelSpec((0.5,) * 3, (0.5,) * 3, size, "bilinear", crop_pct)


def _noise(height: int, width: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8))


def _coordinates(height: int, width: int) -> Tensor:
    """A picture whose red says how far down and whose green how far right a pixel is."""
    down = torch.arange(height).view(-1, 1).expand(height, width)
    right = torch.arange(width).expand(height, width)
    return torch.stack([down, right, torch.zeros_like(down)]).to(torch.uint8)


@pytest.mark.parametrize(("height", "width"), [(30, 30), (25, 60), (70, 20), (5, 9), (3, 200)])
@pytest.mark.parametrize("crop_pct", [0.8, 0.5, 1.0])
def test_every_view_is_a_square_of_the_input_size(
    height: int, width: int, crop_pct: float
) -> None:
    image = _noise(height, width)
    for view in ALL_VIEWS:
        square = view_square(image, spec=_spec(16, crop_pct), view=view, image_id="a")
        assert square.shape == (3, 16, 16)
        assert square.dtype == torch.uint8
        assert square.is_contiguous()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(4, 60),
    st.integers(4, 60),
    st.sampled_from((0.5, 0.875, 1.0)),
    st.integers(0, 9),
)
def test_identity_is_what_evaluation_sees(
    height: int, width: int, crop_pct: float, seed: int
) -> None:
    image, spec = _noise(height, width, seed), _spec(16, crop_pct)
    seen = view_square(image, spec=spec, view="identity", image_id="a")
    assert torch.equal(seen, eval_transform(image, spec))
    assert torch.equal(view_square(image, spec=spec, view="hflip", image_id="a"), seen.flip(-1))


def test_two_calls_give_the_same_bits_for_every_view() -> None:
    image = _noise(40, 33)
    for view in [*ALL_VIEWS, "facecrop+hflip"]:
        one, other = (
            view_square(image.clone(), spec=_spec(), view=view, image_id="x") for _ in range(2)
        )
        assert torch.equal(one, other), view


def test_the_dihedral_group_has_eight_distinct_views_and_is_closed() -> None:
    image = _noise(16, 16)
    seen = [through_symmetry(image, symmetry) for symmetry in SYMMETRIES]
    for (row, one), (column, other) in product(enumerate(seen), enumerate(seen)):
        assert torch.equal(one, other) == (row == column)
    for one, symmetry in product(seen, SYMMETRIES):
        again = through_symmetry(one, symmetry)
        assert sum(torch.equal(again, other) for other in seen) == 1


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_symmetries_are_those_of_pillow(symmetry: str) -> None:
    turns = {
        "hflip": Image.Transpose.FLIP_LEFT_RIGHT,
        "vflip": Image.Transpose.FLIP_TOP_BOTTOM,
        "rot180": Image.Transpose.ROTATE_180,
        "transpose": Image.Transpose.TRANSPOSE,
        "rot90": Image.Transpose.ROTATE_90,
        "rot270": Image.Transpose.ROTATE_270,
        "transverse": Image.Transpose.TRANSVERSE,
    }
    square = _noise(9, 9)
    picture = Image.fromarray(square.permute(1, 2, 0).numpy())
    if symmetry in turns:
        picture = picture.transpose(turns[symmetry])
    expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    assert torch.equal(through_symmetry(square, symmetry), expected)


def test_corners_are_the_corners_of_a_picture_of_the_resized_size() -> None:
    # Short side 20 = 16 / 0.8, so nothing is resized.
    image = _coordinates(20, 30)
    squares = place_squares(image, spec=_spec(), places=CORNERS, image_id="a")
    starts = [(int(square[0, 0, 0]), int(square[1, 0, 0])) for square in squares]
    assert starts == [(0, 0), (0, 14), (4, 0), (4, 14)]


@pytest.mark.parametrize("size", GRID_SIZES)
@pytest.mark.parametrize(("height", "width"), [(40, 48), (48, 40), (40, 40)])
def test_a_grid_shows_every_pixel_in_order(size: int, height: int, width: int) -> None:
    image = _coordinates(height, width)
    squares = place_squares(
        image, spec=_spec(16, 0.4), places=VIEW_FAMILIES[f"grid{size}"], image_id="a"
    )
    starts = [(int(square[0, 0, 0]), int(square[1, 0, 0])) for square in squares]
    assert starts == sorted(starts)
    seen = np.zeros((height, width), dtype=bool)
    for top, left in starts:
        seen[top : top + 16, left : left + 16] = True
    assert seen.all()
    assert starts[-1] == (height - 16, width - 16)


def test_a_scale_is_a_share_of_the_short_side_around_the_centre() -> None:
    image = _coordinates(64, 128)
    spec = _spec(32, 1.0)
    (half, whole) = place_squares(image, spec=spec, places=("scale0.5", "scale1"), image_id="a")
    # Side 32 of 64: rows 16 to 47, columns 48 to 79, not resized.
    assert torch.equal(half, image[:, 16:48, 48:80])
    assert torch.equal(whole, eval_transform(image[:, :, 32:96], spec))


def test_a_random_crop_depends_on_the_id_and_its_number_alone() -> None:
    image = _noise(50, 70)
    seen = {
        (image_id, view): view_square(image, spec=_spec(), view=view, image_id=image_id)
        for image_id in ("a", "b", "한글")
        for view in ("rrc.1", "rrc.2", "rrc.3")
    }
    for (one, square), (other, another) in product(seen.items(), seen.items()):
        assert torch.equal(square, another) == (one == other)
    for place in ("scale0.5", "corner_br", "grid9.4"):
        one_square, other_square = (
            view_square(image, spec=_spec(), view=place, image_id=image_id)
            for image_id in ("a", "b")
        )
        assert torch.equal(one_square, other_square)


def test_a_face_crop_is_the_evaluation_of_the_box() -> None:
    image = _noise(120, 90)
    left, top, right, bottom = face_box(image)
    seen = view_square(image, spec=_spec(), view="facecrop", image_id="a")
    assert torch.equal(seen, eval_transform(image[:, top:bottom, left:right], _spec()))


def test_views_seen_together_are_those_seen_alone() -> None:
    image = _noise(44, 61)
    places = places_of([*ALL_VIEWS, "facecrop"])
    assert set(places) == {split_view(view)[0] for view in [*ALL_VIEWS, "facecrop"]}
    together = place_squares(image, spec=_spec(), places=places, image_id="a")
    for place, square in zip(places, together, strict=True):
        assert torch.equal(square, view_square(image, spec=_spec(), view=place, image_id="a"))


def test_symmetries_share_their_place() -> None:
    assert places_of(VIEW_FAMILIES["dihedral8"]) == ("identity",)
    assert len(places_of(VIEW_FAMILIES["isic2019_scales"])) == 4


def test_the_resized_picture_is_never_smaller_than_the_input() -> None:
    for height, width in ((4, 9), (100, 3), (3, 400)):
        whole = resize_whole(_noise(height, width), _spec(16, 0.8))
        assert min(whole.shape[-2:]) == 20
        assert max(whole.shape[-2:]) <= 8 * 20


def test_an_unknown_view_is_a_message() -> None:
    with pytest.raises(ConfigError, match="there is no view 'mirror'"):
        view_square(_noise(20, 20), spec=_spec(), view="mirror", image_id="a")
