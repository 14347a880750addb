"""What the data say of the problem: only what they show."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from gorae.eda.problem import (
    LEAST_PICTURES,
    QUESTIONS,
    Answer,
    Finding,
    ProblemFacts,
    Question,
    answers_of,
    is_device_column,
    propose_problem,
)

Pictures = NDArray[np.uint8]


def noise(
    num: int = 200, low: int = 100, high: int = 150, *, grey: bool = False, seed: int = 0
) -> Pictures:
    rng = np.random.default_rng(seed)
    values = rng.integers(low, high, (num, 16, 16, 1 if grey else 3))
    return np.broadcast_to(values, (num, 16, 16, 3)).astype(np.uint8)


def answer(facts: ProblemFacts) -> Mapping[Question, Answer]:
    return answers_of(propose_problem(facts))


def reasons(facts: ProblemFacts) -> set[str]:
    return {finding.reason for finding in propose_problem(facts)}


def test_without_facts_every_answer_is_unknown() -> None:
    assert propose_problem(ProblemFacts()) == ()
    assert answer(ProblemFacts()) == dict.fromkeys(QUESTIONS, "unknown")


@pytest.mark.parametrize("seed", range(5))
def test_noise_in_any_direction_says_nothing_of_directions(seed: int) -> None:
    found = answer(ProblemFacts(pictures=noise(seed=seed)))
    assert found == dict.fromkeys(QUESTIONS, "unknown")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda p: p[:, :8].__iadd__(40), "brighter_above"),
        (lambda p: p[:, 8:].__iadd__(40), "brighter_below"),
    ],
)
def test_pictures_that_are_brighter_on_one_side_have_an_up(
    edit: Callable[[Pictures], None], reason: str
) -> None:
    pictures = noise()
    edit(pictures)
    facts = ProblemFacts(pictures=pictures)
    assert answer(facts)["orientation_fixed"] == "yes"
    assert reason in reasons(facts)
    # Turned at random, the same pictures have none.
    rng = np.random.default_rng(0)
    turned = np.stack([np.rot90(each, int(rng.integers(4))) for each in pictures])
    assert answer(ProblemFacts(pictures=turned))["orientation_fixed"] == "unknown"


def test_a_brighter_left_half_only_questions_the_mirror() -> None:
    pictures = noise()
    pictures[:, :, :8] += 40
    facts = ProblemFacts(pictures=pictures)
    assert answer(facts)["mirror_left_right"] == "unknown"
    assert "brighter_left" in reasons(facts)


def test_brightness_far_apart_is_light_that_varies() -> None:
    both = np.concatenate([noise(100, 20, 60), noise(100, 180, 220)])
    assert answer(ProblemFacts(pictures=both))["lighting_varies"] == "yes"
    # A narrow range does not show that light never varies.
    narrow = ProblemFacts(pictures=noise())
    assert answer(narrow)["lighting_varies"] == "unknown"
    assert "narrow_light" in reasons(narrow)


def test_grey_pictures_have_no_colour_that_matters() -> None:
    grey = noise(grey=True)
    assert answer(ProblemFacts(pictures=grey))["colour_matters"] == "no"
    grey[17, 3, 3] = (200, 20, 20)
    assert answer(ProblemFacts(pictures=grey))["colour_matters"] == "unknown"


def test_few_pictures_say_nothing() -> None:
    pictures = noise(LEAST_PICTURES - 1, grey=True)
    assert propose_problem(ProblemFacts(pictures=pictures)) == ()


@pytest.mark.parametrize(
    ("classes", "question", "said", "reason"),
    [
        (("left_hand", "right_hand"), "mirror_left_right", "no", "named_sides"),
        (("LeftKnee", "RightKnee", "hip"), "mirror_left_right", "no", "named_sides"),
        (("왼쪽", "오른쪽"), "mirror_left_right", "no", "named_sides"),
        (tuple("0123456789"), "mirror_left_right", "unknown", "named_signs"),
        (tuple("ABC"), "orientation_fixed", "unknown", "named_signs"),
        (("red light", "green light"), "colour_matters", "yes", "named_colours"),
    ],
)
def test_names_of_classes(
    classes: tuple[str, ...], question: Question, said: Answer, reason: str
) -> None:
    facts = ProblemFacts(classes=classes)
    assert (answer(facts)[question], reasons(facts) >= {reason}) == (said, True)


@pytest.mark.parametrize(
    "classes",
    [
        ("left", "centre"),
        ("redwood", "greenwood"),
        ("cat", "dog"),
        ("개", "말"),
        ("red fox", "cat"),
    ],
)
def test_names_that_say_nothing(classes: tuple[str, ...]) -> None:
    assert propose_problem(ProblemFacts(classes=classes)) == ()


def test_devices() -> None:
    assert is_device_column("CameraModel")
    assert is_device_column("device_id")
    assert not is_device_column("patient")
    several = ProblemFacts(devices={"camera": 1, "scanner": 3})
    assert answer(several)["cameras_vary"] == "yes"
    assert answer(ProblemFacts(devices={"camera": 1}))["cameras_vary"] == "no"
    hints = ProblemFacts(num_turned=4, num_sizes=9)
    assert (answer(hints)["cameras_vary"], reasons(hints)) == ("unknown", {"turned_camera"})


@pytest.mark.parametrize(("side", "shift", "said"), [(0.0, 0.0, "no"), (0.3, 0.2, "yes")])
def test_boxes(side: float, shift: float, said: Answer) -> None:
    rng = np.random.default_rng(0)
    half = 0.1 + side * rng.random(100)
    middle = 0.5 + shift * rng.standard_normal(100)
    boxes = np.stack([middle - half, middle - half, middle + half, middle + half], axis=1)
    found = answer(ProblemFacts(boxes=boxes))
    assert (found["scale_varies"], found["position_varies"]) == (said, said)


def test_the_user_is_believed_before_the_data() -> None:
    findings = (
        Finding("colour_matters", "no", "all_grey"),
        Finding("lighting_varies", "yes", "wide_light"),
    )
    found = answers_of(findings, {"colour_matters": "yes", "lighting_varies": "unknown"})
    assert (found["colour_matters"], found["lighting_varies"]) == ("yes", "yes")
