"""gorae.pipeline.advice: from pictures and an earlier run to the rule of thumb."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gorae.config import resolve_recipe
from gorae.data.store import open_store
from gorae.metrics import bind_metric
from gorae.pipeline.advice import SENTENCES, Advice, advise, blind_score, is_grey
from gorae.pipeline.context import open_context
from gorae.pipeline.init import init
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.run import RunResult
from gorae.workspace import Workspace

Make = Callable[..., Path]
RunQuick = Callable[..., RunResult]


def advice_of(folder: Path) -> Advice:
    """Advice on a competition, prepared first where it is not."""
    overrides = ("model.name=lenet5", "model.weights=none", "pixels.input_size=32")
    if not (folder / "competition.toml").exists():
        init(folder)
    recipe = resolve_recipe(preset="quick", overrides=overrides)
    prepared = preprocess(folder, recipe=recipe).prepared
    return advise(open_context(folder), recipe, pixels=open_store(prepared))


def make_grey(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            grey = image.convert("L").convert("RGB")
        grey.save(path)


def test_colour_alone_decides_nothing(make_competition: Make) -> None:
    found = advice_of(make_competition(num_subjects=8))
    assert found.kind == "measure"
    assert found.sentence == SENTENCES["measure"]
    assert "8 train pictures in the typical class: few (the line is drawn at 50)" in (
        found.reason.en
    )
    assert "not measured before a run with frozen features" in found.reason.en


def test_few_grey_pictures_are_doubtful_and_many_are_fine_tuned(
    make_competition: Make,
) -> None:
    few, many = make_competition(num_subjects=8), make_competition(num_subjects=50, name="b")
    make_grey(few)
    make_grey(many)
    found, other = advice_of(few), advice_of(many)
    assert found.kind == "doubtful"
    assert "100% of 16 pictures looked at are grey" in found.reason.en
    assert other.kind == "finetune"
    assert "enough (the line is drawn at 50), but near the line" in other.reason.en


def edit_run(folder: Path, interval: tuple[float, float], **model: Any) -> None:
    """What a run with pretrained features would have left behind."""
    run = Workspace(folder).run(None)
    result = json.loads(run.result.read_text("utf-8"))
    run.result.write_text(json.dumps({**result, "interval": interval}), "utf-8")
    settings = run.read_settings()
    changed = {**settings["recipe"]["model"], "weights": "hub", **model}
    recipe = {**settings["recipe"], "model": changed}
    run.write_settings({**settings, "recipe": recipe})


def test_an_earlier_frozen_run_is_the_evidence(
    make_competition: Make, run_quick: RunQuick
) -> None:
    folder = make_competition()
    run_quick(folder)
    assert advice_of(folder).kind == "measure", "random weights say nothing of ImageNet"
    # Of the way from 0.5 to 1: 92 % to 100 %, 10 % to 58 %, 80 % to 95 %.
    for interval, kind in (
        ((0.96, 1.0), "classifier"),
        ((0.55, 0.79), "doubtful"),
        ((0.9, 0.975), "measure"),
    ):
        edit_run(folder, interval)
        found = advice_of(folder)
        assert found.kind == kind
        assert "0001-quick-lenet5" in found.reason.en
        assert "0001-quick-lenet5" in found.reason.ko
    assert "80% to 95% of the way" in found.reason.en
    edit_run(folder, (0.96, 1.0), use="finetune")
    assert advice_of(folder).kind == "measure", "a trained network says nothing of its weights"


def test_where_a_run_decides_nothing_colour_may(
    make_competition: Make, run_quick: RunQuick
) -> None:
    folder = make_competition()
    make_grey(folder)
    run_quick(folder)
    edit_run(folder, (0.9, 0.94))
    found = advice_of(folder)
    assert found.kind == "doubtful"
    assert "80% to 88% of the way" in found.reason.en
    assert "are grey" in found.reason.en
    edit_run(folder, (0.96, 1.0))
    assert advice_of(folder).kind == "classifier"


def test_labels_that_changed_make_an_old_run_no_evidence(
    make_competition: Make, run_quick: RunQuick
) -> None:
    folder = make_competition()
    run_quick(folder)
    edit_run(folder, (0.96, 1.0))
    table = (folder / "train.csv").read_text("utf-8").replace("000_0,원", "000_0,상자")
    (folder / "train.csv").write_text(table, "utf-8")
    assert advice_of(folder).kind == "measure"


def test_neutral_pixels_are_grey_whatever_the_noise_of_jpeg() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(2, 250, (20, 30, 1)), 3, axis=2)
    assert is_grey(grey.astype(np.uint8))
    assert is_grey((grey + rng.integers(-1, 2, grey.shape)).astype(np.uint8))
    tinted = grey.copy()
    tinted[..., 2] = np.clip(tinted[..., 2] - 30, 0, 255)
    assert not is_grey(tinted.astype(np.uint8))


def test_the_blind_score_is_that_of_the_class_shares() -> None:
    truth = np.array([0, 0, 0, 1])
    accuracy = bind_metric("accuracy", params={}, task="multiclass")
    assert blind_score(accuracy, truth, num_columns=2) == 0.75
    loss = bind_metric("log_loss", params={}, task="multiclass")
    expected = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert blind_score(loss, truth, num_columns=2) == pytest.approx(expected)
    error = bind_metric("rmse", params={}, task="regression")
    numbers = np.array([1.0, 3.0], np.float32)
    assert blind_score(error, numbers, num_columns=1) == pytest.approx(1.0)
