"""The loss of a composed label: that of the class and those of its parts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gorae.data.composed import part_columns

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, S) and rows of targets (B, S) to losses (B,)."""


def part_rows(rows: Tensor, *, parts: Tensor) -> list[Tensor]:
    """Rows of each part's values, P times (B, S), of rows of classes.

    Blended rows stay blends: two images in shares of a class are two in these shares of every
    part.

    Args:
        rows: One-hot or blended labels, (B, K).
        parts: Index of each part in each class, (K, P).
    """
    return [rows @ F.one_hot(of_class).to(rows) for of_class in parts.unbind(dim=1)]


def composed_loss(
    outputs: Tensor,
    rows: Tensor,
    *,
    parts: Tensor,
    loss: RowLoss,
    part_weights: Sequence[float] | None = None,
) -> Tensor:
    """The loss of the classes, where outputs have them, plus those of the parts, (B,).

    Args:
        outputs: Logits of the K classes, or none, and of each part's values; see
            ``gorae.data.composed.part_columns``.
        rows: One-hot or blended labels, (B, K).
        parts: Index of each part in each class, (K, P).
        loss: Of one of them; label smoothing belongs in it, as it depends on S.
        part_weights: What each part's loss counts, P; absent: 1 each, as the class.
    """
    targets = part_rows(rows, parts=parts)
    sizes = [each.shape[1] for each in targets]
    of_classes, of_parts = part_columns(sizes, width=outputs.shape[1])
    losses = [loss(outputs[:, of_classes], rows)] if of_classes.stop else []
    for columns, target, weight in zip(
        of_parts, targets, part_weights or [1.0] * len(sizes), strict=True
    ):
        losses.append(weight * loss(outputs[:, columns], target))
    return torch.stack(losses).sum(dim=0)
