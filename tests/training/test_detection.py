"""Detectors learn, always the same, and stop in order."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gorae.data.boxed import BoxedPictures
from gorae.errors import ConfigError, DataError
from gorae.models.detection import DetectorPlan, load_detector, use_detector_weights
from gorae.models.plan import DETECTORS
from gorae.preprocess.boxes import best_boxes, box_ious
from gorae.training.detection import DetectionPlan, find_boxes, train_detector
from gorae.training.plan import Interrupted

SIDE = 64

PLAN = DetectionPlan(epochs=2, batch_size=4, lr=3e-3, hflip=0.5, zoom=0.2, seed=0)


class Drawn:
    """Bright blocks on noise, by number."""

    def __init__(self, boxes: NDArray[np.float64]) -> None:
        self.boxes = boxes.astype(int)

    def read(self, sha256: str) -> NDArray[np.uint8]:
        rng = np.random.default_rng(int(sha256))
        pixels = rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
        left, top, right, bottom = self.boxes[int(sha256)]
        pixels[top:bottom, left:right] += 140
        return pixels

    def __contains__(self, sha256: str) -> bool:
        return int(sha256) < len(self.boxes)


def blocks(count: int) -> BoxedPictures:
    rng = np.random.default_rng(1)
    corner, side = rng.integers(0, 32, (count, 2)), rng.integers(20, 32, (count, 1))
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float64)
    keys = [str(number) for number in range(count)]
    return BoxedPictures(Drawn(boxes), keys, np.full((count, 2), SIDE), SIDE, boxes)


def small(name: str = "centre/test_efficientnet", seed: int = 0) -> torch.nn.Module:
    plan = DetectorPlan(name=name, side=SIDE, seed=seed)
    return load_detector(plan, folder=Path()).network


def weights_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_a_detector_learns_to_find_blocks_it_has_not_seen() -> None:
    pictures, network = blocks(40), small()
    assert pictures.boxes is not None
    train = BoxedPictures(
        pictures.store, pictures.keys[:24], pictures.sizes[:24], SIDE, pictures.boxes[:24]
    )
    losses = train_detector(
        network, train, DetectionPlan(epochs=12, batch_size=4, lr=3e-3, hflip=0, zoom=0, seed=0)
    )
    assert losses[-1] < losses[0] / 2
    candidates = find_boxes(network, pictures, batch_size=8)
    found, scores = best_boxes(candidates, pictures.sizes, confidence=0.2, area_min=0.02)
    assert np.nanmean(box_ious(found[24:], pictures.boxes[24:])) > 0.5
    assert (scores[24:] > 0).mean() > 0.8


def test_two_trainings_end_in_the_same_weights_whatever_the_global_chance() -> None:
    pictures, ends = blocks(8), []
    for other in (0, 1):
        torch.manual_seed(other)
        network = small()
        train_detector(network, pictures, PLAN)
        ends.append(weights_of(network))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_the_global_chance_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    train_detector(small(), blocks(4), PLAN)
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_stops_when_asked() -> None:
    steps: list[tuple[int, int]] = []
    with pytest.raises(Interrupted):
        train_detector(
            small(),
            blocks(8),
            PLAN,
            should_stop=lambda: len(steps) == 3,
            on_step=lambda done, total: steps.append((done, total)),
        )
    assert steps == [(1, 4), (2, 4), (3, 4)]
    with pytest.raises(Interrupted):
        find_boxes(small(), blocks(2), batch_size=2, should_stop=lambda: True)


def test_a_loss_that_is_not_finite_is_an_error_with_advice() -> None:
    network = small()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match=r"not finite in epoch 1 \(heat nan.*Set detect\.lr"):
        train_detector(network, blocks(4), PLAN)


def test_boxes_of_finding_are_in_pixels_of_the_original() -> None:
    class Sure(torch.nn.Module):
        """Finds the right lower quarter of every square."""

        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            half, side = images[0].shape[-1] / 2, float(images[0].shape[-1])
            boxes = torch.tensor([[half, half, side, side]])
            return [{"boxes": boxes, "scores": torch.tensor([0.9])} for _ in images]

    pictures = blocks(3)
    larger = BoxedPictures(pictures.store, pictures.keys, np.full((3, 2), 640), 128)
    found = find_boxes(Sure(), larger, batch_size=2)
    assert found.places.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.boxes, [[320, 320, 640, 640]] * 3)


def test_a_detector_of_torchvision_is_trained_and_asked() -> None:
    network = small(DETECTORS[0])
    plan = DetectionPlan(epochs=1, batch_size=2, lr=1e-3, hflip=0, zoom=0, seed=0)
    before = weights_of(network)
    losses = train_detector(network, blocks(2), plan)
    assert np.isfinite(losses).all()
    changed = [
        name for name, value in weights_of(network).items() if not value.equal(before[name])
    ]
    assert any("box_predictor" in name for name in changed)
    assert any("backbone.body" in name for name in changed)
    found = find_boxes(network, blocks(3), batch_size=2)
    assert ((found.boxes >= 0) & (found.boxes <= SIDE)).all()


def test_weights_of_other_classes_and_of_a_classifier_are_taken() -> None:
    from torchvision.models import mobilenet_v3_large
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    network = small(DETECTORS[0])
    whole = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=91
    ).state_dict()
    notes = use_detector_weights(network, whole, origin="coco")
    assert notes == ("The last layers start at random: they were of other classes.",)
    taken = network.state_dict()
    for name in ("rpn.head.cls_logits.weight", "roi_heads.box_head.fc6.weight"):
        assert torch.equal(taken[name], whole[name])
    assert taken["roi_heads.box_predictor.cls_score.weight"].shape[0] == 2
    classifier = mobilenet_v3_large(weights=None).state_dict()
    notes = use_detector_weights(network, classifier, origin="imagenet")
    assert notes == ("Only the backbone has weights of imagenet; the rest starts at random.",)
    name = "features.4.block.0.0.weight"
    body = network.state_dict()[f"backbone.body.{name.removeprefix('features.')}"]
    assert torch.equal(body, classifier[name])
    with pytest.raises(DataError, match=r"do not fit the detector: \d+ of \d+ tensors"):
        use_detector_weights(network, {"conv.weight": torch.zeros(1)}, origin="other")


def test_a_network_without_a_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="test_vit gives no map of places"):
        load_detector(DetectorPlan(name="centre/test_vit", side=160), folder=Path())


def test_the_same_seed_gives_the_same_detector() -> None:
    one, same, other = (weights_of(small(seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_detector_ends_the_same_from_a_copy() -> None:
    start, pictures, ends = small(), blocks(6), []
    for network in (copy.deepcopy(start), start):
        train_detector(network, pictures, PLAN)
        ends.append(weights_of(network))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
