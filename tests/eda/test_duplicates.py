"""Duplicates: planted copies are found, look-alikes are not, and sets are what pairs link."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits, load_sample_images

from gorae.data.thumbnail import thumbnail
from gorae.eda.duplicates import near_duplicates
from gorae.eda.duplicates_pixels import is_telling, similarities
from gorae.eda.duplicates_sets import (
    conflicting_labels,
    duplicate_sets,
    swallowing_sets,
    thresholds_offered,
)

Picture = Image.Image
Pixels = NDArray[np.uint8]
Change = Callable[[Picture, np.random.Generator], Picture]


def reencoded(picture: Picture, rng: np.random.Generator) -> Picture:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(rng.integers(30, 96)))
    return Image.open(stream).convert("RGB")


def resized(picture: Picture, rng: np.random.Generator) -> Picture:
    share = rng.uniform(0.5, 0.9)
    size = round(picture.width * share), round(picture.height * share)
    return picture.resize(size, Image.Resampling.BICUBIC)


def cropped(picture: Picture, rng: np.random.Generator) -> Picture:
    left, top, right, bottom = rng.uniform(0.02, 0.08, 4)
    width, height = picture.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return picture.crop(tuple(map(round, box)))


def flipped(picture: Picture, rng: np.random.Generator) -> Picture:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def lighter_or_darker(picture: Picture, rng: np.random.Generator) -> Picture:
    return Image.fromarray(
        (np.asarray(picture) * rng.uniform(0.7, 1.3)).clip(0, 255).astype(np.uint8)
    )


def watermarked(picture: Picture, rng: np.random.Generator) -> Picture:
    layer = Image.new("RGBA", picture.size)
    font = ImageFont.load_default(picture.height * rng.uniform(0.06, 0.14))
    place = rng.uniform(0, 0.4) * picture.width, rng.uniform(0, 0.85) * picture.height
    colour = (255, 255, 255, int(rng.integers(120, 256)))
    text = "(c) sample photo"[: int(rng.integers(6, 17))]
    ImageDraw.Draw(layer).text(place, text, font=font, fill=colour)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def smaller_and_reencoded(picture: Picture, rng: np.random.Generator) -> Picture:
    return reencoded(resized(picture, rng), rng)


CHANGES: dict[str, Change] = {
    "reencoded": reencoded,
    "resized": resized,
    "cropped": cropped,
    "flipped": flipped,
    "lighter_or_darker": lighter_or_darker,
    "watermarked": watermarked,
    "smaller_and_reencoded": smaller_and_reencoded,
}


def patches() -> list[Picture]:
    """Distinct parts of two photographs that ship with scikit-learn; without plain ones."""
    found = []
    for photograph in load_sample_images().images:
        for top in range(0, photograph.shape[0] - 105, 106):
            for left in range(0, photograph.shape[1] - 105, 106):
                patch = Image.fromarray(photograph[top : top + 106, left : left + 106])
                found.append(patch.resize((212, 212), Image.Resampling.BICUBIC))
    telling = is_telling(thumbnails_of(found))
    return [patch for patch, is_kept in zip(found, telling, strict=True) if is_kept]


def thumbnails_of(pictures: list[Picture]) -> Pixels:
    return np.stack([thumbnail(np.asarray(picture)) for picture in pictures])


def hashes_of(thumbnails: Pixels) -> list[str]:
    """A hash for each row: none are equal files or pixels."""
    return [hashlib.sha256(b"%d" % row).hexdigest() for row in range(len(thumbnails))]


def find(thumbnails: Pixels, **options: object) -> pd.DataFrame:
    return near_duplicates(
        lambda rows: thumbnails[rows],
        sha256=hashes_of(thumbnails),
        pixel_sha256=hashes_of(thumbnails),
        **options,  # type: ignore[arg-type]
    )


def check_planted(pictures: list[Picture], *, least: float) -> float:
    """Every kind is found with a recall of ``least``, and nothing but copies is.

    Returns:
        Recall of all kinds together.
    """
    base = thumbnails_of(pictures)
    recall = []
    for name, change in CHANGES.items():
        rng = np.random.default_rng(7)
        copies = thumbnails_of([change(picture, rng) for picture in pictures])
        pairs = find(np.concatenate([base, copies]))
        sets = duplicate_sets(pairs, 2 * len(base))
        is_found = (sets[: len(base)] == sets[len(base) :]) & (sets[: len(base)] >= 0)
        recall.append(is_found.mean())
        assert recall[-1] >= least, name
        assert (pairs["first"] == pairs["second"] % len(base)).mean() >= 0.99, name
        if name == "flipped":
            assert pairs["flipped"].mean() > 0.9
    return float(np.mean(recall))


def test_copies_of_seven_kinds_are_found_and_nothing_else() -> None:
    # 25 patches of two photographs; of crops some are missed. Whole photographs do better,
    # see below.
    assert check_planted(patches(), least=0.85) >= 0.97


@pytest.mark.shared
def test_copies_of_photographs_are_found_and_nothing_else(shared: Path) -> None:
    files = sorted((shared / "data" / "cats-and-dogs" / "train").glob("*.jpg"))[:150]
    check_planted([Image.open(file).convert("RGB") for file in files], least=0.97)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "most"), [("chest-xray", 3), ("sign-digits", 0)])
def test_look_alikes_are_not_joined(shared: Path, name: str, most: int) -> None:
    files = sorted((shared / "data" / name).rglob("*.jp*g")) or sorted(
        (shared / "data" / name).rglob("*.png")
    )
    assert len(files) >= 1000
    kept = files[:600]
    pairs = find(thumbnails_of([Image.open(file).convert("RGB") for file in kept]))
    assert len(pairs) <= most


def test_written_digits_and_drawn_shapes_are_not_joined() -> None:
    digits = (load_digits().images[:300, :, :, None] * np.ones(3) * 15.9).astype(np.uint8)
    assert len(find(np.stack([thumbnail(digit) for digit in digits]))) == 0
    rng = np.random.default_rng(0)
    shapes = []
    for number in range(150):
        picture = Image.new("RGB", (96, 96), (230, 230, 230))
        left, top, side = (int(v) for v in rng.integers([10, 10, 15], [45, 45, 40]))
        box, colour = (
            (left, top, left + side, top + side),
            tuple(rng.integers(0, 150, 3).tolist()),
        )
        draw = ImageDraw.Draw(picture)
        (draw.ellipse if number % 2 else draw.rectangle)(box, fill=colour)
        shapes.append(picture)
    assert len(find(thumbnails_of(shapes))) == 0


def test_one_colour_is_like_nothing_but_its_own_pixels() -> None:
    colours = np.zeros((300, 48, 48, 3), np.uint8)
    colours[:] = np.arange(300)[:, None, None, None] % 3
    assert len(find(colours)) == 0


def test_the_same_detail_in_another_colour_is_another_picture() -> None:
    picture = thumbnails_of(patches()[:6])
    other = picture[..., [2, 0, 1]]
    grey_level = similarities(picture, picture, np.zeros(6, np.int64))
    assert (grey_level > 0.99).all()
    coloured = picture.astype(int).std(axis=3).mean(axis=(1, 2)) > 15
    assert coloured.any()
    assert (similarities(picture, other, np.zeros(6, np.int64))[coloured] < 0.8).all()


def test_equal_bytes_and_equal_pixels_are_linked_once_each() -> None:
    never = np.zeros((0, 48, 48, 3), np.uint8)
    files = ["a", "b", "a", "c", "a", "d", "d", "e"]
    pixels = ["p", "p", "p", "p", "p", "", "", "q"]

    def thumbnails(rows: NDArray[np.int64]) -> Pixels:
        assert rows.tolist() in ([], [0, 7])
        return np.zeros((len(rows), 48, 48, 3), np.uint8) if len(rows) else never

    pairs = near_duplicates(thumbnails, sha256=files, pixel_sha256=pixels)
    assert pairs[["first", "second", "kind"]].to_numpy().tolist() == [
        [0, 2, "bytes"],
        [0, 4, "bytes"],
        [5, 6, "bytes"],
        [0, 1, "pixels"],
        [0, 3, "pixels"],
    ]
    assert (pairs["similarity"] == 1).all()
    assert duplicate_sets(pairs, 8).tolist() == [0, 0, 0, 0, 0, 1, 1, -1]


def test_a_set_of_many_copies_is_linked_by_one_pair_less_than_it_has_pictures() -> None:
    rng = np.random.default_rng(3)
    pictures = patches()[:3]
    copies = [reencoded(picture, rng) for picture in pictures for _ in range(20)]
    pairs = find(thumbnails_of(copies))
    assert len(pairs) == 3 * 19
    assert (duplicate_sets(pairs, 60) == np.repeat([0, 1, 2], 20)).all()
    assert (pairs["first"] < pairs["second"]).all()


def test_features_find_what_hashes_do_not_look_for() -> None:
    pictures = patches()[:20]
    base = thumbnails_of(pictures)
    wide = thumbnails_of([p.crop((25, 25, 187, 187)) for p in pictures])
    both = np.concatenate([base, wide])
    features = np.tile(np.eye(20, dtype=np.float32), (2, 1))
    without, with_features = find(both), find(both, features=features)
    assert len(with_features) > len(without)
    assert set(with_features["found_by"]) >= {"features"}
    assert (with_features["first"] == with_features["second"] - 20).all()


def test_progress_rises_to_its_total_and_two_searches_are_equal() -> None:
    thumbnails = thumbnails_of(patches()[:10])
    thumbnails = np.concatenate([thumbnails, thumbnails[:, :, ::-1]])
    told: list[tuple[int, int]] = []
    pairs = find(thumbnails, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (60, 60)
    pd.testing.assert_frame_equal(pairs, find(thumbnails))


def chain(similarity: list[float], num_images: int) -> pd.DataFrame:
    first = np.arange(len(similarity))
    assert len(first) < num_images
    return pd.DataFrame(
        {
            "first": first,
            "second": first + 1,
            "kind": "near",
            "similarity": similarity,
            "found_by": "hash",
            "flipped": False,
        }
    )


def test_conflicts_are_sets_with_two_labels_and_missing_ones_count_for_nothing() -> None:
    sets = np.array([0, 0, 1, 1, 2, 2, 2, -1, -1])
    table = conflicting_labels(
        sets, ["cat", "dog", "cat", None, "cow", "", "dog", "cat", "dog"]
    )
    assert table.to_numpy().tolist() == [
        [0, 0, "cat"],
        [0, 1, "dog"],
        [2, 4, "cow"],
        [2, 6, "dog"],
    ]
    assert len(conflicting_labels(sets, np.array([1, 1, 0, -1, 2, -1, 2, 0, 1]))) == 0


def test_a_set_that_swallows_the_folds_is_shown_with_the_links_that_hold_it() -> None:
    pairs = chain([0.95, 0.82, 0.91, 0.99], 40)
    (found,) = swallowing_sets(pairs, 40, num_folds=5, num_shown=2)
    assert found.rows.tolist() == [0, 1, 2, 3, 4]
    assert found.share == 5 / 40
    assert found.weakest["similarity"].tolist() == [0.82, 0.91]
    # Exactly 1 / (2 x folds) is not more than that.
    assert swallowing_sets(pairs, 50, num_folds=5) == []


def test_offered_thresholds_say_what_would_be_left() -> None:
    pairs = chain([0.95, 0.82, 0.91, 0.99], 40)
    pairs.loc[1, "kind"] = "pixels"
    table = thresholds_offered(pairs, 40, thresholds=(0.8, 0.93, 0.97))
    assert table["largest"].tolist() == [5, 3, 2]
    assert table["num_sets"].tolist() == [1, 2, 2]
    assert table["num_joined"].tolist() == [5, 5, 4]
    assert len(thresholds_offered(pairs.iloc[:0], 40)) > 0
