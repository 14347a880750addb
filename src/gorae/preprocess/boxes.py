"""How boxes lie to each other: overlap, and one box out of those of several detectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""Boxes (left, top, right, bottom), one per line."""

# From which overlap boxes are of the same thing; 0.55 in Solovyev et al., 2021.
SAME_IOU = 0.55


def box_areas(boxes: Boxes) -> NDArray[np.float64]:
    """Area of each box, (N,); 0 for one that is turned inside out."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    areas: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def box_ious(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Intersection over union of boxes that belong together, (N,); NaN where one is NaN."""
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, 2:], second[:, 2:])
    common = box_areas(np.concatenate([low, high], axis=1))
    union = box_areas(first) + box_areas(second) - common
    ious: NDArray[np.float64] = np.divide(
        common, union, out=np.zeros_like(common), where=union != 0
    )
    return ious


@dataclass(frozen=True)
class Candidates:
    """Boxes that a detector takes into account, any number of them on a picture."""

    places: NDArray[np.int64]
    """Number of the picture that each is on, (M,)."""
    boxes: Boxes
    """(M, 4)."""
    scores: NDArray[np.float64]
    """Confidence of each, (M,), 0 to 1."""


def best_boxes(
    candidates: Candidates,
    sizes: NDArray[np.int64],
    *,
    confidence: float,
    area_min: float,
) -> tuple[Boxes, NDArray[np.float64]]:
    """The surest box on each of N pictures.

    Args:
        candidates: On these pictures.
        sizes: Width and height of each picture, (N, 2).
        confidence: Smallest confidence of a box that is taken.
        area_min: Smallest share of its picture's area.

    Returns:
        Boxes, (N, 4), NaN where none is taken; confidences, (N,), 0 there.
    """
    found, scores = np.full((len(sizes), 4), np.nan), np.zeros(len(sizes))
    least = np.maximum(area_min * sizes.prod(axis=1), 1.0)[candidates.places]
    taken = (candidates.scores >= confidence) & (box_areas(candidates.boxes) >= least)
    # The surest is written last, and of equals the first.
    order = np.flatnonzero(taken)[::-1]
    order = order[np.argsort(candidates.scores[order], kind="stable")]
    found[candidates.places[order]] = candidates.boxes[order]
    scores[candidates.places[order]] = candidates.scores[order]
    return found, scores


@dataclass(frozen=True)
class Fused:
    """One box of several."""

    box: Boxes
    """(4,)."""
    confidence: float
    """Mean of the detectors' confidences, 0 of those that found another thing or nothing."""
    votes: int
    """How many detectors found it."""


def fuse_boxes(boxes: Boxes, scores: NDArray[np.float64]) -> Fused | None:
    """One box of those that several detectors found in one picture.

    Boxes that overlap are of the same thing: the thing with the most confidence behind it
    counts, its box is the mean weighted by confidence. What only some detectors have found is
    as much less certain.

    Args:
        boxes: Best box of each detector, (M, 4); a line of NaN where it found none.
        scores: Confidence of each, (M,), 0 to 1.

    Returns:
        The box; None where no detector found any.

    Source: weighted boxes fusion of Solovyev et al., 2021, with one box per detector.
    """
    found = np.flatnonzero(~np.isnan(boxes).any(axis=1))
    if not len(found):
        return None
    best: tuple[float, NDArray[np.int64]] = (-1.0, found)
    # Most certain first, so that of equal clusters the one around the better box counts.
    for centre in found[np.argsort(-scores[found], kind="stable")]:
        others = np.broadcast_to(boxes[centre], (len(found), 4))
        cluster = found[box_ious(boxes[found], others) >= SAME_IOU]
        behind = float(scores[cluster].sum())
        if behind > best[0]:
            best = behind, cluster
    behind, cluster = best
    weights = scores[cluster] / behind
    return Fused(weights @ boxes[cluster], behind / len(boxes), len(cluster))
