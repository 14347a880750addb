"""The loss of a composed label: that of the class and those of its parts."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gorae.data.composed import Indices, part_columns, part_sizes

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, S) and rows of targets (B, S) to losses (B,)."""


def part_tables(parts: Indices) -> tuple[Tensor, ...]:
    """Which value of each part a class has: P tables of zeros and ones, (K, S).

    Args:
        parts: Index of each part in each class, (K, P).
    """
    return tuple(
        torch.from_numpy(np.eye(size, dtype=np.float32)[of_class])
        for size, of_class in zip(part_sizes(parts), parts.T, strict=True)
    )


def part_rows(rows: Tensor, *, tables: Sequence[Tensor]) -> list[Tensor]:
    """Rows of each part's values, P times (B, S), of rows of classes.

    Blended rows stay blends: two images in shares of a class are two in these shares of every
    part.

    Args:
        rows: One-hot or blended labels, (B, K).
        tables: As ``part_tables`` makes them, P times (K, S).
    """
    # Else a GPU would be waited for.
    return [rows @ table.to(rows, non_blocking=True) for table in tables]


def composed_loss(
    outputs: Tensor,
    rows: Tensor,
    *,
    tables: Sequence[Tensor],
    loss: RowLoss,
    part_weights: Sequence[float] | None = None,
) -> Tensor:
    """The loss of the classes, where outputs have them, plus those of the parts, (B,).

    Args:
        outputs: Logits of the K classes, or none, and of each part's values; see
            ``gorae.data.composed.part_columns``.
        rows: One-hot or blended labels, (B, K).
        tables: As ``part_tables`` makes them, P times (K, S).
        loss: Of one of them; label smoothing belongs in it, as it depends on S.
        part_weights: What each part's loss counts, P; absent: 1 each, as the class.
    """
    targets = part_rows(rows, tables=tables)
    sizes = [each.shape[1] for each in targets]
    of_classes, of_parts = part_columns(sizes, width=outputs.shape[1])
    losses = [loss(outputs[:, of_classes], rows)] if of_classes.stop else []
    for columns, target, weight in zip(
        of_parts, targets, part_weights or [1.0] * len(sizes), strict=True
    ):
        losses.append(weight * loss(outputs[:, columns], target))
    return torch.stack(losses).sum(dim=0)
