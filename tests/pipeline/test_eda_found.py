"""Labels are judged only where the judge could have learned their class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gorae.config import resolve_recipe
from gorae.events import ignore_events
from gorae.pipeline.eda.found import judge_by_features
from gorae.pipeline.eda.look import open_look
from gorae.pipeline.init import init

Make = Callable[..., Path]

RECIPE = ("model.name=lenet5", "model.weights=none", "pixels.input_size=32")


@pytest.mark.parametrize("is_one_group", [True, False])
def test_a_class_of_one_group_is_not_judged(make_competition: Make, is_one_group: bool) -> None:
    folder = make_competition(num_subjects=30)
    table = pd.read_csv(folder / "train.csv")
    table.loc[:7, "label"] = "별"
    table.to_csv(folder / "train.csv", index=False)
    init(folder)
    recipe = resolve_recipe(preset="quick", overrides=RECIPE)
    look = open_look(folder, recipe, on_event=ignore_events)
    star = look.context.tables.classes.index("별")
    rng = np.random.default_rng(0)
    groups = np.arange(len(look.images)) // 2
    groups[:8] = 0 if is_one_group else groups[:8]
    # The pictures of that class look exactly like those of others.
    shape = np.arange(len(look.images)) // 2 % 2
    features = np.eye(8, dtype=np.float32)[shape]
    features += rng.normal(0, 0.05, features.shape).astype(np.float32)
    judged = judge_by_features(look, features, groups, seed=0).table
    flagged = judged[judged["is_flagged"]]
    assert (flagged["given"] == star).any() == (not is_one_group)
