"""A convolutional autoencoder that makes large grey pictures small, and its use."""

from torch import Tensor, nn
from torch.nn import functional as F

from gorae.errors import ConfigError

# Two poolings: a side that is no multiple of this would come back smaller.
STRIDE = 4

MAP_CHANNELS = 3


class Autoencoder(nn.Module):
    """Pictures (B, C, H, W) to maps (B, 3, H/4, W/4) and back; 8,482 parameters for grey.

    Fully convolutional: any height and width that are multiples of 4. The map of 896 x 896 is
    224 x 224 with three channels, which any backbone takes for a picture.

    Source: the humpback-whale tutorial of KerasKorea/KEKOxTutorial.
    """

    def __init__(self, *, in_chans: int = 1) -> None:
        super().__init__()
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

    To keep the encoder as it is, leave ``backbone.encoder`` out of ``set_trainable``.
    """

    def __init__(self, encoder: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Features of the network of images (B, C, H, W); the network's input is H/4, W/4."""
        features: Tensor = self.network(self.encoder(images))
        return features
