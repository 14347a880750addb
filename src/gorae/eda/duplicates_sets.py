"""What pairs of duplicates make together: sets, their labels, and chains that grew too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]

THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class SwallowingSet:
    """A set of duplicates so large that folds could not be even with it in one of them."""

    set_index: int
    rows: Ints
    """Its pictures."""
    share: float
    """Its pictures over all pictures."""
    weakest: pd.DataFrame
    """Its links of lowest similarity, which hold the chain together, the lowest first."""


def duplicate_sets(pairs: pd.DataFrame, num_images: int) -> Ints:
    """Set of each picture: pictures that pairs link, directly or over others, are in one.

    Args:
        pairs: With columns first and second, as of ``near_duplicates``.
        num_images: N.

    Returns:
        (N,), from 0 in order of first appearance; -1 for a picture in no pair.
    """
    ends = pairs["first"].to_numpy(np.int64), pairs["second"].to_numpy(np.int64)
    graph = coo_array((np.ones(len(pairs), np.int8), ends), shape=(num_images, num_images))
    components = connected_components(graph, directed=False)[1]
    sizes = np.bincount(components, minlength=1)
    sets = np.full(num_images, -1, np.int64)
    joined = np.flatnonzero(sizes[components] > 1)
    sets[joined] = pd.factorize(components[joined])[0]
    return sets


def conflicting_labels(sets: Ints, labels: Sequence[Any] | NDArray[Any]) -> pd.DataFrame:
    """Pictures of the sets that hold more than one label.

    Args:
        sets: Of each picture, (N,); see ``duplicate_sets``.
        labels: Of each picture, (N,); None, NaN, "" or -1 where there is none.

    Returns:
        Columns set, image (row) and label, in this order; pictures without a label, which
        belong to a conflict all the same, are left out.
    """
    table = pd.DataFrame(
        {"set": sets, "image": np.arange(len(sets)), "label": np.asarray(labels, object)}
    )
    has_label = table["label"].notna() & ~table["label"].isin(["", -1])
    table = table[has_label & (table["set"] >= 0)]
    count = table.groupby("set")["label"].transform("nunique")
    return table[count > 1].sort_values(["set", "image"], ignore_index=True)


def swallowing_sets(
    pairs: pd.DataFrame, num_images: int, *, num_folds: int, num_shown: int = 12
) -> list[SwallowingSet]:
    """Sets of more than 1 / (2 x folds) of all pictures, the largest first.

    Such a set is seldom one picture: look-alikes link others, as films or the frames of a
    video do. It must not be joined before somebody has looked at it.

    Args:
        pairs: As of ``near_duplicates``.
        num_images: N.
        num_folds: At least 2.
        num_shown: Links given of each, at most.
    """
    sets = duplicate_sets(pairs, num_images)
    sizes = np.bincount(sets[sets >= 0])
    set_of_pair = sets[pairs["first"].to_numpy(np.int64)]
    found = []
    for index in np.argsort(-sizes, kind="stable"):
        if sizes[index] * 2 * num_folds <= num_images:
            break
        links = pairs[set_of_pair == index].sort_values("similarity", kind="stable")
        found.append(
            SwallowingSet(
                set_index=int(index),
                rows=np.flatnonzero(sets == index),
                share=float(sizes[index] / num_images),
                weakest=links.head(num_shown).reset_index(drop=True),
            )
        )
    return found


def thresholds_offered(
    pairs: pd.DataFrame, num_images: int, *, thresholds: Sequence[float] = THRESHOLDS
) -> pd.DataFrame:
    """What sets would be left at higher thresholds; equal pictures stay together at any.

    Returns:
        Columns threshold, num_sets, num_joined (pictures in a set) and largest (pictures in
        the largest set).
    """
    rows = []
    for threshold in thresholds:
        kept = pairs[(pairs["similarity"] >= threshold) | (pairs["kind"] != "near")]
        sets = duplicate_sets(kept, num_images)
        sizes = np.bincount(sets[sets >= 0])
        rows.append(
            {
                "threshold": float(threshold),
                "num_sets": len(sizes),
                "num_joined": int(sizes.sum()),
                "largest": int(sizes.max(initial=0)),
            }
        )
    return pd.DataFrame(rows, columns=["threshold", "num_sets", "num_joined", "largest"])
