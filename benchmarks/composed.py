"""Composed labels on real pictures: one flat class, parts, both, attention, or three models.

Chest films with class = 6 x finding + 3 x sex + age group (below 35, below 55, 55 and older),
12 classes of the mask competition's form; patients stay together. Every variant trains the same
network (mobilenetv2_100, ImageNet weights, 128 px) on the same folds with several seeds, and is
scored out of fold and on test films whose finding was kept back. What is trained already is not
trained again: the same command goes on where it was stopped.

    python benchmarks/composed.py [--seeds 0 1 2] [--folds 3] [--epochs 4]
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

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
from gorae.config.reading import write_competition
from gorae.metrics import bind_metric, evaluate
from gorae.pipeline.compose import compose_runs
from gorae.pipeline.context import open_context
from gorae.pipeline.scores import row_truth
from gorae.workspace import RunFolder, Workspace, read_predictions

WORK = ROOT / ".bench" / "composed"
RESULTS = WORK / "results.jsonl"
AGES = (35.0, 55.0)

COMPETITION = {
    "name": "chest films, finding x sex x age",
    "task": "multiclass",
    "metric": "macro_f1",
    "classes": [str(index) for index in range(12)],
    "train": {
        "images": "train",
        "table": "train.csv",
        "image_column": "image",
        "group_columns": ["patient_id"],
        "compose": [
            {
                "name": "finding",
                "weight": 6,
                "column": "label",
                "values": {"no_findings": 0, "pneumonia": 1},
            },
            {"name": "sex", "weight": 3, "column": "sex", "values": {"M": 0, "F": 1}},
            {"name": "age", "weight": 1, "column": "age", "thresholds": list(AGES)},
        ],
    },
    "test": {"images": "test", "table": "test.csv", "image_column": "image"},
}

BASE = (*NETWORK, *STEADY, "pixels.input_size=128", "split.kind=kfold", "augment.hflip=0")

THANET = ("model.head=thanet", "model.drop_rate=0.5")
TRIO = {part: (f"target.part={part}",) for part in ("finding", "sex", "age")}
NUMBER = ("target.part=age", "target.part_as=number", "loss.kind=smooth_l1")

# One training, or one for each part.
VARIANTS: dict[str, Mapping[str, Sequence[str]]] = {
    "linear, classes": {"all": ()},
    "linear, parts": {"all": ("model.outputs=parts",)},
    "linear, both": {"all": ("model.outputs=both",)},
    "thanet, classes": {"all": THANET},
    "thanet, parts": {"all": (*THANET, "model.outputs=parts")},
    "thanet, both": {"all": (*THANET, "model.outputs=both")},
    "three models": TRIO,
    "three models, age coral": {**TRIO, "age": ("target.part=age", "loss.kind=coral")},
    "three models, age as a number": {**TRIO, "age": NUMBER},
}


def opened(name: str) -> Path:
    """The competition's folder, copied once."""
    folder = WORK / name
    if not Workspace(folder).competition_file.exists():
        copied(shared_folder() / "data" / "chest-xray", folder)
        write_competition(Workspace(folder).competition_file, COMPETITION)
    return folder


def train_once(folder: Path, changes: Sequence[str], options: argparse.Namespace) -> RunFolder:
    """One training with its out-of-fold predictions; found again where it was finished."""
    return trained(
        folder,
        [
            *BASE,
            imagenet_weights(),
            f"split.num_folds={options.folds}",
            f"train.epochs={options.epochs}",
            f"seed={options.seed}",
            *changes,
        ],
    )


def scores_of(folder: Path, run: RunFolder) -> dict[str, float]:
    """Macro F1 of the classes and accuracy of each part, out of fold and on the test films."""
    context = open_context(folder)
    metric = bind_metric("macro_f1", params={}, task="multiclass")
    oof = read_predictions(run.oof)
    test = read_predictions(run.test)
    solution = pd.read_csv(shared_folder() / "data" / "chest-xray.solution.csv", dtype=str)
    rows = pd.read_csv(folder / "test.csv").set_index("image").join(solution.set_index("image"))
    rows = rows.loc[[Path(name).name for name in test.ids]]
    age = np.searchsorted(AGES, rows["age"].to_numpy(float), side="right")
    sex = (rows["sex"] == "F").to_numpy(int)
    hidden = 6 * rows["pneumonia"].astype(int).to_numpy() + 3 * sex + age
    found = {}
    for name, truth, said in (
        ("oof", row_truth(context, oof.ids), oof),
        ("hidden", hidden, test),
    ):
        found[name] = evaluate(metric, truth, said.values)
        chosen = said.values.argmax(axis=1)
        for part, divisor, size in (("finding", 6, 2), ("sex", 3, 2), ("age", 1, 3)):
            same = truth // divisor % size == chosen // divisor % size
            found[f"{name} {part}"] = float(same.mean())
    return found


def measure(variant: str, options: argparse.Namespace) -> None:
    """One variant with one seed, unless it is there."""
    common = {
        "variant": variant,
        "seed": options.seed,
        "folds": options.folds,
        "epochs": options.epochs,
    }
    if any(
        all(line[key] == value for key, value in common.items())
        for line in read_results(RESULTS)
    ):
        return
    folder = opened("chest-xray")
    runs = [train_once(folder, changes, options) for changes in VARIANTS[variant].values()]
    run = runs[0]
    if len(runs) > 1:
        run = compose_runs(folder, runs=[each.run_id for each in runs]).run
    keep_result(RESULTS, {**common, **scores_of(folder, run)})


def table(options: argparse.Namespace) -> str:
    """Mean over seeds, and after ± their standard deviation."""
    columns = ("oof", "hidden", "oof finding", "oof sex", "oof age")
    names = ("macro F1, out of fold", "kept back", "finding", "sex", "age group")
    lines = [f"| variant | seeds | {' | '.join(names)} |", "| --- " * 7 + "|"]
    results = [
        line
        for line in read_results(RESULTS)
        if line["folds"] == options.folds and line["epochs"] == options.epochs
    ]
    for variant in VARIANTS:
        rows = [line for line in results if line["variant"] == variant]
        if rows:
            cells = [spread([row[column] for row in rows]) for column in columns]
            lines.append(f"| {variant} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    WORK.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        options.seed = seed
        for variant in options.variants:
            measure(variant, options)
    print(table(options))


if __name__ == "__main__":
    main()
