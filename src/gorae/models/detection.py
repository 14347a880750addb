"""Detectors of one class by name, with weights to start from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection

from gorae.errors import DataError
from gorae.models.centre import CentreDetector
from gorae.models.load import load_model
from gorae.models.plan import CENTRE, ModelPlan, find_weights_file
from gorae.models.reach import not_fetched, require_answer
from gorae.models.weights import hash_state, read_any_weights

# The thing and what is not it.
_NUM_CLASSES = 2

# There is one thing in a picture: fewer places need to be looked at than in pictures of many
# things, for which torchvision's own numbers are made (512, 2000, 150 or 1000, 100).
_TWO_STAGE = {
    "box_batch_size_per_image": 64,
    "rpn_post_nms_top_n_train": 200,
    "rpn_post_nms_top_n_test": 100,
    "box_detections_per_img": 10,
}
_ONE_STAGE = {"detections_per_img": 10}

# Layers whose shape is that of the classes they were trained on.
_OF_CLASSES = (
    "roi_heads.box_predictor.",
    "head.classification_head.cls_logits.",
)


@dataclass(frozen=True, kw_only=True)
class DetectorPlan:
    """What detector is wanted."""

    name: str
    """One of ``plan.DETECTORS``, or ``centre/NAME`` of a timm network."""
    weights: str = "none"
    """``hub``, ``none``, or the path of a weight file."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the timm network of ``centre/NAME``."""
    side: int = 320
    """Side of the square pictures it will see, in pixels."""
    seed: int = 0
    """Seed of what starts random."""


@dataclass(frozen=True)
class LoadedDetector:
    """A detector and where its weights came from."""

    network: nn.Module
    """Called with pictures (3, S, S) of values from 0 to 1, in training with targets too, as
    those of torchvision are; label 1 is the thing."""
    weights_sha256: str
    """Hash of the weights it starts from, random ones too."""
    origin: str
    """Path of the weights, their hub, or "random weights"."""
    notes: tuple[str, ...] = ()
    """What was left out of the weights, or left random."""


def load_detector(plan: DetectorPlan, *, folder: Path) -> LoadedDetector:
    """Build a detector and give it the weights to start from.

    Args:
        plan: What is wanted.
        folder: The competition's folder: relative paths start there.

    Raises:
        ConfigError: A name, argument or path is wrong.
        DataError: The weights do not fit.
        UserError: The hub's weights are not at hand and cannot be fetched.
    """
    if plan.name.startswith(CENTRE):
        return _load_centre(plan, folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = _build(plan.name, plan.side)
    if plan.weights == "none":
        return _loaded(network, "random weights")
    if plan.weights == "hub":
        state, origin = _fetch(plan.name)
    else:
        weights = read_any_weights(find_weights_file(plan.weights, folder=folder))
        state, origin = dict(weights.state), weights.origin
    notes = use_detector_weights(network, state, origin=origin)
    return _loaded(network, origin, notes)


def _loaded(network: nn.Module, origin: str, notes: tuple[str, ...] = ()) -> LoadedDetector:
    return LoadedDetector(network, hash_state(network.state_dict()), origin, notes)


def _build(name: str, side: int) -> nn.Module:
    is_two_stage = name.startswith("fasterrcnn")
    network: nn.Module = getattr(detection, name)(
        weights=None,
        weights_backbone=None,
        num_classes=_NUM_CLASSES,
        # Pictures come as squares of that side already.
        min_size=side,
        max_size=side,
        **(_TWO_STAGE if is_two_stage else _ONE_STAGE),
    )
    return network


def _load_centre(plan: DetectorPlan, folder: Path) -> LoadedDetector:
    name = plan.name.removeprefix(CENTRE)
    loaded = load_model(
        ModelPlan(
            name=name, weights=plan.weights, num_outputs=1, kwargs=plan.kwargs, seed=plan.seed
        ),
        folder=folder,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = CentreDetector(
            loaded.model.backbone,
            name=name,
            mean=loaded.spec.mean,
            std=loaded.spec.std,
            side=plan.side,
        )
    return _loaded(network, loaded.weights_origin, loaded.notes)


def _fetch(name: str) -> tuple[dict[str, Tensor], str]:
    """torchvision's weights of the detector, trained on COCO: from the cache or the network."""
    from torchvision import models

    best = models.get_model_weights(name).DEFAULT
    path = Path(torch.hub.get_dir()) / "checkpoints" / str(best.url).rpartition("/")[2]
    if not path.is_file():
        require_answer(best.url, name=name, expected=str(path))
    try:
        state = best.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise not_fetched(name, str(path), str(error)) from error
    return dict(state), f"torchvision's weights {best}"


def use_detector_weights(
    network: nn.Module, state: Mapping[str, Tensor], *, origin: str
) -> tuple[str, ...]:
    """Copy weights of a whole detector, or of the classifier that is its backbone, in place.

    Args:
        network: A detector of torchvision.
        state: Tensors by name: of the same detector, of any number of classes, or of
            torchvision's classifier that its backbone is made of.
        origin: Where they came from, for messages.

    Returns:
        What was left out or stays random, a line each.

    Raises:
        DataError: They are of neither.
    """
    target = network.state_dict()
    is_whole = any(key.startswith("backbone.") for key in state)
    named = dict(state) if is_whole else _as_body(state)
    kept = {key: value for key, value in named.items() if not key.startswith(_OF_CLASSES)}
    wanted = [
        key
        for key in target
        if not key.startswith(_OF_CLASSES)
        and not key.endswith("num_batches_tracked")
        and (is_whole or key.startswith("backbone.body."))
    ]
    missing = [key for key in wanted if key not in kept]
    wrong = [key for key in wanted if key in kept and kept[key].shape != target[key].shape]
    if missing or wrong:
        first = (missing or wrong)[0]
        raise DataError(
            f"The weights of {origin} do not fit the detector: {len(missing)} of {len(wanted)} "
            f"tensors are missing and {len(wrong)} of another shape, first {first}. They must "
            "be of the same detector, or of torchvision's classifier that is its backbone."
        )
    fitting = {key: kept[key] for key in target if key in kept}
    network.load_state_dict(fitting, strict=False)
    if is_whole:
        return ("The last layers start at random: they were of other classes.",)
    return (f"Only the backbone has weights of {origin}; the rest starts at random.",)


def _as_body(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A classifier's tensors under the names they have in a detector's backbone."""
    return {f"backbone.body.{key.removeprefix('features.')}": state[key] for key in state}
