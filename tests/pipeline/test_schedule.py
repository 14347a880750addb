"""gorae.pipeline.schedule: the plotted rates are those the training uses."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.config import Recipe, resolve_recipe
from gorae.errors import ConfigError
from gorae.pipeline.init import init
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.schedule import plot_schedule
from gorae.pipeline.split import split
from gorae.pipeline.train import train

TINY = (
    "model.name=lenet5",
    "model.weights=none",
    "model.use=finetune",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
    "train.workers=0",
    "train.epochs=4",
    "train.batch_size=4",
    "train.lr=0.01",
)


def recipe_of(*overrides: str) -> Recipe:
    return resolve_recipe(preset="quick", overrides=[*TINY, *overrides])


def test_rates_before_there_is_a_split(make_competition: Callable[..., Path]) -> None:
    folder = make_competition()
    init(folder)
    found = plot_schedule(folder, recipe=recipe_of("train.warmup_epochs=1"))
    # 40 pictures, two folds.
    assert found.num_images == 20
    assert found.steps_per_epoch == 5
    assert "no split" in found.notes[0]
    warm, rest = np.arange(1, 6) / 5, np.arange(15) / 15
    expected = 0.01 * np.concatenate([warm, 0.5 + 0.5 * np.cos(math.pi * rest)])
    np.testing.assert_allclose(found.lr, expected)
    # Random weights: the backbone learns as fast as the head.
    assert found.backbone_lr is not None
    np.testing.assert_allclose(found.backbone_lr, expected)
    assert found.page.is_file()
    assert found.page.parent == folder / ".gorae"
    assert len(found.sparkline) == 20
    as_json: dict[str, Any] = json.loads(json.dumps(found.to_json()))
    assert as_json["lr"] == found.lr.tolist()


def test_rates_are_those_of_the_history(
    make_competition: Callable[..., Path],
) -> None:
    folder = make_competition()
    overrides = ("train.schedule=step", "train.decay_epochs=1", "train.decay_factor=0.5")
    recipe = recipe_of(*overrides)
    init(folder)
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    result = train(folder, recipe=recipe)
    found = plot_schedule(folder, recipe=recipe)
    assert not any("no split" in note for note in found.notes)
    history = pd.read_csv(result.run.member("fold-0").history)
    np.testing.assert_allclose(found.lr[history["step"] - 1], history["lr"])


def test_a_frozen_backbone_has_no_rate(make_competition: Callable[..., Path]) -> None:
    folder = make_competition()
    init(folder)
    found = plot_schedule(folder, recipe=recipe_of("train.freeze=backbone"))
    assert found.backbone_lr is None


def test_blocks_are_counted_without_weights(make_competition: Callable[..., Path]) -> None:
    folder = make_competition()
    init(folder)
    found = plot_schedule(folder, recipe=recipe_of("train.layer_decay=0.5"))
    assert "Its first block" in found.page.read_text("utf-8")


def test_a_training_without_a_learning_rate_is_refused(
    make_competition: Callable[..., Path],
) -> None:
    folder = make_competition()
    init(folder)
    recipe = resolve_recipe(preset="quick", overrides=["model.use=frozen"])
    with pytest.raises(ConfigError, match="trains without a learning rate"):
        plot_schedule(folder, recipe=recipe)
