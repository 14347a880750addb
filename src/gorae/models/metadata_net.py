"""Metadata beside the image: a small network whose result is joined to the image's features.

What is known of a picture comes as numbers that anyone can read, NaN where nothing is known;
codes, scales and the categories there are belong to the network, which learns them from its
train part (``fit_metadata_scale``, ``fit_metadata_codes``) and keeps them with its weights.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gorae.models.head import linear_head
from gorae.models.plan import MetadataFeature, MetadataPlan

# Of arXiv 2010.05351 and 1910.03910: years of an age that count 1, and codes where nothing is
# known.
AGE_UNIT = 90.0
MISSING_YES_NO, MISSING_AGE_2019 = -1.0, -5.0


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
    is_known: NDArray[np.bool_] | None = None
    """Whether the train part has the category that a column is about, (M,); None: it has all.
    A cell with another one is missing."""
    source: NDArray[np.int64] | None = None
    """Number of the cell that each column is about, (M,); None: each has one of its own. What
    comes of one cell is known or missing together."""


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


def fit_metadata_codes(metadata: NDArray[np.floating], plan: MetadataPlan) -> MetadataScale:
    """Codes, scales and known categories of each column, of a fold's train part alone.

    Args:
        metadata: Of that part, (N, M); NaN where a value is missing.
        plan: What its columns are.

    Source: columns of ISIC come out as at their sources. In the form of 2020 an age counts in
    units of 90 years, 0 where it is missing, a yes or no -1 where it is missing, amounts are
    as they are; other numbers are scaled to mean 0 and standard deviation 1, and a missing one
    is 0. In the form of 2019 a missing age is -5 years, another missing number one standard
    deviation below the least, and all columns are scaled then.
    """
    columns = [
        _fit_column(column, metadata[:, place]) for place, column in enumerate(plan.features)
    ]
    missing, mean, std = (np.array(part, np.float64) for part in zip(*columns, strict=True))
    if plan.style == "isic2019":
        low = [_code_2019(each, metadata[:, place]) for place, each in enumerate(plan.features)]
        scale = fit_metadata_scale(metadata, missing=np.array(low, np.float64))
    else:
        scale = MetadataScale(missing, mean, std)
    is_level = np.array([each.kind == "level" for each in plan.features], bool)
    names = list(dict.fromkeys(each.column for each in plan.features))
    return replace(
        scale,
        is_known=~is_level | (metadata == 1).any(axis=0),
        source=np.array([names.index(each.column) for each in plan.features], np.int64),
    )


def _fit_column(
    column: MetadataFeature, values: NDArray[np.floating]
) -> tuple[float, float, float]:
    """Code of a missing value, mean and standard deviation in the form of 2020."""
    if column.kind == "age":
        return 0.0, 0.0, AGE_UNIT
    if column.kind == "yes_no":
        return MISSING_YES_NO, 0.0, 1.0
    if column.kind in ("level", "missing"):
        return float(column.kind == "missing"), 0.0, 1.0
    known = values[~np.isnan(values)].astype(np.float64)
    mean = float(known.mean()) if len(known) else 0.0
    if column.kind == "amount":
        return mean, 0.0, 1.0
    return mean, mean, (float(known.std()) if len(known) else 0.0) or 1.0


def _code_2019(column: MetadataFeature, values: NDArray[np.floating]) -> float:
    """Code of a missing value in the form of 2019."""
    if column.kind == "age":
        return MISSING_AGE_2019
    known = values[~np.isnan(values)].astype(np.float64)
    if column.kind in ("level", "missing") or not len(known):
        return float(column.kind == "missing")
    return float(known.min() - (known.std() or 1.0))


class MetadataInput(nn.Module):
    """Metadata as a network takes it: scaled, missing values replaced by their codes.

    In training values get lost by chance, so that the network learns to do without. The scale
    is saved with the weights.
    """

    missing: Tensor
    mean: Tensor
    std: Tensor
    is_known: Tensor
    shares_cell: Tensor

    def __init__(self, scale: MetadataScale, *, drop_rate: float) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        for name, values in _buffers(scale).items():
            self.register_buffer(name, values)

    @property
    def num_columns(self) -> int:
        """M."""
        return len(self.mean)

    @torch.no_grad()
    def use_scale(self, scale: MetadataScale) -> None:
        """Take another scale of the same columns, in place."""
        for name, values in _buffers(scale).items():
            self.get_buffer(name).copy_(values)

    def forward(self, metadata: Tensor) -> Tensor:
        """Finite numbers (B, M) of metadata (B, M) with NaN."""
        is_strange = ((metadata == 1) & (self.is_known == 0)).float() @ self.shares_cell
        is_missing = metadata.isnan() | (is_strange > 0)
        if self.training and self.drop_rate:
            is_missing = is_missing | (torch.rand_like(metadata) < self.drop_rate)
        filled = torch.where(is_missing, self.missing, metadata)
        return (filled - self.mean) / self.std


def _buffers(scale: MetadataScale) -> dict[str, Tensor]:
    """A scale as tensors: float32, which safetensors and averages of weights take alike."""
    size = len(scale.mean)
    is_known = np.ones(size, bool) if scale.is_known is None else scale.is_known
    source = np.arange(size) if scale.source is None else scale.source
    arrays = {
        "missing": scale.missing,
        "mean": scale.mean,
        "std": scale.std,
        "is_known": is_known,
        "shares_cell": source[:, None] == source[None],
    }
    return {name: torch.from_numpy(array).float() for name, array in arrays.items()}


def build_metadata_head(
    plan: MetadataPlan, num_features: int, num_outputs: int
) -> "MetadataHead":
    """The head of a plan with random weights, before its scale is fitted."""
    size = len(plan.features)
    shape = METADATA_SHAPES[plan.style]
    if plan.widths:
        shape = replace(shape, widths=plan.widths)
    none = MetadataScale(np.zeros(size), np.zeros(size), np.ones(size))
    head = MetadataHead(num_features, num_outputs, scale=none, shape=shape)
    head.plan = plan
    return head


class MetadataHead(nn.Module):
    """Layers on the metadata, joined to the features of the image, and a linear head on both.

    Source: the winners of ISIC 2019 (arXiv 1910.03910) and of SIIM-ISIC 2020 (arXiv
    2010.05351); see ``METADATA_SHAPES``.
    """

    def __init__(
        self, num_features: int, num_outputs: int, *, scale: MetadataScale, shape: MetadataShape
    ) -> None:
        super().__init__()
        self.plan: MetadataPlan | None = None
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

    def forward(self, features: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Outputs (B, K) of features (B, D) and metadata (B, M), NaN where it is missing.

        Without ``metadata`` nothing is known of any image.
        """
        if metadata is None:
            metadata = features.new_full((len(features), self.input.num_columns), torch.nan)
        # The scales of some columns need more digits than bf16 has.
        with torch.autocast(metadata.device.type, enabled=False):
            numbers = self.input(metadata.float())
        known = self.metadata(numbers)
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


def fit_metadata(model: nn.Module, metadata: NDArray[np.floating] | None) -> None:
    """Fit the codes and scales of a network's metadata to its train part, in place.

    Args:
        model: Without a network on metadata it is left as it is.
        metadata: Of the train part alone, (N, M).
    """
    head = getattr(model, "head", None)
    if not isinstance(head, MetadataHead):
        assert metadata is None, "this network has no place for metadata"
        return
    assert metadata is not None
    assert head.plan is not None
    head.input.use_scale(fit_metadata_codes(metadata, head.plan))
