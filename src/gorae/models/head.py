"""What makes outputs of features: the heads by name.

Heads of several tasks write their outputs side by side: K logits of the classes, or none, and
then the logits of each part, as ``gorae.data.composed.part_columns`` reads them. Linear layers
side by side are one linear layer: so ``linear`` with parts is the ``multihead`` of THANet_MK1
of iloveslowfood/ImageClassfication, where nothing attends to anything.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.models.attention import THANetHead
from gorae.models.margin import CosineHead
from gorae.models.plan import HeadKind, Parts

# With weights of this size a new head starts near equal probabilities, and its first
# gradients do not shake a pretrained backbone.
HEAD_INIT_STD = 0.001


def build_head(parts: Parts, *, num_features: int, num_outputs: int) -> nn.Module:
    """The new head that ``parts`` wants, with random weights."""
    return HEADS[parts.head](num_features, num_outputs, parts)


def linear_head(num_features: int, num_outputs: int) -> nn.Linear:
    """One linear layer."""
    linear = nn.Linear(num_features, num_outputs)
    nn.init.normal_(linear.weight, std=HEAD_INIT_STD)
    nn.init.zeros_(linear.bias)
    return linear


class CoralHead(nn.Module):
    """One number per image, and how far it is above each of the K - 1 thresholds of K ranks.

    All thresholds share the weights, so the outputs of every image are in the same order: no
    image can be likelier above a high threshold than above a low one. In the beginning all
    ranks are equally probable.

    Source: Cao et al., 2020 (CORAL).
    """

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, num_features))
        nn.init.normal_(self.weight, std=HEAD_INIT_STD)
        shares = torch.arange(num_outputs, 0, -1) / (num_outputs + 1)
        self.bias = nn.Parameter(torch.logit(shares))

    def forward(self, features: Tensor) -> Tensor:
        """Logits of being above each threshold, lowest first (B, K - 1)."""
        return F.linear(features, self.weight) + self.bias


def vanilla_head(num_features: int, num_outputs: int, *, drop_rate: float) -> nn.Module:
    """Batch norm, dropout, ReLU, linear layer.

    Source: VanillaEfficientNet and VanillaResNet of iloveslowfood/ImageClassfication, with a
    dropout of 0.5 and on 1000 logits of ImageNet; see ``gorae.models.network.on_logits``.
    """
    return nn.Sequential(
        nn.BatchNorm1d(num_features),
        nn.Dropout(drop_rate),
        nn.ReLU(),
        linear_head(num_features, num_outputs),
    )


def _thanet_head(num_features: int, num_outputs: int, parts: Parts) -> nn.Module:
    beside = sum(parts.part_sizes) if parts.outputs == "both" else 0
    return THANetHead(
        num_features,
        sizes=parts.part_sizes,
        num_classes=0 if parts.outputs == "parts" else num_outputs - beside,
        auxiliary=parts.outputs == "both",
        drop_rate=parts.drop_rate,
    )


HEADS: Mapping[HeadKind, Callable[[int, int, Parts], nn.Module]] = {
    "linear": lambda num_features, num_outputs, parts: linear_head(num_features, num_outputs),
    "coral": lambda num_features, num_outputs, parts: CoralHead(num_features, num_outputs),
    "vanilla": lambda num_features, num_outputs, parts: vanilla_head(
        num_features, num_outputs, drop_rate=parts.drop_rate
    ),
    "thanet": _thanet_head,
    "cosine": lambda num_features, num_outputs, parts: CosineHead(
        num_features, num_outputs, plan=parts.cosine, drop_rate=parts.drop_rate
    ),
}
