"""gorae.pipeline.find_lr on drawn pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gorae.config import Recipe, resolve_recipe
from gorae.errors import ConfigError
from gorae.events import Event
from gorae.pipeline.find_lr import find_lr
from gorae.pipeline.init import init
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.split import split

TINY = (
    "model.name=lenet5",
    "model.weights=none",
    "model.use=finetune",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
    "train.workers=0",
    "train.epochs=2",
    "train.batch_size=20",
    "augment.policy=none",
)


def recipe_of(*overrides: str) -> Recipe:
    return resolve_recipe(preset="quick", overrides=[*TINY, *overrides])


def test_a_rate_is_suggested_and_nothing_else_is_made(
    make_competition: Callable[..., Path],
) -> None:
    folder, recipe = make_competition(), recipe_of("train.backbone_lr=0.0005")
    init(folder)
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    heard: list[Event] = []
    found = find_lr(folder, recipe=recipe, on_event=heard.append)
    assert found.suggestion is not None
    assert 1e-5 < found.suggestion < 1
    assert found.page.is_file()
    assert not (folder / ".gorae" / "runs").exists()
    assert heard[-1].text.startswith("The backbone had 0.5 of the head's rate")
    done = [event.done for event in heard if event.kind == "progress" and event.total == 100]
    assert done == list(range(1, len(found.sweep.rates) + 1))
    as_json: dict[str, Any] = json.loads(json.dumps(found.to_json()))
    assert len(as_json["rates"]) == len(as_json["losses"]) == len(done)
    again = find_lr(folder, recipe=recipe)
    assert again.sweep.losses.tolist() == found.sweep.losses.tolist()


def test_it_needs_a_split(make_competition: Callable[..., Path]) -> None:
    folder = make_competition()
    init(folder)
    with pytest.raises(ConfigError, match="There is no split"):
        find_lr(folder, recipe=recipe_of())


def test_a_training_without_a_learning_rate_is_refused(
    make_competition: Callable[..., Path],
) -> None:
    folder = make_competition()
    recipe = resolve_recipe(preset="quick", overrides=["model.use=frozen"])
    with pytest.raises(ConfigError, match="trains without a learning rate"):
        find_lr(folder, recipe=recipe)
