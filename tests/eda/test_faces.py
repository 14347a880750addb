"""Faces are boxes inside the picture, and a file that is no cascade is refused."""

from pathlib import Path

import numpy as np
import pytest

from gorae.eda.faces import build_face_finder
from gorae.errors import ConfigError


def test_a_file_that_is_no_cascade_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_text("<opencv_storage></opencv_storage>")
    for path in (broken, tmp_path / "absent.xml"):
        with pytest.raises(ConfigError, match=path.name):
            build_face_finder(path)


# One stage that says yes of every window, 12 wide and 24 high.
YES = """<?xml version="1.0"?>
<opencv_storage><cascade type_id="opencv-cascade-classifier">
<stageType>BOOST</stageType><featureType>HAAR</featureType>
<height>24</height><width>12</width>
<stageParams><maxWeakCount>1</maxWeakCount></stageParams>
<featureParams><maxCatCount>0</maxCatCount></featureParams>
<stageNum>1</stageNum>
<stages><_><maxWeakCount>1</maxWeakCount><stageThreshold>0.</stageThreshold>
<weakClassifiers><_><internalNodes>0 -1 0 0.</internalNodes>
<leafValues>1. 1.</leafValues></_></weakClassifiers></_></stages>
<features><_><rects><_>0 0 12 24 -1.</_><_>0 0 6 24 2.</_></rects></_></features>
</cascade></opencv_storage>
"""


def test_boxes_are_corners_inside_the_picture_largest_first(tmp_path: Path) -> None:
    path = tmp_path / "yes.xml"
    path.write_text(YES)
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    boxes = build_face_finder(path)(noise)
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert len(boxes)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (160, 90)).all()
    assert (np.abs(heights - 2 * widths) <= 2).all()
    assert (np.diff(widths * heights) <= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_neither_a_plain_picture_nor_noise_has_faces(seed: int) -> None:
    find = build_face_finder()
    assert find(np.full((80, 60, 3), 80 * seed, np.uint8)).shape == (0, 4)
    noise = np.random.default_rng(seed).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    assert find(noise).shape == (0, 4)
