"""From answers about the problem to settings of augmentation, each with its reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gorae.eda.problem import Answers

# Of pictures whose objects come in all sizes; as the policy "standard" has it.
WIDE_SCALE = 0.35
# Objects at any place: more of the picture is kept, so that they are in it.
PLACED_SCALE = 0.5
# One size at one place: a crop that moves the picture a little.
NARROW_SCALE = 0.8

# A policy that turns pictures further than this shows them lying.
UPRIGHT_DEG = 45.0


@dataclass(frozen=True)
class Current:
    """What a recipe does to its pictures now."""

    hflip: float = 0.0
    vflip: float = 0.0
    transpose: float = 0.0
    scale: tuple[float, float] | None = None
    """Share of the area that the random crop keeps; None: there is no random crop."""
    rand_ops: int = 0
    transforms: tuple[Mapping[str, Any], ...] = ()
    """Transforms by name: ``{"name": "ColorJitter", "brightness": 0.2}``."""
    turn_deg: float = 0.0
    """How far the policy turns pictures."""
    has_light: bool = False
    """Whether the policy changes brightness."""
    views: tuple[str, ...] = ("identity",)
    """Single views of the prediction."""
    is_grey: bool = False
    """Whether all pictures are grey: a change of colour then changes nothing."""


@dataclass(frozen=True)
class Proposal:
    """A setting to change."""

    setting: str
    """Dotted name."""
    value: Any
    reasons: tuple[str, ...]
    """Keys of the texts of ``report.problem_texts``."""


def augmentation_proposals(answers: Answers, current: Current) -> tuple[Proposal, ...]:
    """Settings that follow from the answers and that the recipe does not have already.

    ``unknown`` proposes nothing.
    """
    answers = _completed(answers)
    return tuple(
        proposal
        for source in (_flips, _directions, _scales, _colours, _views)
        for proposal in source(answers, current)
    )


def contradictions(answers: Answers) -> list[str]:
    """What cannot be true at once, a sentence each."""
    if answers["orientation_fixed"] == "no" and {
        answers["mirror_left_right"],
        answers["mirror_up_down"],
    } == {"yes", "no"}:
        return [
            'orientation_fixed = "no" says that pictures come in any direction; a mirrored one '
            "turned by half is then mirrored the other way, so mirror_left_right and "
            "mirror_up_down must have the same answer"
        ]
    return []


def _completed(answers: Answers) -> Answers:
    """With the second mirror, where pictures of any direction make it the same as the first."""
    mirrors = {answers["mirror_left_right"], answers["mirror_up_down"]} - {"unknown"}
    if answers["orientation_fixed"] != "no" or len(mirrors) != 1:
        return answers
    known = mirrors.pop()
    return {**answers, "mirror_left_right": known, "mirror_up_down": known}


def _flips(answers: Answers, current: Current) -> Iterator[Proposal]:
    across, down = answers["mirror_left_right"], answers["mirror_up_down"]
    if across == "no" and current.hflip:
        yield Proposal("augment.hflip", 0.0, ("no_mirror",))
    if across == "yes" and not current.hflip:
        yield Proposal("augment.hflip", 0.5, ("mirror",))
    is_upright = answers["orientation_fixed"] == "yes"
    if down == "no" and current.vflip:
        yield Proposal("augment.vflip", 0.0, ("no_mirror_down",))
    elif down == "unknown" and is_upright and current.vflip:
        yield Proposal("augment.vflip", 0.0, ("upright",))
    if down == "yes" and not current.vflip:
        yield Proposal("augment.vflip", 0.5, ("mirror_down",))
    if current.transpose and (is_upright or "no" in (across, down)):
        reason = "upright" if is_upright else "no_mirror"
        yield Proposal("augment.transpose", 0.0, (reason,))


def _directions(answers: Answers, current: Current) -> Iterator[Proposal]:
    fixed = answers["orientation_fixed"]
    if fixed == "yes" and current.turn_deg > UPRIGHT_DEG:
        yield Proposal("augment.policy", "standard", ("turned",))
    if fixed == "no" and answers["mirror_left_right"] == "yes" and not current.transpose:
        # With both flips, all eight symmetries of the square.
        yield Proposal("augment.transpose", 0.5, ("any_direction",))


def _scales(answers: Answers, current: Current) -> Iterator[Proposal]:
    scale, position = answers["scale_varies"], answers["position_varies"]
    low = current.scale[0] if current.scale else 1.0
    if scale == "yes" and low > WIDE_SCALE:
        yield Proposal("augment.scale", [WIDE_SCALE, 1.0], ("all_sizes",))
    elif position == "yes" and scale != "yes" and low > PLACED_SCALE:
        yield Proposal("augment.scale", [PLACED_SCALE, 1.0], ("any_place",))
    elif scale == position == "no" and low < NARROW_SCALE:
        yield Proposal("augment.scale", [NARROW_SCALE, 1.0], ("one_size",))


def _colours(answers: Answers, current: Current) -> Iterator[Proposal]:
    if answers["colour_matters"] == "yes" and current.rand_ops:
        yield Proposal("augment.rand_ops", 0, ("colour_kept",))
    wanted, reasons = list[dict[str, Any]](), list[str]()
    is_unmirrored = answers["mirror_left_right"] != "yes"
    if answers["orientation_fixed"] == "no" and is_unmirrored and current.turn_deg < 180:
        wanted.append({"name": "RandomRotation", "degrees": 180})
        reasons.append("any_direction_unmirrored")
    jitter: dict[str, Any] = {}
    if answers["lighting_varies"] == "yes" and not current.has_light:
        jitter |= {"brightness": 0.3, "contrast": 0.2}
        reasons.append("lighting")
    has_free_colour = answers["colour_matters"] != "yes" and not current.is_grey
    if answers["cameras_vary"] == "yes":
        jitter |= {"contrast": 0.2}
        if has_free_colour:
            jitter |= {"saturation": 0.2}
        wanted.append({"name": "GaussianBlur", "kernel_size": 5, "p": 0.2})
        reasons.append("cameras")
    if answers["colour_matters"] == "no" and has_free_colour:
        jitter |= {"saturation": 0.4, "hue": 0.05}
        wanted.append({"name": "RandomGrayscale", "p": 0.1})
        reasons.append("colour_free")
    if jitter:
        wanted.insert(0, {"name": "ColorJitter", **jitter})
    known = {each["name"] for each in current.transforms}
    new = [each for each in wanted if each["name"] not in known]
    if new:
        value = [*map(dict, current.transforms), *new]
        yield Proposal("augment.transforms", value, tuple(reasons))


def _views(answers: Answers, current: Current) -> Iterator[Proposal]:
    across, down = answers["mirror_left_right"], answers["mirror_up_down"]
    is_upright = answers["orientation_fixed"] == "yes"
    wrong = set()
    if across == "no":
        wrong |= {"hflip", "transpose", "transverse"}
    if down == "no" or (is_upright and down == "unknown"):
        wrong |= {"vflip", "transpose", "transverse"}
    if is_upright:
        wrong |= {"rot90", "rot270", "transpose", "transverse"}
        if (across, down) != ("yes", "yes"):
            wrong.add("rot180")
    kept = [view for view in current.views if view.rpartition("+")[2] not in wrong]
    if len(kept) < len(current.views):
        yield Proposal("predict.views", kept or ["identity"], ("views",))
