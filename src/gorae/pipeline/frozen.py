"""Members of a run whose backbone is frozen: features once, one head per fold."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.errors import ConfigError
from gorae.events import Event
from gorae.files import write_text
from gorae.heads import Head, fit_linear, fit_mlp
from gorae.models import LoadedModel
from gorae.pipeline.features import Extractor, backbone_features
from gorae.pipeline.individuals import said_of_features, save_gallery
from gorae.pipeline.job import Job, finish_member, keep_predictions
from gorae.pipeline.judging import galleries
from gorae.pipeline.network import keep_backbone
from gorae.workspace import Member, write_head

Features = dict[str, NDArray[np.float32]]

CHECKPOINT = "head"


def train_frozen(job: Job, loaded: LoadedModel) -> None:
    """Solve the head of every fold that is not done yet."""
    _require_whole_weights(job)
    keep_backbone(job.context.workspace, job.run, loaded)
    hashes = [*job.train["sha256"], *job.test["sha256"]]
    started = time.monotonic()
    features = {view: _features(job, loaded, hashes, view=view) for view in job.views}
    places = job.split.members()
    # The one pass over the pictures serves all folds: each carries its share of the time.
    shared_s = (time.monotonic() - started) / len(places)
    for done, (repeat, fold) in enumerate(places):
        member = job.run.member(job.member_name(repeat, fold))
        text = f"fold {done + 1} of {len(places)}"
        job.on_event(Event("progress", "train", text, done, len(places)))
        if not member.is_finished:
            train, valid = job.split.parts(repeat, fold, job.train["image_id"].tolist())
            _solve(job, member, features, train, valid, place=(repeat, fold), shared_s=shared_s)
    job.on_event(Event("progress", "train", "folds", len(places), len(places)))
    if job.recipe.refit and not job.run.member("refit").is_finished:
        everything = job.refit_part
        _solve(
            job,
            job.run.member("refit"),
            features,
            everything,
            np.zeros_like(everything),
            place=None,
            shared_s=0.0,
        )


def _require_whole_weights(job: Job) -> None:
    weights = job.context.weights
    parts = 0 if weights is None else int(((weights > 0) & (weights < 1)).sum())
    if parts:
        raise ConfigError(
            f"{parts} corrections give a weight between 0 and 1, which a head on frozen "
            'features does not look at. Write 0 or 1, or use model.use = "finetune".'
        )


def _features(
    job: Job, loaded: LoadedModel, hashes: Sequence[str], *, view: str
) -> NDArray[np.float32]:
    """Features of all images in one view, (N, D), computed once per picture."""
    job.on_event(Event("stage", "features", f"backbone features, {view} view"))
    extractor = Extractor(
        loaded=loaded,
        model=job.recipe.model,
        weights=job.run.read_settings()["keys"]["weights"],
        execution=job.execution,
        pixels=job.pixels,
        features_root=job.context.workspace.features,
    )
    return backbone_features(extractor, hashes, job.image_ids, view=view, on_event=job.on_event)


def _solve(
    job: Job,
    member: Member,
    features: Features,
    train: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    *,
    place: tuple[int, int] | None,
    shared_s: float,
) -> None:
    started = time.monotonic()
    num_train = len(job.train)
    first = features[job.views[0]][:num_train]
    individuals, head = job.individuals, None
    of_fold = whole = None
    if individuals is None or individuals.share < 1:
        head = _fit(job, first[train], job.truth[train], job.train["group"].to_numpy()[train])
    if individuals is not None:
        places = np.r_[np.flatnonzero(train), np.flatnonzero(valid)]
        known = {view: matrix[places] for view, matrix in features.items()}
        of_fold, whole = galleries(job, known, train=train, valid=valid)
        save_gallery(member, CHECKPOINT, whole)
    ids = job.train["image_id"].to_numpy()
    for view, matrix in features.items():
        parts = [("test", job.test["image_id"].tolist(), matrix[num_train:], whole)]
        if place is not None:
            rows = matrix[:num_train][valid]
            parts.append(("valid", ids[valid].tolist(), rows, of_fold))
        for part, image_ids, rows, gallery in parts:
            keep_predictions(
                job,
                member,
                part,
                image_ids,
                said_of_features(individuals, head, gallery, rows, view=view),
                checkpoint=CHECKPOINT,
                view=view,
            )
    if head is not None:
        _keep_head(job, member, head)
    finish_member(
        job,
        member,
        place=place,
        used=[CHECKPOINT],
        sizes=(int(train.sum()), int(valid.sum())),
        elapsed_s=time.monotonic() - started + shared_s,
        extra={} if head is None else {"strength": head.strength},
    )


def _keep_head(job: Job, member: Member, head: Head) -> None:
    write_head(member.checkpoints / f"{CHECKPOINT}.safetensors", head)
    tried = [
        {"strength": s, "score": -loss, "chosen": s == head.strength}
        for s, loss in head.inner_losses
    ]
    if tried:
        write_text(member.history, pd.DataFrame(tried).to_csv(index=False))
    if not head.converged:
        text = f"{member.name}: the head's solver stopped before its tolerance"
        job.on_event(Event("warning", "train", text))


def _fit(
    job: Job,
    features: NDArray[np.float32],
    truth: NDArray[np.int64] | NDArray[np.float32],
    groups: NDArray[np.int64],
) -> Head:
    settings = job.recipe.head
    fit = fit_mlp if settings.kind == "mlp" else fit_linear
    extra = {"hidden": settings.hidden} if settings.kind == "mlp" else {}
    return fit(
        features,
        truth,
        task=job.context.competition.task,
        groups=groups,
        strengths=settings.strengths,
        seed=job.recipe.seed,
        num_classes=len(job.context.columns),
        **extra,
    )
