"""Faces are found where OpenCV can find them, and refused with the reason where it cannot."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from gorae.eda.faces import build_face_finder
from gorae.errors import ConfigError

HAS_CASCADES = hasattr(cv2, "CascadeClassifier") or hasattr(cv2, "xobjdetect")
needs_cascades = pytest.mark.skipif(not HAS_CASCADES, reason="OpenCV 5 without extra modules")


@pytest.mark.skipif(HAS_CASCADES, reason="this OpenCV has cascades")
def test_opencv_5_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"OpenCV 5.*'opencv-python-headless<5'"):
        build_face_finder()


@needs_cascades
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


@needs_cascades
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


@needs_cascades
def test_a_plain_picture_has_no_faces() -> None:
    if hasattr(cv2, "xobjdetect"):
        pytest.skip("OpenCV 5 brings no cascade files")
    assert build_face_finder()(np.full((80, 60, 3), 128, np.uint8)).shape == (0, 4)
