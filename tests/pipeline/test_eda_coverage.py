"""Classes of train that the test set lacks are seen by a quick classifier."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gorae.config import resolve_recipe
from gorae.events import ignore_events
from gorae.pipeline.eda.coverage import coverage
from gorae.pipeline.eda.look import open_look
from gorae.pipeline.init import init

Make = Callable[..., Path]


def test_a_class_without_a_test_picture_is_told(make_competition: Make) -> None:
    folder = make_competition(num_subjects=20, num_test=16)
    init(folder)
    overrides = ("model.name=lenet5", "model.weights=none", "pixels.input_size=32")
    recipe = resolve_recipe(preset="quick", overrides=overrides)
    look = open_look(folder, recipe, on_event=ignore_events)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(look.images), 8)).astype(np.float32)
    features[: look.num_labelled, 0] += 8 * look.truth
    # All test pictures look like the second class.
    features[look.num_labelled :, 0] += 8
    groups = np.arange(len(look.images))
    found = coverage(look, features, groups, seed=0)
    assert found is not None
    assert found["finding"].tolist() == ["not seen in test", ""]
    assert found["num_predicted"].tolist() == [0, 16]
    blind = coverage(look, None, groups, seed=0)
    assert blind is not None
    assert blind["finding"].tolist() == ["", ""]
