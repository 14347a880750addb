"""The sheet of `gorae detect`: pictures with the true box and the found one, worst first."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gorae.augment.preview import CELL_PX, Cell, Row, draw_sheet
from gorae.data.boxed import fit_whole, fitted, to_square
from gorae.files import write_bytes
from gorae.pipeline.detect.job import SIDES, DetectJob
from gorae.pipeline.detect.quality import BoxQuality
from gorae.preprocess.boxes import box_ious

NUM_SHOWN = 6

# Told apart by people who see red and green alike, on dark and on light pictures.
TRUE_COLOUR, FOUND_COLOUR, HALO_COLOUR = (255, 196, 0), (64, 156, 255), (20, 20, 20)


def detect_sheet(
    job: DetectJob, lines: pd.DataFrame, found: pd.DataFrame, quality: BoxQuality
) -> None:
    """Draw ``sheet.png`` beside the boxes.

    Args:
        job: The work.
        lines: The box of every picture, in the order of the job's pictures.
        found: What the detectors found, in the same order, NaN where nothing.
        quality: Figures for the head of the sheet.
    """
    ious = _held_out_ious(job, found)
    measured = np.flatnonzero(~np.isnan(ious))
    ranked = measured[np.argsort(ious[measured], kind="stable")]
    middle = len(ranked) // 2
    is_none = (lines["origin"] == "none").to_numpy(bool)
    is_test = job.pictures["is_test"].to_numpy(bool)
    half = NUM_SHOWN // 2
    rest = ~is_none & np.isnan(ious)
    parts: list[tuple[str, Sequence[int]]] = [
        ("The worst fits", ranked[: 2 * NUM_SHOWN].tolist()),
        ("Fits in the middle", ranked[max(0, middle - half) : middle + half].tolist()),
        ("Nothing found: the whole picture is kept", np.flatnonzero(is_none).tolist()),
        (
            "Test pictures, boxes of all detectors joined",
            np.flatnonzero(rest & is_test).tolist(),
        ),
        ("Train pictures without a true box", np.flatnonzero(rest & ~is_test).tolist()),
    ]
    rows = []
    for heading, places in parts:
        shown = places if heading == parts[0][0] else _spread(places)
        for start in range(0, len(shown), NUM_SHOWN):
            cells = [
                _cell(job, found, place, float(ious[place]))
                for place in shown[start : start + NUM_SHOWN]
            ]
            rows.append(Row(f"{heading} ({len(places)})" if not start else "", tuple(cells)))
    sheet = draw_sheet(
        "gorae detect",
        [
            "Yellow: the true box. Blue: found by a detector that has not seen the picture. "
            "Below: overlap, confidence, name.",
            _figures(quality),
        ],
        columns=[],
        rows=rows,
    )
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(job.folder / "sheet.png", buffer.getvalue())


def _held_out_ious(job: DetectJob, found: pd.DataFrame) -> NDArray[np.float64]:
    """IoU of found and true box of each picture; NaN where one of them is missing."""
    missing = (np.nan,) * 4
    true = np.array([job.boxes.get(image, missing) for image in found["image_id"]], np.float64)
    boxes = found[SIDES].to_numpy(np.float64)
    ious = np.full(len(found), np.nan)
    both = ~(np.isnan(true).any(axis=1) | np.isnan(boxes).any(axis=1))
    ious[both] = box_ious(boxes[both], true[both])
    return ious


def _spread(places: Sequence[int]) -> list[int]:
    chosen = np.linspace(0, len(places) - 1, min(NUM_SHOWN, len(places))).round().astype(int)
    return [places[place] for place in chosen]


def _figures(quality: BoxQuality) -> str:
    if quality.iou_mean is None or quality.recall is None or quality.whole_iou_mean is None:
        return f"Nothing was found in the {quality.num_true} pictures with a true box."
    return (
        f"Of {quality.num_true} pictures with a true box: found in {quality.num_found}, mean "
        f"IoU {quality.iou_mean:.3f} (whole pictures: {quality.whole_iou_mean:.3f}), recall at "
        f"IoU 0.5 {quality.recall:.3f}."
    )


def _cell(job: DetectJob, found: pd.DataFrame, place: int, iou: float) -> Cell:
    image_id, key, width, height = job.pictures.iloc[place][
        ["image_id", "key", "width", "height"]
    ]
    fit = fit_whole(width, height, CELL_PX)
    square = fitted(job.pixels.read(key), fit, CELL_PX)[:, : fit.height, : fit.width]
    image = Image.fromarray(square.permute(1, 2, 0).numpy())
    line = found.iloc[place]
    box = line[SIDES].to_numpy(np.float64)
    for corners, colour in (
        (job.boxes.get(image_id), TRUE_COLOUR),
        (None if np.isnan(box).any() else box, FOUND_COLOUR),
    ):
        if corners is not None:
            drawn = to_square(np.array([corners]), (width, height), fit)[0]
            _outline(image, drawn, colour)
    # The folder would be cut out of the middle of the line.
    name = str(image_id).rpartition("/")[2]
    parts = [] if np.isnan(iou) else [f"IoU {iou:.2f}"]
    if line["confidence"] > 0:
        parts.append(f"{line['confidence']:.2f}")
    return Cell(torch.from_numpy(np.array(image)).permute(2, 0, 1), " · ".join([*parts, name]))


def _outline(
    image: Image.Image, box: NDArray[np.float64], colour: tuple[int, int, int]
) -> None:
    """The box as a line on the picture's last pixels, not on the edge behind them."""
    left, top, right, bottom = box.round().astype(int).tolist()
    right, bottom = max(left + 1, right - 1), max(top + 1, bottom - 1)
    right, bottom = min(right, image.width - 1), min(bottom, image.height - 1)
    left, top = min(left, right), min(top, bottom)
    pen = ImageDraw.Draw(image)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=HALO_COLOUR, width=4)
    pen.rectangle((left, top, right, bottom), outline=colour, width=2)
