"""What ``eda`` shows of the pictures themselves: classes, light, outliers, map."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.eda.colours import ColourSums, channel_moments, level_histograms
from gorae.eda.distributions import value_counts
from gorae.eda.maps import eigen_picture, embedding_map, principal_pictures
from gorae.eda.outliers import find_outliers
from gorae.eda.pictures import picture_statistics
from gorae.pipeline.counts import class_counts
from gorae.pipeline.eda.look import Look
from gorae.report.eda_map import picture_sheet
from gorae.report.eda_page import (
    Channels,
    ClassesSummary,
    EigenPictures,
    EmbeddingMap,
    Outlier,
    PicturesSummary,
)
from gorae.report.page import ClassSamples, Picture
from gorae.report.pictures import thumbnail

OnProgress = Callable[[int, int], None]

MAX_SAMPLED_CLASSES = 40
SAMPLES_PER_CLASS = 6
# On the page, of each kind.
MAX_OUTLIERS_OF_KIND = 8
# Classes with a histogram of their own.
MAX_PORTRAITS = 24
MAX_EIGEN = 2000
NUM_EIGEN = 30
MAX_POINTS = 2000
PERPLEXITY = 40.0


@dataclass(frozen=True)
class Seen:
    """Numbers on every picture of a look."""

    statistics: pd.DataFrame
    """As of ``picture_statistics``."""
    colours: ColourSums
    outliers: pd.DataFrame
    """As of ``find_outliers``."""


def see(look: Look, *, on_progress: OnProgress) -> Seen:
    """Look at the stored pixels of every picture once."""
    statistics, colours = picture_statistics(
        look.read,
        len(look.images),
        classes=look.class_indices,
        num_classes=len(look.context.tables.classes),
        on_progress=on_progress,
    )
    outliers = find_outliers(
        statistics,
        width_px=look.images["width_px"].to_numpy(np.int64),
        height_px=look.images["height_px"].to_numpy(np.int64),
    )
    return Seen(statistics, colours, outliers)


def classes_section(look: Look, covered: pd.DataFrame | None) -> ClassesSummary | None:
    """Classes with some pictures of each; None for numbers.

    Args:
        look: The pictures.
        covered: As of ``class_coverage``.
    """
    if covered is None:
        return None
    counts = class_counts(look.context)
    names = look.context.tables.classes
    total = counts.drop(columns="class").sum(axis=1)
    return ClassesSummary(
        counts=counts,
        samples=tuple(_samples(look, name) for name in names[:MAX_SAMPLED_CLASSES]),
        not_in_test=tuple(covered["class"][covered["finding"] == "not seen in test"]),
        never_seen=tuple(counts["class"][total == 0]),
    )


def _samples(look: Look, name: str) -> ClassSamples:
    train = look.context.tables.train
    has_it = train["label"].map(
        lambda label: name in label if isinstance(label, tuple) else label == name
    )
    ids = set(train["image_id"][has_it])
    rows = np.flatnonzero(look.images["image_id"].isin(ids))
    # Evenly spaced, so that a listing ordered by subject shows several of them.
    chosen = rows[:: max(1, len(rows) // SAMPLES_PER_CLASS)][:SAMPLES_PER_CLASS]
    return ClassSamples(name=name, pictures=tuple(look.picture(int(row)) for row in chosen))


def pictures_section(look: Look, seen: Seen) -> PicturesSummary:
    """Sizes, formats, light and colour, and the pictures unlike the others."""
    images = look.images
    measures = seen.statistics[["brightness", "contrast", "sharpness"]].copy()
    measures.insert(0, "part", images["part"])
    measures.insert(1, "class", images["label"] if look.task != "regression" else None)
    readable = look.prepared.scan[look.prepared.scan["verdict"] != "quarantined"]
    return PicturesSummary(
        sizes=images[["width_px", "height_px", "part"]],
        formats=_named_counts(readable, "format"),
        modes=_named_counts(readable, "mode"),
        measures=measures,
        channels=_channels(look, seen.colours),
        outliers=_outliers(look, seen.outliers),
        num_outliers=int(seen.outliers["image"].nunique()),
    )


def _named_counts(scan: pd.DataFrame, column: str) -> pd.DataFrame:
    return value_counts(scan, [column]).rename(columns={column: "name"})[["name", "count"]]


def _channels(look: Look, sums: ColourSums) -> Channels:
    classes = look.context.tables.classes if look.task in ("multiclass", "ordinal") else ()
    shown = min(len(classes), MAX_PORTRAITS)
    shares = level_histograms(sums)[: shown + 1]
    together = sums.shares.sum(axis=0, keepdims=True)
    levels = np.concatenate([together, sums.shares[:-1]])[: shown + 1, 1:]
    mean, std = channel_moments(levels)
    indices = look.class_indices
    pictures = [_mean_picture(look, np.arange(len(indices)))]
    pictures += [_mean_picture(look, np.flatnonzero(indices == at)) for at in range(shown)]
    return Channels(
        names=("", *classes[:shown]),
        shares=shares,
        mean=mean / 255,
        std=std / 255,
        pictures=tuple(pictures),
    )


def _mean_picture(look: Look, rows: NDArray[np.int64]) -> Picture | None:
    if not len(rows):
        return None
    chosen = rows[:: max(1, len(rows) // MAX_EIGEN)]
    mean = look.thumbnails(chosen).mean(axis=0, dtype=np.float64)
    pixels = np.rint(mean).astype(np.uint8)
    return Picture(data=thumbnail(pixels, side_px=len(pixels)), name="mean")


def _outliers(look: Look, found: pd.DataFrame) -> tuple[Outlier, ...]:
    shown = found.groupby("kind", sort=False).head(MAX_OUTLIERS_OF_KIND)
    return tuple(
        Outlier(
            kind=line["kind"],
            picture=look.picture(line["image"]),
            value=line["value"],
            limit=line["limit"],
            part=look.part(line["image"]),
            label=look.label(line["image"]),
        )
        for line in shown.to_dict("records")
    )


def eigen_section(look: Look) -> EigenPictures | None:
    """The mean picture and what the pictures differ in most; None of fewer than two."""
    rows = np.arange(len(look.images))
    if len(rows) < 2:
        return None
    small = look.thumbnails(rows[:: max(1, len(rows) // MAX_EIGEN)])
    found = principal_pictures(small, num_components=NUM_EIGEN)
    return EigenPictures(
        mean=_grey(np.rint(found.mean).astype(np.uint8), "mean"),
        components=tuple(
            _grey(eigen_picture(each), str(at + 1)) for at, each in enumerate(found.components)
        ),
        shares=tuple(float(share) for share in found.explained),
    )


def _grey(pixels: NDArray[np.uint8], name: str) -> Picture:
    coloured = np.repeat(pixels[:, :, None], 3, axis=2)
    return Picture(data=thumbnail(coloured, side_px=len(pixels)), name=name)


def map_section(look: Look, features: NDArray[np.float32], *, seed: int) -> EmbeddingMap:
    """The pictures as points, like ones near each other."""
    rows, places = embedding_map(
        features, num_points=MAX_POINTS, perplexity=PERPLEXITY, seed=seed
    )
    images = look.images.iloc[rows].reset_index(drop=True)
    points = pd.DataFrame(
        {
            "x": places[:, 0],
            "y": places[:, 1],
            "part": images["part"],
            "class": images["label"] if look.task != "regression" else None,
            "name": images["image_id"],
            "aspect": images["width_px"] / images["height_px"],
        }
    )
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    return EmbeddingMap(
        points=points,
        sheet=picture_sheet(look.thumbnails(rows)),
        method=f"t-SNE, perplexity {perplexity:.3g}",
        num_images=len(look.images),
    )
