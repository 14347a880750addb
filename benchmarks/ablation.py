"""What single settings of fine-tuning are worth, on real pictures: docs/ablation.md.

Every variant trains the same network (mobilenetv2_100, ImageNet weights, 128 px) on the same
hold-out split with several seeds, and is scored on the validation part and on labels that were
never part of the competition's folder. A training that is there already is not done again, so
the same command goes on where it was stopped: ``make ablation``.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from common import ROOT, copied, shared_folder
from gorae.config import resolve_recipe
from gorae.data.tables import encode_targets
from gorae.ensemble import soft_vote
from gorae.metrics import evaluate
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.init import init
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.scores import competition_metric
from gorae.pipeline.split import split
from gorae.pipeline.train import train
from gorae.predictions import Predictions
from gorae.workspace import RunFolder, Workspace, read_predictions

WORK = ROOT / ".bench" / "ablation"
PAGE = ROOT / "docs" / "ablation.md"
RESULTS = WORK / "results.jsonl"

ID_COLUMNS = {"cats-and-dogs": "id", "chest-xray": "image", "sign-digits": "image"}

BASE = (
    "model.name=mobilenetv2_100",
    'model.kwargs={pad_type="same"}',
    "pixels.input_size=128",
    "split.kind=holdout",
    "train.epochs=4",
    "train.precision=bf16",
    "train.channels_last=true",
    "train.compile=false",
    "predict.compile=false",
    "train.workers=0",
    'predict.views=["identity"]',
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


def train_once(folder: Path, weights: Path, changes: Sequence[str], seed: int) -> RunFolder:
    """One training; found again where it was finished before."""
    given = {change.split("=")[0] for change in changes}
    kept = [setting for setting in BASE if setting.split("=")[0] not in given]
    overrides = [*kept, f"model.weights={weights}", "train.keep_checkpoints=2", *changes]
    recipe = resolve_recipe(preset="standard", overrides=[*overrides, f"seed={seed}"])
    if not Workspace(folder).competition_file.exists():
        init(folder)
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    run = train(folder, recipe=recipe).run
    ensemble(folder, run=run.run_id)
    return run


def hidden_score(context: Context, name: str, predicted: Predictions) -> float:
    """The score on the kept-back labels."""
    solution = pd.read_csv(
        shared_folder() / "data" / f"{name}.solution.csv", dtype=str, keep_default_na=False
    )
    id_column = ID_COLUMNS[name]
    label_column = next(c for c in solution if c not in (id_column, "Usage"))
    labels = solution.set_index(id_column)[label_column].loc[list(predicted.ids)]
    form, classes = context.competition.submission, context.tables.classes
    assert form is not None
    if form.kind == "probability":
        # A column of 0 and 1 stands for its class and all others.
        yes = form.class_of(form.columns[0])
        no = next(name for name in classes if name != yes)
        labels = labels.map({"1": yes, "0": no})
    else:
        class_of = {written: name for name, written in form.written.items()}
        labels = labels.map(lambda text: class_of.get(text, text))
    truth = encode_targets(labels, classes=classes, task=context.competition.task)
    return evaluate(competition_metric(context), truth, predicted.values)


def scores_of_run(context: Context, name: str, run: RunFolder) -> tuple[float, float]:
    """Validation and kept-back score of a run."""
    record = run.read_result()
    assert record is not None
    return record["score"], hidden_score(context, name, read_predictions(run.test))


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


def read_results() -> list[dict[str, object]]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]


def keep_result(line: dict[str, object]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")


def run_all(name: str, seeds: Sequence[int]) -> None:
    """Train what is not trained yet of one set of pictures."""
    shared = shared_folder()
    folder, weights = WORK / name, shared / "weights" / "mobilenetv2_100.safetensors"
    if not folder.exists():
        copied(shared / "data" / name, folder)
    done = {(line["data"], line["variant"], line["seed"]) for line in read_results()}
    for seed in seeds:
        for variant, changes in {**VARIANTS, "votes": VOTING}.items():
            if (name, variant, seed) in done:
                continue
            run = train_once(folder, weights, changes, seed)
            context = open_context(folder)
            common = {"data": name, "seed": seed, "metric": competition_metric(context).name}
            if variant == "votes":
                for vote, (valid, hidden) in votes_of_run(context, name, run):
                    keep_result({**common, "variant": vote, "valid": valid, "hidden": hidden})
            valid, hidden = scores_of_run(context, name, run)
            keep_result({**common, "variant": variant, "valid": valid, "hidden": hidden})
            print(f"{name}, seed {seed}, {variant}: {valid:.4f}, kept back {hidden:.4f}")
            sys.stdout.flush()


def page() -> str:
    """docs/ablation.md from what was trained."""
    frame = pd.DataFrame(read_results())
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
            cells = [_spread(rows[column].tolist()) for column in ("valid", "hidden")]
            lines.append(f"| {variant} | {cells[0]} | {cells[1]} |")
        lines.append("")
    return "\n".join(lines)


def _spread(scores: Sequence[float]) -> str:
    mean = statistics.mean(scores)
    return f"{mean:.4f} ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else f"{mean:.4f}"


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
