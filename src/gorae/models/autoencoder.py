"""A convolutional autoencoder that makes large grey pictures small, and its use."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.errors import ConfigError, DataError, list_problems
from gorae.models.encoder import MAP_CHANNELS, STRIDE


class Autoencoder(nn.Module):
    """Pictures (B, C, H, W) to maps (B, 3, H/4, W/4) and back; 8,482 parameters for grey.

    Fully convolutional: any height and width that are multiples of 4. The map of 896 x 896 is
    224 x 224 with three channels, which any backbone takes for a picture.

    Source: the humpback-whale tutorial of KerasKorea/KEKOxTutorial.
    """

    def __init__(self, *, in_chans: int = 1) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.encoder = nn.Sequential(
            *_stage(in_chans, 16),
            *_stage(16, 16),
            nn.MaxPool2d(2),
            *_stage(16, 8),
            *_stage(8, MAP_CHANNELS),
            nn.MaxPool2d(2),
        )
        self.decoder = nn.Sequential(
            *_stage(MAP_CHANNELS, 8),
            *_stage(8, 8),
            nn.Upsample(scale_factor=2),
            *_stage(8, 16),
            *_stage(16, 16),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(16, in_chans, kernel_size=3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images with values from 0 to 1, like ``images`` as far as the map tells.

        Raises:
            ConfigError: A side is no multiple of 4.
        """
        if images.shape[-2] % STRIDE or images.shape[-1] % STRIDE:
            raise ConfigError(
                f"An autoencoder takes pictures whose sides are multiples of {STRIDE}, not "
                f"{images.shape[-1]} x {images.shape[-2]}. Set pixels.input_size to one."
            )
        restored: Tensor = self.decoder(self.encoder(images))
        return restored


def _stage(in_chans: int, out_chans: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_chans, out_chans, kernel_size=3, padding=1),
        nn.BatchNorm2d(out_chans),
        nn.ReLU(),
    )


def reconstruction_loss(restored: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of each image, (B,); values of ``images`` from 0 to 1."""
    return F.mse_loss(restored, images, reduction="none").flatten(1).mean(dim=1)


class EncodedBackbone(nn.Module):
    """A backbone that sees an encoder's map in place of the picture.

    The encoder takes values from 0 to 1, in the channels it was trained with. Its map has no
    scale of its own, and a network of published weights expects values around 0: each channel
    of the map is standardised by what it was over the pictures of the encoder's training.

    To keep the encoder as it is, leave ``backbone.encoder`` out of ``set_trainable``.
    """

    map_mean: Tensor
    map_std: Tensor

    def __init__(self, encoder: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.network = network
        self.register_buffer("map_mean", torch.zeros(MAP_CHANNELS, 1, 1))
        self.register_buffer("map_std", torch.ones(MAP_CHANNELS, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features of the network of images (B, C, H, W); the network's input is H/4, W/4."""
        maps = (self.encoder(images) - self.map_mean) / self.map_std
        features: Tensor = self.network(maps)
        return features

    def load_encoder(self, tensors: Mapping[str, Tensor], *, source: Path) -> None:
        """Take an encoder and the statistics of its map, in place.

        Args:
            tensors: ``encoder.*``, ``map_mean`` and ``map_std``, as ``encoder_tensors`` gives.
            source: Their file, for messages.

        Raises:
            DataError: They are of another encoder, or not finite.
        """
        own = {
            name: value
            for name, value in self.state_dict().items()
            if not name.startswith("network.")
        }
        problems = [f"{name} is missing" for name in own if name not in tensors]
        problems += [f"{name} is not of an encoder" for name in tensors if name not in own]
        problems += [
            f"{name} is {tuple(tensors[name].shape)}, not {tuple(value.shape)}"
            for name, value in own.items()
            if name in tensors and tensors[name].shape != value.shape
        ]
        problems += [
            f"{name} is not finite"
            for name, value in tensors.items()
            if not bool(value.isfinite().all())
        ]
        if problems:
            raise DataError(
                f"{source} cannot be used as an encoder:\n{list_problems(problems)}\n"
                "Train it again with `gorae autoencoder`."
            )
        self.load_state_dict(dict(tensors), strict=False)


def encoder_tensors(
    network: Autoencoder, *, map_mean: Tensor, map_std: Tensor
) -> dict[str, Tensor]:
    """The encoder of a trained network and the statistics of its map, by name.

    Args:
        network: The trained autoencoder.
        map_mean: Mean of each channel of its maps, (3,).
        map_std: Their standard deviation, (3,); a channel that never changes keeps 1.
    """
    encoder = {f"encoder.{name}": value for name, value in network.encoder.state_dict().items()}
    still = map_std <= 0
    return {
        **encoder,
        "map_mean": map_mean.reshape(-1, 1, 1),
        "map_std": torch.where(still, torch.ones_like(map_std), map_std).reshape(-1, 1, 1),
    }
