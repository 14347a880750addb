"""The network every step works with: a backbone and a head, or a user's whole module."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.errors import ConfigError

# With weights of this size a new head starts near equal probabilities, and its first
# gradients do not shake a pretrained backbone.
HEAD_INIT_STD = 0.001

# Luma of RGB by ITU-R BT.601, for networks that take one channel.
LUMA = (0.299, 0.587, 0.114)


class ImageModel(nn.Module):
    """A backbone that makes features of images, and a linear head that makes K outputs.

    A user's own module may be whole, that is, end in its K outputs; then the head changes
    nothing, and features exist only if the module has a method ``features``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int,
        num_outputs: int,
        drop_rate: float = 0.0,
        in_chans: int = 3,
        is_whole: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_features = num_features
        self.num_outputs = num_outputs
        self.in_chans = in_chans
        self.is_whole = is_whole
        self.is_frozen = False
        self.dropout = nn.Dropout(drop_rate)
        self.head: nn.Module = nn.Identity()
        if not is_whole:
            linear = nn.Linear(num_features, num_outputs)
            nn.init.normal_(linear.weight, std=HEAD_INIT_STD)
            nn.init.zeros_(linear.bias)
            self.head = linear

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, D) of normalised images (B, 3, H, W).

        Raises:
            ConfigError: A user's module has no method ``features``.
        """
        images = self._channels(images)
        if not self.is_whole:
            return cast(Tensor, self.backbone(images).flatten(1))
        make_features = getattr(self.backbone, "features", None)
        if not callable(make_features):
            raise ConfigError(
                f"{type(self.backbone).__name__} has no method features(x), which "
                'model.use = "frozen" needs. Add one that returns a tensor of images by '
                'features, or set model.use = "finetune".'
            )
        features = cast(Tensor, make_features(images))
        # A stage of convolutions is a common `features`; its map is averaged over the place.
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs before any activation (B, K) of normalised images (B, 3, H, W)."""
        if self.is_whole:
            return cast(Tensor, self.backbone(self._channels(images)))
        return cast(Tensor, self.head(self.dropout(self.features(images))))

    def _channels(self, images: Tensor) -> Tensor:
        if self.in_chans == 1 and images.shape[1] == 3:
            luma = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
            return torch.einsum("bchw,c->bhw", images, luma).unsqueeze(1)
        return images

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of everything below the head."""
        return self.backbone.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the head; none where the module is whole."""
        return self.head.parameters()

    def freeze(self) -> None:
        """Train the head alone from now on; the backbone stays as in evaluation."""
        self.is_frozen = True
        self.backbone.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "ImageModel":
        """As in torch, but a frozen backbone never leaves evaluation.

        Otherwise its BatchNorm would go on measuring and its dropout would go on drawing.
        """
        super().train(mode)
        if self.is_frozen:
            self.backbone.eval()
        return self


class LeNet5(nn.Module):
    """LeNet-5 up to its 84 features: conv 6, pool, conv 16, pool, FC 120, FC 84.

    At 32 x 32 the maps before the first FC are 5 x 5 as in the paper; at other sizes they
    are averaged to 5 x 5.

    Source: LeCun et al., 1998; ReLU and maximum instead of sigmoid and trained average.
    """

    num_features = 84

    def __init__(self, *, in_chans: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, 6, kernel_size=5)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 84) of images (B, C, H, W), at least 16 x 16."""
        maps = F.max_pool2d(F.relu(self.conv1(images)), 2)
        maps = F.max_pool2d(F.relu(self.conv2(maps)), 2)
        maps = F.adaptive_avg_pool2d(maps, 5)
        return F.relu(self.fc2(F.relu(self.fc1(maps.flatten(1)))))
