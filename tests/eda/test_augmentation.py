"""Proposals follow from answers, contradict none, and are not there already."""

import itertools
from typing import Any

import pytest

from gorae.eda.augmentation import Current, augmentation_proposals, contradictions
from gorae.eda.problem import QUESTIONS, Answer, Question

ALL: tuple[Answer, ...] = ("yes", "no", "unknown")
UNKNOWN: dict[Question, Answer] = dict.fromkeys(QUESTIONS, "unknown")
STANDARD = Current(hflip=0.5, scale=(0.35, 1.0))
DIHEDRAL = Current(
    hflip=0.5,
    vflip=0.5,
    transpose=0.5,
    turn_deg=180.0,
    views=("identity", "hflip", "vflip", "scale0.75+rot180", "transpose"),
)


def proposed(current: Current = STANDARD, **given: Answer) -> dict[str, Any]:
    assert set(given) <= set(QUESTIONS)
    answers = {question: given.get(question, "unknown") for question in QUESTIONS}
    found = augmentation_proposals(answers, current)
    assert len({each.setting for each in found}) == len(found)
    return {each.setting: each.value for each in found}


@pytest.mark.parametrize("current", [Current(), STANDARD, DIHEDRAL])
def test_unknown_proposes_nothing(current: Current) -> None:
    assert proposed(current) == {}


def test_text_is_never_mirrored() -> None:
    assert proposed(mirror_left_right="no") == {"augment.hflip": 0.0}
    found = proposed(DIHEDRAL, mirror_left_right="no")
    assert found["augment.hflip"] == found["augment.transpose"] == 0.0
    assert found["predict.views"] == ["identity", "vflip", "scale0.75+rot180"]


def test_upright_pictures_are_not_turned_over() -> None:
    found = proposed(DIHEDRAL, orientation_fixed="yes")
    assert found["augment.vflip"] == found["augment.transpose"] == 0.0
    assert found["augment.policy"] == "standard"
    assert found["predict.views"] == ["identity", "hflip"]
    assert proposed(orientation_fixed="yes") == {}


def test_any_direction() -> None:
    mirrored = proposed(orientation_fixed="no", mirror_left_right="yes")
    assert mirrored == {"augment.vflip": 0.5, "augment.transpose": 0.5}
    turned = {"augment.transforms": [{"name": "RandomRotation", "degrees": 180}]}
    assert proposed(orientation_fixed="no") == turned
    assert proposed(orientation_fixed="no", mirror_up_down="no") == turned | {
        "augment.hflip": 0.0
    }


def test_day_and_night_change_brightness() -> None:
    [jitter] = proposed(lighting_varies="yes")["augment.transforms"]
    assert jitter["name"] == "ColorJitter"
    assert jitter["brightness"] > 0
    assert proposed(Current(has_light=True), lighting_varies="yes") == {}


def test_colour_that_matters_is_kept() -> None:
    found = proposed(Current(rand_ops=2), colour_matters="yes", cameras_vary="yes")
    assert found["augment.rand_ops"] == 0
    assert not {"saturation", "hue"} & set(found["augment.transforms"][0])
    grey = Current(is_grey=True)
    assert proposed(grey, colour_matters="no") == {}


def test_transforms_of_the_recipe_stay() -> None:
    own = {"name": "ColorJitter", "hue": 0.1}
    found = proposed(Current(transforms=(own,)), lighting_varies="yes", cameras_vary="yes")
    assert [each["name"] for each in found["augment.transforms"]] == [
        "ColorJitter",
        "GaussianBlur",
    ]
    assert found["augment.transforms"][0] == own


@pytest.mark.parametrize(
    ("scale", "position", "low", "expected"),
    [
        ("yes", "unknown", 0.8, 0.35),
        ("unknown", "yes", 0.8, 0.5),
        ("yes", "yes", 0.35, None),
        ("no", "no", 0.35, 0.8),
        ("no", "unknown", 0.35, None),
    ],
)
def test_crops(scale: Answer, position: Answer, low: float, expected: float | None) -> None:
    found = proposed(Current(scale=(low, 1.0)), scale_varies=scale, position_varies=position)
    assert found == ({} if expected is None else {"augment.scale": [expected, 1.0]})


@pytest.mark.parametrize("current", [Current(), STANDARD, DIHEDRAL])
def test_what_was_proposed_is_not_proposed_again(current: Current) -> None:
    """Whatever the answers: a recipe that follows them is left alone."""
    flips: tuple[Question, ...] = ("orientation_fixed", "mirror_left_right", "mirror_up_down")
    for said in itertools.product(ALL, repeat=3):
        answers = {**UNKNOWN, **dict(zip(flips, said, strict=True))}
        if contradictions(answers):
            continue
        found = {each.setting: each.value for each in augmentation_proposals(answers, current)}
        followed = Current(
            hflip=found.get("augment.hflip", current.hflip),
            vflip=found.get("augment.vflip", current.vflip),
            transpose=found.get("augment.transpose", current.transpose),
            transforms=tuple(found.get("augment.transforms", current.transforms)),
            turn_deg=0.0 if "augment.policy" in found else current.turn_deg,
            views=tuple(found.get("predict.views", current.views)),
            scale=current.scale,
        )
        assert augmentation_proposals(answers, followed) == (), said


def test_contradictions() -> None:
    assert not contradictions(UNKNOWN)
    said: dict[Question, Answer] = {"mirror_left_right": "yes", "mirror_up_down": "no"}
    assert not contradictions({**UNKNOWN, **said})
    [line] = contradictions({**UNKNOWN, **said, "orientation_fixed": "no"})
    assert "must have the same answer" in line
