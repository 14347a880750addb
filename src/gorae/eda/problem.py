"""The problem behind the pictures: what the data say of it, and what follows for augmentation.

Questions are answered ``yes``, ``no`` or ``unknown``. The data answer only what they show; the
rest is for the user, who knows where the pictures come from.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Answer = Literal["yes", "no", "unknown"]
Question = Literal[
    "orientation_fixed",
    "mirror_left_right",
    "mirror_up_down",
    "lighting_varies",
    "cameras_vary",
    "scale_varies",
    "position_varies",
    "colour_matters",
]
QUESTIONS: tuple[Question, ...] = get_args(Question)
Answers = Mapping[Question, Answer]

# With fewer pictures, shares of them say little.
LEAST_PICTURES = 50

# Shown in any direction, half of the pictures would be brighter above: 50 of them leave 0.3 to
# 0.7 but once in 200 times, and leave this share once in 40,000.
SIDED_SHARE = 0.8

# Distance of the 5 % darkest and 5 % brightest pictures, of 1. Photographs of cats and dogs
# indoors and outdoors: 0.33; cows in a stable by day and night: 0.38; chest films: 0.28; hands
# before one wall: 0.10.
LIGHT_RANGE = 0.3

# Largest difference of the colours of a pixel that JPEG makes of grey, of 255.
GREY_LEVELS = 12

# Largest over smallest size (its square root of area) of objects in their boxes, 5 % to 95 %.
SCALE_RATIO = 2.0
# Spread of the boxes' centres, of the picture's side.
POSITION_SPREAD = 0.08

_SIDES = {"left": "right", "왼쪽": "오른쪽", "왼": "오른", "좌": "우", "좌측": "우측"}
_COLOURS = frozenset(
    {"red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"}
    | {"grey", "gray", "빨강", "주황", "노랑", "초록", "파랑", "보라", "분홍", "갈색", "검정"}
    | {"흰색", "회색"}
)
# A digit or a letter; a Korean syllable may be a word.
_SIGN = re.compile("[0-9A-Za-zㄱ-ㅎㅏ-ㅣ]")
# Parts of the names of metadata columns that tell where a picture was taken.
_DEVICES = frozenset(
    ("camera", "device", "scanner", "manufacturer", "vendor", "microscope", "sensor", "phone")
)


@dataclass(frozen=True)
class ProblemFacts:
    """What is known of the data; what is absent was not looked at."""

    classes: tuple[str, ...] = ()
    pictures: NDArray[np.uint8] | None = None
    """Small copies of some pictures, their aspect ignored, (N, S, S, 3)."""
    devices: Mapping[str, int] = field(default_factory=dict)
    """Metadata columns that name cameras or devices, with their number of different values."""
    num_turned: int = 0
    """Pictures whose EXIF data say that the camera was turned."""
    num_sizes: int = 0
    """Different sizes of pictures; 0: not known."""
    boxes: NDArray[np.float64] | None = None
    """(left, top, right, bottom) of objects as shares of the picture, (N, 4)."""


@dataclass(frozen=True)
class Finding:
    """What the data say to a question."""

    question: Question
    answer: Answer
    """``unknown`` where they only raise it."""
    reason: str
    """A key of the texts of ``report.problem_texts``."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What is put into the text."""


def propose_problem(facts: ProblemFacts) -> tuple[Finding, ...]:
    """What the data show, in the order of the questions; questions may be missing."""
    findings = [
        *_of_names(facts.classes),
        *_of_devices(facts),
        *_of_boxes(facts.boxes),
    ]
    if facts.pictures is not None and len(facts.pictures) >= LEAST_PICTURES:
        findings += _of_pictures(facts.pictures)
    # What is certain comes last: it is what a question is answered by.
    findings.sort(key=lambda each: each.answer != "unknown")
    return tuple(sorted(findings, key=lambda each: QUESTIONS.index(each.question)))


def is_device_column(name: str) -> bool:
    """Whether a metadata column of this name tells the camera or device."""
    return not _DEVICES.isdisjoint(_words(name))


def answers_of(
    findings: Iterable[Finding], given: Answers | None = None
) -> dict[Question, Answer]:
    """An answer to every question: the user's, else what the data show, else ``unknown``."""
    answers: dict[Question, Answer] = dict.fromkeys(QUESTIONS, "unknown")
    shown = {each.question: each.answer for each in findings}
    for known in (shown, given or {}):
        answers |= {question: said for question, said in known.items() if said != "unknown"}
    return answers


