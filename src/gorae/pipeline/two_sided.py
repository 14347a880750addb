"""Training on pictures and their mirror images as 2K individuals."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gorae.ensemble.retrieval import double_identities
from gorae.training.plan import FoldData


def both_sides(data: FoldData) -> FoldData:
    """The same fold with its training images doubled: N as they are, then N mirrored.

    The dataset of ``data`` must be a ``TwoSidedDataset``. The validation part is seen as it
    is, and scored by the first half of the outputs.
    """
    num_classes, num_images = data.num_classes, len(data.train_ids)
    sampling, partners = data.sampling, data.sampling.partners

    def score(truth: NDArray[np.generic], values: NDArray[np.float32]) -> float:
        return data.scorer.function(truth, values[:, :num_classes])

    return replace(
        data,
        num_classes=2 * num_classes,
        train_truth=double_identities(
            data.train_truth.astype(np.int64), num_identities=num_classes
        ),
        train_ids=[*data.train_ids, *(f"{name} (mirrored)" for name in data.train_ids)],
        train_weights=_twice(data.train_weights),
        scorer=replace(data.scorer, function=score),
        sampling=replace(
            sampling,
            weights=_twice(sampling.weights),
            partners=None if partners is None else np.r_[partners, partners + num_images],
        ),
    )


def _twice(weights: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if weights is None else np.concatenate([weights, weights])
