"""Any transform of torchvision v2 by name, with its chance drawn from ours."""

import difflib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache
from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from gorae.augment.chance import Draws
from gorae.augment.plan import NamedTransform
from gorae.errors import ConfigError, list_problems

_TYPES = "pictures stay uint8; they are normalised later, as the network wants it"
_LABELS = "it needs labels; see augment.mixup and augment.cutmix"
_BOXES = "it changes bounding boxes, and there are none"
_NESTED = "it takes other transforms; list those themselves, each with its p"
_VIEWS = "it makes several pictures of one; see predict.views"

# What torchvision has and a training picture cannot use, and why.
REFUSED = {
    **dict.fromkeys(
        (
            "ConvertImageDtype",
            "LinearTransformation",
            "Normalize",
            "PILToTensor",
            "ToDtype",
            "ToImage",
            "ToPILImage",
            "ToPureTensor",
            "ToTensor",
        ),
        _TYPES,
    ),
    **dict.fromkeys(("CutMix", "MixUp"), _LABELS),
    **dict.fromkeys(
        (
            "ClampBoundingBoxes",
            "ClampKeyPoints",
            "ConvertBoundingBoxFormat",
            "RandomIoUCrop",
            "SanitizeBoundingBoxes",
            "SanitizeKeyPoints",
            "SetClampingMode",
        ),
        _BOXES,
    ),
    **dict.fromkeys(
        ("Compose", "Lambda", "RandomApply", "RandomChoice", "RandomOrder"), _NESTED
    ),
    **dict.fromkeys(("FiveCrop", "TenCrop"), _VIEWS),
    "Transform": "it is the class that all others are made from",
    "UniformTemporalSubsample": "it is for video",
}

# Arguments that are words in a recipe.
WORDS: dict[str, type[Enum]] = {
    "interpolation": v2.InterpolationMode,
    "policy": v2.AutoAugmentPolicy,
}

# Side of the picture that a transform is tried on, and how often.
TRIAL_SIDE = 64
TRIALS = 8


def check_transforms(transforms: Sequence[NamedTransform], *, side: int) -> None:
    """Build every transform and try it on noise of ``side`` pixels.

    Raises:
        ConfigError: A name is unknown or cannot be used, or arguments are wrong; all at once.
    """
    problems = [problem for wanted in transforms for problem in _problems(wanted, side)]
    if problems:
        raise ConfigError(f"augment.transforms cannot be used:\n{list_problems(problems)}")


def idle_transforms(transforms: Sequence[NamedTransform]) -> list[str]:
    """Names of the transforms that change no picture, such as ColorJitter with no arguments."""
    return [wanted.name for wanted in transforms if _is_idle(wanted)]


def apply_transforms(
    image: torch.Tensor, transforms: Sequence[NamedTransform], draws: Draws
) -> torch.Tensor:
    """Put an image through transforms that ``check_transforms`` has passed.

    Args:
        image: uint8 (3, S, S).
        transforms: What is applied, in this order.
        draws: Numbers from 0 to 1, (transforms, 2): whether, and the seed.

    Returns:
        uint8 (3, S, S): a result of another size is resized.
    """
    size = list(image.shape[-2:])
    for wanted, (whether, seed) in zip(transforms, draws.tolist(), strict=True):
        transform, p = _build(wanted)
        if whether < p:
            with _seeded(int(seed * 2**53)):
                image = transform(image)
    return image if list(image.shape[-2:]) == size else F.resize(image, size, antialias=True)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's own chance begins at ``seed`` inside, and is as before afterwards."""
    before = torch.get_rng_state()
    # Not torch.manual_seed: it would also set the generators of every GPU.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


@cache
def _build(wanted: NamedTransform) -> tuple[v2.Transform, float]:
    """The transform, and how often it is applied; one with a ``p`` of its own is given it."""
    kind = getattr(v2, wanted.name)
    arguments = {key: _word(key, value) for key, value in wanted.arguments}
    if "p" in _parameters(kind):
        own = {} if wanted.p is None else {"p": wanted.p}
        return kind(**arguments, **own), 1.0
    return kind(**arguments), 1.0 if wanted.p is None else wanted.p


def _word(key: str, value: Any) -> Any:
    return WORDS[key](value) if key in WORDS and isinstance(value, str) else value


def _parameters(kind: type[v2.Transform]) -> list[str]:
    return list(inspect.signature(kind).parameters)


def _known() -> dict[str, type[v2.Transform]]:
    """Transforms that can be used, by name."""
    return {
        name: kind
        for name, kind in vars(v2).items()
        if inspect.isclass(kind) and issubclass(kind, v2.Transform) and name not in REFUSED
    }


def _problems(wanted: NamedTransform, side: int) -> list[str]:
    name, known = wanted.name, _known()
    if name in REFUSED:
        return [f"{name}: {REFUSED[name]}"]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"near it: {', '.join(near)}" if near else f"known: {', '.join(sorted(known))}"
        return [f"{name} is no transform of torchvision.transforms.v2; {hint}"]
    allowed = [key for key in _parameters(known[name]) if key not in ("p", "inplace")]
    unknown = [key for key, _ in wanted.arguments if key not in allowed]
    if unknown:
        takes = ", ".join(allowed) or "no arguments"
        return [f"{name} does not take {', '.join(unknown)}; it takes {takes}"]
    return _failures(wanted, side)


def _failures(wanted: NamedTransform, side: int) -> list[str]:
    """What goes wrong when the transform is built and tried."""
    said = "".join(f", {key} = {value!r}" for key, value in wanted.arguments).removeprefix(", ")
    try:
        transform = _always(wanted)
        with _seeded(0):
            result = transform(_noise(side))
    # What a transform says of arguments it cannot take is its own affair.
    except (TypeError, ValueError, RuntimeError, AssertionError, IndexError) as error:
        return [f"{wanted.name}({said}): {error or 'refused'}"]
    shape = tuple(result.shape)
    if result.dtype != torch.uint8 or len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        kind = str(result.dtype).removeprefix("torch.")
        return [
            f"{wanted.name}({said}): makes {kind} {shape} of a square uint8 picture "
            f"(3, {side}, {side}); it must stay a square colour picture of uint8"
        ]
    return []


def _always(wanted: NamedTransform) -> v2.Transform:
    """The transform applied without fail."""
    kind = getattr(v2, wanted.name)
    if "p" not in _parameters(kind):
        return _build(wanted)[0]
    return _build(wanted._replace(p=1.0))[0]


def _is_idle(wanted: NamedTransform) -> bool:
    if wanted.p == 0:
        return True
    transform, image = _always(wanted), _noise(TRIAL_SIDE)
    for seed in range(TRIALS):
        with _seeded(seed):
            if not torch.equal(transform(image), image):
                return False
    return True


def _noise(side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator)
