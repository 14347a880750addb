import itertools
from typing import Literal

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from gorae.augment.geometry import crop_box, eval_transform, normalise, train_transform
from gorae.data.dataset import philox
from gorae.data.pixels import PixelSpec

SPEC = PixelSpec(
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    input_size=32,
    interpolation="bicubic",
    crop_pct=0.875,
)


def random_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


def random_crop(image: torch.Tensor, rng: np.random.Generator, *, hflip: float) -> torch.Tensor:
    return train_transform(
        image, SPEC, scale=(0.3, 1), ratio=(0.75, 4 / 3), hflip=hflip, rng=rng
    )


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (37, 37), (20, 90), (5, 7)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_is_torchvisions_resize_and_centre_crop(
    height: int, width: int, interpolation: Literal["bilinear", "bicubic"]
) -> None:
    image = random_image(height, width)
    spec = PixelSpec(SPEC.mean, SPEC.std, 32, interpolation, 0.875)
    short_side = round(32 / 0.875)
    scale = short_side / min(height, width)
    reference = v2.functional.resize(
        image,
        [round(height * scale), round(width * scale)],
        interpolation=InterpolationMode(interpolation),
        antialias=True,
    )
    top, left = (reference.shape[1] - 32) // 2, (reference.shape[2] - 32) // 2
    assert torch.equal(
        eval_transform(image, spec), reference[:, top : top + 32, left : left + 32]
    )


def test_evaluation_does_not_squash() -> None:
    """A circle stays round in a wide image, so training and evaluation see one shape."""
    rows, columns = np.mgrid[0:100, 0:200]
    disc = ((rows - 50) ** 2 + (columns - 100) ** 2 < 30**2) * 255
    image = torch.from_numpy(np.repeat(disc[None].astype(np.uint8), 3, axis=0))
    square = eval_transform(image, SPEC)[0] > 127
    height = int(square.any(dim=1).sum())
    width = int(square.any(dim=0).sum())
    assert abs(height - width) <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 65500), (65500, 1), (1, 5000)])
def test_extreme_shapes_give_a_square(height: int, width: int) -> None:
    image = random_image(height, width)
    assert eval_transform(image, SPEC).shape == (3, 32, 32)
    assert random_crop(image, philox(0, 0, 0), hflip=0.5).shape == (3, 32, 32)


def test_memory_layout_of_the_stored_image_changes_nothing() -> None:
    stored = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    strided = torch.from_numpy(stored).permute(2, 0, 1)
    packed = strided.contiguous()
    assert torch.equal(eval_transform(strided, SPEC), eval_transform(packed, SPEC))
    crops = [random_crop(x, philox(0, 1, 2), hflip=0.5) for x in (strided, packed)]
    assert torch.equal(*crops)


def test_same_key_same_crop_and_other_key_other_crop() -> None:
    image = random_image(60, 80)
    crops = {
        key: random_crop(image, philox(*key), hflip=0.5)
        for key in itertools.product((0, 1), (0, 1), (0, 1))
    }
    for key, crop in crops.items():
        assert torch.equal(crop, random_crop(image, philox(*key), hflip=0.5))
    distinct = {crop.numpy().tobytes() for crop in crops.values()}
    assert len(distinct) == len(crops)


def test_flip_follows_its_probability() -> None:
    image = random_image(40, 40)
    never = [random_crop(image, philox(0, 0, i), hflip=0) for i in range(200)]
    half = [random_crop(image, philox(0, 0, i), hflip=0.5) for i in range(200)]
    always = [random_crop(image, philox(0, 0, i), hflip=1) for i in range(200)]
    assert all(torch.equal(a, n.flip(2)) for a, n in zip(always, never, strict=True))
    flips = sum(torch.equal(h, n.flip(2)) for h, n in zip(half, never, strict=True))
    assert 70 <= flips <= 130


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (300, 300)])
def test_boxes_have_the_wanted_area_and_shape(width: int, height: int) -> None:
    scale, ratio = (0.2, 0.6), (0.75, 4 / 3)
    for index in range(500):
        box = crop_box(width, height, scale=scale, ratio=ratio, rng=philox(3, 0, index))
        left, top, right, bottom = box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        share = (right - left) * (bottom - top) / (width * height)
        assert scale[0] - 0.01 <= share <= scale[1] + 0.01
        assert ratio[0] - 0.02 <= (right - left) / (bottom - top) <= ratio[1] + 0.02


def test_boxes_reach_every_edge() -> None:
    boxes = np.array(
        [
            crop_box(20, 20, scale=(0.8, 0.9), ratio=(1, 1), rng=philox(0, 0, i))
            for i in range(400)
        ]
    )
    assert boxes[:, :2].min(axis=0).tolist() == [0, 0]
    assert boxes[:, 2:].max(axis=0).tolist() == [20, 20]


def test_the_whole_image_is_taken_where_no_box_fits() -> None:
    box = crop_box(1000, 10, scale=(1, 1), ratio=(1, 1), rng=philox(0, 0, 0))
    assert box == (495, 0, 505, 10)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalise_is_torchvisions(layout: torch.memory_format) -> None:
    batch = torch.stack([random_image(32, 32, seed) for seed in range(4)])
    reference = v2.functional.normalize(
        v2.functional.to_dtype(batch, torch.float32, scale=True),
        list(SPEC.mean),
        list(SPEC.std),
    )
    result = normalise(batch, SPEC, memory_format=layout)
    torch.testing.assert_close(result, reference, atol=2e-6, rtol=0)
    assert result.is_contiguous(memory_format=layout)
    assert normalise(batch, SPEC, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_normalise_first_used_in_inference_mode_works_in_training() -> None:
    spec = PixelSpec((0.1, 0.2, 0.3), SPEC.std, 32, "bilinear", 1.0)
    batch = random_image(32, 32)[None]
    with torch.inference_mode():
        normalise(batch, spec)
    weight = torch.ones(3, 1, 1, requires_grad=True)
    total = (normalise(batch, spec) * weight).sum()
    (gradient,) = torch.autograd.grad(total, [weight])
    assert gradient.isfinite().all()
