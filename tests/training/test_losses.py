import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gorae.training.losses import (
    LOSSES,
    TargetScale,
    activate,
    encode_truth,
    fit_target_scale,
)


def test_cross_entropy_worked_by_hand() -> None:
    outputs = torch.tensor([[4.0, 0, 0], [0, 3, 0], [0.2, 0, 0]])
    losses = LOSSES["multiclass"](outputs, torch.tensor([0, 1, 2]))
    expected = torch.tensor([0.035976, 0.094923, 1.169817])
    torch.testing.assert_close(losses, expected, atol=1e-6, rtol=0)
    assert float(losses.mean()) == pytest.approx(0.433572, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_torchs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(9, 4, generator=generator)
    labels = torch.randint(0, 4, (9,), generator=generator)
    several = torch.randint(0, 2, (9, 4), generator=generator).float()
    numbers = torch.randn(9, generator=generator)
    references = {
        "multiclass": (labels, F.cross_entropy(outputs, labels)),
        "ordinal": (labels, F.cross_entropy(outputs, labels)),
        "multilabel": (several, F.binary_cross_entropy_with_logits(outputs, several)),
        "regression": (numbers, F.mse_loss(outputs[:, 0], numbers)),
    }
    assert references.keys() == LOSSES.keys()
    for task, loss in LOSSES.items():
        targets, reference = references[task]
        losses = loss(outputs, targets)
        assert losses.shape == (9,)
        torch.testing.assert_close(losses.mean(), reference)


def test_values_are_probabilities_or_numbers() -> None:
    outputs = torch.tensor([[1.0, 2.0, -1.0], [100.0, -100.0, 0.0]])
    for task in ("multiclass", "ordinal"):
        values = activate(outputs, task=task)
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(values, outputs.softmax(1).numpy(), atol=1e-7)
    np.testing.assert_allclose(
        activate(outputs, task="multilabel"), outputs.sigmoid().numpy(), atol=1e-7
    )
    numbers = activate(outputs[:, :1], task="regression", target=TargetScale(10, 2))
    assert numbers.tolist() == [[12], [210]]
    assert numbers.dtype == np.float32


def test_target_scale_there_and_back() -> None:
    truth = np.array([100_010, 100_020, 100_060], dtype=np.float32)
    target = fit_target_scale(truth, task="regression")
    standard = encode_truth(truth, task="regression", target=target)
    assert float(standard.mean()) == pytest.approx(0, abs=1e-6)
    assert float(standard.std(correction=0)) == pytest.approx(1, abs=1e-6)
    back = activate(standard[:, None], task="regression", target=target)
    np.testing.assert_allclose(back[:, 0], truth, rtol=1e-7)


def test_target_scale_of_a_constant_and_of_classes_is_harmless() -> None:
    constant = np.full(3, 7, dtype=np.float32)
    assert fit_target_scale(constant, task="regression") == TargetScale(7, 1)
    assert fit_target_scale(np.arange(3), task="multiclass") == TargetScale()
