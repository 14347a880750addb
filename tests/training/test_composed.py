"""The loss of composed labels."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gorae.data.composed import composed_probabilities, part_indices
from gorae.data.person_layout import COMPOSITION
from gorae.data.sources import LabelPart
from gorae.training.composed import composed_loss, part_rows

TABLE = part_indices([LabelPart(**part) for part in COMPOSITION], [str(k) for k in range(18)])
PARTS = torch.from_numpy(TABLE)
LABELS = torch.tensor([0, 4, 11, 13, 17, 5])
ROWS = F.one_hot(LABELS, 18).float()


def row_cross_entropy(outputs: Tensor, rows: Tensor) -> Tensor:
    return F.cross_entropy(outputs, rows, reduction="none")


def test_rows_of_parts_are_those_of_the_part_indices() -> None:
    for place, rows in enumerate(part_rows(ROWS, parts=PARTS)):
        assert rows.argmax(dim=1).tolist() == TABLE[LABELS, place].tolist()
        torch.testing.assert_close(rows.sum(dim=1), torch.ones(6))


def test_a_blend_of_images_is_the_blend_of_their_parts() -> None:
    rows = torch.lerp(ROWS, ROWS.flip(0), 0.3)
    for found, plain in zip(
        part_rows(rows, parts=PARTS), part_rows(ROWS, parts=PARTS), strict=True
    ):
        torch.testing.assert_close(found, torch.lerp(plain, plain.flip(0), 0.3))


@pytest.mark.parametrize("num_classes", [0, 18])
@pytest.mark.parametrize("weights", [None, (0.5, 0.25, 2.0)])
def test_it_is_the_sum_of_torchs_cross_entropies(
    num_classes: int, weights: tuple[float, ...] | None
) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(6, num_classes + 8)
    found = composed_loss(
        outputs, ROWS, parts=PARTS, loss=row_cross_entropy, part_weights=weights
    )
    expected = torch.zeros(6)
    if num_classes:
        expected += F.cross_entropy(outputs[:, :18], LABELS, reduction="none")
    of_parts = torch.split(outputs[:, num_classes:], [3, 2, 3], dim=1)
    for place, (logits, weight) in enumerate(zip(of_parts, weights or (1, 1, 1), strict=True)):
        labels = torch.from_numpy(TABLE[LABELS, place])
        expected += weight * F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(found, expected)


def test_the_sum_over_parts_is_the_log_probability_of_the_class() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(6, 8)
    loss = composed_loss(outputs, ROWS, parts=PARTS, loss=row_cross_entropy)
    proba = composed_probabilities(outputs.numpy(), parts=TABLE)
    np.testing.assert_allclose(loss.numpy(), -np.log(proba[range(6), LABELS]), rtol=1e-5)
