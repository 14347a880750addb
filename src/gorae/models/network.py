"""The network every step works with: a backbone and a head, or a user's whole module."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gorae.errors import ConfigError
from gorae.models.autoencoder import EncodedBackbone
from gorae.models.head import build_head, linear_head
from gorae.models.margin import CosineHead
from gorae.models.metadata_net import MetadataHead, build_metadata_head
from gorae.models.parts import StagedBackbone, cut_at, output_at_cut
from gorae.models.plan import HEADS_WITH_DROPOUT, Parts

# Luma of RGB by ITU-R BT.601, for networks that take one channel.
LUMA = (0.299, 0.587, 0.114)


def as_grey(images: Tensor) -> Tensor:
    """The luma (B, 1, H, W) of images (B, 3, H, W), of whatever scale."""
    luma = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("bchw,c->bhw", images, luma).unsqueeze(1)


class ImageModel(nn.Module):
    """A backbone that makes features of images, and a head that makes K outputs of them.

    A user's own module may be whole, that is, end in its K outputs; then the head changes
    nothing, and features exist only if the module has a method ``features``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int,
        num_outputs: int,
        parts: Parts | None = None,
        in_chans: int = 3,
        is_whole: bool = False,
    ) -> None:
        super().__init__()
        parts = parts or Parts()
        self.backbone = backbone
        self.num_features = num_features
        self.num_outputs = num_outputs
        self.in_chans = in_chans
        self.is_whole = is_whole
        self.layer: str | None = None
        self.resting: tuple[str, ...] = ()
        self.drop_copies = parts.drop_copies
        has_own = parts.head in HEADS_WITH_DROPOUT
        self.dropout = nn.Dropout(0.0 if has_own else parts.drop_rate)
        self.head: nn.Module = nn.Identity()
        if not is_whole:
            self.head = (
                build_head(parts, num_features=num_features, num_outputs=num_outputs)
                if parts.metadata is None
                else build_metadata_head(parts.metadata, num_features, num_outputs)
            )

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, D) of normalised images (B, 3, H, W).

        Raises:
            ConfigError: A user's module has no method ``features``.
        """
        images = self.to_input(images)
        if self.layer is not None:
            features = output_at_cut(self.backbone, images)
            if features is None:
                raise ConfigError(
                    f"model.layer = {self.layer!r} is never reached: the network does not call "
                    "it as a layer. Name the block it is in, or one of its parts."
                )
            return features
        if not self.is_whole:
            return cast(Tensor, self.backbone(images).flatten(1))
        make_features = getattr(self.backbone, "features", None)
        if not callable(make_features):
            raise ConfigError(
                f"{type(self.backbone).__name__} has no method features(x), which "
                'model.use = "frozen" needs. Add one that returns a tensor of images by '
                'features, name a layer in model.layer, or set model.use = "finetune".'
            )
        features = cast(Tensor, make_features(images))
        # A stage of convolutions is a common `features`; its map is averaged over the place.
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features.flatten(1)

    def forward(self, images: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Outputs before any activation (B, K) of normalised images (B, 3, H, W).

        In training the outputs of ``drop_copies`` dropouts under one head are averaged. What is
        known of the images, (B, M), goes to a head that has a network on it; absent: nothing.

        Source: Inoue, 2019 (multi-sample dropout), who averages the losses instead.
        """
        if self.is_whole:
            return cast(Tensor, self.backbone(self.to_input(images)))
        features = self.features(images)
        if isinstance(self.head, MetadataHead):
            # It has dropouts of its own.
            of_both: Tensor = self.head(features, metadata)
            return of_both
        if not self.dropout.training:
            return cast(Tensor, self.head(features))
        copies = [self.head(self.dropout(features)) for _ in range(self.drop_copies)]
        return torch.stack(copies).mean(dim=0)

    @property
    def num_metadata(self) -> int:
        """Numbers that are known of each image beside its pixels, M; mostly none."""
        return self.head.input.num_columns if isinstance(self.head, MetadataHead) else 0

    def embedded(self, images: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Outputs and then the embedding of each image, (B, K + E), in one pass.

        The embedding of a head of cosines is what it compares with its centres; under any
        other head it is the pooled features.
        """
        features = self.features(images)
        if self.is_whole:
            outputs = self.backbone(self.to_input(images))
        elif isinstance(self.head, MetadataHead):
            outputs = self.head(features, metadata)
        else:
            outputs = self.head(features)
        embedding = features
        if isinstance(self.head, CosineHead):
            embedding = self.head.embed(features)
        return torch.cat([outputs.float(), embedding.float()], dim=1)

    def to_input(self, images: Tensor) -> Tensor:
        """Images with as many channels as the backbone takes."""
        if self.in_chans == 1 and images.shape[1] == 3:
            return as_grey(images)
        return images

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of everything below the head."""
        return self.backbone.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the head; none where the module is whole."""
        return self.head.parameters()

    def freeze(self) -> None:
        """Train the head alone from now on; the backbone stays as in evaluation."""
        set_trainable(self, ["head"])

    def train(self, mode: bool = True) -> "ImageModel":
        """As in torch, but what ``set_trainable`` put to rest never leaves evaluation."""
        super().train(mode)
        for name in self.resting:
            self.get_submodule(name).eval()
        return self


def set_trainable(model: ImageModel, names: Iterable[str] | None) -> None:
    """Let only ``names`` learn from now on; None lets everything learn.

    A module of which nothing learns rests: it stays as in evaluation through every later
    ``model.train()``. Otherwise its BatchNorm would go on measuring and its dropout would go
    on drawing.

    Args:
        model: The network, changed in place.
        names: Names of parameters, or of modules with all they hold. A norm without
            parameters goes on measuring where it is named itself or all around it learns.
    """
    chosen = None if names is None else set(names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen is None or _is_named(name, chosen))
    model.resting = tuple(_find_resting(model, "", chosen or set()))
    model.train(model.training)


def _is_named(name: str, names: set[str]) -> bool:
    """Whether a name, or that of a module it is in, is among ``names``."""
    parts = name.split(".")
    return any(".".join(parts[: end + 1]) in names for end in range(len(parts)))


def _find_resting(module: nn.Module, name: str, names: set[str]) -> Iterator[str]:
    learns = [parameter.requires_grad for parameter in module.parameters()]
    if (learns and all(learns)) or _is_named(name, names):
        return
    holds_named = not name or any(each.startswith(f"{name}.") for each in names)
    if not any(learns) and not holds_named:
        # What holds no tensors at all, such as an activation or a dropout, is as its parent.
        if learns or any(True for _ in module.buffers()):
            yield name
        return
    for child_name, child in module.named_children():
        yield from _find_resting(child, f"{name}.{child_name}".removeprefix("."), names)


def cut_model(model: ImageModel, layer: str, *, input_size: int, seed: int) -> None:
    """Take the features at a named layer of the backbone, averaged, with a new linear head.

    What comes after the layer is not computed any more; a user's whole module becomes a
    backbone. The number of features is measured on two empty images.

    Args:
        model: The network, changed in place.
        layer: Name of a module of the backbone; the first time it is called counts.
        input_size: Side of its input in pixels.
        seed: Seed of the new head.

    Raises:
        ConfigError: There is no such layer, it is never reached, or gives no features.
    """
    cut_at(model.backbone, layer)
    model.layer, model.is_whole = layer, False
    was_training = model.training
    model.eval()
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        features = model.features(torch.zeros(2, 3, input_size, input_size, device=device))
    model.train(was_training)
    model.num_features = features.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.head = linear_head(model.num_features, model.num_outputs)


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


def on_logits(model: ImageModel, parts: Parts, *, num_outputs: int, seed: int) -> ImageModel:
    """The layers of ``model``, its classifier too, as the backbone under a new head.

    Pooled features are the usual choice; this is how the mask system's source was trained
    (iloveslowfood/ImageClassfication).

    Args:
        model: With the classifier of its weights as its head.
        parts: The new head, and the dropout before it.
        num_outputs: Outputs of that head.
        seed: Seed of its weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageModel(
            LogitBackbone(model.backbone, model.head),
            num_features=model.num_outputs,
            num_outputs=num_outputs,
            parts=parts,
            in_chans=model.in_chans,
        )


def join_stages(
    model: ImageModel, parts: Parts, *, name: str, input_size: int, seed: int
) -> ImageModel:
    """``model`` with features of its last ``parts.pool_stages`` stages, and a new head.

    What the network has after its last stage, a norm or a convolution before the classifier,
    is left out. The number of features is measured on two empty images.

    Args:
        model: With the weights of its backbone; not used afterwards.
        parts: What is put on the backbone.
        name: The network's, for messages.
        input_size: Side of its input in pixels.
        seed: Seed of the new head.

    Raises:
        ConfigError: The network has not so many stages, or does not tell them.
    """
    wanted = parts.pool_stages
    network = cast(Any, model.backbone)
    stages = len(getattr(network, "feature_info", ()))
    if not hasattr(network, "forward_intermediates"):
        raise ConfigError(
            f"model.pool_stages = {wanted}: {name} does not tell its stages. Set it to 1, or "
            "choose a network of timm that does, such as resnet50, efficientnet_b0 or "
            "convnext_tiny."
        )
    if wanted > stages:
        raise ConfigError(
            f"model.pool_stages = {wanted}, and {name} has {stages} stages. Set it lower; 2 is "
            "usual."
        )
    network.prune_intermediate_layers(wanted, prune_norm=True, prune_head=True)
    backbone = StagedBackbone(network, num_stages=wanted, is_gem=parts.pooling == "gem")
    backbone.eval()
    with torch.inference_mode():
        found = backbone(torch.zeros(2, model.in_chans, input_size, input_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageModel(
            backbone.train(),
            num_features=found.shape[1],
            num_outputs=model.num_outputs,
            parts=parts,
            in_chans=model.in_chans,
        )


def enable_gradient_checkpointing(model: ImageModel) -> None:
    """Compute activations again in the backward pass: less memory, the same gradients.

    A BatchNorm measures each batch twice then, so its statistics follow faster.

    Raises:
        ConfigError: The network cannot.

    Source: Chen et al., 2016; timm's ``set_grad_checkpointing``.
    """
    network = model.backbone
    while isinstance(network, LogitBackbone | EncodedBackbone | StagedBackbone):
        network = network.network
    enable = getattr(network, "set_grad_checkpointing", None)
    try:
        if not callable(enable):
            raise AssertionError("it has no set_grad_checkpointing()")
        enable(True)
    # timm's networks without it say so by an assertion.
    except (AssertionError, NotImplementedError, TypeError) as error:
        raise ConfigError(
            f"train.checkpoint_gradients: {type(network).__name__} cannot compute its "
            f"activations again ({error}). Set it to false and lower train.batch_size, with "
            "train.accumulate, or choose a network of timm that can, such as resnet50 or "
            "convnext_tiny."
        ) from error


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
