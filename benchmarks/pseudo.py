"""What pictures without labels are worth, on real pictures: pseudo-labels and top-K training.

A tenth of the labels of a set is given, the other training pictures lie in a folder without
labels. Every variant trains the same network (mobilenetv2_100, ImageNet weights, 128 px) on the
same three folds with several seeds, and is scored out of fold and on labels that were never
part of the competition's folder; labels that were taken away are never read. A training that
is there already is not done again: ``python benchmarks/pseudo.py``.
"""

import argparse
import os
from collections.abc import Sequence
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
from gorae.pipeline.context import open_context
from gorae.pipeline.init import init
from gorae.pipeline.pseudo import pseudo
from gorae.pipeline.scores import competition_metric
from gorae.workspace import RunFolder, read_predictions

WORK = ROOT / ".bench" / "pseudo"
RESULTS = WORK / "results.jsonl"

# Every so many-th training picture keeps its label; persons stay whole.
KEPT_ONE_OF = 10

BASE = (*NETWORK, *STEADY, "pixels.input_size=128", "split.num_folds=3", "train.epochs=8")

NOISE = ("augment.policy=random", "model.drop_rate=0.5", "model.drop_path=0.2")

# Settings; TEACHER's labels are put in, START is the run of the variant that is named.
VARIANTS: dict[str, tuple[str, ...]] = {
    "true labels alone": (),
    "hard, from 0.6": ("pseudo.kind=hard", "pseudo.threshold=0.6"),
    "soft, from 0.3": ("pseudo.kind=soft", "pseudo.threshold=0.3"),
    "Noisy Student (soft, with noise)": (
        "pseudo.kind=soft",
        "pseudo.threshold=0.3",
        *NOISE,
    ),
    "top-K alone": ("pseudo.kind=hard", "pseudo.per_class=PER_CLASS", "pseudo.only=true"),
    "top-K, then true labels": ("START=top-K alone", "train.epochs=4", "train.lr=3e-4"),
}
PER_CLASS = {"cats-and-dogs": 300, "sign-digits": 80}


def made_scarce(name: str) -> Path:
    """A copy of a set with few labels; the other training pictures in ``unlabelled``."""
    folder = WORK / name
    if folder.exists():
        return folder
    copied(shared_folder() / "data" / name, folder)
    (folder / "unlabelled").mkdir()
    table = folder / "train.csv"
    if table.exists():
        frame = pd.read_csv(table, dtype=str, keep_default_na=False)
        people = sorted(frame["person"].unique())
        is_kept = frame["person"].isin(people[::KEPT_ONE_OF])
        hidden = frame["image"][~is_kept].tolist()
        frame[is_kept].to_csv(table, index=False)
    else:
        names = sorted(path.name for path in (folder / "train").iterdir())
        hidden = [name for row, name in enumerate(names) if row % KEPT_ONE_OF]
    for number, old in enumerate(hidden):
        # Their names may say the label.
        path = folder / "train" / old
        path.rename(folder / "unlabelled" / f"{number:05d}{path.suffix}")
    init(folder)
    return folder


def train_once(folder: Path, changes: Sequence[str], seed: int) -> RunFolder:
    """One run with its result; found again where it was finished before."""
    return trained(folder, [*BASE, imagenet_weights(), *changes, f"seed={seed}"])


def changes_of(
    variant: str, name: str, labels: str, runs: dict[str, RunFolder]
) -> tuple[str, ...]:
    """The settings of a variant, with its labels or its start in their places."""
    changes = VARIANTS[variant]
    if changes and changes[0].startswith("START="):
        start = runs[changes[0].removeprefix("START=")].run_id
        return (f"train.start={start}", *changes[1:])
    filled = tuple(each.replace("PER_CLASS", str(PER_CLASS[name])) for each in changes)
    return (f"pseudo.labels={labels}", *filled) if filled else ()


def run_all(name: str, seeds: Sequence[int]) -> None:
    """Train what is not trained yet of one set of pictures."""
    folder = made_scarce(name)
    done = {(line["data"], line["variant"], line["seed"]) for line in read_results(RESULTS)}
    for seed in seeds:
        teacher = train_once(folder, (), seed)
        labels = pseudo(folder, runs=[teacher.run_id], images=folder / "unlabelled").name
        runs = {"true labels alone": teacher}
        for variant in VARIANTS:
            if (name, variant, seed) in done and variant != "top-K alone":
                continue
            run = train_once(folder, changes_of(variant, name, labels, runs), seed)
            runs[variant] = run
            if (name, variant, seed) in done:
                continue
            context, predicted = open_context(folder), read_predictions(run.test)
            line = {
                "data": name,
                "variant": variant,
                "seed": seed,
                "metric": competition_metric(context).name,
                "oof": oof_score(run),
                "hidden": hidden_score(context, name, predicted),
                "log_loss": hidden_score(context, name, predicted, metric="log_loss"),
            }
            keep_result(RESULTS, line)


def table() -> str:
    """What was trained, as a table: mean over seeds and their standard deviation."""
    frame = pd.DataFrame(read_results(RESULTS))
    lines = []
    for name, part in frame.groupby("data", sort=False):
        lines += [
            f"## {name} ({part['metric'].iloc[0]}, {part['seed'].nunique()} seeds)",
            "",
            "| variant | out of fold | kept back | log loss there |",
            "| --- | --- | --- | --- |",
        ]
        for variant in VARIANTS:
            rows = part[part["variant"] == variant]
            if len(rows):
                columns = ("oof", "hidden", "log_loss")
                cells = [spread(rows[column].tolist()) for column in columns]
                lines.append(f"| {variant} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["cats-and-dogs", "sign-digits"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    for name in options.data:
        run_all(name, options.seeds)
    print(table())


if __name__ == "__main__":
    main()
