"""The names of the deterministic views, without torch.

A view is a place in the picture, seen through one of the eight symmetries of the square:
``PLACE``, ``SYMMETRY`` or ``PLACE+SYMMETRY``, such as ``scale0.75+hflip``. What each place
shows is said in ``gorae.augment.views``. Every view has one name, and it fits a file's name.
"""

import itertools
import re
from collections import Counter
from collections.abc import Sequence

from gorae.errors import ConfigError, list_problems

IDENTITY = "identity"

SYMMETRIES = (
    *(IDENTITY, "hflip", "vflip", "rot180"),
    *("transpose", "rot90", "rot270", "transverse"),
)
"""The dihedral group of the square; what each does is in ``gorae.augment.views``."""

FLIPS = SYMMETRIES[:4]

CORNERS = ("corner_tl", "corner_tr", "corner_bl", "corner_br")

GRID_SIZES = (9, 16, 25, 36, 49)

# Numbers are written in one way only, or one view would have two names.
_GRID = re.compile(rf"grid({'|'.join(map(str, GRID_SIZES))})\.([1-9][0-9]?)")
_SCALE = re.compile(r"scale(1|0\.[0-9]?[0-9]?[1-9])")
_RANDOM = re.compile(r"rrc\.([1-9][0-9]{0,2})")

KNOWN_VIEWS = (
    *SYMMETRIES,
    *CORNERS,
    "scaleX with X from 0.001 to 1 (scale0.75)",
    f"gridN.K with N of {', '.join(map(str, GRID_SIZES))} (grid9.1 to grid9.9)",
    "rrc.K with K from 1 to 999 (rrc.1)",
    "facecrop",
)
"""What may be written for a single view, for people."""


def join_view(place: str, symmetry: str) -> str:
    """The name of the view of a place through a symmetry; see ``split_view``."""
    if IDENTITY in (place, symmetry):
        return symmetry if place == IDENTITY else place
    return f"{place}+{symmetry}"


def split_view(view: str) -> tuple[str, str]:
    """The place and the symmetry of a single view; what is not named is ``identity``.

    Raises:
        ConfigError: There is no such view.
    """
    first, plus, second = view.partition("+")
    place, symmetry = (first, second) if plus else (IDENTITY, first)
    if not plus and _is_place(first):
        place, symmetry = first, IDENTITY
    known_parts = (place == IDENTITY or _is_place(place)) and symmetry in SYMMETRIES
    if not known_parts or join_view(place, symmetry) != view:
        raise _no_views([view])
    return place, symmetry


def scale_of(place: str) -> float | None:
    """The share of the short side that a place ``scaleX`` shows; None for others."""
    found = _SCALE.fullmatch(place)
    return float(found.group(1)) if found else None


def grid_of(place: str) -> tuple[int, int, int] | None:
    """Crops per row, row and column (from 0) of a place ``gridN.K``; None for others."""
    found = _GRID.fullmatch(place)
    if found is None:
        return None
    size, number = int(found.group(1)), int(found.group(2))
    if number > size:
        return None
    per_row = round(size**0.5)
    return per_row, (number - 1) // per_row, (number - 1) % per_row


def random_crop_of(place: str) -> int | None:
    """The number of a place ``rrc.K``; None for others."""
    found = _RANDOM.fullmatch(place)
    return int(found.group(1)) if found else None


def _is_place(name: str) -> bool:
    return (
        name in (*CORNERS, "facecrop")
        or scale_of(name) is not None
        or grid_of(name) is not None
        or random_crop_of(name) is not None
    )


def _grid(size: int) -> tuple[str, ...]:
    return tuple(f"grid{size}.{number}" for number in range(1, size + 1))


def _random_crops(count: int) -> tuple[str, ...]:
    return tuple(f"rrc.{number}" for number in range(1, count + 1))


VIEW_FAMILIES: dict[str, tuple[str, ...]] = {
    # haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution.
    "dihedral8": SYMMETRIES,
    # The centre is what ``identity`` shows.
    "five_crop": (IDENTITY, *CORNERS),
    # ngessert/isic2019 (arXiv 1910.03910).
    **{f"grid{size}": _grid(size) for size in GRID_SIZES},
    "isic2019_scales": tuple(
        join_view(f"scale{scale}", flip)
        for scale, flip in itertools.product(("1", "0.5", "0.75", "0.25"), FLIPS)
    ),
    **{f"rrc{count}": _random_crops(count) for count in (2, 4, 8, 16)},
}
"""The single views of each family, in order."""


def expand_views(names: Sequence[str]) -> tuple[str, ...]:
    """Single views in the order asked for, families taken apart.

    A family of places may be seen through a symmetry: ``five_crop+hflip``.

    Args:
        names: Single views and families, at least one.

    Raises:
        ConfigError: No view is named, a name is unknown, or a view comes twice; all such
            names are listed.
    """
    if not names:
        raise ConfigError('predict.views names no view. Write at least ["identity"].')
    expanded = [_expand(name) for name in names]
    unknown = [name for name, views in zip(names, expanded, strict=True) if not views]
    if unknown:
        raise _no_views(unknown)
    views = tuple(itertools.chain.from_iterable(expanded))
    repeated = [view for view, count in Counter(views).items() if count > 1]
    if repeated:
        origins = [
            f"{view} (in {', '.join(_origins(view, names, expanded))})" for view in repeated
        ]
        raise ConfigError(
            f"predict.views holds {len(repeated)} view(s) more than once, which would count "
            f"double in the vote:\n{list_problems(origins)}\nName each view once."
        )
    return views


def _expand(name: str) -> tuple[str, ...]:
    """The single views of a name; none where there is no such name."""
    if name in VIEW_FAMILIES:
        return VIEW_FAMILIES[name]
    family, _, symmetry = name.partition("+")
    members = [split_view(view) for view in VIEW_FAMILIES.get(family, ())]
    is_of_places = all(through == IDENTITY for _, through in members)
    if members and is_of_places and symmetry in SYMMETRIES[1:]:
        return tuple(join_view(place, symmetry) for place, _ in members)
    try:
        split_view(name)
    except ConfigError:
        return ()
    return (name,)


def _origins(view: str, names: Sequence[str], expanded: Sequence[tuple[str, ...]]) -> list[str]:
    return [name for name, views in zip(names, expanded, strict=True) if view in views]


def _no_views(unknown: Sequence[str]) -> ConfigError:
    listed = ", ".join(repr(name) for name in unknown)
    return ConfigError(
        f"predict.views: there is no view {listed}.\n"
        f"Views:\n{list_problems(KNOWN_VIEWS)}\n"
        f"A place goes before a symmetry, joined by '+': scale0.75+hflip.\n"
        f"Families: {', '.join(VIEW_FAMILIES)}."
    )
