"""gorae.report.eda_map: points and their pictures."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.report.eda_colours import CLASS_COLOURS, OTHER_COLOUR, translucent
from gorae.report.eda_map import class_colours, embedding_map, map_data, picture_sheet
from gorae.report.eda_page import EmbeddingMap

# Room of a page beside plotly's own 4.7 MB.
BYTES_OF_2000_PICTURES = 4_000_000


def make_map(labels: list[str | None]) -> EmbeddingMap:
    rng = np.random.default_rng(0)
    n = len(labels)
    points = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "y": rng.normal(size=n),
            "part": ["test" if label is None else "train" for label in labels],
            "class": pd.Series(labels, dtype=object),
            "name": [f"{i}.jpg" for i in range(n)],
        }
    )
    return EmbeddingMap(points=points, method="PCA", num_images=n)


@pytest.mark.parametrize("num_images", [1, 49, 50, 51, 120])
def test_each_picture_lies_where_the_page_looks_for_it(num_images: int) -> None:
    levels = np.random.default_rng(num_images).integers(0, 255, (num_images, 1, 1, 3))
    pictures = np.repeat(np.repeat(levels, 16, 1), 16, 2).astype(np.uint8)
    sheet = picture_sheet(pictures)
    whole = np.asarray(Image.open(io.BytesIO(sheet.data)), np.int64)
    for i in range(num_images):
        top, left = i // sheet.columns * 16, i % sheet.columns * 16
        middle = whole[top + 4 : top + 12, left + 4 : left + 12].mean(axis=(0, 1))
        assert np.abs(middle - levels[i, 0, 0]).max() < 12


def test_two_thousand_pictures_stay_small() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (2000, 12, 12, 3), dtype=np.uint8)
    pictures = np.stack(
        [
            np.asarray(Image.fromarray(x).resize((48, 48), Image.Resampling.BICUBIC))
            for x in small
        ]
    )
    assert len(picture_sheet(pictures).data) < BYTES_OF_2000_PICTURES


def test_every_point_is_drawn_once_and_knows_its_picture() -> None:
    summary = make_map(["a", "b", None, "a", None])
    traces = embedding_map(summary, "en").figure["data"]
    drawn = [(row, trace["name"]) for trace in traces for row in trace["customdata"]]
    assert sorted(drawn) == [
        (0, "a"), (1, "b"), (2, "no label (test)"), (3, "a"), (4, "no label (test)")
    ]  # fmt: skip


def test_the_most_frequent_classes_have_colours_and_the_others_are_grey() -> None:
    names = [f"c{i:02d}" for i in range(14)]
    summary = make_map([name for i, name in enumerate(names) for _ in range(i + 1)])
    colours = class_colours(summary)
    assert list(colours) == names[-len(CLASS_COLOURS) :]
    assert len(set(colours.values())) == len(CLASS_COLOURS)
    data = map_data(summary)
    assert data["colour"][0] == OTHER_COLOUR
    assert data["colour"][-1] == colours["c13"]
    legend = [trace["name"] for trace in embedding_map(summary, "ko").figure["data"]]
    assert legend[0] == "그 밖의 클래스"


def test_parts_are_named_in_both_languages() -> None:
    data = map_data(make_map(["a", None]))
    assert data["part"] == [0, 1]
    assert data["parts"] == {"en": ["train", "test"], "ko": ["학습", "테스트"]}
    assert data["label"] == ["a", None]


def test_a_colour_can_be_made_translucent() -> None:
    assert translucent("#1f83c9", 0.12) == "rgba(31, 131, 201, 0.12)"
