"""How an image's scores stand among those of its group: its patient's, its site's."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.tabular.features import Features


def relative_features(
    scores: Features, keys: NDArray[np.object_], *, name: str, with_size: bool
) -> Features:
    """Scores divided by the group's mean, as z-scores within it, and as shares of its ranks.

    Labels are never looked at. The images given are all that is looked at: give the train part
    of a fold, what validates in it, and the test set each on its own, or they are mixed.

    Args:
        scores: What runs say of the images, (N, S).
        keys: Group of each image, (N,); "" belongs to none and gets NaN.
        name: What the group is called in the names of the features.
        with_size: Whether the number of images of the group is a feature. Not where groups are
            cut by the parts: sizes would differ between them.

    Returns:
        Per score three features: score / mean of the group (NaN where that is 0); (score -
        mean) / standard deviation (0 where all of the group are alike, or there is one); mean
        rank / size, above 0 up to 1, greater scores greater.

    Source: patient-relative features of ilyanovo/isic-2024.
    """
    frame = pd.DataFrame(scores.values)
    group = pd.Series(keys, dtype=object).where(lambda cells: cells != "")
    grouped = frame.groupby(group, sort=False)
    mean = grouped.transform("mean")
    spread = grouped.transform("std", ddof=0)
    # A spread below the last digits of float32 is none.
    is_alike = spread <= 1e-6 * mean.abs()
    parts = {
        "/ mean of": (frame / mean.where(mean != 0)),
        "z in": ((frame - mean) / spread.mask(is_alike, 1.0)).mask(
            is_alike & frame.notna(), 0.0
        ),
        "rank in": grouped.rank(pct=True),
    }
    names = [f"{score} {what} {name}" for what in parts for score in scores.names]
    values = [part.to_numpy(np.float64) for part in parts.values()]
    if with_size:
        names.append(f"size of {name}")
        values.append(group.map(group.value_counts()).to_numpy(np.float64).reshape(-1, 1))
    return Features(tuple(names), np.hstack(values), np.zeros(len(names), bool))
