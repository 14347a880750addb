"""Putting an encoder before a network, as a plan says."""

from dataclasses import replace

import torch

from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError
from gorae.models.autoencoder import Autoencoder, EncodedBackbone
from gorae.models.encoder import MAP_CHANNELS, map_size, read_encoder_info
from gorae.models.network import ImageModel
from gorae.models.plan import ModelPlan
from gorae.models.weights import read_weights


def network_input(plan: ModelPlan, spec: PixelSpec) -> PixelSpec:
    """What the network itself sees of pictures of ``spec``: after an encoder, a smaller map."""
    if plan.encoder is None and plan.encoder_channels is None:
        return spec
    return replace(spec, input_size=map_size(spec.input_size))


def put_encoder(model: ImageModel, plan: ModelPlan) -> str | None:
    """Put the encoder of ``plan`` before the backbone of ``model``, in place, if it has one.

    Returns:
        The hash of its file, where there is one.

    Raises:
        ConfigError: The network has no place for it.
        StorageError: The file is missing or damaged.
        DataError: It holds no encoder.
    """
    if plan.encoder is None and plan.encoder_channels is None:
        return None
    if model.is_whole:
        raise ConfigError(
            f"model.encoder has no place before {plan.name}: a class of your own is used as it "
            "is, up to its outputs. Give it an encoder of its own, or name a network."
        )
    if model.in_chans != MAP_CHANNELS:
        raise ConfigError(
            f"model.kwargs.in_chans = {model.in_chans}: the map of an encoder has "
            f"{MAP_CHANNELS} channels. Leave it out."
        )
    channels = plan.encoder_channels
    if plan.encoder is not None:
        channels = read_encoder_info(plan.encoder).channels
    assert channels is not None
    # Its random weights are replaced: by those of the file, or by the run's.
    with torch.random.fork_rng(devices=[]):
        encoder = Autoencoder(in_chans=channels).encoder
    backbone = EncodedBackbone(encoder, model.backbone)
    sha256 = None
    if plan.encoder is not None:
        weights = read_weights(plan.encoder)
        backbone.load_encoder(weights.state, source=plan.encoder)
        sha256 = weights.sha256
    model.backbone = backbone
    model.in_chans = channels
    return sha256
