"""Networks on metadata beside the image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from gorae.models.build import build_model
from gorae.models.metadata_net import (
    METADATA_SHAPES,
    MetadataHead,
    MetadataInput,
    MetadataScale,
    fit_metadata,
    fit_metadata_scale,
)
from gorae.models.plan import MetadataFeature, MetadataPlan, Parts

NAN = float("nan")


def plain_scale(num_columns: int) -> MetadataScale:
    zeros = np.zeros(num_columns)
    return MetadataScale(zeros, zeros, zeros + 1)


def num_parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_the_shape_of_2020_by_hand() -> None:
    head = MetadataHead(1536, 9, scale=plain_scale(14), shape=METADATA_SHAPES["isic2020"])
    kinds = [type(each).__name__ for each in head.metadata]
    assert kinds == [
        "Linear",
        "BatchNorm1d",
        "SiLU",
        "Dropout",
        "Linear",
        "BatchNorm1d",
        "SiLU",
    ]
    assert [each.p for each in head.metadata if isinstance(each, nn.Dropout)] == [0.3]
    assert (head.dropout.p, head.drop_copies) == (0.5, 5)
    sub_net = 14 * 512 + 2 * 512 + 512 * 128 + 2 * 128
    assert num_parameters(head.metadata) == sub_net
    assert num_parameters(head) == sub_net + (1536 + 128) * 9 + 9
    variant = replace(METADATA_SHAPES["isic2020"], widths=(128, 32))
    small = MetadataHead(2048, 9, scale=plain_scale(14), shape=variant)
    assert num_parameters(small.head) == (2048 + 32) * 9 + 9


def test_the_shape_of_2019_by_hand() -> None:
    head = MetadataHead(1280, 9, scale=plain_scale(11), shape=METADATA_SHAPES["isic2019"])
    kinds = [type(each).__name__ for each in head.metadata]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2
    assert [each.p for each in head.metadata if isinstance(each, nn.Dropout)] == [0.4, 0.4]
    sub_net = 11 * 256 + 512 + 256 * 256 + 512
    joint = (1280 + 256) * 1024 + 2048
    assert num_parameters(head) == sub_net + joint + 1024 * 9 + 9
    assert head.input.drop_rate == 0.1


@pytest.mark.parametrize("shape", METADATA_SHAPES)
def test_everything_learns_and_evaluation_is_without_chance(shape: str) -> None:
    torch.manual_seed(0)
    head = MetadataHead(20, 3, scale=plain_scale(5), shape=METADATA_SHAPES[shape])
    features, metadata = torch.randn(16, 20), torch.randn(16, 5)
    metadata[::3, 1] = NAN
    outputs = head(features, metadata)
    assert outputs.shape == (16, 3)
    outputs.square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        # More than rounding leaves of a gradient that is nothing.
        assert float(parameter.grad.abs().max()) > 1e-7, name
        assert bool(parameter.grad.isfinite().all()), name
    head.eval()
    torch.testing.assert_close(
        head(features, metadata), head(features, metadata), atol=0, rtol=0
    )
    joined = head.joint(torch.cat([features, head.metadata(head.input(metadata))], dim=1))
    torch.testing.assert_close(head(features, metadata), head.head(joined))


def test_copies_of_dropout_are_averaged() -> None:
    shape = METADATA_SHAPES["isic2020"]
    scale = plain_scale(2)
    many = MetadataHead(300, 1, scale=scale, shape=replace(shape, head_drop_copies=50))
    one = MetadataHead(300, 1, scale=scale, shape=replace(shape, head_drop_copies=1))
    torch.manual_seed(0)
    spreads = []
    for head in (one, many):
        nn.init.ones_(head.head.weight)
        outputs = head(torch.ones(1000, 300), torch.zeros(1000, 2))
        spreads.append(float(outputs.detach().std()))
    # The spread falls with the root of the number of copies.
    assert spreads[1] == pytest.approx(spreads[0] / 50**0.5, rel=0.2)


def test_the_scale_is_scikit_learns_with_codes_filled_in() -> None:
    rng = np.random.default_rng(0)
    metadata = np.column_stack(
        [rng.normal(50, 10, 40), rng.integers(0, 2, 40), np.full(40, 3.0)]
    )
    metadata[::4, 0] = NAN
    missing = np.array([-5.0, 0.0, 0.0])
    scale = fit_metadata_scale(metadata, missing=missing)
    filled = np.where(np.isnan(metadata), missing, metadata)
    expected = StandardScaler().fit_transform(filled)
    layer = MetadataInput(scale, drop_rate=0.0).train()
    found = layer(torch.from_numpy(metadata).float()).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_lost_columns_look_missing_and_only_in_training() -> None:
    scale = MetadataScale(np.array([-5.0, 0.0]), np.array([40.0, 0.5]), np.array([20.0, 0.5]))
    layer = MetadataInput(scale, drop_rate=0.1)
    metadata = torch.tensor([[60.0, 1.0]]).expand(5000, 2)
    torch.manual_seed(0)
    seen = layer.train()(metadata)
    codes = layer.eval()(torch.tensor([[NAN, NAN]]))
    torch.testing.assert_close(codes, torch.tensor([[-2.25, -1.0]]))
    is_lost = seen == codes
    kept = layer(metadata[:1])
    torch.testing.assert_close(kept, torch.tensor([[1.0, 1.0]]))
    assert bool((is_lost | (seen == kept)).all())
    np.testing.assert_allclose(is_lost.float().mean(dim=0).numpy(), 0.1, atol=0.015)
    # Columns get lost each for itself.
    assert float(is_lost.all(dim=1).float().mean()) == pytest.approx(0.01, abs=0.006)


def test_the_scale_is_saved_with_the_weights() -> None:
    shape = METADATA_SHAPES["isic2019"]
    scale = fit_metadata_scale(
        np.array([[1.0, NAN], [5.0, 2.0]]), missing=np.array([-5.0, 0.0])
    )
    first = MetadataHead(4, 2, scale=scale, shape=shape).eval()
    second = MetadataHead(4, 2, scale=plain_scale(2), shape=shape).eval()
    second.load_state_dict(first.state_dict())
    features, metadata = torch.randn(3, 4), torch.tensor([[NAN, 3.0]]).expand(3, 2)
    torch.testing.assert_close(second(features, metadata), first(features, metadata))


def test_metadata_change_the_outputs_and_bf16_only_rounds_them() -> None:
    torch.manual_seed(0)
    head = MetadataHead(4, 2, scale=plain_scale(3), shape=METADATA_SHAPES["isic2020"]).eval()
    nn.init.normal_(head.head.weight)
    features, metadata = torch.randn(6, 4), torch.randn(6, 3)
    outputs = head(features, metadata)
    assert not torch.allclose(outputs, head(features, metadata + 1))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            head(features, metadata).float(), outputs, atol=0.1, rtol=0.05
        )


def test_a_network_of_a_plan_has_its_widths_and_needs_no_metadata() -> None:
    columns = tuple(MetadataFeature(name, "number") for name in ("a", "b", "c"))
    plan = MetadataPlan("isic2020", columns, (16, 8))
    model = build_model(
        "lenet5", num_outputs=4, kwargs={}, seed=0, folder=Path(), parts=Parts(metadata=plan)
    ).eval()
    assert model.num_metadata == 3
    assert isinstance(model.head, MetadataHead)
    assert [
        each.out_features for each in model.head.metadata if isinstance(each, nn.Linear)
    ] == [
        16,
        8,
    ]
    images = torch.randn(2, 3, 32, 32)
    nothing = torch.full((2, 3), NAN)
    assert torch.equal(model(images), model(images, nothing))
    assert not torch.equal(model(images), model(images, torch.ones(2, 3)))


def test_fitting_leaves_plain_networks_alone() -> None:
    plain = build_model("lenet5", num_outputs=2, kwargs={}, seed=0, folder=Path())
    fit_metadata(plain, None)
    assert plain.num_metadata == 0
