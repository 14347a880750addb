"""What the members of a run say of individuals, with their galleries kept.

Pictures that validate are compared with the train part of their fold alone. Those of the test
set, and any others, are compared with the held-out pictures as well: their labels are known,
and an individual that was held out wholly would otherwise be unknown to a fold's models.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gorae.pipeline.individuals import save_gallery, unknown_class
from gorae.pipeline.job import Job
from gorae.stores.gallery import Gallery
from gorae.training.outputs import OutputForm
from gorae.workspace import Member

Rows = Mapping[str, NDArray[np.float32]]
Mask = NDArray[np.bool_]


def galleries(
    job: Job,
    embeddings: Rows,
    *,
    train: Mask,
    valid: Mask,
) -> tuple[Gallery, Gallery]:
    """What validating pictures, and what any others are compared with.

    Args:
        job: The run.
        embeddings: Of the train part and then of the validation part, by view.
        train: Which train images are the train part.
        valid: Which validate.
    """
    labels = np.concatenate([job.truth[train], job.truth[valid]])
    ids = job.train["image_id"]
    idle = np.concatenate([ids[part].isin(job.split.idle) for part in (train, valid)])
    # Many individuals are called unknown, and look like none.
    is_somebody = ~idle & (labels != unknown_class(job.context))
    num_classes, num_train = len(job.context.columns), int(train.sum())
    learned = np.isin(np.arange(num_classes), labels[:num_train])

    def chosen(rows: Mask, is_learned: Mask) -> Gallery:
        return Gallery(
            {view: each[rows] for view, each in embeddings.items()}, labels[rows], is_learned
        )

    is_train = np.arange(len(labels)) < num_train
    # Of individuals nobody knows the head may say what it likes: it is never right.
    of_fold = chosen(is_somebody & is_train, np.ones(num_classes, dtype=bool))
    return of_fold, chosen(is_somebody, learned)


def judged(
    job: Job,
    member: Member,
    checkpoint: str,
    raw: Rows,
    *,
    form: OutputForm,
    train: Mask,
    valid: Mask,
) -> dict[str, NDArray[np.float32]]:
    """Scores (N, K) by view of raw outputs: of validating pictures, then of test pictures.

    Args:
        job: The run; its recipe has settings of individuals.
        member: Keeps the gallery.
        checkpoint: Which of its checkpoints speaks.
        raw: By view outputs of these, and where there is a gallery embeddings as well, and
            at the end the rows of the train part.
        form: What the outputs mean.
        train: Which train images are the train part.
        valid: Which validate.
    """
    individuals = job.individuals
    assert individuals is not None
    if not individuals.needs_gallery:
        return individuals.judge(raw, form, gallery=None)
    num_valid, num_train = int(valid.sum()), int(train.sum())
    known = {
        view: np.concatenate([rows[len(rows) - num_train :], rows[:num_valid]])
        for view, rows in individuals.embeddings(raw).items()
    }
    of_fold, whole = galleries(job, known, train=train, valid=valid)
    save_gallery(member, checkpoint, whole)
    held_out = {view: rows[:num_valid] for view, rows in raw.items()}
    others = {view: rows[num_valid : len(rows) - num_train] for view, rows in raw.items()}
    said = individuals.judge(others, form, gallery=whole)
    if num_valid:
        first = individuals.judge(held_out, form, gallery=of_fold)
        said = {view: np.concatenate([first[view], rows]) for view, rows in said.items()}
    return said
