"""Heads of the mask system that need no attention, on the features of any backbone.

Heads of several tasks write their outputs side by side: K logits of the classes, or none, and
then the logits of each part, as ``gorae.data.composed.part_columns`` reads them.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from gorae.models.network import ImageModel
from gorae.models.parts import build_head


def vanilla_head(num_features: int, num_outputs: int, *, drop_rate: float = 0.5) -> nn.Module:
    """Batch norm, dropout, ReLU, linear layer.

    Source: VanillaEfficientNet and VanillaResNet of iloveslowfood/ImageClassfication, which
    put it on 1000 logits of ImageNet; see ``use_logits``.
    """
    return nn.Sequential(
        nn.BatchNorm1d(num_features),
        nn.Dropout(drop_rate),
        nn.ReLU(),
        build_head("linear", num_features=num_features, num_outputs=num_outputs),
    )


def multi_head(num_features: int, *, sizes: Sequence[int], num_classes: int) -> nn.Module:
    """Linear heads for the classes, none where ``num_classes`` is 0, and for each part.

    Linear layers side by side are one linear layer.

    Source: THANet_MK1 of iloveslowfood/ImageClassfication, where nothing attends to anything.
    """
    return build_head("linear", num_features=num_features, num_outputs=num_classes + sum(sizes))


class LogitBackbone(nn.Module):
    """A backbone whose features are the logits of the classifier its weights brought."""

    def __init__(self, network: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1000 of ImageNet) of images (B, 3, H, W)."""
        logits: Tensor = self.classifier(self.network(images).flatten(1))
        return logits


def use_logits(model: ImageModel, head: nn.Module, *, num_outputs: int) -> None:
    """Take the logits of the classifier of ``model`` as its features, in place.

    Pooled features are the usual choice; this is how the mask system's source was trained.

    Args:
        model: With the classifier of its weights as its head (``num_outputs`` None in
            ``ModelPlan``).
        head: What is put on the logits.
        num_outputs: Outputs of that head.
    """
    model.backbone = LogitBackbone(model.backbone, model.head)
    model.num_features = model.num_outputs
    model.head, model.num_outputs = head, num_outputs
