from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from gorae.augment import normalise
from gorae.training.evaluate import (
    Arithmetic,
    mean_loss,
    place,
    predict_outputs,
    predict_values,
)
from gorae.training.losses import TargetScale
from gorae.training.plan import FoldData


def outputs_of(
    model: nn.Module, data: FoldData, *, batch_size: int, shuffle: bool = False
) -> torch.Tensor:
    assert data.valid is not None
    loader = DataLoader(data.valid, batch_size=batch_size, shuffle=shuffle)
    return predict_outputs(model, loader, spec=data.spec, arithmetic=Arithmetic())


def test_outputs_are_the_networks(
    tiny_net: Callable[..., nn.Module], fold: Callable[..., FoldData]
) -> None:
    data, model = fold(), place(tiny_net(), Arithmetic())
    assert data.valid is not None
    pixels = normalise(torch.stack([data.valid[i][0] for i in range(10)]), data.spec)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(outputs_of(model, data, batch_size=4), model(pixels))


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_loss_does_not_depend_on_the_batches(
    batch_size: int, tiny_net: Callable[..., nn.Module], fold: Callable[..., FoldData]
) -> None:
    data, model = fold(), tiny_net()
    losses = []
    for size, shuffle in ((10, False), (batch_size, False), (batch_size, True)):
        outputs = outputs_of(model, data, batch_size=size, shuffle=shuffle)
        assert data.valid_truth is not None
        losses.append(
            mean_loss(outputs, data.valid_truth, task="multiclass", target=TargetScale())
        )
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)


def test_two_evaluations_are_equal_and_leave_the_network_alone(
    tiny_net: Callable[..., nn.Module], fold: Callable[..., FoldData]
) -> None:
    data, model = fold(), tiny_net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = outputs_of(model, data, batch_size=4)
    assert torch.equal(first, outputs_of(model, data, batch_size=4))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    # An ordinary tensor, although it was made in inference mode.
    assert not first.is_inference()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_values_in_either_precision(
    precision: str, tiny_net: Callable[..., nn.Module], fold: Callable[..., FoldData]
) -> None:
    data, model = fold(), tiny_net()
    assert data.valid is not None
    loader = DataLoader(data.valid, batch_size=4)
    values = [
        predict_values(model, loader, spec=data.spec, arithmetic=arithmetic, task="multiclass")
        for arithmetic in (Arithmetic(precision=precision), Arithmetic(channels_last=False))  # type: ignore[arg-type]  # parametrised
    ]
    assert values[0].dtype == np.float32
    np.testing.assert_allclose(values[0], values[1], atol=2e-2 if precision == "bf16" else 1e-5)
