"""Angular margins: the true class must be nearer than it would need to be.

They act on the outputs of a ``CosineHead`` before any loss that takes logits, never on
predictions::

    logits = with_margins(outputs, targets, margins=margins, scale=head.scale)
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Below, the slope of the sine in the cosine, which is infinite at an angle of 0, is cut off:
# no angle below 0.0003 is told from 0 in float32, where a cosine may also be just above 1.
LEAST_SQUARED_SINE = 1e-7


def with_margins(outputs: Tensor, targets: Tensor, *, margins: Tensor, scale: float) -> Tensor:
    """Logits (B, K) in which the angle to the true class is larger by the margin of the class.

    With an angle t and a margin m, cos t becomes cos(t + m); from t + m = pi on, where that
    would rise again, it goes on falling as cos t does, without a jump. Blended targets get
    their share of the margin.

    Args:
        outputs: ``scale`` times cosines, (B, K).
        targets: Rows of labels without smoothing, (B, K): one-hot, or blended.
        margins: Of each class, (K,), in radians from 0 to below pi.
        scale: What the head multiplied cosines by.

    Source: ArcFace, Deng et al., 2019; their continuation, cos t - m sin m, jumps.
    """
    cosines = outputs.float() / scale
    margins = margins.to(cosines, non_blocking=True)
    sines = (1 - cosines.square()).clamp(min=LEAST_SQUARED_SINE).sqrt()
    cos_m, sin_m = margins.cos(), margins.sin()
    moved = torch.where(cosines > -cos_m, cosines * cos_m - sines * sin_m, cosines + cos_m - 1)
    return scale * torch.lerp(cosines, moved, targets.to(cosines))


def power_margins(
    counts: NDArray[np.number], *, factor: float, power: float, least: float = 0.05
) -> NDArray[np.float64]:
    """``factor * n^power + least`` radians for a class of n images, (K,).

    Rare classes need a large margin, so ``power`` is below 0: individuals of Happywhale had
    factor 0.27126, power -0.364399. A class without images counts as one with an image.

    Source: knshnb/kaggle-happywhale-1st-place; dynamic margins: Ha et al., 2020.
    """
    margins: NDArray[np.float64] = factor * _at_least_one(counts) ** power + least
    return margins


def ranged_margins(
    counts: NDArray[np.number], *, least: float = 0.05, most: float = 0.5
) -> NDArray[np.float64]:
    """Margins from ``least`` for the commonest class to ``most`` for the rarest, (K,).

    They are radians, linear in n^(-1/4). Where all classes are alike, all get ``most``. A
    class without images counts as one with an image.

    Source: ChristofHenkel/kaggle-landmark-2021-1st-place.
    """
    rarity = _at_least_one(counts) ** -0.25
    spread = rarity.max() - rarity.min()
    if spread == 0:
        return np.full(len(rarity), most)
    margins: NDArray[np.float64] = least + (most - least) * (rarity - rarity.min()) / spread
    return margins


def _at_least_one(counts: NDArray[np.number]) -> NDArray[np.float64]:
    return np.maximum(counts.astype(np.float64), 1)
