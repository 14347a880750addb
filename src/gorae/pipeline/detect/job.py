"""The detectors of a competition: what they learn from, and the training of one of them."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from gorae.data.boxed import BoxedPictures
from gorae.data.dataset import Pixels
from gorae.errors import DataError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import write_json
from gorae.pipeline.detect.folds import DetectorFolds
from gorae.pipeline.pictures import Box
from gorae.stopping import Stopping, never_stopped
from gorae.training.detection import DetectionPlan, find_boxes, train_detector
from gorae.workspace import read_frame, write_frame

# Fewer show a network nothing; the sources' detectors learned from some hundreds.
FEWEST_BOXES = 8

SIDES = ["left", "top", "right", "bottom"]


@dataclass(frozen=True)
class DetectJob:
    """Everything the detectors of one competition need."""

    folder: Path
    """Where their boxes lie."""
    pixels: Pixels
    pictures: pd.DataFrame
    """``image_id``, ``key`` of its pixels, ``width``, ``height``, ``is_test``; train first."""
    boxes: Mapping[str, Box]
    """True boxes by ``image_id``."""
    folds: DetectorFolds
    """Of the train pictures, in their order."""
    network: nn.Module
    """What every detector starts as."""
    plan: DetectionPlan
    side: int
    """Side of the square a detector sees."""
    confidence: float
    """Smallest confidence of a box that is taken."""
    area_min: float
    """Smallest share of its picture's area of one."""
    on_event: OnEvent = ignore_events
    stopping: Stopping = never_stopped

    @property
    def num_train(self) -> int:
        """Number of train pictures."""
        return int((~self.pictures["is_test"]).sum())

    def found_by(self, fold: int) -> NDArray[np.bool_]:
        """The pictures on which a fold's detector finds boxes: its own, and all of test."""
        finds = self.pictures["is_test"].to_numpy(bool).copy()
        finds[: self.num_train] = self.folds.folds == fold
        return finds

    def boxed(self, chosen: NDArray[np.bool_]) -> BoxedPictures:
        """Some of the pictures as a detector takes them, with true boxes where all have one."""
        part = self.pictures[chosen]
        known = [self.boxes.get(image_id) for image_id in part["image_id"]]
        true = [box for box in known if box is not None]
        return BoxedPictures(
            self.pixels,
            part["key"].tolist(),
            part[["width", "height"]].to_numpy(np.int64),
            self.side,
            np.array(true, np.float64) if len(true) == len(known) else None,
        )


def train_fold(job: DetectJob, fold: int, *, place: int) -> pd.DataFrame:
    """Boxes on the pictures of a fold and on all test pictures, by the fold's own detector.

    Read where they are there already.

    Args:
        job: The work.
        fold: Number of the detector.
        place: How many detectors are done before it.

    Returns:
        ``image_id``, SIDES and ``confidence`` of every box that it takes into account.
    """
    path, record = job.folder / f"fold-{fold}.parquet", job.folder / f"fold-{fold}.json"
    if record.exists():
        return read_frame(path)
    started = time.monotonic()
    is_boxed = job.pictures["image_id"].isin(list(job.boxes)).to_numpy(bool)
    trains, finds = np.zeros_like(is_boxed), job.found_by(fold)
    trains[: job.num_train] = job.folds.training(fold)
    trains = trains & is_boxed
    if trains.sum() < FEWEST_BOXES:
        raise DataError(
            f"The detector of fold {fold} has {trains.sum()} pictures with boxes to learn "
            f"from, and {FEWEST_BOXES} are the fewest. Draw boxes on more train pictures: some "
            "hundred make a good detector."
        )
    network = copy.deepcopy(job.network)
    total = len(job.folds.names)

    def on_step(done: int, steps: int) -> None:
        text = f"detector {place + 1} of {total}"
        job.on_event(Event("progress", "detect", text, place * steps + done, total * steps))

    with job.stopping() as should_stop:
        losses = train_detector(
            network, job.boxed(trains), job.plan, should_stop=should_stop, on_step=on_step
        )
        candidates = find_boxes(
            network,
            replace(job.boxed(finds), boxes=None),
            batch_size=job.plan.batch_size,
            device=job.plan.device,
            should_stop=should_stop,
        )
    frame = pd.DataFrame(candidates.boxes, columns=SIDES)
    image_ids = job.pictures["image_id"][finds].to_numpy()
    frame.insert(0, "image_id", image_ids[candidates.places])
    frame["confidence"] = candidates.scores
    write_frame(path, frame)
    write_json(
        record,
        {
            "trained_on": job.pictures["image_id"][trains].tolist(),
            "losses": losses,
            "elapsed_s": round(time.monotonic() - started, 1),
        },
    )
    job.on_event(
        Event(
            "message",
            "detect",
            f"detector {place + 1} of {total}: {int(trains.sum())} pictures with boxes, loss "
            f"{losses[-1]:.3f}",
        )
    )
    return frame
