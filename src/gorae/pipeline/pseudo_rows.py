"""Pictures with pseudo-labels as rows of a train part."""

from dataclasses import replace

import numpy as np

from gorae.pipeline.context import read_scan
from gorae.pipeline.job import Job
from gorae.pipeline.learning import fold_sampling
from gorae.pipeline.pixels import key_of_pixels
from gorae.pipeline.pseudo_labels import (
    REFIT,
    chosen_labels,
    probabilities,
    require_readable,
    select_rows,
)
from gorae.pipeline.pseudo_pictures import with_pictures
from gorae.training.plan import FoldData


def with_pseudo_rows(job: Job, data: FoldData, *, place: tuple[int, int] | None) -> FoldData:
    """The train part of a fold with the pictures that earlier runs labelled, at its end.

    They never validate. Class weights, margins, sampling and ``rare_classes`` count each as a
    picture of its likeliest class, whatever its weight.

    Args:
        job: The run.
        data: A fold with true labels.
        place: Its repeat and number; None: the refit.

    Raises:
        DataError: A labelled picture is gone or changed.
    """
    settings = job.recipe.pseudo
    labels = chosen_labels(job.context, job.recipe, split=job.split)
    if labels is None:
        return data
    assert not data.coarse, "a recipe cannot have both"
    context = with_pictures(job.context, labels.pictures)
    scan = read_scan(context)
    require_readable(labels, scan)
    lines = labels.of_place(place or REFIT)
    lines = lines.iloc[select_rows(lines, settings)]
    keys = key_of_pixels(context, job.recipe, scan)
    hashes = [keys[image_id] for image_id in lines["image_id"]]
    proba = probabilities(lines)
    kept = slice(0) if settings.only else slice(None)
    truth = np.concatenate(
        [data.train_truth[kept], proba.argmax(axis=1).astype(data.train_truth.dtype)]
    )
    weights = data.train_weights
    own = np.ones(len(data.train_truth)) if weights is None else weights
    all_weights = np.concatenate([own[kept], np.full(len(lines), settings.weight)])
    # As where there are no weights at all: the same bytes, and nothing to multiply by.
    is_plain = bool((all_weights == all_weights[0]).all())
    return replace(
        data,
        train=data.train.of([*data.train.hashes[kept], *hashes]),
        train_truth=truth,
        train_ids=[*data.train_ids[kept], *lines["image_id"]],
        train_weights=None if is_plain else all_weights,
        sampling=fold_sampling(job, truth),
        soft_targets=proba if settings.kind == "soft" else None,
    )
