"""From what single detectors found to one box per picture, and how good they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gorae.pipeline.detect.job import SIDES, DetectJob
from gorae.pipeline.detect.quality import BoxQuality, box_quality
from gorae.preprocess.boxes import Candidates, best_boxes, box_areas, fuse_boxes

_NAMES_SHOWN = 3


def joined_boxes(job: DetectJob, frames: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """What the detectors found, a line per picture in the order of ``job.pictures``.

    Args:
        job: The work.
        frames: What each detector takes into account, by its fold.

    Returns:
        ``image_id``, SIDES (NaN where nothing was found), ``confidence`` and ``origin``.
    """
    own = pd.concat([_best_of(job, fold, frames[fold]) for fold in sorted(frames)])
    is_test = own["image_id"].isin(job.pictures["image_id"][job.pictures["is_test"]])
    lines = own[~is_test].set_index("image_id")
    fused = [_fused(str(image), each) for image, each in own[is_test].groupby("image_id")]
    if fused:
        lines = pd.concat([lines, pd.DataFrame(fused).set_index("image_id")])
    return lines.reindex(job.pictures["image_id"]).reset_index()


def _best_of(job: DetectJob, fold: int, frame: pd.DataFrame) -> pd.DataFrame:
    """The surest box of one detector on each of its pictures."""
    part = job.pictures[job.found_by(fold)]
    place = pd.Series(np.arange(len(part)), index=part["image_id"])
    boxes, scores = best_boxes(
        Candidates(
            place.loc[frame["image_id"]].to_numpy(np.int64),
            frame[SIDES].to_numpy(np.float64),
            frame["confidence"].to_numpy(np.float64),
        ),
        part[["width", "height"]].to_numpy(np.int64),
        confidence=job.confidence,
        area_min=job.area_min,
    )
    lines = pd.DataFrame(boxes, columns=SIDES).assign(confidence=scores, origin=f"fold-{fold}")
    lines.insert(0, "image_id", part["image_id"].to_numpy())
    return lines


def _fused(image_id: str, found: pd.DataFrame) -> dict[str, Any]:
    """One line for a test picture; a box that most detectors did not find is none."""
    joined = fuse_boxes(found[SIDES].to_numpy(np.float64), found["confidence"].to_numpy())
    if joined is None or 2 * joined.votes < len(found):
        box, confidence = np.full(4, np.nan), 0.0
    else:
        box, confidence = joined.box, joined.confidence
    return {
        "image_id": image_id,
        **dict(zip(SIDES, box.tolist(), strict=True)),
        "confidence": confidence,
        "origin": "fused",
    }


def found_quality(
    job: DetectJob, found: pd.DataFrame, *, fold: int | None = None
) -> BoxQuality:
    """Found boxes of train pictures against the true ones; of one detector, or of all."""
    known = (found["image_id"].isin(list(job.boxes)) & ~job.pictures["is_test"]).to_numpy(bool)
    if fold is not None:
        known = known & (found["origin"] == f"fold-{fold}").to_numpy(bool)
    true = [job.boxes[image_id] for image_id in found["image_id"][known]]
    return box_quality(
        found.loc[known, SIDES].to_numpy(np.float64),
        np.array(true, np.float64).reshape(-1, 4),
        job.pictures.loc[known, ["width", "height"]].to_numpy(np.int64),
    )


def final_boxes(job: DetectJob, found: pd.DataFrame, *, keeps_table: bool) -> pd.DataFrame:
    """The box of every picture: found, of the table where that is kept, else all of it."""
    lines = found.copy()
    nothing = lines["left"].isna().to_numpy(bool)
    if keeps_table:
        in_table = lines["image_id"].isin(list(job.boxes)).to_numpy(bool)
        true = [job.boxes[image_id] for image_id in lines["image_id"][in_table]]
        lines.loc[in_table, SIDES] = np.array(true, np.float64).reshape(-1, 4)
        lines.loc[in_table, ["confidence"]] = 0.0
        lines.loc[in_table, "origin"] = "table"
        nothing = nothing & ~in_table
    whole = job.pictures.loc[nothing, ["width", "height"]].to_numpy(np.float64)
    lines.loc[nothing, SIDES] = np.concatenate([np.zeros_like(whole), whole], axis=1)
    lines.loc[nothing, "origin"] = "none"
    return lines


def found_warnings(
    job: DetectJob, missing: Sequence[str], quality: BoxQuality
) -> tuple[str, ...]:
    """What a user should know before cropping to the boxes."""
    lines = []
    if missing:
        more = " ..." if len(missing) > _NAMES_SHOWN else ""
        lines.append(
            f"nothing is found in {len(missing)} pictures, which stay whole: "
            f"{', '.join(missing[:_NAMES_SHOWN])}{more}. record.json names all"
        )
    areas = job.pictures.set_index("image_id")[["width", "height"]].prod(axis=1)
    boxes = np.array(list(job.boxes.values()), np.float64)
    shares = box_areas(boxes) / areas.loc[list(job.boxes)].to_numpy(np.float64)
    small = int((shares < job.area_min).sum())
    if small:
        lines.append(
            f"{small} of {len(boxes)} boxes of the table are smaller than detect.area_min = "
            f"{job.area_min:g} of their picture: a found box so small is not taken"
        )
    reached, whole = quality.iou_mean, quality.whole_iou_mean
    if reached is not None and whole is not None and reached <= whole:
        lines.append(
            "the found boxes fit the true ones no better than the whole pictures do: give more "
            "boxes, more epochs, or a larger detect.size before you crop to them"
        )
    return tuple(lines)
