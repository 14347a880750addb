import numpy as np
import pytest
import torch

from gorae.augment.mix import MixPlan, blended, cut_in, cutmix_box, half_cut_in, mix_batch
from gorae.data.dataset import philox


def batch(num: int = 8, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of one value each, i + 1, and one-hot targets: mixtures can be read off."""
    values = torch.arange(1, num + 1, dtype=torch.uint8)
    return values[:, None, None, None].expand(num, 3, side, side).contiguous(), torch.eye(num)


def test_the_box_of_half_the_area() -> None:
    box = cutmix_box(224, 224, share=0.5, centre=(112, 112))
    assert (box[2] - box[0], box[3] - box[1]) == (158, 158)
    corner = cutmix_box(224, 224, share=0.5, centre=(0, 0))
    assert corner == (0, 0, 79, 79)
    images, targets = torch.zeros(1, 3, 224, 224), torch.tensor([[1.0, 0.0]])
    _, mixed = cut_in((images, targets), (images, targets.flip(1)), box=corner)
    assert mixed[0, 0].item() == pytest.approx(0.875618, abs=1e-6)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_labels_are_the_areas_of_the_pictures(seed: int, dtype: torch.dtype) -> None:
    images, targets = batch()
    images = images.to(dtype)
    mixed, rows = mix_batch(images, targets, plan=MixPlan(cutmix=1.0), rng=philox(0, 0, seed))
    assert mixed.dtype == dtype
    assert torch.allclose(rows.sum(dim=1), torch.ones(8))
    for picture, row in zip(mixed, rows, strict=True):
        for value in range(1, 9):
            area = (picture[0] == value).float().mean()
            assert row[value - 1] == pytest.approx(area.item(), abs=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_mixup_blends_pictures_as_labels(seed: int) -> None:
    images, targets = batch()
    plan = MixPlan(mixup=0.4)
    exact, rows = mix_batch(images.float(), targets, plan=plan, rng=philox(0, 0, seed))
    expected = rows @ torch.arange(1.0, 9.0)
    torch.testing.assert_close(exact[:, 0, 0, 0], expected)
    rounded, same = mix_batch(images, targets, plan=plan, rng=philox(0, 0, seed))
    assert rounded.dtype == torch.uint8
    assert torch.equal(same, rows)
    assert (rounded.float() - exact).abs().max() <= 0.5


def test_mixup_of_hard_labels_by_hand() -> None:
    first = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8), torch.tensor([[1.0, 0.0]])
    other = torch.full((1, 3, 2, 2), 201, dtype=torch.uint8), torch.tensor([[0.0, 1.0]])
    images, targets = blended(first, other, share=0.75)
    assert (images == 125).all()
    assert targets.tolist() == [[0.75, 0.25]]


def test_half_cutmix_puts_the_partners_right_half_on_the_left() -> None:
    picture = torch.arange(8.0).expand(1, 3, 8, 8)
    partner = picture + 10
    images, targets = half_cut_in(
        (picture, torch.tensor([[1.0, 0.0]])), (partner, torch.tensor([[0.0, 1.0]]))
    )
    assert images[0, 0, 0].tolist() == [14, 15, 16, 17, 4, 5, 6, 7]
    assert targets.tolist() == [[0.5, 0.5]]


def test_nobody_is_mixed_with_itself() -> None:
    images, targets = batch(5)
    for seed in range(50):
        plan = MixPlan(half_cutmix=1.0)
        _, rows = mix_batch(images, targets, plan=plan, rng=philox(0, 0, seed))
        assert torch.equal(rows.diagonal(), torch.full((5,), 0.5))
        assert torch.equal(rows.sum(dim=0), torch.ones(5)), "each is a partner once"


def test_boxes_and_halves_come_from_the_partners() -> None:
    images, targets = batch()
    partners = torch.full_like(images, 200), torch.flip(targets, [0])
    for plan in (MixPlan(cutmix=1.0), MixPlan(half_cutmix=1.0)):
        mixed, rows = mix_batch(
            images, targets, plan=plan, rng=philox(0, 0, 1), partners=partners
        )
        assert (mixed == 200).any()
        foreign = (mixed == 200).float().mean().item()
        assert (rows * partners[1]).sum().item() / 8 == pytest.approx(foreign, abs=1e-6)


def test_shares_of_batches_and_pictures() -> None:
    images, targets = batch(side=8)

    def changed(plan: MixPlan) -> tuple[float, float]:
        """Share of batches, and of pictures, whose labels are mixed."""
        rows = [
            mix_batch(images, targets, plan=plan, rng=philox(1, 0, i))[1] for i in range(300)
        ]
        mixed = np.array([(row != targets).any(dim=1).numpy() for row in rows])
        return float(mixed.any(axis=1).mean()), float(mixed.mean())

    assert changed(MixPlan(mixup=1.0, mix_share=0.25)) == pytest.approx((0.25,) * 2, abs=0.08)
    assert changed(MixPlan(half_cutmix=0.25))[1] == pytest.approx(0.25, abs=0.03)
    assert changed(MixPlan()) == (0, 0)


def test_both_kinds_half_of_the_time() -> None:
    images, targets = batch(side=16)
    plan = MixPlan(mixup=1.0, cutmix=1.0)
    boxed = 0
    for seed in range(300):
        mixed, _ = mix_batch(images.float(), targets, plan=plan, rng=philox(2, 0, seed))
        boxed += bool(mixed[0].min() < mixed[0].max())
    assert 115 <= boxed <= 175


def test_a_mixture_depends_on_the_key_alone_and_leaves_the_batch_as_it_is() -> None:
    images, targets = batch()
    before = images.clone(), targets.clone()
    plan = MixPlan(mixup=0.3, cutmix=0.7)
    for seed in range(8):
        first = mix_batch(images, targets, plan=plan, rng=philox(0, 3, seed))
        again = mix_batch(images, targets, plan=plan, rng=philox(0, 3, seed))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, (images, targets), strict=True))


def test_a_batch_of_one_stays_what_it_is_in_labels() -> None:
    images, targets = batch(1)
    for plan in (MixPlan(mixup=1.0), MixPlan(cutmix=1.0), MixPlan(half_cutmix=1.0)):
        _, rows = mix_batch(images, targets, plan=plan, rng=philox(0, 0, 0))
        assert torch.equal(rows, targets)
