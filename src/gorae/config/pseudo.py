"""Settings of pseudo-labels: what is learned from pictures that only earlier runs labelled."""

from typing import Literal

from pydantic import Field

from gorae.config.base import Settings


class PseudoSettings(Settings):
    """[pseudo]: pictures with labels of earlier runs, beside those with true labels. Each fold
    learns what the same fold of the earlier runs said of them."""

    labels: str | None = None
    """Labels that `gorae pseudo` made: their name, a unique beginning of it, or ``newest``;
    absent: none."""
    kind: Literal["soft", "hard"] = "soft"
    """Learn the probabilities, or the likeliest class as if it were true."""
    threshold: float = Field(0.0, ge=0, lt=1)
    """Probability of the likeliest class below which a picture is left out: 0.3 in Noisy
    Student (Xie et al., 2020), 0.6 in knshnb/kaggle-happywhale-1st-place."""
    per_class: int | None = Field(None, ge=1)
    """Pictures kept of each class, the surest first (top-K of Yalniz et al., 2019, here by the
    likeliest class alone); absent: all."""
    fill: bool = False
    """Show pictures of a class with fewer than ``per_class`` several times, up to that number
    (Xie et al., 2020)."""
    weight: float = Field(1.0, gt=0)
    """What such a picture counts in the loss, where one with a true label counts 1."""
    only: bool = False
    """Train on these pictures alone: the first of two stages, whose second is fine-tuned on
    true labels with ``train.start`` (Yalniz et al., 2019)."""
