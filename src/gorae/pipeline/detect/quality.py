"""How well found boxes fit the true ones of pictures the detector had not seen."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gorae.preprocess.boxes import Boxes, box_ious

# From which overlap a box counts as found (PASCAL VOC; Everingham et al., 2010).
HIT_IOU = 0.5


@dataclass(frozen=True)
class BoxQuality:
    """Found boxes against true ones, in figures."""

    num_true: int
    """Pictures with a true box that were held out."""
    num_found: int
    """Of them, those in which a box was found."""
    iou_mean: float | None
    """Mean intersection over union of found and true boxes; None where none was found."""
    hit_share: float | None
    """Share of the found boxes with an IoU above a half."""
    recall: float | None
    """Share of the true boxes that a box with an IoU above a half was found for."""
    whole_iou_mean: float | None
    """Mean IoU that the whole pictures would have: what a detector must be better than."""
    cover_mean: float | None
    """Mean share of a true box that lies inside the found one: what a crop keeps of it."""

    def to_json(self) -> dict[str, Any]:
        """The figures, for programs."""
        return asdict(self)


def box_quality(found: Boxes, true: Boxes, sizes: NDArray[np.int64]) -> BoxQuality:
    """Figures of found boxes.

    Args:
        found: (N, 4), NaN where nothing was found.
        true: (N, 4).
        sizes: Width and height of the pictures, (N, 2).
    """
    has_box = ~np.isnan(found).any(axis=1)
    ious = box_ious(found[has_box], true[has_box])
    whole = np.concatenate([np.zeros_like(sizes), sizes], axis=1).astype(np.float64)
    hits = int((ious > HIT_IOU).sum())
    return BoxQuality(
        num_true=len(true),
        num_found=int(has_box.sum()),
        iou_mean=_mean(ious),
        hit_share=hits / len(ious) if len(ious) else None,
        recall=hits / len(true) if len(true) else None,
        whole_iou_mean=_mean(box_ious(whole, true)),
        cover_mean=_mean(_covers(found[has_box], true[has_box])),
    )


def _covers(found: Boxes, true: Boxes) -> NDArray[np.float64]:
    """Share of each true box inside the found one, (N,)."""
    low, high = np.maximum(found[:, :2], true[:, :2]), np.minimum(found[:, 2:], true[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    shares: NDArray[np.float64] = common / (true[:, 2:] - true[:, :2]).prod(axis=1)
    return shares


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
