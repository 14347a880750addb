"""What single settings of fine-tuning are worth, on real pictures: docs/ablation.md.

Every variant trains the same network (mobilenetv2_100, ImageNet weights, 128 px) on the same
hold-out split with several seeds, and is scored on the validation part and on labels that were
never part of the competition's folder. A training that is there already is not done again, so
the same command goes on where it was stopped: ``make ablation``.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

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
from gorae.data.tables import encode_targets
from gorae.ensemble import soft_vote
from gorae.metrics import evaluate
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.scores import competition_metric
from gorae.predictions import Predictions
from gorae.workspace import RunFolder, read_predictions

WORK = ROOT / ".bench" / "ablation"
PAGE = ROOT / "docs" / "ablation.md"
RESULTS = WORK / "results.jsonl"

BASE = (
    *NETWORK,
    *STEADY,
    "pixels.input_size=128",
    "split.kind=holdout",
    "train.epochs=4",
)

VARIANTS: dict[str, tuple[str, ...]] = {
    "standard": (),
    "policy none": ("augment.policy=none",),
    "policy base": ("augment.policy=base",),
    "policy random": ("augment.policy=random",),
    "label smoothing 0.1": ("loss.label_smoothing=0.1",),
    "mixup 0.2": ("augment.mixup=0.2",),
    "EMA": ("train.ema=true",),
    "FixRes: train at 96, 1 epoch at 128": ("pixels.train_size=96", "train.fixres_epochs=1"),
    "train at 96, test at 128": ("pixels.train_size=96",),
}

# Votes over one training of "standard" with more views and checkpoints than it uses.
VIEWS = ("identity", "hflip", "corner_tl", "corner_tr", "corner_bl", "corner_br")
VOTES: dict[str, tuple[int, tuple[str, ...]]] = {
    "best checkpoint, 1 view": (1, ("identity",)),
    "best checkpoint, 2 views (flip)": (1, ("identity", "hflip")),
    "best checkpoint, five crops": (1, ("identity", *VIEWS[2:])),
    "2 best checkpoints, 1 view": (2, ("identity",)),
    "2 best checkpoints, 2 views": (2, ("identity", "hflip")),
}
VOTING = (f"predict.views={json.dumps(VIEWS)}", "predict.use_checkpoints=2")


def train_once(folder: Path, changes: Sequence[str], seed: int) -> RunFolder:
    """One training; found again where it was finished before."""
    common = (*BASE, imagenet_weights(), "train.keep_checkpoints=2")
    return trained(folder, [*common, *changes, f"seed={seed}"])


def scores_of_run(context: Context, name: str, run: RunFolder) -> tuple[float, float]:
    """Validation and kept-back score of a run."""
    return oof_score(run), hidden_score(context, name, read_predictions(run.test))


def votes_of_run(
    context: Context, name: str, run: RunFolder
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Validation and kept-back score of each of ``VOTES``."""
    member = run.members()[0]
    checkpoints = member.read_record()["used_checkpoints"]
    row_of = context.tables.train.set_index("image_id")["label"]
    for vote, (top, views) in VOTES.items():
        joined = {
            part: soft_vote(
                [
                    read_predictions(member.predictions(part, checkpoint, view))
                    for checkpoint in checkpoints[:top]
                    for view in views
                ]
            )
            for part in ("valid", "test")
        }
        valid = joined["valid"]
        truth = encode_targets(
            row_of.loc[list(valid.ids)],
            classes=context.tables.classes,
            task=context.competition.task,
        )
        score = evaluate(competition_metric(context), truth, valid.values)
        rows = context.tables.test.set_index("image_id")["row_id"]
        test = joined["test"]
        ids = tuple(rows.loc[list(test.ids)])
        test = Predictions(ids, test.columns, test.values, test.kind)
        yield vote, (score, hidden_score(context, name, test))


def run_all(name: str, seeds: Sequence[int]) -> None:
    """Train what is not trained yet of one set of pictures."""
    folder = WORK / name
    if not folder.exists():
        copied(shared_folder() / "data" / name, folder)
    done = {(line["data"], line["variant"], line["seed"]) for line in read_results(RESULTS)}
    for seed in seeds:
        for variant, changes in {**VARIANTS, "votes": VOTING}.items():
            if (name, variant, seed) in done:
                continue
            run = train_once(folder, changes, seed)
            context = open_context(folder)
            common = {"data": name, "seed": seed, "metric": competition_metric(context).name}
            if variant == "votes":
                for vote, (valid, hidden) in votes_of_run(context, name, run):
                    keep_result(
                        RESULTS, {**common, "variant": vote, "valid": valid, "hidden": hidden}
                    )
            valid, hidden = scores_of_run(context, name, run)
            keep_result(
                RESULTS, {**common, "variant": variant, "valid": valid, "hidden": hidden}
            )


def page() -> str:
    """docs/ablation.md from what was trained."""
    frame = pd.DataFrame(read_results(RESULTS))
    lines = [
        "# What single settings are worth",
        "",
        "Made by `make ablation` (`benchmarks/ablation.py`), which trains what is missing and",
        "goes on where it was stopped. mobilenetv2_100 with ImageNet weights, 128 px, four",
        "epochs, one hold-out split (20 %), else the preset `standard`. Mean over seeds and",
        "after ± their standard deviation; *kept back* is the score on the labels of the test",
        "pictures, which no training saw. A difference within the ± of both lines is none.",
        "",
    ]
    for name, part in frame.groupby("data", sort=False):
        metric = part["metric"].iloc[0]
        lines += [
            f"## {name} ({metric}, {part['seed'].nunique()} seeds)",
            "",
            "| variant | validation | kept back |",
            "| --- | --- | --- |",
        ]
        order = [*VARIANTS, *VOTES]
        for variant in order:
            rows = part[part["variant"] == variant]
            if rows.empty:
                continue
            cells = [spread(rows[column].tolist()) for column in ("valid", "hidden")]
            lines.append(f"| {variant} | {cells[0]} | {cells[1]} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["chest-xray", "cats-and-dogs"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    for name in options.data:
        run_all(name, options.seeds)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
