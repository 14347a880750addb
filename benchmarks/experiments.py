"""What experiments on real pictures share: one network, kept results, mean and spread."""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from common import shared_folder
from gorae.config import resolve_recipe
from gorae.data.tables import encode_targets
from gorae.metrics import bind_metric, evaluate
from gorae.pipeline.context import Context
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.init import init
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.scores import competition_metric
from gorae.pipeline.split import split
from gorae.pipeline.train import train
from gorae.predictions import Predictions
from gorae.workspace import RunFolder, Workspace

NETWORK = ("model.name=mobilenetv2_100", 'model.kwargs={pad_type="same"}')

# Of a training: said and not measured, so that runs differ in what is compared alone.
STEADY = (
    "train.precision=bf16",
    "train.channels_last=true",
    "train.compile=false",
    "predict.compile=false",
    "train.workers=0",
    'predict.views=["identity"]',
)

ID_COLUMNS = {"cats-and-dogs": "id", "chest-xray": "image", "sign-digits": "image"}


def imagenet_weights() -> str:
    """The setting of the weights of ``NETWORK``."""
    return f"model.weights={shared_folder() / 'weights' / 'mobilenetv2_100.safetensors'}"


def trained(folder: Path, overrides: Sequence[str]) -> RunFolder:
    """A run with its out-of-fold score; found again where it was finished before.

    Of a setting that is given twice the later one counts.
    """
    given = {change.partition("=")[0]: change for change in overrides}
    recipe = resolve_recipe(preset="standard", overrides=list(given.values()))
    if not Workspace(folder).competition_file.exists():
        init(folder)
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    run = train(folder, recipe=recipe).run
    ensemble(folder, run=run.run_id)
    return run


def oof_score(run: RunFolder) -> float:
    """The out-of-fold score of a run."""
    record = run.read_result()
    assert record is not None
    score: float = record["score"]
    return score


def hidden_score(
    context: Context, name: str, predicted: Predictions, *, metric: str | None = None
) -> float:
    """The score on the kept-back labels of the set ``name``; absent: by its own metric."""
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
    chosen = competition_metric(context)
    if metric is not None:
        chosen = bind_metric(metric, params={}, task=context.competition.task)
    return evaluate(chosen, truth, predicted.values)


def read_results(path: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def keep_result(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to what was measured, and show it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")
    print(json.dumps(line))
    sys.stdout.flush()


def spread(scores: Sequence[float]) -> str:
    """Mean over seeds and, after ±, their standard deviation."""
    mean = statistics.mean(scores)
    return f"{mean:.4f} ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else f"{mean:.4f}"
