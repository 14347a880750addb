"""gorae.report.remedies: nothing that is on already, everything as it is written."""

import re
from dataclasses import replace
from typing import Any, get_args

import pytest

from gorae.config import PRESETS, Recipe, resolve_recipe
from gorae.report.page import Fit
from gorae.report.remedies import MAX_REMEDIES, Facts, remedies

FACTS = Facts(task="multiclass", epochs=12, best_epoch=3.0, input_size=128, short_side_px=400)


def settings(*overrides: str, preset: str = "standard") -> dict[str, Any]:
    dumped = resolve_recipe(preset=preset, overrides=overrides).model_dump(mode="json")
    return {
        section: {k: v for k, v in value.items() if v is not None}
        if isinstance(value, dict)
        else value
        for section, value in dumped.items()
    }


def named(
    fit: Fit, *overrides: str, facts: Facts = FACTS, preset: str = "standard"
) -> list[str]:
    return [x.setting for x in remedies(fit, settings(*overrides, preset=preset), facts=facts)]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("fit", [fit for fit in get_args(Fit) if fit != "unclear"])
def test_every_remedy_is_a_valid_change_of_the_recipe(preset: str, fit: Fit) -> None:
    found = remedies(fit, settings(preset=preset), facts=FACTS)
    # Nothing of a head on frozen features is cut short.
    assert found or (preset, fit) == ("quick", "learning")
    assert len(found) <= MAX_REMEDIES
    before = resolve_recipe(preset=preset)
    for remedy in found:
        changes = re.split(r", (?=\w+\.\w+ = )", remedy.setting)
        after: Recipe = resolve_recipe(
            preset=preset, overrides=[change.replace(" = ", "=", 1) for change in changes]
        )
        assert after != before, remedy.setting
        assert remedy.why.en
        assert re.search("[가-힣]", remedy.why.ko)


def test_what_is_on_is_not_advised() -> None:
    everything = named("overfits")
    assert everything == [
        "augment.rand_ops = 2",
        "augment.mixup = 0.2",
        "loss.label_smoothing = 0.1",
        "train.epochs = 4",
        "model.drop_rate = 0.3",
    ]
    fewer = named(
        "overfits",
        "augment.cutmix=1.0",
        "loss.label_smoothing=0.05",
        "model.drop_rate=0.2",
        "augment.rand_ops=1",
        "train.patience=3",
    )
    assert fewer == ['train.freeze = "backbone"']


def test_smoothing_is_for_losses_that_have_it() -> None:
    numbers = replace(FACTS, task="regression")
    assert "loss.label_smoothing = 0.1" not in named("overfits", facts=numbers)


def test_random_weights_are_replaced_first() -> None:
    assert named("overfits", "model.weights=none")[0] == 'model.weights = "hub"'
    own = named("overfits", "model.name=lenet5", "model.weights=none")
    assert own[0] == 'model.name = "efficientnet_b0", model.weights = "hub"'


def test_what_holds_learning_back_is_taken_away() -> None:
    found = named("underfits", "train.freeze=backbone", "augment.mixup=0.4", facts=FACTS)
    assert 'train.freeze = "none"' in found
    assert "augment.mixup = 0" in found
    assert found[0] == "train.epochs = 24"


def test_larger_pictures_only_where_there_are_pixels() -> None:
    assert "pixels.input_size = 192" in named("balanced")
    small = replace(FACTS, short_side_px=130.0)
    assert not any("input_size" in name for name in named("balanced", facts=small))


def test_a_short_training_may_be_longer() -> None:
    short = replace(FACTS, epochs=2)
    assert named("balanced", facts=short)[0] == "train.epochs = 6"
    assert not any("epochs" in name for name in named("balanced"))


def test_no_flipped_view_where_left_and_right_differ() -> None:
    one = 'predict.views=["identity"]'
    assert any("hflip" in name for name in named("balanced", one))
    assert not any("hflip" in name for name in named("balanced", one, "augment.hflip=0"))
