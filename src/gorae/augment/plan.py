"""What is done to a training picture: plans, and the named policies. Loads no torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from gorae.errors import ConfigError, list_problems

Share = tuple[float, float]


class Chance(NamedTuple):
    """How often something happens, and how strong it is at most."""

    p: float
    limit: float


class Affine(NamedTuple):
    """A random map of the plane: how often, and its largest shift, zoom, turn and slant."""

    p: float
    shift: float
    """Largest shift, as a share of the side."""
    scale: Share
    """Smallest and largest zoom."""
    rotate_deg: float
    shear_deg: float


class NamedTransform(NamedTuple):
    """A transform of torchvision v2: name, probability (None: its own) and arguments."""

    name: str
    p: float | None
    arguments: tuple[tuple[str, Any], ...]


NEVER = Chance(0.0, 0.0)


@dataclass(frozen=True)
class AugmentPlan:
    """Everything that may happen to a training picture, in the order in which it happens.

    The first fields are the settings of ``[augment]``, which documents them; those after
    ``erasing`` are set by policies alone.
    """

    policy: str = "none"
    center_square: bool = False
    face_crop: float = 0.0
    scale: Share | None = None
    """None: no random crop, the square that evaluation sees."""
    ratio: Share = (3 / 4, 4 / 3)
    hflip: float = 0.0
    vflip: float = 0.0
    transpose: float = 0.0
    rand_ops: int = 0
    rand_magnitude: float = 9.0
    transforms: tuple[NamedTransform, ...] = ()
    cutout: float = 0.0
    cutout_side: float = 0.5
    erasing: float = 0.0
    shift: Chance = NEVER
    """Added to all values, as a share of 255."""
    gain: Chance = NEVER
    """All values are multiplied by ``1 - limit`` to ``1 + limit``."""
    saturation: Chance = NEVER
    """Distance from grey is multiplied by ``1 - limit`` to ``1 + limit``."""
    blur_noise: float = 0.0
    """Probability of one of motion, median or Gaussian blur and Gaussian noise."""
    distortion: float = 0.0
    """Probability of one of optical, grid and elastic distortion."""
    clahe: Chance = NEVER
    """Local equalisation of brightness; the limit is that of its contrast."""
    hsv: float = 0.0
    """Probability of a small change of hue, saturation and value."""
    affine: Affine | None = None


# Numbers of the sources, whose broken parts are mended: a centre square stands for a crop of
# 384 pixels from pictures of 384 x 512; no policy squashes; evaluation draws nothing.
_WHOLE = AugmentPlan(scale=(0.08, 1.0), center_square=True)

POLICIES: dict[str, AugmentPlan] = {
    "none": AugmentPlan(),
    # Szegedy et al., 2015, with a smaller range of scales: few epochs on small data sets.
    "standard": AugmentPlan(scale=(0.35, 1.0), hflip=0.5),
    # iloveslowfood/ImageClassfication: base, random, tta, facecrop.
    "base": _WHOLE,
    "random": replace(_WHOLE, rand_ops=2),
    "tta": replace(_WHOLE, rand_ops=2),
    # A square of 224 from 234 x 312 pixels: this share of the area, at every place.
    "facecrop": AugmentPlan(face_crop=0.5, scale=(224**2 / (234 * 312),) * 2, ratio=(1.0, 1.0)),
    # haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution (arXiv 2010.05351).
    "isic2020": AugmentPlan(
        transpose=0.5,
        vflip=0.5,
        hflip=0.5,
        shift=Chance(0.75, 0.2),
        gain=Chance(0.75, 0.2),
        blur_noise=0.7,
        distortion=0.7,
        clahe=Chance(0.7, 4.0),
        hsv=0.5,
        affine=Affine(0.85, 0.1, (0.9, 1.1), 15.0, 0.0),
        cutout=0.7,
        cutout_side=0.375,
    ),
    # ngessert/isic2019 (arXiv 1910.03910), its random-resize form.
    "isic2019": AugmentPlan(
        scale=(0.08, 1.0),
        hflip=0.5,
        vflip=0.5,
        affine=Affine(1.0, 0.0, (0.8, 1.2), 180.0, 10.0),
        gain=Chance(1.0, 32 / 255),
        saturation=Chance(1.0, 0.5),
        cutout=1.0,
        cutout_side=16 / 224,
    ),
}
POLICIES = {name: replace(plan, policy=name) for name, plan in POLICIES.items()}

_NAMES = [field.name for field in fields(AugmentPlan)]

# What a recipe may set.
SETTABLE = tuple(_NAMES[1 : _NAMES.index("erasing") + 1])


def resolve_augment(policy: str, given: Mapping[str, Any]) -> AugmentPlan:
    """The plan of ``policy`` with the fields of ``given`` that are not None put in.

    Raises:
        ConfigError: An unknown policy, a range that is none, or a transform without a name.
    """
    if policy not in POLICIES:
        raise ConfigError(
            f"augment.policy = {policy!r} is not known. Policies: {', '.join(POLICIES)}."
        )
    unknown = set(given) - set(SETTABLE)
    assert not unknown, f"not a field of a plan: {unknown}"
    wanted = {name: value for name, value in given.items() if value is not None}
    problems = [
        *_bad_share("scale", wanted.get("scale"), largest=1.0),
        *_bad_share("ratio", wanted.get("ratio"), largest=math.inf),
    ]
    if "transforms" in wanted:
        wanted["transforms"], bad = _named(wanted["transforms"])
        problems += bad
    if problems:
        raise ConfigError(f"[augment] cannot be used:\n{list_problems(problems)}")
    return replace(POLICIES[policy], **wanted)


def idle_fields(plan: AugmentPlan) -> dict[str, str]:
    """Settings that ``plan`` never looks at, each with the reason."""
    idle = {}
    if plan.scale is None:
        idle["ratio"] = "there is no random crop (augment.scale)"
    if plan.rand_ops == 0:
        idle["rand_magnitude"] = "augment.rand_ops is 0"
    if plan.cutout == 0:
        idle["cutout_side"] = "augment.cutout is 0"
    return idle


def is_identity(plan: AugmentPlan) -> bool:
    """Whether every epoch shows the same pictures, unmixed, as far as numbers tell.

    Transforms by name count as changing something: see ``named.idle_transforms``.
    """
    chances = (
        plan.hflip,
        plan.vflip,
        plan.transpose,
        plan.rand_ops,
        plan.cutout,
        plan.erasing,
        plan.blur_noise,
        plan.distortion,
        plan.hsv,
        *(min(chance) for chance in (plan.shift, plan.gain, plan.saturation, plan.clahe)),
    )
    crops = plan.scale is not None and plan.scale != (1.0, 1.0)
    maybe_face = 0 < plan.face_crop < 1
    moved = plan.affine is not None and plan.affine.p > 0
    return not (any(chances) or crops or maybe_face or moved or plan.transforms)


def _bad_share(name: str, pair: Share | None, *, largest: float) -> list[str]:
    if pair is None or 0 < pair[0] <= pair[1] <= largest:
        return []
    top = "" if math.isinf(largest) else f" up to {largest:g}"
    return [
        f"{name} = ({pair[0]:g}, {pair[1]:g}) must be two numbers above 0{top}, "
        "the smaller first"
    ]


def _named(
    tables: Sequence[Mapping[str, Any]],
) -> tuple[tuple[NamedTransform, ...], list[str]]:
    """The wanted transforms, and what is wrong with those that cannot be read."""
    found: list[NamedTransform] = []
    problems: list[str] = []
    for place, table in enumerate(tables, start=1):
        name, p = table.get("name"), table.get("p")
        if not isinstance(name, str):
            problems.append(
                f"transforms, number {place}: a name is missing, such as "
                '{name = "ColorJitter", brightness = 0.2}'
            )
        elif p is not None and not (isinstance(p, int | float) and 0 <= p <= 1):
            problems.append(f"transforms, number {place}: p = {p!r} must be from 0 to 1")
        else:
            rest = {key: _frozen(v) for key, v in table.items() if key not in ("name", "p")}
            chance = None if p is None else float(p)
            found.append(NamedTransform(name, chance, tuple(rest.items())))
            problems += [
                f"transforms, number {place}: {key} is a table; {name} takes plain values"
                for key, value in rest.items()
                if isinstance(value, Mapping)
            ]
    return tuple(found), problems


def _frozen(value: Any) -> Any:
    """Lists as tuples, so that a plan can be hashed and its transforms built once."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(part) for part in value)
    return value
