"""Whether an encoder before a network is worth more than plain resizing to the same input.

The same network (mobilenetv2_100, ImageNet weights) sees 64 pixels: of pictures that are
resized to 64, or maps of 64 x 64 x 3 that the encoder of an autoencoder makes of 256 pixels,
frozen or trained on with the network; and 112 of 448. Encoders of grey and of colour, and
resizing with and without colour, tell what the loss of colour costs from what the encoder
does. All on one hold-out split with several seeds; each seed has an autoencoder of its own.
Scored on the validation part and on labels that were never part of the competition's folder.

What is there already is not done again: the same command goes on where it was stopped.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from ablation import scores_of_run
from common import ROOT, copied, shared_folder
from experiments import (
    NETWORK,
    STEADY,
    imagenet_weights,
    keep_result,
    read_results,
    spread,
    trained,
)
from gorae.config import resolve_recipe
from gorae.models.encoder import STRIDE
from gorae.pipeline.autoencoder import train_autoencoder
from gorae.pipeline.context import open_context
from gorae.pipeline.init import init
from gorae.pipeline.scores import competition_metric

WORK = ROOT / ".bench" / "autoencoder"
RESULTS = WORK / "results.jsonl"

GREY = 'preprocess=[{step="greyscale"}]'

PIXELS = ("pixels.crop_pct=1.0", "pixels.interpolation=bicubic")

BASE = (*NETWORK, *STEADY, "train.precision=fp32", "split.kind=holdout")

# Channels of the encoder, None without one, and what else is set.
VARIANTS: dict[str, tuple[int | None, tuple[str, ...]]] = {
    "resized, colour": (None, ()),
    "resized, grey": (None, (GREY,)),
    "encoder of grey, frozen": (1, (GREY, "train.freeze=encoder")),
    "encoder of grey, trained on": (1, (GREY,)),
    "encoder of colour, frozen": (3, ("train.freeze=encoder",)),
    "encoder of colour, trained on": (3, ()),
}


def train_encoder(
    folder: Path, size: int, channels: int, *, seed: int, epochs: int
) -> tuple[str, float, float]:
    """The name of an autoencoder, its error and that of the mean picture."""
    overrides = [
        *PIXELS,
        *([GREY] if channels == 1 else []),
        f"pixels.input_size={size}",
        f"autoencoder.channels={channels}",
        f"autoencoder.epochs={epochs}",
        f"seed={seed}",
        "train.workers=0",
    ]
    recipe = resolve_recipe(preset="standard", overrides=overrides)
    found = train_autoencoder(folder, recipe=recipe)
    return found.name, found.record["mse"], found.record["mean_image_mse"]


def score_variant(
    name: str, folder: Path, size: int, variant: str, *, seed: int, epochs: tuple[int, int]
) -> dict[str, object]:
    """One training of one variant, scored."""
    channels, changes = VARIANTS[variant]
    overrides = [
        *BASE,
        *PIXELS,
        *changes,
        imagenet_weights(),
        f"train.epochs={epochs[1]}",
        f"seed={seed}",
    ]
    errors: dict[str, float] = {}
    if channels is None:
        overrides.append(f"pixels.input_size={int(str(size)) // STRIDE}")
    else:
        encoder, error, by_mean = train_encoder(
            folder, size, channels, seed=seed, epochs=epochs[0]
        )
        overrides += [f"pixels.input_size={size}", f"model.encoder={encoder}"]
        errors = {"mse": error, "mean_image_mse": by_mean}
    run = trained(folder, overrides)
    context = open_context(folder)
    valid, hidden = scores_of_run(context, name, run)
    return {
        "data": name,
        "size": size,
        "variant": variant,
        "seed": seed,
        "epochs": list(epochs),
        "metric": competition_metric(context).name,
        "valid": valid,
        "hidden": hidden,
        **errors,
    }


def run_all(
    name: str, sizes: Sequence[int], seeds: Sequence[int], *, epochs: tuple[int, int]
) -> None:
    """Train what is not trained yet of one set of pictures."""
    folder = WORK / name
    if not folder.exists():
        copied(shared_folder() / "data" / name, folder)
        init(folder)
    keys = ("data", "size", "variant", "seed", "epochs")
    done = {json.dumps([line[key] for key in keys]) for line in read_results(RESULTS)}
    for seed in seeds:
        for size in sizes:
            for variant in VARIANTS:
                if json.dumps([name, size, variant, seed, list(epochs)]) in done:
                    continue
                line = score_variant(name, folder, size, variant, seed=seed, epochs=epochs)
                keep_result(RESULTS, line)


def table(epochs: tuple[int, int]) -> Iterator[str]:
    """What was measured with so many epochs, as Markdown."""
    lines = [line for line in read_results(RESULTS) if line["epochs"] == list(epochs)]
    frame = pd.DataFrame(lines)
    for (name, size), part in frame.groupby(["data", "size"], sort=False):
        metric, num_seeds = part["metric"].iloc[0], part["seed"].nunique()
        seen = int(str(size)) // STRIDE
        yield f"## {name}, {size} to {seen} px ({metric}, {num_seeds} seeds)\n"
        yield "| variant | validation | kept back | error / of the mean picture |"
        yield "| --- | --- | --- | --- |"
        for variant in VARIANTS:
            rows = part[part["variant"] == variant]
            if rows.empty:
                continue
            cells = [spread(rows[column].tolist()) for column in ("valid", "hidden")]
            error = "-"
            if VARIANTS[variant][0] is not None:
                error = f"{(rows['mse'] / rows['mean_image_mse']).mean():.3f}"
            yield f"| {variant} | {cells[0]} | {cells[1]} | {error} |"
        yield ""


def main() -> None:
    """Measure, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["cats-and-dogs"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 448])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--encoder-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    WORK.mkdir(parents=True, exist_ok=True)
    epochs = (options.encoder_epochs, options.epochs)
    for name in options.data:
        run_all(name, options.sizes, options.seeds, epochs=epochs)
    print("\n".join(table(epochs)))


if __name__ == "__main__":
    main()
