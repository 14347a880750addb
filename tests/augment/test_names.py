"""Names of views: one name for each view, families in order, nothing dropped in silence."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.augment.names import (
    CORNERS,
    GRID_SIZES,
    SYMMETRIES,
    VIEW_FAMILIES,
    expand_views,
    grid_of,
    join_view,
    random_crop_of,
    scale_of,
    split_view,
)
from gorae.errors import ConfigError

PLACES = st.one_of(
    st.sampled_from(("identity", "facecrop", *CORNERS, "scale1")),
    st.integers(1, 999).map(lambda share: f"scale{share / 1000:g}"),
    st.sampled_from([view for size in GRID_SIZES for view in VIEW_FAMILIES[f"grid{size}"]]),
    st.integers(1, 999).map(lambda number: f"rrc.{number}"),
)


@given(PLACES, st.sampled_from(SYMMETRIES))
def test_a_name_splits_into_what_it_was_joined_from(place: str, symmetry: str) -> None:
    view = join_view(place, symmetry)
    assert split_view(view) == (place, symmetry)
    assert expand_views([view]) == (view,)
    assert re.fullmatch(r"[a-z0-9._+-]+", view)


@pytest.mark.parametrize(
    ("family", "count"),
    [
        *(("dihedral8", 8), ("five_crop", 5), ("isic2019_scales", 16), ("rrc8", 8)),
        *((f"grid{size}", size) for size in GRID_SIZES),
    ],
)
def test_families_have_as_many_views_as_their_source(family: str, count: int) -> None:
    views = expand_views([family])
    assert len(set(views)) == len(views) == count
    for view in views:
        split_view(view)


def test_order_is_kept_and_families_are_taken_apart() -> None:
    assert expand_views(["scale0.5+hflip", "five_crop", "hflip"]) == (
        *("scale0.5+hflip", "identity", *CORNERS, "hflip"),
    )
    assert expand_views(["isic2019_scales"])[4:8] == (
        *("scale0.5", "scale0.5+hflip", "scale0.5+vflip", "scale0.5+rot180"),
    )


def test_a_family_of_places_is_seen_through_a_symmetry() -> None:
    assert expand_views(["five_crop+hflip"]) == (
        "hflip",
        *(f"{corner}+hflip" for corner in CORNERS),
    )


def test_parts_of_names_are_read() -> None:
    assert scale_of("scale0.75") == 0.75
    assert scale_of("scale1") == 1
    assert grid_of("grid9.1") == (3, 0, 0)
    assert grid_of("grid16.7") == (4, 1, 2)
    assert grid_of("grid9.10") is None
    assert random_crop_of("rrc.12") == 12
    for other in ("identity", "corner_tl"):
        assert (scale_of(other), grid_of(other), random_crop_of(other)) == (None,) * 3


@pytest.mark.parametrize(
    "name",
    [
        *("", "+", "hflip+", "+hflip", "HFLIP", "mirror", "identity+hflip", "hflip+identity"),
        *("hflip+vflip", "hflip+scale0.5", "scale0.5+hflip+vflip", "scale0.5+identity"),
        *("scale0.50", "scale1.0", "scale0", "scale0.0", "scale1.5", "scale.5", "scale0.1234"),
        *("grid9.0", "grid9.10", "grid9.01", "grid10.1", "grid12", "rrc.0", "rrc.1000", "rrc3"),
        *("dihedral8+hflip", "isic2019_scales+transpose", "five_crop+identity", "hflip\n"),
        "scale٠.5",
    ],
)
def test_a_name_that_is_none_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no view") as caught:
        expand_views(["identity", name])
    for known in (repr(name), "transverse", "facecrop", "isic2019_scales", "scale0.75+hflip"):
        assert known in str(caught.value)
    if name not in VIEW_FAMILIES:
        with pytest.raises(ConfigError, match="there is no view"):
            split_view(name)


def test_all_unknown_names_are_listed_at_once() -> None:
    with pytest.raises(ConfigError, match="there is no view 'one', 'two'"):
        expand_views(["one", "hflip", "two"])


def test_a_view_that_comes_twice_is_an_error_that_says_where() -> None:
    with pytest.raises(ConfigError, match="2 view") as caught:
        expand_views(["dihedral8", "scale0.5", "hflip", "five_crop"])
    assert "hflip (in dihedral8, hflip)" in str(caught.value)
    assert "identity (in dihedral8, five_crop)" in str(caught.value)


def test_no_view_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match="names no view"):
        expand_views([])


def test_names_load_no_torch() -> None:
    code = "import sys, gorae.augment.names; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
