"""Which classes have too few pictures to learn, and which the test set seems to lack."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# A class is missed in test only where its share of train lets one expect so many pictures:
# none at all then has a chance of 1 in 150 (Poisson).
FEWEST_EXPECTED = 5.0


def class_coverage(
    truth: NDArray[Any],
    classes: Sequence[str],
    *,
    test_proba: NDArray[np.floating[Any]] | None = None,
) -> pd.DataFrame:
    """Pictures of each class in train, and how many the model sees in test.

    Args:
        truth: Class indices (N,), or 0/1 labels (N, K).
        classes: Class names, K.
        test_proba: Predicted probabilities of the test pictures, (M, K); absent: not looked at.

    Returns:
        A line per class in order: ``class``, ``num_train``, ``train_share``, ``num_predicted``
        (test pictures whose most probable class it is; for 0/1 labels those above one half),
        ``expected_test`` (sum of its probabilities; both NaN without predictions) and
        ``finding``: "no picture", "one picture", "not seen in test", or empty.
    """
    num_classes = len(classes)
    is_single = truth.ndim == 1
    counts = np.bincount(truth, minlength=num_classes) if is_single else truth.sum(axis=0)
    shares = counts / max(len(truth), 1)
    predicted = np.full(num_classes, np.nan)
    expected = np.full(num_classes, np.nan)
    is_missed = np.zeros(num_classes, dtype=bool)
    if test_proba is not None:
        expected = test_proba.sum(axis=0, dtype=np.float64)
        predicted = (test_proba > 0.5).sum(axis=0).astype(np.float64)
        if is_single:
            best = test_proba.argmax(axis=1)
            predicted = np.bincount(best, minlength=num_classes).astype(np.float64)
        is_missed = (predicted == 0) & (shares * len(test_proba) >= FEWEST_EXPECTED)
    findings = np.select(
        [counts == 0, counts == 1, is_missed],
        ["no picture", "one picture", "not seen in test"],
        default="",
    )
    return pd.DataFrame(
        {
            "class": list(classes),
            "num_train": counts.astype(np.int64),
            "train_share": shares,
            "num_predicted": predicted,
            "expected_test": expected,
            "finding": findings,
        }
    )
