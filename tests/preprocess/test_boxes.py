"""Boxes against each other: torchvision's overlap, fusion worked by hand."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from gorae.preprocess.boxes import Candidates, best_boxes, box_areas, box_ious, fuse_boxes

NOTHING = [np.nan] * 4


def test_overlaps_are_those_of_torchvision() -> None:
    corners = np.sort(np.random.default_rng(0).random((2, 200, 2, 2)), axis=2) * 50
    first, second = corners.reshape(2, 200, 4)
    reference = box_iou(torch.from_numpy(first), torch.from_numpy(second)).diagonal().numpy()
    np.testing.assert_allclose(box_ious(first, second), reference, atol=1e-12)


def test_boxes_without_area_overlap_nothing() -> None:
    flat = np.array([[5.0, 5, 5, 9]])
    assert box_areas(flat).tolist() == [0.0]
    assert box_ious(flat, flat).tolist() == [0.0]


def test_equal_boxes_are_fused_into_themselves() -> None:
    fused = fuse_boxes(np.tile([1.0, 2, 30, 40], (3, 1)), np.array([0.9, 0.6, 0.6]))
    assert fused is not None
    np.testing.assert_allclose(fused.box, [1, 2, 30, 40])
    assert fused.confidence == pytest.approx(0.7)
    assert fused.votes == 3


def test_the_thing_with_the_most_confidence_behind_it_counts() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60], NOTHING])
    fused = fuse_boxes(boxes, np.array([0.6, 0.3, 0.8, 0.0]))
    assert fused is not None
    # 10 and 12 weighted 2 to 1; the surest single box has less behind it.
    np.testing.assert_allclose(fused.box, [0, 0, 10, 32 / 3])
    assert fused.confidence == pytest.approx(0.9 / 4)
    assert fused.votes == 2


def test_nothing_is_fused_of_nothing() -> None:
    assert fuse_boxes(np.array([NOTHING, NOTHING]), np.zeros(2)) is None


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_detectors_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.array([10.0, 10, 40, 40]) + rng.normal(0, 4, (5, 4))
    scores = rng.random(5)
    order = rng.permutation(5)
    one, other = fuse_boxes(boxes, scores), fuse_boxes(boxes[order], scores[order])
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.box, other.box)
    assert one.confidence == pytest.approx(other.confidence)


def test_the_surest_box_that_is_sure_and_large_enough_is_taken() -> None:
    candidates = Candidates(
        np.array([0, 0, 0, 1, 1, 3]),
        np.array(
            [
                [0, 0, 5, 5],  # sure, too small
                [0, 0, 50, 50],
                [0, 0, 60, 60],  # surer
                [0, 0, 90, 90],  # not sure
                [0, 0, 0, 0],
                [1, 1, 41, 41],
            ],
            float,
        ),
        np.array([0.99, 0.6, 0.7, 0.4, 0.9, 0.5]),
    )
    sizes = np.full((4, 2), 100)
    found, scores = best_boxes(candidates, sizes, confidence=0.5, area_min=0.04)
    np.testing.assert_array_equal(found, [[0, 0, 60, 60], NOTHING, NOTHING, [1, 1, 41, 41]])
    np.testing.assert_array_equal(scores, [0.7, 0, 0, 0.5])


def test_of_equally_sure_boxes_the_first_is_taken() -> None:
    boxes = np.array([[0, 0, 50, 50], [0, 0, 60, 60]], float)
    candidates = Candidates(np.array([0, 0]), boxes, np.array([0.5, 0.5]))
    found, _ = best_boxes(candidates, np.full((1, 2), 100), confidence=0.5, area_min=0)
    np.testing.assert_array_equal(found, boxes[:1])
