"""Settings of the autoencoder, whose encoder stands before a network (``model.encoder``)."""

from typing import Literal

from pydantic import Field

from gorae.config.base import Settings


class AutoencoderSettings(Settings):
    """[autoencoder]: what makes an encoder, at ``pixels.input_size`` (896 where absent)."""

    channels: Literal[1, 3] = 1
    """1: of pictures in grey; 3: in colour."""
    epochs: int = Field(10, ge=1, le=1000)
    """Passes over the pictures."""
    batch_size: int = Field(32, ge=2, le=4096)
    """Pictures per step."""
    lr: float = Field(1e-3, gt=0, le=1)
    """Peak learning rate of Adam; it goes down by a cosine. KerasKorea/KEKOxTutorial had 0.5,
    which replaces every weight in the first step."""
    valid_share: float = Field(0.1, gt=0, lt=1)
    """Share of the pictures that is held out to measure the error; groups stay together."""
    uses_test: bool = False
    """Learn from the test pictures as well (transductive: some competitions forbid it)."""
