"""Weights that are cast once give what autocast gives."""

import pytest
import timm
import torch

from gorae.models.cast import PRODUCTS, cast_products


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_outputs_under_autocast_are_the_same_to_the_bit(name: str) -> None:
    size = 224 if name.startswith("vit") else 64
    network = timm.create_model(name, num_classes=7).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))

    def outputs() -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            found: torch.Tensor = network(images)
        return found

    before = outputs()
    cast_products(network, torch.bfloat16)
    assert torch.equal(outputs(), before)


def test_products_alone_are_cast() -> None:
    network = timm.create_model("convnext_atto", num_classes=7)
    cast_products(network, torch.bfloat16)
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            wanted = torch.bfloat16 if type(module) in PRODUCTS else torch.float32
            assert parameter.dtype == wanted
