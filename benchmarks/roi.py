"""Whole picture, crop to the true box, crop to the found box: what the ROI stage is worth.

No set here has boxes, so one is drawn, and said to be: each photograph of cats-and-dogs is
pasted at a random place and size on a patchwork of photographs of hands (sign-digits) and films
of chests (chest-xray), and where it was pasted is its true box. That is easier for a detector
than a real search (the edges of a pasted photograph are sharp), so the figures show what crops
to good boxes are worth, not how well detectors find things in the world.

Boxes of 150 train pictures are given; detectors (centre/mobilenetv2_100) learn them fold by
fold. The same classifier (mobilenetv2_100, ImageNet weights, 128 px, two folds) is trained on
each kind of picture with several seeds and scored out of fold and on the kept-back labels. What
is there already is not done again: the same command goes on where it was stopped.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from common import ROOT, shared_folder
from experiments import (
    NETWORK,
    STEADY,
    hidden_score,
    imagenet_weights,
    keep_result,
    oof_score,
    read_results,
    spread,
    trained,
)
from gorae.config import resolve_recipe
from gorae.pipeline.context import open_context
from gorae.pipeline.init import init
from gorae.pipeline.roi import find_regions
from gorae.workspace import read_predictions

WORK = ROOT / ".bench" / "roi"

CANVAS_PX, TILE_PX = 384, 96
PASTED_PX = (90, 190)
NUM_BOXED = 150
NUM_TRAIN = 600

SIDES = ("left", "top", "right", "bottom")


def crop(table: str) -> str:
    """The override that crops to the boxes of a table."""
    columns = json.dumps(list(SIDES))
    return (
        f'preprocess=[{{step="crop_box", annotations="{table}", image_column="image_id", '
        f'box_columns={columns}, box_format="xyxy", margin=0.05}}]'
    )


KINDS = {
    "whole picture": (),
    "true boxes": (crop("true.csv"),),
    "found boxes": (crop("roi.csv"),),
}


def clutter(photographs: list[Path], rng: np.random.Generator) -> Image.Image:
    """A patchwork of parts of other photographs."""
    canvas = Image.new("RGB", (CANVAS_PX, CANVAS_PX))
    for top in range(0, CANVAS_PX, TILE_PX):
        for left in range(0, CANVAS_PX, TILE_PX):
            with Image.open(photographs[int(rng.integers(len(photographs)))]) as source:
                picture = source.convert("RGB")
            side = int(rng.integers(48, min(picture.size) + 1))
            x, y = (int(rng.integers(0, room - side + 1)) for room in picture.size)
            part = picture.crop((x, y, x + side, y + side)).resize((TILE_PX, TILE_PX))
            canvas.paste(part, (left, top))
    return canvas


def paste(
    source: Path, target: Path, others: list[Path], rng: np.random.Generator
) -> list[int]:
    """Draw one picture; the box of what was pasted."""
    canvas = clutter(others, rng)
    with Image.open(source) as image:
        picture = image.convert("RGB")
    scale = int(rng.integers(*PASTED_PX)) / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    left = int(rng.integers(0, CANVAS_PX - picture.width + 1))
    top = int(rng.integers(0, CANVAS_PX - picture.height + 1))
    canvas.paste(picture, (left, top))
    canvas.save(target, quality=92)
    return [left, top, left + picture.width, top + picture.height]


def write_set(folder: Path, num_train: int) -> None:
    """The competition, its true boxes (``true.csv``) and those given (``given.csv``)."""
    data, rng = shared_folder() / "data", np.random.default_rng(0)
    others = sorted((data / "sign-digits").rglob("*.jpg"))
    others += sorted((data / "chest-xray").rglob("*.jpg"))
    train = sorted((data / "cats-and-dogs" / "train").glob("*.jpg"))
    train = [train[place] for place in rng.permutation(len(train))[:num_train].tolist()]
    test = sorted((data / "cats-and-dogs" / "test").glob("*.jpg"))
    boxes: list[list[object]] = []
    for part, sources in (("train", train), ("test", test)):
        (folder / part).mkdir(parents=True)
        for source in sources:
            name = f"{part}/{source.name}"
            boxes.append([name, *paste(source, folder / name, others, rng)])
    sample = data / "cats-and-dogs" / "sample_submission.csv"
    (folder / "sample_submission.csv").write_bytes(sample.read_bytes())
    # Before the tables of boxes are there, which could be taken for tables of labels.
    init(folder)
    table = pd.DataFrame(boxes, columns=["image_id", *SIDES])
    table.to_csv(folder / "true.csv", index=False)
    table.iloc[: min(NUM_BOXED, len(train))].to_csv(folder / "given.csv", index=False)


def settings(*, epochs: int, seed: int) -> tuple[str, ...]:
    """Those of one training, and of the detectors before it."""
    return (
        *NETWORK,
        *STEADY,
        imagenet_weights(),
        "pixels.input_size=128",
        "split.num_folds=2",
        f"train.epochs={epochs}",
        "detect.model=centre/mobilenetv2_100",
        'detect.kwargs={pad_type="same"}',
        imagenet_weights().replace("model.", "detect.", 1),
        "detect.size=224",
        "detect.epochs=15",
        "detect.lr=1e-3",
        f"seed={seed}",
    )


def run_seed(folder: Path, seed: int, epochs: int) -> None:
    """Train what is not trained yet with one seed."""
    results = folder.with_name("results.jsonl")
    done = {(line["kind"], line["seed"]) for line in read_results(results)}
    if not (folder / "roi.csv").exists():
        result = find_regions(
            folder,
            recipe=resolve_recipe(preset="standard", overrides=settings(epochs=epochs, seed=0)),
            boxes=folder / "given.csv",
            out=folder / "roi.csv",
        )
        print(f"found boxes: {json.dumps(result.to_json()['quality'])}, {result.folder}")
    for kind, changes in KINDS.items():
        if (kind, seed) in done:
            continue
        run = trained(folder, [*settings(epochs=epochs, seed=seed), *changes])
        hidden = hidden_score(open_context(folder), "cats-and-dogs", read_predictions(run.test))
        keep_result(
            results, {"kind": kind, "seed": seed, "oof": oof_score(run), "hidden": hidden}
        )


def table(folder: Path) -> str:
    """Mean and spread of each kind of picture."""
    frame = pd.DataFrame(read_results(folder.with_name("results.jsonl")))
    lines = ["| pictures | out of fold | kept back | seeds |", "| --- | --- | --- | --- |"]
    for kind in KINDS:
        part = frame[frame["kind"] == kind]
        cells = [spread(part[column].tolist()) for column in ("oof", "hidden")]
        lines.append(f"| {kind} | {cells[0]} | {cells[1]} | {len(part)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--train", type=int, default=NUM_TRAIN, help="train pictures")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the drawn set")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    folder = options.work / "pasted"
    if not (folder / "given.csv").exists():
        write_set(folder, options.train)
    for seed in options.seeds:
        run_seed(folder, seed, options.epochs)
    print(table(folder))


if __name__ == "__main__":
    main()
