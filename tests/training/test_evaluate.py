from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from gorae.augment.geometry import normalise
from gorae.training.evaluate import Arithmetic, Precision, place, predict_outputs
from gorae.training.plan import FoldData


def outputs_of(
    model: nn.Module, data: FoldData, *, batch_size: int, shuffle: bool = False
) -> torch.Tensor:
    assert data.valid is not None
    loader = DataLoader(data.valid, batch_size=batch_size, shuffle=shuffle)
    outputs, index = predict_outputs(model, loader, spec=data.spec, arithmetic=Arithmetic())
    return outputs[index.argsort()]


def test_outputs_are_the_networks(
    tiny_net: Callable[..., nn.Module], fold: Callable[..., FoldData]
) -> None:
    data, model = fold(), place(tiny_net(), Arithmetic())
    assert data.valid is not None
    pixels = normalise(torch.stack([data.valid[i][0] for i in range(10)]), data.spec)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(outputs_of(model, data, batch_size=4), model(pixels))


@pytest.mark.parametrize(("batch_size", "shuffle"), [(1, False), (3, True), (7, True)])
def test_outputs_do_not_depend_on_the_batches(
    batch_size: int,
    shuffle: bool,
    tiny_net: Callable[..., nn.Module],
    fold: Callable[..., FoldData],
) -> None:
    data, model = fold(), tiny_net()
    whole = outputs_of(model, data, batch_size=10)
    torch.testing.assert_close(
        outputs_of(model, data, batch_size=batch_size, shuffle=shuffle), whole
    )


@pytest.mark.parametrize("splits", [2, 4])
def test_outputs_do_not_depend_on_the_parts_a_batch_is_computed_in(
    splits: int, tiny_net: Callable[..., nn.Module], fold: Callable[..., FoldData]
) -> None:
    data, model = fold(), tiny_net()
    assert data.valid is not None
    loader = DataLoader(data.valid, batch_size=5)
    outputs, index = predict_outputs(
        model, loader, spec=data.spec, arithmetic=Arithmetic(), splits=splits
    )
    assert index.tolist() == list(range(10))
    torch.testing.assert_close(outputs, outputs_of(model, data, batch_size=10))


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


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_outputs_in_each_precision(
    precision: Precision, tiny_net: Callable[..., nn.Module], fold: Callable[..., FoldData]
) -> None:
    data, model = fold(), tiny_net()
    assert data.valid is not None
    loader = DataLoader(data.valid, batch_size=4)
    found, plain = (
        predict_outputs(model, loader, spec=data.spec, arithmetic=arithmetic)[0]
        for arithmetic in (Arithmetic(precision=precision), Arithmetic(channels_last=False))
    )
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-5 if precision == "fp32" else 5e-2)