def _words(name: str) -> list[str]:
    """Words of a name, lower case: ``Left_Hand2`` -> left, hand, 2."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+|\d+", spaced.lower())


def _of_names(classes: tuple[str, ...]) -> list[Finding]:
    words = {name: tuple(_words(name)) for name in classes}
    known = set(words.values())
    findings = []
    sided = [
        name
        for name, parts in words.items()
        if any(
            part in _SIDES and (*parts[:at], _SIDES[part], *parts[at + 1 :]) in known
            for at, part in enumerate(parts)
        )
    ]
    if sided:
        findings.append(Finding("mirror_left_right", "no", "named_sides", {"name": sided[0]}))
    elif len(classes) > 1 and all(_SIGN.fullmatch(name) for name in classes):
        findings.append(Finding("mirror_left_right", "unknown", "named_signs"))
        findings.append(Finding("orientation_fixed", "unknown", "named_signs"))
    coloured = [
        name
        for name, parts in words.items()
        if any(
            part in _COLOURS
            and any(
                (*parts[:at], colour, *parts[at + 1 :]) in known for colour in _COLOURS - {part}
            )
            for at, part in enumerate(parts)
        )
    ]
    if coloured:
        findings.append(
            Finding("colour_matters", "yes", "named_colours", {"name": coloured[0]})
        )
    return findings


def _of_devices(facts: ProblemFacts) -> list[Finding]:
    found = []
    for column, count in facts.devices.items():
        values = {"column": column, "count": count}
        answer: Answer = "yes" if count > 1 else "no"
        reason = "several_devices" if count > 1 else "one_device"
        found.append(Finding("cameras_vary", answer, reason, values))
    # Several columns tell more than one: several devices in any of them are several.
    found.sort(key=lambda each: each.answer != "yes")
    if found:
        return found[:1]
    if facts.num_turned:
        values = {"count": facts.num_turned}
        return [Finding("cameras_vary", "unknown", "turned_camera", values)]
    if facts.num_sizes > 1:
        return [Finding("cameras_vary", "unknown", "several_sizes", {"count": facts.num_sizes})]
    return []


def _of_boxes(boxes: NDArray[np.float64] | None) -> list[Finding]:
    if boxes is None or len(boxes) < LEAST_PICTURES:
        return []
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    low, high = np.quantile(np.sqrt(width * height), [0.05, 0.95])
    ratio = float(high / max(low, 1e-6))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    spread = float(centres.std(axis=0).max())
    return [
        Finding(
            "scale_varies",
            _yes_no(ratio >= SCALE_RATIO),
            "box_sizes",
            {"ratio": f"{ratio:.1f}"},
        ),
        Finding(
            "position_varies",
            _yes_no(spread >= POSITION_SPREAD),
            "box_places",
            {"share": f"{spread:.0%}"},
        ),
    ]


def _yes_no(condition: bool) -> Answer:
    return "yes" if condition else "no"


def _of_pictures(pictures: NDArray[np.uint8]) -> list[Finding]:
    values = pictures.astype(np.float64)
    # Rec. 601, as grey pictures are made everywhere.
    light = values @ np.array([0.299, 0.587, 0.114]) / 255
    findings = _of_light(light)
    half = light.shape[1] // 2
    above = _brighter_share(light[:, :half], light[:, -half:])
    left = _brighter_share(light[:, :, :half], light[:, :, -half:])
    if max(above, 1 - above) >= SIDED_SHARE:
        reason = "brighter_above" if above > 0.5 else "brighter_below"
        shown = {"share": f"{max(above, 1 - above):.0%}"}
        findings.append(Finding("orientation_fixed", "yes", reason, shown))
    if max(left, 1 - left) >= SIDED_SHARE:
        reason = "brighter_left" if left > 0.5 else "brighter_right"
        shown = {"share": f"{max(left, 1 - left):.0%}"}
        findings.append(Finding("mirror_left_right", "unknown", reason, shown))
    spans = values.max(axis=-1) - values.min(axis=-1)
    if (spans.max(axis=(1, 2)) <= GREY_LEVELS).all():
        count = {"count": len(pictures)}
        findings.append(Finding("colour_matters", "no", "all_grey", count))
    return findings


def _of_light(light: NDArray[np.float64]) -> list[Finding]:
    low, high = np.quantile(light.mean(axis=(1, 2)), [0.05, 0.95])
    is_wide = high - low >= LIGHT_RANGE
    shown = {"low": f"{low:.2f}", "high": f"{high:.2f}"}
    # A narrow range of these pictures says nothing of the next ones.
    answer: Answer = "yes" if is_wide else "unknown"
    reason = "wide_light" if is_wide else "narrow_light"
    return [Finding("lighting_varies", answer, reason, shown)]


def _brighter_share(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Share of the pictures whose first half is the brighter one; equal halves count half."""
    difference = one.mean(axis=(1, 2)) - other.mean(axis=(1, 2))
    return float((np.sign(difference) + 1).mean() / 2)
