"""The autoencoder of whale pictures: its layers, and that it learns to see."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gorae.errors import ConfigError
from gorae.models import build_model
from gorae.models.autoencoder import Autoencoder, EncodedBackbone, reconstruction_loss
from gorae.models.network import set_trainable


def num_parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def draw_pictures(num_images: int, side: int = 32) -> Tensor:
    """Bright discs of drawn places and sizes on darker grounds, (n, 1, side, side)."""
    generator = torch.Generator().manual_seed(0)
    x, y, radius, ground = torch.rand(4, num_images, 1, 1, generator=generator)
    places = torch.arange(side) / side
    distance = (places[None, :, None] - y).square() + (places[None, None, :] - x).square()
    disc = distance < (0.1 + 0.3 * radius).square()
    return torch.where(disc, 0.9, 0.5 * ground)[:, None]


def test_stages_by_hand() -> None:
    network = Autoencoder()
    convolutions = [each for each in network.encoder if isinstance(each, nn.Conv2d)]
    norms = [each for each in network.encoder if isinstance(each, nn.BatchNorm2d)]
    stages = [
        num_parameters(c) + num_parameters(n) for c, n in zip(convolutions, norms, strict=True)
    ]
    assert stages == [192, 2352, 1176, 225]
    assert num_parameters(network.encoder) == 3945
    assert num_parameters(network) == 8482


def test_896_grey_pixels_become_224_of_three_channels() -> None:
    network = Autoencoder().eval()
    with torch.inference_mode():
        maps = network.encoder(torch.rand(1, 1, 896, 896))
    assert maps.shape == (1, 3, 224, 224)
    assert 1 * 896 * 896 / maps.numel() == pytest.approx(5.33, abs=0.01)


@pytest.mark.parametrize("size", [(4, 4), (20, 36), (64, 48)])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_any_multiple_of_four_comes_back_in_its_size(
    size: tuple[int, int], in_chans: int
) -> None:
    network = Autoencoder(in_chans=in_chans)
    images = torch.rand(2, in_chans, *size)
    restored = network(images)
    assert restored.shape == images.shape
    assert bool(((restored > 0) & (restored < 1)).all())
    torch.autograd.backward(reconstruction_loss(restored, images).sum())
    assert all(each.grad is not None for each in network.parameters())


def test_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 4, not 30 x 32"):
        Autoencoder()(torch.rand(2, 1, 32, 30))


def test_the_loss_is_of_each_image() -> None:
    images = torch.zeros(2, 1, 4, 4)
    restored = torch.stack([torch.full((1, 4, 4), 0.5), torch.zeros(1, 4, 4)])
    assert reconstruction_loss(restored, images).tolist() == [0.25, 0]


def test_a_few_steps_beat_the_mean_image() -> None:
    torch.manual_seed(0)
    pictures = draw_pictures(96)
    train, held_out = pictures[:64], pictures[64:]
    by_mean = reconstruction_loss(train.mean(dim=0).expand_as(held_out), held_out).mean()
    network = Autoencoder()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(120):
        batch = train[step % 4 :: 4]
        loss = reconstruction_loss(network(batch), batch).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.inference_mode():
        restored = network.eval()(held_out)
    assert float(reconstruction_loss(restored, held_out).mean()) < 0.5 * float(by_mean)


def test_an_encoder_before_a_backbone_learns_or_rests() -> None:
    model = build_model("lenet5", num_outputs=2, kwargs={}, seed=0, folder=Path())
    model.backbone = EncodedBackbone(Autoencoder().encoder, model.backbone)
    model.in_chans = 1
    images = torch.rand(4, 3, 128, 128)
    assert model(images).shape == (4, 2)
    set_trainable(model, ["backbone.network", "head"])
    model.train()
    before = {name: each.clone() for name, each in model.backbone.encoder.state_dict().items()}
    torch.autograd.backward(model(images).sum())
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("backbone.encoder."), name
    for name, each in model.backbone.encoder.state_dict().items():
        torch.testing.assert_close(each, before[name])
    set_trainable(model, None)
    torch.autograd.backward(model(images).sum())
    assert all(each.grad is not None for each in model.parameters())
