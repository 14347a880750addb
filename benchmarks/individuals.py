"""What margins, nearest neighbours and a threshold are worth on an open set: cattle faces.

Every variant uses mobilenetv2_100 with ImageNet weights at 128 px on the same open split, with
several seeds (of the split too), and is scored out of fold, where held-out individuals are
unknown, and on labels that were never part of the competition's folder. "Threshold" is
``predict.unknown = "validation"``; without it the unknown label stands at a score of 0.5. What
is there already is not done again: the same command goes on where it was stopped.
"""

import argparse
import os
from collections.abc import Sequence

import pandas as pd

from common import ROOT, copied, shared_folder
from experiments import (
    NETWORK,
    imagenet_weights,
    keep_result,
    oof_score,
    read_results,
    spread,
    trained,
)
from gorae.metrics import map_at_k
from gorae.pipeline.submit import submit

WORK = ROOT / ".bench" / "individuals"
RESULTS = WORK / "results.jsonl"
DATA = "cattle-faces"

BASE = (
    *NETWORK,
    "pixels.input_size=128",
    'predict.views=["identity", "hflip"]',
    "train.precision=bf16",
    "train.channels_last=true",
)
FINETUNE = (
    "model.use=finetune",
    "train.compile=false",
    "predict.compile=false",
    "train.workers=0",
)
ARCFACE = (
    *FINETUNE,
    "model.head=cosine",
    "model.neck=bn_linear_bn",
    "model.embedding=256",
    "loss.margin=0.3",
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "softmax": FINETUNE,
    "ArcFace": ARCFACE,
    "ArcFace + neighbours": (*ARCFACE, "predict.retrieval_share=0.5"),
    "frozen neighbours": ("model.use=frozen", "predict.retrieval_share=1"),
}
THRESHOLD = "predict.unknown=validation"


def run_once(
    changes: Sequence[str], *, setting: tuple[int, int, float], seed: int
) -> dict[str, float]:
    """Scores of one training, out of fold and kept back; epochs, folds and share of unknown."""
    folder, (epochs, num_folds, share) = WORK / DATA, setting
    overrides = [*BASE, imagenet_weights(), *changes, f"seed={seed}", f"split.seed={seed}"]
    overrides += [f"split.unknown_share={share}", f"split.num_folds={num_folds}"]
    if "model.use=finetune" in changes:
        overrides.append(f"train.epochs={epochs}")
    run = trained(folder, overrides)
    sent = submit(folder, run=run.run_id)
    return {"oof": oof_score(run), "hidden": submission_score(sent.path)}


def submission_score(path: os.PathLike[str]) -> float:
    """MAP@5 of a submission on the kept-back labels."""
    solution = pd.read_csv(shared_folder() / "data" / f"{DATA}.solution.csv", dtype=str)
    truth = solution.set_index("Image")["Id"]
    answers = pd.read_csv(path, dtype=str).set_index("Image")["Id"]
    guesses = [cell.split(" ") for cell in answers]
    return map_at_k([[truth[name]] for name in answers.index], guesses, k=5)


def table(lines: Sequence[dict[str, object]]) -> str:
    """Mean and spread over the seeds of each variant."""
    frame = pd.DataFrame(lines)
    rows = ["| variant | threshold | out of fold | kept back | seeds |", "| --- " * 5 + "|"]
    for (name, has_threshold), part in frame.groupby(["variant", "threshold"], sort=False):
        cells = [spread(part[column].tolist()) for column in ("oof", "hidden")]
        yes = "yes" if has_threshold else "no"
        rows.append(f"| {name} | {yes} | {cells[0]} | {cells[1]} | {len(part)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--thresholds", nargs="+", default=["no", "yes"])
    parser.add_argument("--unknown-share", type=float, default=0.45)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    if not (WORK / DATA).exists():
        copied(shared_folder() / "data" / DATA, WORK / DATA)
    keys = ("variant", "threshold", "seed", "epochs", "folds", "share")
    done = {tuple(line[key] for key in keys) for line in read_results(RESULTS)}
    for seed in options.seeds:
        for variant in options.variants:
            for has_threshold in (each == "yes" for each in options.thresholds):
                setting = (options.epochs, options.folds, options.unknown_share)
                place = (variant, has_threshold, seed, *setting)
                if place in done:
                    continue
                changes = [*VARIANTS[variant], *([THRESHOLD] if has_threshold else [])]
                scores = run_once(changes, setting=setting, seed=seed)
                keep_result(RESULTS, dict(zip(keys, place, strict=True)) | scores)
    print(table(read_results(RESULTS)))


if __name__ == "__main__":
    main()
