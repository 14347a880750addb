"""Metric learning: embeddings of length 1, and outputs that are cosines to class centres.

The head knows no margins. It gives ``scale * cosine``, in training as in evaluation, and the
loss makes it harder for the true class (``gorae.training.margins``): so predictions, mixing
and ensembles work as with any other head.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.models.plan import CosinePlan, NeckKind


class CosineHead(nn.Module):
    """Scaled cosines between an embedding and the centres of each class.

    Several centres per class leave wrongly labelled and unusual images to a centre of their
    own. Lengths and cosines are computed in float32 under autocast too: a cosine in bf16 has
    steps of 0.004 near 1.

    Source: Deng et al., 2019 (ArcFace, arXiv 1801.07698); Deng et al., 2020 (sub-centres).
    """

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        *,
        plan: CosinePlan | None = None,
        drop_rate: float = 0.0,
    ) -> None:
        """Make the layers.

        Args:
            num_features: D.
            num_outputs: K.
            plan: Neck, centres and scale.
            drop_rate: Dropout before the neck's linear layer, or of the features without one.
        """
        super().__init__()
        plan = plan or CosinePlan()
        self.scale = plan.scale
        self.neck = NECKS[plan.neck](num_features, plan.embedding, drop_rate)
        size = num_features if plan.neck == "none" else plan.embedding
        self.centres = nn.Parameter(torch.empty(num_outputs, plan.centres, size))
        # Directions are even on the sphere, lengths about 1: only the direction counts.
        nn.init.normal_(self.centres, std=size**-0.5)

    def embed(self, features: Tensor) -> Tensor:
        """Embeddings of length 1 (B, E) float32 of features (B, D)."""
        return F.normalize(self.neck(features).float(), dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """``scale`` times the cosine to the nearest centre of each class, (B, K) float32."""
        embeddings = self.embed(features)
        with torch.autocast(embeddings.device.type, enabled=False):
            centres = F.normalize(self.centres.float(), dim=2)
            cosines = F.linear(embeddings, centres.flatten(0, 1))
            nearest = cosines.view(-1, *centres.shape[:2]).amax(dim=2)
        logits: Tensor = self.scale * nearest
        return logits


def _no_neck(num_features: int, embedding: int, drop_rate: float) -> nn.Module:
    return nn.Dropout(drop_rate)


def _linear_bn_prelu(num_features: int, embedding: int, drop_rate: float) -> nn.Module:
    """Source: psinger/kaggle-landmark-recognition-2020-1st-place."""
    return nn.Sequential(
        nn.Dropout(drop_rate),
        # The norm has an offset of its own.
        nn.Linear(num_features, embedding, bias=False),
        nn.BatchNorm1d(embedding),
        nn.PReLU(),
    )


def _bn_linear_bn(num_features: int, embedding: int, drop_rate: float) -> nn.Module:
    """Source: pudae/kaggle-humpback."""
    return nn.Sequential(
        nn.BatchNorm1d(num_features),
        nn.Dropout(drop_rate),
        nn.Linear(num_features, embedding, bias=False),
        nn.BatchNorm1d(embedding),
    )


NECKS: Mapping[NeckKind, Callable[[int, int, float], nn.Module]] = {
    "none": _no_neck,
    "linear_bn_prelu": _linear_bn_prelu,
    "bn_linear_bn": _bn_linear_bn,
}
