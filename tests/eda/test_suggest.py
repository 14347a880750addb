"""Each suggestion names settings that exist, with values they take, and its own numbers."""

import tomllib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.config.competition import Competition
from gorae.config.recipe import Recipe
from gorae.eda.distributions import class_balance
from gorae.eda.metadata import clean_metadata
from gorae.eda.suggest import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SUGGESTION_KEYS,
    Facts,
    SubjectColumn,
    Suggestion,
    metadata_subjects,
    suggest,
)

PLAIN = Facts(
    num_train=5000,
    task="multiclass",
    metric="macro_f1",
    is_gpu=True,
    median_short_side_px=240,
    aspects=(0.9, 1.2),
    rgb_mean=IMAGENET_MEAN,
    rgb_std=IMAGENET_STD,
    grey_share=0.0,
    balance=class_balance(np.repeat(np.arange(10), 500), num_classes=10),
)

COMPETITION = {"name": "c", "task": "multiclass", "metric": "accuracy", "train": {}}


def check(suggestion: Suggestion) -> None:
    """The settings are accepted by the models that read them."""
    assert tuple(suggestion.values) == SUGGESTION_KEYS[suggestion.key]
    settings = tomllib.loads("\n".join(suggestion.settings))
    if suggestion.file == "competition":
        train = {**COMPETITION["train"], **settings.pop("train")}  # type: ignore[dict-item]
        Competition.model_validate({**COMPETITION, **settings, "train": train})
    else:
        Recipe.model_validate(settings)


def keys(facts: Facts) -> list[str]:
    found = suggest(facts)
    for suggestion in found:
        check(suggestion)
    return [suggestion.key for suggestion in found]


def balance(*counts: int) -> Facts:
    labels = np.repeat(np.arange(len(counts)), counts)
    return replace(PLAIN, balance=class_balance(labels, num_classes=len(counts)))


def test_plain_data_need_a_size_and_nothing_else() -> None:
    assert keys(PLAIN) == ["input_size.of_gpu"]


@given(
    side=st.floats(1, 5000),
    aspects=st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0, 0.5)] * 3),
    grey=st.floats(0, 1),
    counts=st.lists(st.integers(0, 300), min_size=2, max_size=5),
    metric=st.sampled_from(["macro_f1", "accuracy"]),
    is_gpu=st.booleans(),
)
def test_whatever_the_data_are_every_setting_exists_and_is_taken(
    side: float,
    aspects: tuple[float, float],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    grey: float,
    counts: list[int],
    metric: str,
    is_gpu: bool,
) -> None:
    facts = replace(
        balance(*counts),
        median_short_side_px=side,
        aspects=(min(aspects), max(aspects)),
        rgb_mean=mean,
        rgb_std=std,
        grey_share=grey,
        metric=metric,
        is_gpu=is_gpu,
        num_outliers={"dark": 3, "wide": 4, "tall": 0},
        subjects=(SubjectColumn('meta.a "b" \\', 10, 5, 2),),
    )
    found = keys(facts)
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("side", "is_gpu", "key", "setting"),
    [
        (1000, True, "input_size.of_gpu", "pixels.input_size = 224"),
        (1000, False, "input_size.of_cpu", "pixels.input_size = 160"),
        (144, True, "input_size.of_pictures", "pixels.input_size = 128"),
        (30, False, "input_size.of_pictures", "pixels.input_size = 96"),
    ],
)
def test_the_input_is_as_large_as_pictures_and_machine_allow(
    side: float, is_gpu: bool, key: str, setting: str
) -> None:
    found = suggest(replace(PLAIN, median_short_side_px=side, is_gpu=is_gpu))
    chosen = {suggestion.key: suggestion.settings for suggestion in found}
    assert chosen[key] == (setting,)
    assert ("stored_size.room" in chosen) == (side == 1000)


def test_imbalance_is_met_only_where_the_metric_averages_classes() -> None:
    assert "imbalance.weights" in keys(balance(500, 100))
    assert "imbalance.sampler" in keys(balance(5000, 100))
    assert "imbalance.leave" in keys(replace(balance(500, 100), metric="log_loss"))
    assert not [key for key in keys(balance(200, 100)) if key.startswith("imbalance")]
    assert "classes.absent" in keys(balance(200, 0, 200))


def test_few_pictures_of_the_typical_class_stay_frozen() -> None:
    assert "small_data.frozen" in keys(balance(900, 40, 30))
    assert "small_data.frozen" not in keys(balance(900, 60, 30))
    numbers = replace(PLAIN, balance=None, num_train=90)
    assert "small_data.frozen" in keys(numbers)
    assert "small_data.frozen" not in keys(replace(numbers, num_train=100))


def test_far_colours_grey_and_long_pictures_are_told() -> None:
    dark = replace(PLAIN, rgb_mean=(0.1, 0.1, 0.1))
    (found,) = [part for part in suggest(dark) if part.key == "normalisation.far"]
    assert found.settings[0] == "pixels.mean = [0.1000, 0.1000, 0.1000]"
    assert "normalisation.far" in keys(replace(PLAIN, rgb_std=(0.05, 0.05, 0.05)))
    assert "grey.all" in keys(replace(PLAIN, grey_share=0.99))
    assert "grey.some" in keys(replace(PLAIN, grey_share=0.3))
    assert "crop.some" in keys(replace(PLAIN, aspects=(0.7, 1.2)))
    assert "crop.much" in keys(replace(PLAIN, aspects=(1.0, 2.5)))


def test_subjects_that_are_no_groups_yet_come_first() -> None:
    subject = SubjectColumn("meta.patient", 100, 40, 0)
    facts = replace(PLAIN, subjects=(subject,))
    first = suggest(facts)[0]
    assert (first.key, first.file) == ("groups.subject", "competition")
    assert first.settings == ('train.group_columns = ["patient"]',)
    assert keys(replace(facts, group_columns=("meta.patient",))) == keys(PLAIN)
    shared = replace(facts, subjects=(replace(subject, num_shared=7),))
    assert "groups.shared" in keys(shared)


def test_subject_columns_are_ids_that_repeat() -> None:
    train = pd.DataFrame(
        {
            "meta.patient_id": [str(n // 4) for n in range(200)],
            "meta.image_key": [f"k{n}" for n in range(200)],
            "meta.sex": ["M", "F"] * 100,
            "meta.animal_code": [f"cow {n // 5}" for n in range(200)],
            "meta.camera": [f"cam {n % 25}" for n in range(200)],
        },
        dtype="str",
    )
    test = train.head(60).assign(**{"meta.animal_code": [f"bull {n // 5}" for n in range(60)]})
    clean, _ = clean_metadata(train, test.astype("str"))
    found = {column.name: column for column in metadata_subjects(clean)}
    assert found == {
        "meta.patient_id": SubjectColumn("meta.patient_id", 50, 4, 15),
        "meta.animal_code": SubjectColumn("meta.animal_code", 40, 5, 0),
    }
