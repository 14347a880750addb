"""Metadata beside the image: a small network whose result is joined to the image's features."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gorae.models.head import linear_head


@dataclass(frozen=True, kw_only=True)
class MetadataShape:
    """The form of a ``MetadataHead``."""

    widths: tuple[int, ...]
    """Outputs of each linear layer on the metadata; batch norm and activation follow each."""
    activation: Callable[[], nn.Module]
    drop_rate: float
    """Dropout after these layers."""
    drops_last: bool
    """After the last of them too."""
    joint_width: int | None
    """Outputs of a linear layer, batch norm and ReLU on all features; None: no such layer."""
    head_drop_rate: float
    """Dropout before the head."""
    head_drop_copies: int
    """Dropouts whose outputs share the head and are averaged."""
    column_drop_rate: float
    """Probability that a column of the metadata is missing in training."""


METADATA_SHAPES: Mapping[str, MetadataShape] = {
    # haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution; a variant has widths
    # (128, 32).
    "isic2020": MetadataShape(
        widths=(512, 128),
        activation=nn.SiLU,
        drop_rate=0.3,
        drops_last=False,
        joint_width=None,
        head_drop_rate=0.5,
        head_drop_copies=5,
        column_drop_rate=0.0,
    ),
    # ngessert/isic2019.
    "isic2019": MetadataShape(
        widths=(256, 256),
        activation=nn.ReLU,
        drop_rate=0.4,
        drops_last=True,
        joint_width=1024,
        head_drop_rate=0.0,
        head_drop_copies=1,
        column_drop_rate=0.1,
    ),
}


@dataclass(frozen=True, eq=False)
class MetadataScale:
    """What stands for a missing value in each column, and how columns are scaled."""

    missing: NDArray[np.float64]
    """Value where there is none, in the column's own unit, (M,)."""
    mean: NDArray[np.float64]
    """Subtracted from each column, (M,)."""
    std: NDArray[np.float64]
    """Divides each column then, (M,)."""


def fit_metadata_scale(
    metadata: NDArray[np.floating], *, missing: NDArray[np.floating]
) -> MetadataScale:
    """Mean and standard deviation of each column, missing values counted as their codes.

    Args:
        metadata: Of a fold's train part alone, (N, M); NaN where a value is missing. Categories
            are columns of 0 and 1.
        missing: Code of a missing value in each column, (M,): 0 for categories, so that none is
            given; for numbers a value that does not occur.

    Returns:
        With a standard deviation of 1 where a column is constant.

    Source: as scikit-learn's ``StandardScaler`` on data with the codes in.
    """
    filled = np.where(np.isnan(metadata), missing, metadata).astype(np.float64)
    std = filled.std(axis=0)
    std[std == 0] = 1
    return MetadataScale(missing.astype(np.float64), filled.mean(axis=0), std)


class MetadataInput(nn.Module):
    """Metadata as a network takes it: scaled, missing values replaced by their codes.

    In training values get lost by chance, so that the network learns to do without. The scale
    is saved with the weights.
    """

    missing: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, scale: MetadataScale, *, drop_rate: float) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        for name, values in vars(scale).items():
            self.register_buffer(name, torch.from_numpy(values).float())

    def forward(self, metadata: Tensor) -> Tensor:
        """Finite numbers (B, M) of metadata (B, M) with NaN."""
        is_missing = metadata.isnan()
        if self.training and self.drop_rate:
            is_missing = is_missing | (torch.rand_like(metadata) < self.drop_rate)
        filled = torch.where(is_missing, self.missing, metadata)
        return (filled - self.mean) / self.std


class MetadataHead(nn.Module):
    """Layers on the metadata, joined to the features of the image, and a linear head on both.

    Source: the winners of ISIC 2019 (arXiv 1910.03910) and of SIIM-ISIC 2020 (arXiv
    2010.05351); see ``METADATA_SHAPES``.
    """

    def __init__(
        self, num_features: int, num_outputs: int, *, scale: MetadataScale, shape: MetadataShape
    ) -> None:
        super().__init__()
        self.input = MetadataInput(scale, drop_rate=shape.column_drop_rate)
        self.metadata = _layers(len(scale.mean), shape)
        size = num_features + shape.widths[-1]
        self.joint: nn.Module = nn.Identity()
        if shape.joint_width is not None:
            self.joint = nn.Sequential(
                nn.Linear(size, shape.joint_width, bias=False),
                nn.BatchNorm1d(shape.joint_width),
                nn.ReLU(),
            )
            size = shape.joint_width
        self.dropout = nn.Dropout(shape.head_drop_rate)
        self.drop_copies = shape.head_drop_copies
        self.head = linear_head(size, num_outputs)

    def forward(self, features: Tensor, metadata: Tensor) -> Tensor:
        """Outputs (B, K) of features (B, D) and metadata (B, M), NaN where it is missing."""
        known = self.metadata(self.input(metadata))
        joined = self.joint(torch.cat([features, known.to(features.dtype)], dim=1))
        if not self.training:
            outputs: Tensor = self.head(joined)
            return outputs
        copies = [self.head(self.dropout(joined)) for _ in range(self.drop_copies)]
        return torch.stack(copies).mean(dim=0)


def _layers(num_columns: int, shape: MetadataShape) -> nn.Sequential:
    layers: list[nn.Module] = []
    widths = (num_columns, *shape.widths)
    for place, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        # The norm has an offset of its own.
        linear = nn.Linear(before, after, bias=False)
        layers += [linear, nn.BatchNorm1d(after), shape.activation()]
        if place < len(shape.widths) or shape.drops_last:
            layers.append(nn.Dropout(shape.drop_rate))
    return nn.Sequential(*layers)
