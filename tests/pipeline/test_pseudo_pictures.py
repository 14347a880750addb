"""Pictures without labels keep no company of those that validate."""

import numpy as np

from gorae.pipeline.pseudo_pictures import Company


def test_sets_are_joined_over_pictures_without_labels() -> None:
    """A copy of a copy: the second is like the first, which equals what validates."""
    equal, alike = np.array([0, 1, 0, 2, 3]), np.array([0, 1, 0, 0, 3])
    found = Company(
        image_ids=("a", "b", "x", "y", "z"),
        is_unlabelled=np.array([False, False, True, True, True]),
        levels={"equal picture": equal, "look-alike": alike},
        pixels=equal,
    )
    assert found.left_out(["a"]) == ["equal picture", "look-alike", ""]
    assert found.left_out(["b"]) == ["", "", ""]
    assert found.left_out([]) == ["", "", ""]
    assert found.labelled_twins() == {"x": "a"}
