"""What another run says of images, as features."""

import numpy as np
from numpy.typing import NDArray

from gorae.predictions import Predictions
from gorae.tabular.features import Features


def score_features(
    says: Predictions, row_ids: NDArray[np.object_], *, name: str, top_ranks: int
) -> Features:
    """The values of a run for the row of each image, and the ranks of its likeliest classes.

    Args:
        says: Per row: out of fold for train images, of the test set for test images.
        row_ids: The row of each image, (N,); one without predictions gets NaN.
        name: Short name of the run, which begins the name of each feature.
        top_ranks: Ranks given, from 1 (the likeliest); other classes of a row get NaN. 0: none.

    Source: ranks of the top 4 classes, kozodoi/Kaggle_Leaf_Disease_Classification.
    """
    place = {row: at for at, row in enumerate(says.ids)}
    rows = np.array([place.get(row, -1) for row in row_ids], np.int64)
    # Of two classes the first is one less the second.
    first = 1 if says.kind == "multiclass" and len(says.columns) == 2 else 0
    values = says.values.astype(np.float64)
    names = [f"{name} {column}" for column in says.columns[first:]]
    parts = [values[:, first:]]
    if top_ranks:
        # Equal values keep the order of the classes.
        order = np.argsort(-values, axis=1, kind="stable")
        ranks = np.argsort(order, axis=1, kind="stable") + 1.0
        parts.append(np.where(ranks <= top_ranks, ranks, np.nan))
        names += [f"{name} rank of {column}" for column in says.columns]
    found = np.vstack([np.hstack(parts), np.full((1, len(names)), np.nan)])
    return Features(tuple(names), found[rows], np.zeros(len(names), bool))
