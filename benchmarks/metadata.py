"""Pictures, metadata, and the ways to join them, on chest films: docs/systems/melanoma.md.

The same network (mobilenetv2_100, ImageNet weights, 128 px, four epochs) on the same folds by
patient: alone, with a network on metadata in the forms of the winners of ISIC 2019 and 2020,
blended 8:2 with trees on metadata (third place of SIIM-ISIC 2020), and under trees that see its
scores and the metadata. Scored out of fold and on labels that were never in the folder, with
several seeds. What is there already is not done again: run it once more to go on.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from common import ROOT, copied, shared_folder
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
from gorae.pipeline.blend import Blend, blend
from gorae.pipeline.context import open_context
from gorae.workspace import Workspace, read_predictions

WORK = ROOT / ".bench" / "metadata"
RESULTS = WORK / "results.jsonl"
NAME = "chest-xray"

PICTURES = (*NETWORK, *STEADY, "pixels.input_size=128")
TREES = "model.use=tabular"

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "image only": PICTURES,
    "metadata only (LightGBM)": (TREES, "model.name=lightgbm"),
    "fusion isic2020": (*PICTURES, "model.metadata=isic2020"),
    "fusion isic2019": (*PICTURES, "model.metadata=isic2019"),
}
# Of the runs of the same seed; {image} is the run of pictures alone.
BLEND, STACK = "blend 8:2", "stack (LightGBM)"


def runs_of_seed(folder: Path, *, folds: int, epochs: int, seed: int) -> dict[str, str]:
    """Id of the run of each way."""
    common = (f"split.num_folds={folds}", f"seed={seed}")
    of_network = (imagenet_weights(), f"train.epochs={epochs}")
    runs = {
        name: trained(
            folder, [*common, *changes, *(() if TREES in changes else of_network)]
        ).run_id
        for name, changes in VARIANTS.items()
    }
    pair = (runs["image only"], runs["metadata only (LightGBM)"])
    plan = Blend(weights=(8.0, 2.0), name=f"blend-{seed}")
    runs[BLEND] = blend(folder, runs=pair, plan=plan).run.run_id
    runs[STACK] = trained(
        folder,
        [*common, TREES, "model.name=lightgbm", f'tabular.scores=["{runs["image only"]}"]'],
    ).run_id
    return runs


def keep_scores(folder: Path, runs: Mapping[str, str], *, seed: int, key: str) -> None:
    """Write the scores of the runs of a seed, each once."""
    context, workspace = open_context(folder), Workspace(folder)
    for name, run_id in runs.items():
        run = workspace.run(run_id)
        hidden = hidden_score(context, NAME, read_predictions(run.test))
        line = {"key": key, "way": name, "seed": seed, "oof": oof_score(run)}
        keep_result(RESULTS, {**line, "hidden": hidden})


def table(key: str) -> str:
    """Mean and spread of each way, as Markdown."""
    lines = ["| way | out of fold AUC | kept-back AUC |", "| --- | --- | --- |"]
    results = [line for line in read_results(RESULTS) if line["key"] == key]
    for name in (*VARIANTS, BLEND, STACK):
        cells = [
            spread([line[column] for line in results if line["way"] == name])
            for column in ("oof", "hidden")
        ]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    folder = WORK / NAME
    if not folder.exists():
        copied(shared_folder() / "data" / NAME, folder)
    key = f"{options.folds} folds, {options.epochs} epochs"
    done = {line["seed"] for line in read_results(RESULTS) if line["key"] == key}
    for seed in options.seeds:
        if seed not in done:
            runs = runs_of_seed(folder, folds=options.folds, epochs=options.epochs, seed=seed)
            keep_scores(folder, runs, seed=seed, key=key)
    print(f"\n{key}, seeds {', '.join(map(str, options.seeds))}\n\n{table(key)}")


if __name__ == "__main__":
    main()
