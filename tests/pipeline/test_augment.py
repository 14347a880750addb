"""The sheet that shows what augmentation does, from a folder to a picture file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gorae.config import Recipe, resolve_recipe
from gorae.errors import ConfigError
from gorae.events import Event
from gorae.pipeline.augment import _mixture, preview
from gorae.pipeline.init import init

Make = Callable[..., Path]

SMALL = (
    "model.name=lenet5",
    "model.weights=none",
    "model.use=finetune",
    "pixels.input_size=32",
)


def recipe(*overrides: str) -> Recipe:
    return resolve_recipe(preset="standard", overrides=[*SMALL, *overrides])


@pytest.fixture
def competition(make_competition: Make) -> Path:
    folder = make_competition(6, 4)
    init(folder)
    return folder


def test_a_sheet_of_pictures_is_written_and_the_same_again(competition: Path) -> None:
    result = preview(competition, recipe=recipe(), num_images=4, num_draws=3)
    assert result.path == competition.resolve() / ".gorae" / "augment-standard.png"
    assert result.path is not None
    with Image.open(result.path) as sheet:
        first = np.asarray(sheet.convert("RGB"))
    assert first.shape[1] > 5 * 168, "stored, evaluated, and three draws"
    classes = [int(image_id.split("/")[1][:3]) % 2 for image_id in result.image_ids]
    assert sorted(classes) == [0, 0, 1, 1], "spread over the classes"
    assert result.warnings == ()
    again = preview(competition, recipe=recipe(), num_images=4, num_draws=3)
    assert again.path is not None
    with Image.open(again.path) as sheet:
        assert np.array_equal(np.asarray(sheet.convert("RGB")), first)


def test_each_kind_of_mixing_has_a_row(competition: Path) -> None:
    def height(*overrides: str) -> int:
        result = preview(competition, recipe=recipe(*overrides), num_images=3, num_draws=1)
        assert result.path is not None
        with Image.open(result.path) as sheet:
            return sheet.height

    plain = height()
    one = height("augment.mixup=0.4")
    two = height("augment.mixup=0.4", "augment.cutmix=1.0", "augment.mix_share=0.5")
    assert two - one == one - plain > 168
    rare = ('augment.rare_classes=["원"]', "augment.half_cutmix=0.3")
    assert height(*rare) == one


def test_a_mixture_is_named_by_its_classes() -> None:
    assert _mixture([0.25, 0.0, 0.75], ["cat", "cow", "dog"]) == "0.75 dog + 0.25 cat"
    assert _mixture([0.5, 0.5], ["cat", "cat"]) == "1.00 cat"


def test_what_changes_nothing_is_said(competition: Path) -> None:
    heard: list[Event] = []
    settings = recipe('augment.transforms=[{name = "ColorJitter"}]')
    result = preview(competition, recipe=settings, num_images=1, on_event=heard.append)
    (warning,) = result.warnings
    assert "ColorJitter changes nothing as it is set" in warning
    assert [event.text for event in heard if event.kind == "warning"] == [warning]
    assert result.to_json()["warnings"] == [warning]


def test_settings_that_cannot_be_used_stop_it(competition: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"ColorJiter is no transform .* near it: ColorJitter"
    ):
        preview(competition, recipe=recipe('augment.transforms=[{name = "ColorJiter"}]'))


def test_a_recipe_without_augmentation_says_so(competition: Path) -> None:
    frozen = resolve_recipe(preset="quick", overrides=["model.name=lenet5", *SMALL[1:2]])
    frozen = frozen.model_copy(update={"pixels": recipe().pixels})
    result = preview(competition, recipe=frozen, num_images=1, num_draws=1)
    assert 'nothing is augmented with model.use = "frozen"' in result.warnings[0]
