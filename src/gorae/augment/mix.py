"""Two pictures of a batch become one, and so do their labels."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gorae.augment.occlude import Box, clipped_box

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class MixPlan:
    """How batches are mixed; the settings of ``[augment]`` of the same names document it."""

    mixup: float = 0.0
    cutmix: float = 0.0
    half_cutmix: float = 0.0
    mix_share: float = 1.0

    @property
    def is_on(self) -> bool:
        """Whether anything is mixed at all."""
        return any((self.mixup, self.cutmix, self.half_cutmix))


def mix_batch(
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    plan: MixPlan,
    rng: np.random.Generator,
    partners: Batch | None = None,
) -> Batch:
    """A batch with its pictures and labels mixed; what is given stays as it is.

    mixup or cutmix changes the whole batch with one share; half cutmix draws for each picture,
    and one that is chosen is mixed in no other way.

    Args:
        images: (B, 3, S, S), of any dtype, which is kept; uint8 is rounded.
        targets: Rows of targets, (B, T), float32.
        plan: What may happen, and how often.
        rng: Source of all chance; a number of draws that depends on B alone.
        partners: Images and targets that boxes and halves are taken from, of the same shapes;
            None: the batch itself in another order, nobody with itself. mixup always uses the
            batch itself.

    Returns:
        Images (B, 3, S, S) and targets (B, T).
    """
    batch = images, targets
    num_images, height, width = len(images), images.shape[-2], images.shape[-1]
    order = torch.from_numpy(_others(num_images, rng)).to(images.device)
    whether, which, x, y = rng.random(4).tolist()
    # Drawn from a stream of its own: how many numbers a Beta takes depends on them.
    shares = np.random.Generator(np.random.Philox(key=rng.integers(2**63)))
    halved = rng.random(num_images) < plan.half_cutmix
    if partners is None and (plan.cutmix or plan.half_cutmix):
        partners = images[order], targets[order]

    mixed = batch
    if (plan.mixup or plan.cutmix) and whether < plan.mix_share:
        if plan.cutmix and (not plan.mixup or which < 0.5):
            assert partners is not None
            share = shares.beta(plan.cutmix, plan.cutmix)
            box = cutmix_box(
                width, height, share=share, centre=(int(x * width), int(y * height))
            )
            mixed = cut_in(batch, partners, box=box)
        else:
            share = shares.beta(plan.mixup, plan.mixup)
            mixed = blended(batch, (images[order], targets[order]), share=share)
    if halved.any():
        assert partners is not None
        chosen = torch.from_numpy(halved).to(images.device)
        halves = half_cut_in(batch, partners)
        mixed = (
            torch.where(chosen[:, None, None, None], halves[0], mixed[0]),
            torch.where(chosen[:, None], halves[1], mixed[1]),
        )
    return mixed


def blended(batch: Batch, partners: Batch, *, share: float) -> Batch:
    """``share`` of each picture and label, and ``1 - share`` of its partner's.

    Source: mixup, Zhang et al., 2018.
    """
    (images, targets), (other_images, other_targets) = batch, partners
    if images.dtype == torch.uint8:
        mixed = torch.lerp(other_images.float(), images.float(), share).round_()
        return mixed.to(torch.uint8), torch.lerp(other_targets, targets, share)
    return (
        torch.lerp(other_images, images, share),
        torch.lerp(other_targets, targets, share),
    )


def cutmix_box(width: int, height: int, *, share: float, centre: tuple[int, int]) -> Box:
    """The box of ``1 - share`` of the area around ``centre`` (x, y), cut off at the edge."""
    side = math.sqrt(1 - share)
    size = int(width * side), int(height * side)
    return clipped_box(size, centre, width=width, height=height)


def cut_in(batch: Batch, partners: Batch, *, box: Box) -> Batch:
    """A box of each partner's picture in the same place; labels by the areas that are seen.

    Source: CutMix, Yun et al., 2019.
    """
    (images, targets), (other_images, other_targets) = batch, partners
    left, top, right, bottom = box
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = other_images[..., top:bottom, left:right]
    area = (right - left) * (bottom - top) / (images.shape[-2] * images.shape[-1])
    return mixed, torch.lerp(targets, other_targets, area)


def half_cut_in(batch: Batch, partners: Batch) -> Batch:
    """The left half is the right half of the partner's picture; labels half and half.

    Source: bcaitech1/p1-img-Lala-chick.
    """
    (images, targets), (other_images, other_targets) = batch, partners
    half = images.shape[-1] // 2
    mixed = images.clone()
    mixed[..., :half] = other_images[..., images.shape[-1] - half :]
    return mixed, torch.lerp(targets, other_targets, 0.5)


def _others(num_images: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each picture the index of another one, each once: one ring through a random order."""
    ring = rng.permutation(num_images)
    others = np.empty_like(ring)
    others[ring] = np.roll(ring, 1)
    return others
