"""A small detector of one thing per picture, on the map of a timm network.

Its map is enlarged twice; each cell says how likely the middle of the thing is there, and how
far the box reaches to each side.

Source: heat map and its loss of Zhou et al., 2019 (Objects as Points); distances to the four
sides of Tian et al., 2019 (FCOS).
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from gorae.errors import ConfigError

_WIDTH = 128
_NORM_GROUPS = 16

# The heat begins at this probability everywhere (RetinaNet's prior, Lin et al., 2017).
_PRIOR_LOGIT = -2.19

# Powers of the loss of the heat (Zhou et al., 2019).
_ALPHA, _BETA = 2, 4

# Spread of the heat around a middle as a share of the box's sides.
_SPREAD = 0.12

# Cells up to this far from the middle learn the box, in cells.
_REACH = 1.5

_NUM_PEAKS = 10


class CentreDetector(nn.Module):
    """The detector; called as those of torchvision are."""

    def __init__(
        self,
        backbone: nn.Module,
        *,
        name: str,
        mean: Sequence[float],
        std: Sequence[float],
        side: int,
    ) -> None:
        """Put the detector on a network.

        Args:
            backbone: A network of timm, with ``forward_features``.
            name: Its name, for messages.
            mean: Mean of each channel that the backbone expects, of values from 0 to 1.
            std: Their standard deviation.
            side: Side of the pictures it will see, in pixels.

        Raises:
            ConfigError: The backbone gives no map.
        """
        super().__init__()
        self.backbone = backbone
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        channels = _map_channels(backbone, name=name, side=side)
        self.neck = nn.Sequential(
            *_block(channels, kernel=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            *_block(_WIDTH, kernel=3),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            *_block(_WIDTH, kernel=3),
        )
        self.heat = nn.Conv2d(_WIDTH, 1, 1)
        self.reach = nn.Conv2d(_WIDTH, 4, 1)
        nn.init.constant_(cast(Tensor, self.heat.bias), _PRIOR_LOGIT)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses by name in training, else boxes and scores of each picture, best first.

        Args:
            images: (3, S, S) each, values from 0 to 1.
            targets: In training, ``boxes`` (1, 4) of each picture in its pixels.
        """
        pixels = torch.stack(list(images))
        make_maps = cast(Callable[[Tensor], Tensor], self.backbone.forward_features)
        maps = self.neck(make_maps((pixels - self.mean) / self.std))
        heat = self.heat(maps).squeeze(1)
        cell = pixels.shape[-1] / heat.shape[-1]
        boxes = _boxes(self.reach(maps), cell)
        if not self.training:
            return _peaks(heat.sigmoid(), boxes, side=pixels.shape[-1])
        assert targets is not None
        wanted = torch.cat([target["boxes"] for target in targets])
        return {
            "heat": _heat_loss(heat, _wanted_heat(wanted, heat.shape[-1], cell)),
            "box": _box_loss(boxes, wanted, cell),
        }


def _block(channels: int, *, kernel: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, _WIDTH, kernel, padding=kernel // 2, bias=False),
        # Not batch norm: few pictures fit into a batch of a detector.
        nn.GroupNorm(_NORM_GROUPS, _WIDTH),
        nn.ReLU(),
    ]


def _map_channels(backbone: nn.Module, *, name: str, side: int) -> int:
    """Channels of the backbone's map; a picture is put through it."""
    maps = None
    was_training = backbone.training
    if hasattr(backbone, "forward_features"):
        backbone.eval()
        with torch.inference_mode():
            make_maps = cast(Callable[[Tensor], Tensor], backbone.forward_features)
            maps = make_maps(torch.zeros(1, 3, side, side))
        backbone.train(was_training)
    # A transformer gives tokens, or maps with the channel last.
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[2] != maps.shape[3]:
        raise ConfigError(
            f"detect.model: {name} gives no map of places, which a detector needs. Choose a "
            "convolutional network of timm, such as centre/mobilenetv2_100."
        )
    return maps.shape[1]


def _centres(cells: int, cell: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """x of the columns (1, cells) and y of the rows (cells, 1), in pixels."""
    places = (torch.arange(cells, device=like.device, dtype=torch.float32) + 0.5) * cell
    return places[None, :], places[:, None]


def _boxes(reach: Tensor, cell: float) -> Tensor:
    """Boxes (B, 4, h, w) of distances to the four sides, in cells before the activation."""
    x, y = _centres(reach.shape[-1], cell, reach)
    # In float32 whatever the network computes in: they are pixels.
    left, top, right, bottom = (F.softplus(reach.float()) * 4 * cell).unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=1)


def _wanted_heat(boxes: Tensor, cells: int, cell: float) -> Tensor:
    """A bump of height 1 at the middle of each box (B, 4): (B, cells, cells)."""
    x, y = _centres(cells, cell, boxes)
    left, top, right, bottom = (side[:, None, None] for side in boxes.unbind(1))
    # The middle itself is one of the cells, or nothing would be exactly 1.
    middle_x = ((left + right) / 2 / cell - 0.5).round().clamp(0, cells - 1) * cell + cell / 2
    middle_y = ((top + bottom) / 2 / cell - 0.5).round().clamp(0, cells - 1) * cell + cell / 2
    spread_x = (_SPREAD * (right - left)).clamp_min(cell / 3)
    spread_y = (_SPREAD * (bottom - top)).clamp_min(cell / 3)
    distance = ((x - middle_x) / spread_x) ** 2 + ((y - middle_y) / spread_y) ** 2
    return torch.exp(-distance / 2)


def _heat_loss(heat: Tensor, wanted: Tensor) -> Tensor:
    """Focal loss of logits against bumps, per picture (Zhou et al., 2019, equation 1)."""
    heat = heat.float()
    probability = heat.sigmoid()
    is_middle = wanted == 1
    at_middle = (1 - probability) ** _ALPHA * F.logsigmoid(heat)
    elsewhere = (1 - wanted) ** _BETA * probability**_ALPHA * F.logsigmoid(-heat)
    return -torch.where(is_middle, at_middle, elsewhere).sum() / len(heat)


def _box_loss(boxes: Tensor, wanted: Tensor, cell: float) -> Tensor:
    """1 - generalised IoU, mean over the cells near the middles (Rezatofighi et al., 2019)."""
    x, y = _centres(boxes.shape[-1], cell, boxes)
    middle_x = ((wanted[:, 0] + wanted[:, 2]) / 2)[:, None, None]
    middle_y = ((wanted[:, 1] + wanted[:, 3]) / 2)[:, None, None]
    near = torch.maximum((x - middle_x).abs(), (y - middle_y).abs()) <= _REACH * cell
    picture = near.nonzero()[:, 0]
    found = boxes.permute(0, 2, 3, 1)[near]
    loss: Tensor = generalized_box_iou_loss(found, wanted[picture], reduction="mean")
    return loss


def _peaks(heat: Tensor, boxes: Tensor, *, side: int) -> list[dict[str, Tensor]]:
    """Cells hotter than all around them, hottest first."""
    is_peak = F.max_pool2d(heat[:, None], 3, stride=1, padding=1)[:, 0] == heat
    scores, places = (heat * is_peak).flatten(1).topk(min(_NUM_PEAKS, heat[0].numel()))
    found = boxes.flatten(2).gather(2, places[:, None].expand(-1, 4, -1)).transpose(1, 2)
    found = found.clamp(0, side)
    return [
        {"boxes": each, "scores": score.float()}
        for each, score in zip(found, scores, strict=True)
    ]
