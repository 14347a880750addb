"""Which pseudo-labels are learned, by hand and by their properties."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.config.pseudo import PseudoSettings
from gorae.pipeline.pseudo_labels import probabilities, select_rows


def lines_of(proba: list[list[float]], left_out: dict[int, str] | None = None) -> Any:
    frame = pd.DataFrame(proba, columns=["p0", "p1"])
    reasons = [(left_out or {}).get(row, "") for row in range(len(frame))]
    return frame.assign(image_id=[str(row) for row in range(len(frame))], left_out=reasons)


SURE = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.7, 0.3]]


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"threshold": 0.7}, [0, 2, 3, 4]),
        ({"threshold": 0.95}, []),
        ({"per_class": 2}, [0, 2, 3]),
        ({"per_class": 1}, [0, 2]),
        ({"per_class": 2, "fill": True}, [0, 2, 2, 3]),
        ({"per_class": 3, "fill": True, "threshold": 0.75}, [0, 0, 0, 2, 2, 2]),
    ],
)
def test_rows_by_hand(settings: dict[str, Any], rows: list[int]) -> None:
    assert select_rows(lines_of(SURE), PseudoSettings(**settings)).tolist() == rows


def test_a_picture_that_is_left_out_is_never_chosen() -> None:
    lines = lines_of(SURE, {0: "look-alike", 2: "same group"})
    assert select_rows(lines, PseudoSettings()).tolist() == [1, 3, 4]
    filled = select_rows(lines, PseudoSettings(per_class=3, fill=True))
    assert filled.tolist() == [1, 3, 4]


@pytest.mark.parametrize("seed", range(5))
def test_the_surest_of_each_class_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    share = rng.random(60)
    lines = lines_of(np.stack([share, 1 - share], axis=1).round(3).tolist())
    rows = select_rows(lines, PseudoSettings(per_class=7, threshold=0.6))
    proba = probabilities(lines)
    confidence, best = proba.max(axis=1), proba.argmax(axis=1)
    for index in range(2):
        kept = [row for row in rows if best[row] == index]
        others = np.setdiff1d(np.flatnonzero(best == index), kept)
        assert len(kept) <= 7
        assert confidence[kept].min() >= np.float32(0.6)
        assert len(kept) == 7 or (confidence[others] < np.float32(0.6)).all()
        assert not len(others) or confidence[kept].min() >= confidence[others].max()
