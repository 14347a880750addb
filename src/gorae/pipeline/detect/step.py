"""Step ``detect``: boxes of all pictures from a detector that learns those of some."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gorae.config import Recipe
from gorae.data.dataset import Pixels
from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import (
    content_key,
    exclusive_lock,
    sha256_bytes,
    sweep_temporaries,
    write_json,
    write_text,
)
from gorae.machine import num_cores
from gorae.models.detection import DetectorPlan, LoadedDetector, load_detector
from gorae.pipeline.context import (
    Context,
    decode_policy,
    listed_images,
    open_context,
    read_scan,
    usable,
)
from gorae.pipeline.contract import read_split
from gorae.pipeline.detect.folds import detector_folds
from gorae.pipeline.detect.found import (
    final_boxes,
    found_quality,
    found_warnings,
    joined_boxes,
)
from gorae.pipeline.detect.job import DetectJob, train_fold
from gorae.pipeline.detect.quality import BoxQuality
from gorae.pipeline.detect.sheet import detect_sheet
from gorae.pipeline.detect.table import boxes_csv, given_boxes, read_box_table
from gorae.pipeline.network import devices
from gorae.pipeline.pictures import Box
from gorae.stopping import Stopping, never_stopped
from gorae.stores.prepared import Prepared, ensure_prepared
from gorae.training.detection import DetectionPlan

# Raised when the same settings would give other boxes.
DETECT_VERSION = 1


@dataclass(frozen=True)
class DetectResult:
    """The boxes, and how good they are."""

    boxes: Path
    """boxes.csv, or the file that was asked for."""
    folder: Path
    """Where boxes.csv, record.json and sheet.png lie."""
    origins: Mapping[str, int]
    """Number of pictures by where their box comes from: ``table``, ``fold-K``, ``fused`` (of
    all detectors, for test pictures) or ``none`` (the whole picture)."""
    missing: tuple[str, ...]
    """Pictures in which nothing was found; they stay whole."""
    quality: BoxQuality
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "boxes": str(self.boxes),
            "folder": str(self.folder),
            "origins": dict(self.origins),
            "missing": list(self.missing),
            "quality": self.quality.to_json(),
            "warnings": list(self.warnings),
        }


def prepare_pictures(
    context: Context, recipe: Recipe, *, on_event: OnEvent = ignore_events
) -> Prepared:
    """Every listed picture as the detector will see it: whole, without preprocessing steps."""

    def on_progress(done: int, total: int) -> None:
        on_event(Event("progress", "prepare", "pictures", done, total))

    on_event(Event("stage", "prepare", "checking and decoding pictures"))
    return ensure_prepared(
        listed_images(context.tables),
        root=context.workspace.folder,
        policy=decode_policy(context),
        num_workers=num_cores(),
        prepared_root=context.workspace.prepared,
        scan_path=context.workspace.scan,
        short_side=recipe.detect.size,
        interpolation="bilinear",
        on_progress=on_progress,
    )


def detect(
    folder: Path,
    *,
    recipe: Recipe,
    boxes: Path | None = None,
    out: Path | None = None,
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> DetectResult:
    """Learn boxes from the pictures that have one, and find one on every picture.

    The box of a train picture comes from a detector that has seen no picture of its fold; that
    of a test picture is joined of all detectors. A detector that is finished is not trained
    again.

    Args:
        folder: The competition, split already.
        recipe: The settings; [detect] and [split] count.
        boxes: CSV file with the true boxes; None takes the box columns of competition.toml.
        out: Write the boxes there as well.
        on_event: Hears progress.
        stopping: Opened while a detector learns.

    Raises:
        Interrupted: It was asked to stop; the same call goes on with the detector at hand.
        DataError: Boxes cannot be used, too few have one, or the loss is not finite.
        ConfigError: There is no split, or a setting is wrong.
        UserError: ``out`` is there and holds something else.
    """
    context = open_context(folder)
    prepared = prepare_pictures(context, recipe, on_event=on_event)
    pictures = _pictures(context, prepared)
    true = _true_boxes(context, recipe, pictures, boxes)
    on_event(Event("stage", "network", f"loading {recipe.detect.model}"))
    loaded = _load(context, recipe)
    for note in loaded.notes:
        on_event(Event("message", "network", note))
    job = _open_job(context, recipe, loaded, pictures, prepared.pixels, true)
    job = replace(job, on_event=on_event, stopping=stopping)
    with exclusive_lock(job.folder / "lock", purpose="finding boxes"):
        sweep_temporaries(job.folder)
        return _finish(job, recipe, loaded, out)


def _true_boxes(
    context: Context, recipe: Recipe, pictures: pd.DataFrame, table: Path | None
) -> dict[str, Box]:
    columns = (pictures[name] for name in ("image_id", "width", "height"))
    sizes = {image: (wide, high) for image, wide, high in zip(*columns, strict=True)}
    if table is None:
        return given_boxes(context, sizes)
    return read_box_table(table, recipe.detect, sizes)


def _open_job(
    context: Context,
    recipe: Recipe,
    loaded: LoadedDetector,
    pictures: pd.DataFrame,
    pixels: Pixels,
    true: Mapping[str, Box],
) -> DetectJob:
    settings = recipe.detect
    made = read_split(context, read_scan(context), recipe.split)
    train_ids = pictures["image_id"][~pictures["is_test"]].tolist()
    key = _key(recipe, pictures, true, split=made.key, weights=loaded.weights_sha256)
    return DetectJob(
        folder=context.workspace.boxes / key,
        pixels=pixels,
        pictures=pictures,
        boxes=true,
        folds=detector_folds(made, train_ids),
        network=loaded.network,
        plan=DetectionPlan(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            lr=settings.lr,
            hflip=settings.hflip,
            zoom=settings.zoom,
            seed=recipe.seed,
            device=devices(recipe.train.devices)[0],
        ),
        side=settings.size,
        confidence=settings.confidence,
        area_min=settings.area_min,
    )


def _load(context: Context, recipe: Recipe) -> LoadedDetector:
    settings = recipe.detect
    plan = DetectorPlan(
        name=settings.model,
        weights=settings.weights,
        kwargs=settings.kwargs,
        side=settings.size,
        seed=recipe.seed,
    )
    return load_detector(plan, folder=context.workspace.folder)


def _pictures(context: Context, prepared: Prepared) -> pd.DataFrame:
    """Every picture that can be used, train pictures first."""
    listed = listed_images(context.tables).assign(key=list(prepared.keys))
    scan = prepared.scan.set_index("image_id")
    train = set(context.tables.train["image_id"])
    listed = listed[usable(scan, listed["image_id"])].reset_index(drop=True)
    found = scan.loc[listed["image_id"]]
    table = pd.DataFrame(
        {
            "image_id": listed["image_id"],
            "key": listed["key"],
            "width": found["width_px"].to_numpy(np.int64),
            "height": found["height_px"].to_numpy(np.int64),
            "is_test": ~listed["image_id"].isin(train),
        }
    )
    return table.sort_values("is_test", kind="stable", ignore_index=True)


def _key(
    recipe: Recipe,
    pictures: pd.DataFrame,
    boxes: Mapping[str, Box],
    *,
    split: str,
    weights: str,
) -> str:
    """A hash of all that decides what the detectors find."""
    # Read already, or asked of what is found: nothing is learned again for it.
    later = {"image_column", "box_columns", "box_format", "weights"}
    later |= {"confidence", "area_min", "keep_table"}
    settings = recipe.detect.model_dump(mode="json", exclude=later)
    seen = pictures[["image_id", "key", "width", "height"]].to_csv(index=False)
    return content_key(
        [
            DETECT_VERSION,
            settings,
            recipe.seed,
            sorted((image, list(box)) for image, box in boxes.items()),
            sha256_bytes(seen.encode("utf-8")),
            split,
            weights,
        ]
    )


def _finish(
    job: DetectJob, recipe: Recipe, loaded: LoadedDetector, out: Path | None
) -> DetectResult:
    names = job.folds.names
    job.on_event(Event("stage", "detect", f"learning {len(job.boxes)} boxes"))
    frames = [train_fold(job, fold, place=place) for place, fold in enumerate(names)]
    found = joined_boxes(job, dict(zip(names, frames, strict=True)))
    quality = found_quality(job, found)
    lines = final_boxes(job, found, keeps_table=recipe.detect.keep_table)
    missing = tuple(lines["image_id"][lines["origin"] == "none"])
    warnings = found_warnings(job, missing, quality)
    for warning in warnings:
        job.on_event(Event("warning", "detect", warning))
    text = boxes_csv(lines)
    target = job.folder / "boxes.csv"
    write_text(target, text)
    origins = {str(name): int(n) for name, n in lines["origin"].value_counts().items()}
    write_json(
        job.folder / "record.json",
        {
            "settings": recipe.detect.model_dump(mode="json"),
            "seed": recipe.seed,
            "weights": {"origin": loaded.origin, "sha256": loaded.weights_sha256},
            "plan": asdict(job.plan),
            "num_boxes": len(job.boxes),
            "origins": origins,
            "missing": list(missing),
            "quality": quality.to_json(),
            "quality_by_fold": {
                f"fold-{fold}": found_quality(job, found, fold=fold).to_json() for fold in names
            },
            "boxes_sha256": sha256_bytes(text.encode("utf-8")),
            "warnings": list(warnings),
        },
    )
    detect_sheet(job, lines, found, quality)
    if out is not None:
        target = _write_out(out, text)
    return DetectResult(target, job.folder, origins, missing, quality, warnings)


def _write_out(out: Path, text: str) -> Path:
    """Write the boxes where they were asked for.

    Raises:
        UserError: Something else is there.
    """
    if out.exists() and out.read_bytes() != text.encode("utf-8"):
        raise UserError(
            f"{out} is there and holds something else. Give another name, or remove it; the "
            "boxes are kept, and the same command only writes them."
        )
    write_text(out, text)
    return out
