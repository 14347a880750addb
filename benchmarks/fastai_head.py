"""The peer of `quick`: fastai trains a head on a frozen timm backbone, one epoch per fold.

Runs in an environment of its own (see benchmarks/quick.py, which calls it). It follows
fastai's quick start - `vision_learner` with its default head, `Resize(224)`, one cycle - and
differs only in taking the weights from a file and the folds from a table.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import (
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    vision_learner,
)
from safetensors.torch import load_file


def main() -> None:
    """Print the out-of-fold accuracy as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folds", type=Path, required=True, help="CSV: path, label, fold")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.folds, dtype={"path": str, "label": str, "fold": int})
    state = load_file(arguments.weights)
    state = {k: v for k, v in state.items() if not k.startswith("classifier.")}
    correct = np.zeros(len(table), dtype=bool)
    torch.manual_seed(0)
    for fold in range(table["fold"].max() + 1):
        frame = table.assign(is_valid=table["fold"] == fold)
        loaders = ImageDataLoaders.from_df(
            frame,
            path=arguments.root,
            valid_col="is_valid",
            item_tfms=Resize(224),
            batch_tfms=Normalize.from_stats([0.5] * 3, [0.5] * 3, cuda=False),
        )
        learner = vision_learner(
            loaders,
            "mobilenetv2_100",
            pretrained=False,
            normalize=False,
            metrics=accuracy,
            pad_type="same",
        )
        missing = learner.model[0].model.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys, missing
        learner.freeze()
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(1)
            probabilities, truth = learner.get_preds(ds_idx=1)
        held_out = np.flatnonzero(frame["is_valid"])
        correct[held_out] = (probabilities.argmax(1) == truth).numpy()
    print(json.dumps({"accuracy": float(correct.mean()), "images": len(table)}))


if __name__ == "__main__":
    main()
