"""One training picture under a plan: from the stored image to the input of the network."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gorae.augment.chance import DRAWS_PER_STEP, Draws
from gorae.augment.distort import affine, distorted
from gorae.augment.face import face_box
from gorae.augment.geometry import CROP_ATTEMPTS, drawn_box, eval_transform, resized_box
from gorae.augment.named import apply_transforms, idle_transforms
from gorae.augment.occlude import cutout, random_erasing
from gorae.augment.photometric import (
    blur_or_noise,
    gain,
    hue_saturation_value,
    local_contrast,
    saturation,
    shift,
)
from gorae.augment.plan import AugmentPlan, is_identity
from gorae.augment.randaugment import randaugment
from gorae.data.pixels import PixelSpec

Pixels = NDArray[np.uint8]

# Row of drawn numbers of each step: a new step goes to the end, or pictures would change.
STEPS = (
    "face",
    "transpose",
    "vflip",
    "shift",
    "gain",
    "saturation",
    "blur_noise",
    "distortion",
    "clahe",
    "hsv",
    "affine",
    "cutout",
    "erasing",
)


class Step(NamedTuple):
    """A change of pixels (S, S, 3): its row of drawn numbers, how often, and what."""

    row: int
    p: float
    apply: Callable[[Pixels, Draws], Pixels]


def augmented(
    image: torch.Tensor, *, spec: PixelSpec, plan: AugmentPlan, rng: np.random.Generator
) -> torch.Tensor:
    """A stored image as training shows it.

    In this order: face crop, centre square, random crop to the network's size (or the square
    of evaluation), transpose, flips, brightness and colour, blur or noise, distortion, local
    contrast, hue, affine map, RandAugment, transforms by name, cutout, random erasing.

    Args:
        image: uint8 (3, H, W).
        spec: Size, crop and interpolation of the network.
        plan: What may happen; transforms by name must have passed ``check_transforms``.
        rng: Source of all chance. How much is drawn depends on the plan's numbers of
            operations only, and no step changes what another one draws.

    Returns:
        uint8 (3, S, S) with S = ``spec.input_size``.
    """
    # Crop and left-right flip first: the policy of these two stays as it ever was.
    crop, flip = rng.random((CROP_ATTEMPTS, 4)), rng.random()
    rows = rng.random((len(STEPS), DRAWS_PER_STEP))
    face, transpose, vflip = rows[:3, 0].tolist()
    square = _framed(image, spec, plan, crop=crop, has_face_crop=face < plan.face_crop)
    if transpose < plan.transpose:
        square = square.transpose(1, 2)
    if vflip < plan.vflip:
        square = square.flip(1)
    if flip < plan.hflip:
        square = square.flip(2)

    before, after = _steps(plan)
    square = _applied(square, before, rows)
    if plan.rand_ops:
        draws = rng.random((plan.rand_ops, 4))
        square = _image(randaugment(_pixels(square), draws, magnitude=plan.rand_magnitude))
    if plan.transforms:
        draws = rng.random((len(plan.transforms), 2))
        square = apply_transforms(square.contiguous(), plan.transforms, draws)
    return _applied(square, after, rows).contiguous()


def identity_warnings(plan: AugmentPlan) -> list[str]:
    """One line for each part of a plan that changes no picture, though it was asked for."""
    idle = [
        f"augment.transforms: {name} changes nothing as it is set; give it arguments, or "
        "remove it"
        for name in idle_transforms(plan.transforms)
    ]
    # As many as do something: one is enough.
    rest = replace(plan, transforms=plan.transforms[len(idle) :])
    if is_identity(rest) and plan.policy != "none":
        idle.append(
            f'augment.policy = "{plan.policy}" changes nothing with these settings: every '
            'epoch shows the same pictures. Say "none" if that is meant'
        )
    return idle


def _framed(
    image: torch.Tensor,
    spec: PixelSpec,
    plan: AugmentPlan,
    *,
    crop: Draws,
    has_face_crop: bool,
) -> torch.Tensor:
    """The part of the image that is shown, at the network's size."""
    if has_face_crop:
        left, top, right, bottom = face_box(image)
        image = image[:, top:bottom, left:right]
    if plan.center_square:
        image = _centre_square(image)
    if plan.scale is None:
        return eval_transform(image, spec)
    height, width = image.shape[-2:]
    box = drawn_box(width, height, scale=plan.scale, ratio=plan.ratio, draws=crop)
    return resized_box(image, box, spec)


def _centre_square(image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


@lru_cache(maxsize=16)
def _steps(plan: AugmentPlan) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps of a plan that may happen: before RandAugment, and after the named ones."""

    def step(name: str, p: float, apply: Callable[[Pixels, Draws], Pixels]) -> Step:
        return Step(STEPS.index(name), p, apply)

    before = [
        step("shift", plan.shift.p, partial(shift, limit=plan.shift.limit)),
        step("gain", plan.gain.p, partial(gain, limit=plan.gain.limit)),
        step("saturation", plan.saturation.p, partial(saturation, limit=plan.saturation.limit)),
        step("blur_noise", plan.blur_noise, blur_or_noise),
        step("distortion", plan.distortion, distorted),
        step("clahe", plan.clahe.p, partial(local_contrast, limit=plan.clahe.limit)),
        step("hsv", plan.hsv, hue_saturation_value),
    ]
    if plan.affine is not None:
        before.append(step("affine", plan.affine.p, partial(affine, limits=plan.affine)))
    after = [
        step("cutout", plan.cutout, partial(cutout, side=plan.cutout_side)),
        step("erasing", plan.erasing, random_erasing),
    ]
    return tuple(s for s in before if s.p > 0), tuple(s for s in after if s.p > 0)


def _applied(square: torch.Tensor, steps: tuple[Step, ...], rows: Draws) -> torch.Tensor:
    chosen = [step for step in steps if rows[step.row, 0] < step.p]
    if not chosen:
        return square
    pixels = _pixels(square)
    for step in chosen:
        pixels = step.apply(pixels, rows[step.row, 1:])
    return _image(pixels)


def _pixels(square: torch.Tensor) -> Pixels:
    # Pillow wants rows of whole pixels; from a channels-last crop this copies nothing.
    return square.permute(1, 2, 0).contiguous().numpy()


def _image(pixels: Pixels) -> torch.Tensor:
    # A copy: what comes from Pillow must not be written to.
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
