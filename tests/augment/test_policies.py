from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gorae.augment.face import face_box
from gorae.augment.geometry import crop_box, eval_transform, resized_box, train_transform
from gorae.augment.plan import POLICIES, resolve_augment
from gorae.augment.policies import augmented, identity_warnings
from gorae.data.dataset import philox
from gorae.data.pixels import PixelSpec

SPEC = PixelSpec((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 48, "bilinear", 0.875)

# Everything at once, so that every step has been done by somebody.
EVERYTHING: dict[str, Any] = {
    "center_square": True,
    "face_crop": 0.5,
    "scale": (0.3, 1.0),
    "rand_ops": 3,
    "transforms": (
        {"name": "RandomRotation", "degrees": 20},
        {"name": "CenterCrop", "size": 40},
    ),
    "erasing": 0.5,
}


def photograph(height: int = 60, width: int = 80) -> torch.Tensor:
    """Smooth colours in the memory layout of the store."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    pixels = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def drawn(index: int = 0, *, policy: str = "none", **given: Any) -> torch.Tensor:
    plan = resolve_augment(policy, given)
    return augmented(photograph(), spec=SPEC, plan=plan, rng=philox(0, 0, index))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", [(60, 80), (55, 48), (1, 1), (3, 900)])
def test_any_picture_becomes_a_square_that_depends_on_the_key_alone(
    policy: str, shape: tuple[int, int]
) -> None:
    image = photograph(*shape)
    before = image.clone()
    for index in range(6):
        first, again = (
            augmented(image, spec=SPEC, plan=POLICIES[policy], rng=philox(1, 2, index))
            for _ in range(2)
        )
        assert (first.shape, first.dtype) == ((3, 48, 48), torch.uint8)
        assert first.is_contiguous()
        assert torch.equal(first, again)
        packed = augmented(
            image.contiguous(), spec=SPEC, plan=POLICIES[policy], rng=philox(1, 2, index)
        )
        assert torch.equal(first, packed), "the memory layout changes nothing"
    assert torch.equal(image, before)


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"none"}))
def test_pictures_differ_from_draw_to_draw(policy: str) -> None:
    results = {drawn(index, policy=policy).numpy().tobytes() for index in range(20)}
    assert len(results) >= 18


def test_everything_at_once_is_a_picture_too() -> None:
    results = [drawn(index, policy="isic2020", **EVERYTHING) for index in range(10)]
    assert {(tuple(r.shape), r.dtype) for r in results} == {((3, 48, 48), torch.uint8)}
    again = [drawn(index, policy="isic2020", **EVERYTHING) for index in range(10)]
    assert all(torch.equal(a, b) for a, b in zip(results, again, strict=True))


def test_standard_is_the_random_crop_and_flip_of_ever() -> None:
    plan = POLICIES["standard"]
    for index in range(50):
        expected = train_transform(
            photograph(),
            SPEC,
            scale=(0.35, 1.0),
            ratio=(3 / 4, 4 / 3),
            hflip=0.5,
            rng=philox(0, 3, index),
        )
        assert torch.equal(
            augmented(photograph(), spec=SPEC, plan=plan, rng=philox(0, 3, index)), expected
        )


def test_none_is_evaluation() -> None:
    assert torch.equal(drawn(), eval_transform(photograph(), SPEC))


def test_flips_and_transposes_are_those_of_the_square() -> None:
    square = eval_transform(photograph(), SPEC)
    assert torch.equal(drawn(hflip=1.0), square.flip(2))
    assert torch.equal(drawn(vflip=1.0), square.flip(1))
    assert torch.equal(drawn(transpose=1.0), square.transpose(1, 2))


def test_eight_poses_are_equally_frequent() -> None:
    poses: dict[bytes, int] = {}
    for index in range(800):
        pose = drawn(index, hflip=0.5, vflip=0.5, transpose=0.5).numpy().tobytes()
        poses[pose] = poses.get(pose, 0) + 1
    assert len(poses) == 8
    assert min(poses.values()) > 65


@pytest.mark.parametrize(
    "more",
    [
        {"vflip": 0.01},
        {"cutout": 0.01, "cutout_side": 0.2},
        {"erasing": 0.01},
        {"face_crop": 0.01},
        {"transforms": ({"name": "RandomRotation", "degrees": 9, "p": 0.01},)},
    ],
)
def test_one_step_never_changes_what_another_draws(more: dict[str, Any]) -> None:
    """Switched on, but hardly ever happening: nearly all pictures stay what they were."""
    for policy in ("standard", "random"):
        given = {"scale": (0.3, 1.0), "hflip": 0.5}
        equal = [
            torch.equal(
                drawn(i, policy=policy, **given), drawn(i, policy=policy, **given, **more)
            )
            for i in range(40)
        ]
        assert sum(equal) >= 36


def test_centre_square_comes_before_the_crop() -> None:
    image = photograph()
    middle = image[:, :, 10:70]
    for index in range(5):
        box = crop_box(60, 60, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), rng=philox(0, 0, index))
        assert torch.equal(drawn(index, policy="base"), resized_box(middle, box, SPEC))


def test_the_face_is_cut_out_half_of_the_time() -> None:
    left, top, right, bottom = face_box(photograph())
    face = eval_transform(photograph()[:, top:bottom, left:right], SPEC)
    whole = eval_transform(photograph(), SPEC)
    assert torch.equal(drawn(face_crop=1.0), face)
    faces = [torch.equal(drawn(i, face_crop=0.5), face) for i in range(200)]
    wholes = [torch.equal(drawn(i, face_crop=0.5), whole) for i in range(200)]
    assert 70 <= sum(faces) <= 130
    assert sum(faces) + sum(wholes) == 200


@pytest.mark.parametrize("size", [33, 64])
def test_another_input_size_shows_the_same_part(size: int) -> None:
    """Progressive training: the same draw at another size is the same picture."""
    spec = replace(SPEC, input_size=size)
    for policy in ("standard", "isic2019"):
        plan = replace(POLICIES[policy], cutout=0.0)
        small, large = (
            augmented(photograph(), spec=s, plan=plan, rng=philox(0, 0, 5)).float()
            for s in (SPEC, spec)
        )
        resized = torch.nn.functional.interpolate(large[None], [48, 48], mode="bilinear")[0]
        assert (resized - small).abs().mean() < 8


def test_warnings_for_what_changes_nothing() -> None:
    def warnings(policy: str, **given: Any) -> list[str]:
        return identity_warnings(resolve_augment(policy, given))

    assert [policy for policy in POLICIES if warnings(policy)] == []
    (idle,) = warnings("standard", transforms=({"name": "ColorJitter"},))
    assert "ColorJitter changes nothing as it is set" in idle
    (nothing,) = warnings("standard", scale=(1.0, 1.0), hflip=0.0)
    assert 'augment.policy = "standard" changes nothing' in nothing
    both = warnings("base", scale=(1.0, 1.0), transforms=({"name": "ColorJitter"},))
    assert len(both) == 2
    assert warnings("base", scale=(1.0, 1.0), transforms=({"name": "RandomInvert"},)) == []
