"""Planted label noise found again: `python benchmarks/label_errors.py`.

On cats-and-dogs and sign-digits with features of a real network, five per cent of the labels
are made wrong; a linear head per fold gives out-of-fold probabilities. The table shows, for
each ranking, which share of the planted errors stands among the first twice as many suspects.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from common import shared_folder
from gorae.eda.label_errors import class_suspects, neighbour_shares, noise_share
from gorae.heads.linear import fit_linear
from gorae.splits import make_folds

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SIDE = 224
# Enough for a ranking; weaker regularisation fits wrong labels and takes the longest.
STRENGTHS = (0.001, 0.01)


def read_set(folder: Path) -> tuple[list[Path], Ints, Ints]:
    """Paths, classes and groups of one of the two sets."""
    if folder.name == "cats-and-dogs":
        paths = sorted((folder / "train").glob("*.jpg"))
        truth = np.array([path.name.startswith("dog") for path in paths], dtype=np.int64)
        return paths, truth, np.arange(len(paths))
    table = pd.read_csv(folder / "train.csv", dtype=str)
    paths = [folder / "train" / name for name in table["image"]]
    groups = pd.factorize(table["person"])[0].astype(np.int64)
    return paths, table["label"].to_numpy(dtype=np.int64), groups


def read_features(paths: list[Path], weights: Path, cache: Path) -> NDArray[np.float32]:
    """Features of mobilenetv2_100, (N, 1280), kept in ``cache``."""
    key = hashlib.sha256("\n".join([str(weights), *map(str, paths)]).encode()).hexdigest()
    kept = cache / f"{key[:16]}.npy"
    if kept.exists():
        return np.asarray(np.load(kept))
    model: Any = timm.create_model("mobilenetv2_100", pad_type="same").eval()
    model.load_state_dict(load_file(weights))
    parts = []
    for start in range(0, len(paths), 32):
        pictures = [
            np.asarray(
                Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            )
            for path in paths[start : start + 32]
        ]
        batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.inference_mode():
            features = model.forward_head(model.forward_features(batch), pre_logits=True)
        parts.append(features.numpy())
    found = np.concatenate(parts)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(kept, found)
    return found


def oof_probabilities(
    features: NDArray[np.float32], truth: Ints, groups: Ints, *, seed: int
) -> Floats:
    """Probabilities of five linear heads, each for the fold it did not see, (N, K)."""
    num_classes = int(truth.max()) + 1
    folds = make_folds(truth, groups, num_folds=5, seed=seed)
    proba = np.zeros((len(truth), num_classes))
    for fold in range(5):
        train = folds != fold
        head = fit_linear(
            features[train],
            truth[train],
            task="multiclass",
            groups=groups[train],
            strengths=STRENGTHS,
            seed=seed,
            num_classes=num_classes,
        )
        proba[~train] = head.predict(features[~train])
    return proba


def plant(truth: Ints, *, share: float, seed: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Labels of which ``share`` are another class, and which they are."""
    rng = np.random.default_rng(seed)
    num_classes = int(truth.max()) + 1
    is_wrong = np.zeros(len(truth), dtype=bool)
    is_wrong[rng.choice(len(truth), round(share * len(truth)), replace=False)] = True
    moved = (truth + rng.integers(1, num_classes, len(truth))) % num_classes
    return np.where(is_wrong, moved, truth), is_wrong


def recalls(
    features: NDArray[np.float32], truth: Ints, groups: Ints, *, share: float, seed: int
) -> dict[str, float]:
    """Recall of each ranking among the first twice as many suspects, and other figures."""
    noisy, is_wrong = plant(truth, share=share, seed=seed)
    num_wrong = int(is_wrong.sum())
    start = time.perf_counter()
    proba = oof_probabilities(features, noisy, groups, seed=seed)
    model_s = time.perf_counter() - start
    start = time.perf_counter()
    shares = neighbour_shares(features, noisy, groups, num_classes=proba.shape[1])
    neighbours_s = time.perf_counter() - start
    found: dict[str, float] = {}
    for name, values in (
        ("model", proba),
        ("neighbours", shares),
        ("both", (proba + shares) / 2),
    ):
        for score in ("margin", "self_confidence"):
            first = class_suspects(noisy, values, score=score)["image"][: 2 * num_wrong]
            found[f"{name}, {score}"] = float(is_wrong[first].sum() / num_wrong)
    table = class_suspects(noisy, proba)
    is_flagged = table["is_flagged"].to_numpy(bool)
    hits = is_wrong[table["image"].to_numpy()] & is_flagged
    found |= {
        "flagged: recall": float(hits.sum() / num_wrong),
        "flagged: precision": float(hits.sum() / max(is_flagged.sum(), 1)),
        "estimated noise": noise_share(noisy, proba),
        "seconds, model": model_s,
        "seconds, neighbours": neighbours_s,
    }
    return found


def main() -> None:
    """Print the mean and the least over seeds of every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with cats-and-dogs and sign-digits")
    parser.add_argument("--weights", type=Path, help="mobilenetv2_100.safetensors")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "gorae-bench"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", type=float, default=0.05)
    options = parser.parse_args()
    data = options.data or shared_folder() / "data"
    weights = options.weights or shared_folder() / "weights" / "mobilenetv2_100.safetensors"
    for name in ("cats-and-dogs", "sign-digits"):
        paths, truth, groups = read_set(data / name)
        features = read_features(paths, weights, options.cache)
        rows = [
            recalls(features, truth, groups, share=options.noise, seed=seed)
            for seed in range(options.seeds)
        ]
        table = pd.DataFrame(rows).agg(["mean", "min"]).T.round(3)
        print(
            f"{name}: {len(truth)} pictures, {options.noise:.0%} wrong, {options.seeds} seeds"
        )
        print(table.to_string(), flush=True)


if __name__ == "__main__":
    main()
