"""Members of a run that are fine-tuned: one training per fold, then its predictions."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gorae.augment import eval_transform, train_transform
from gorae.data.dataset import ImageDataset, TrainDataset, TrainTransform
from gorae.data.pixels import PixelSpec
from gorae.events import Event
from gorae.inference import Pictures, predict_probabilities
from gorae.metrics import evaluate
from gorae.models import LoadedModel
from gorae.pipeline.job import Job, finish_member, keep_predictions
from gorae.pipeline.network import execution_of, load_network
from gorae.training.checkpoint import Checkpoint, load_first_good
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.plan import Control, FitPlan, FoldData, Scorer
from gorae.workspace import Member

Mask = NDArray[np.bool_]


def train_finetune(job: Job, loaded: LoadedModel) -> None:
    """Train every fold that is not done yet, then the refit when it is asked for."""
    places = job.split.members()
    epochs = []
    for done, (repeat, fold) in enumerate(places):
        member = job.run.member(job.member_name(repeat, fold))
        if not member.is_finished:
            if _out_of_time(job) and done:
                _say_left_out(job, len(places) - done, len(places))
                return
            train, valid = job.split.parts(repeat, fold, job.train["image_id"].tolist())
            progress = (done, len(places) + job.recipe.refit)
            _train_member(
                job, loaded, member, train, valid, place=(repeat, fold), progress=progress
            )
        epochs.append(member.read_record()["best_epoch"])
    if job.recipe.refit:
        member = job.run.member("refit")
        if not member.is_finished:
            everything = job.refit_part
            _train_member(
                job,
                loaded,
                member,
                everything,
                np.zeros_like(everything),
                place=None,
                progress=(len(places), len(places) + 1),
                epochs=max(1, round(float(np.mean(epochs)))),
            )


def _out_of_time(job: Job) -> bool:
    return job.deadline is not None and time.monotonic() >= job.deadline


def _say_left_out(job: Job, num_left: int, num_all: int) -> None:
    text = (
        f"the time budget ended: {num_left} of {num_all} folds were not trained, so the "
        "out-of-fold score covers the other folds only"
    )
    job.on_event(Event("warning", "train", text))


def _train_member(
    job: Job,
    loaded: LoadedModel,
    member: Member,
    train: Mask,
    valid: Mask,
    *,
    place: tuple[int, int] | None,
    progress: tuple[int, int],
    epochs: int | None = None,
) -> None:
    started = time.monotonic()
    network = load_network(job.context, job.recipe)
    data = _fold_data(job, train, valid)
    plan = _fit_plan(job, loaded, epochs=epochs or job.recipe.train.epochs)
    name = f"{member.name} ({progress[0] + 1} of {progress[1]})"
    latest = ""

    def on_epoch(row: Mapping[str, Any]) -> None:
        nonlocal latest
        latest = f", {_epoch(row)}"

    def on_step(done: int, total: int) -> None:
        passed, whole = progress[0] * total + done, progress[1] * total
        job.on_event(Event("progress", "train", name + latest, passed, whole))

    control = Control(
        workers=job.recipe.train.workers,
        deadline=job.deadline,
        on_step=on_step,
        on_epoch=on_epoch,
    )
    result = fit_fold(network.model, data, plan=plan, folder=member.path, control=control)
    job.on_event(Event("message", "train", f"{name}: {_outcome(result)}"))
    for note in result.notes:
        job.on_event(Event("warning", "train", f"{member.name}: {note}"))
    used = result.checkpoints[: job.recipe.predict.use_checkpoints]
    for checkpoint in used:
        _predict(job, member, network, checkpoint, valid if place is not None else None)
    finish_member(
        job,
        member,
        place=place,
        used=[checkpoint.name for checkpoint in used],
        sizes=(int(train.sum()), int(valid.sum())),
        elapsed_s=time.monotonic() - started,
        extra={"best_epoch": used[0].epoch, "stopped": result.stopped, **_target(result)},
    )


def _target(result: FoldResult) -> dict[str, Any]:
    target = result.checkpoints[0].target
    return {"target": {"shift": target.shift, "scale": target.scale}}


def _epoch(row: Mapping[str, Any]) -> str:
    score = row.get("score")
    text = f"epoch {row['epoch']}"
    return text if score is None else f"{text} scored {score:.4f}"


def _outcome(result: FoldResult) -> str:
    best, epochs = result.checkpoints[0], len(result.history)
    if best.score is None:
        return f"trained for {epochs} epochs"
    why = {"finished": "", "patience": ", stopped early", "deadline": ", out of time"}
    return f"score {best.score:.4f} at epoch {best.epoch} of {epochs}{why[result.stopped]}"


def _fold_data(job: Job, train: Mask, valid: Mask) -> FoldData:
    evaluate_as = partial(eval_transform, spec=job.spec)
    hashes = job.train["sha256"].to_numpy()
    ids = job.train["image_id"].to_numpy()
    has_valid = bool(valid.any())
    learned = TrainDataset(
        job.pixels, hashes[train].tolist(), _change(job), seed=job.recipe.seed
    )
    return FoldData(
        task=job.context.competition.task,
        spec=job.spec,
        train=learned,
        train_truth=job.truth[train],
        train_ids=ids[train].tolist(),
        scorer=_scorer(job),
        valid=ImageDataset(job.pixels, hashes[valid].tolist(), evaluate_as)
        if has_valid
        else None,
        valid_truth=job.truth[valid] if has_valid else None,
    )


def _change(job: Job) -> TrainTransform:
    """What happens to a training picture."""
    augment = job.recipe.augment
    if augment.policy == "none":
        return partial(_as_in_evaluation, spec=job.spec)
    return partial(
        train_transform,
        spec=job.spec,
        scale=augment.scale,
        ratio=augment.ratio,
        hflip=augment.hflip,
    )


def _as_in_evaluation(
    image: torch.Tensor, *, spec: PixelSpec, rng: np.random.Generator
) -> torch.Tensor:
    return eval_transform(image, spec)


def _scorer(job: Job) -> Scorer:
    def score(truth: NDArray[np.generic], values: NDArray[np.float32]) -> float:
        return evaluate(job.metric, truth, values)

    return Scorer(job.metric.name, score, job.metric.greater_is_better)


def _fit_plan(job: Job, loaded: LoadedModel, *, epochs: int) -> FitPlan:
    train = job.recipe.train
    # A pretrained backbone wants a tenth of the head's rate (measured: docs/log.md); random
    # weights have nothing to lose.
    backbone_lr = train.backbone_lr or train.lr * (0.1 if loaded.weights_sha256 else 1.0)
    return FitPlan(
        epochs=epochs,
        batch_size=train.batch_size,
        lr=train.lr,
        backbone_lr=backbone_lr,
        weight_decay=train.weight_decay,
        warmup_epochs=train.warmup_epochs,
        patience=train.patience,
        keep_checkpoints=train.keep_checkpoints,
        seed=job.recipe.seed,
        arithmetic=job.arithmetic,
        identity={
            "run": job.run.run_id,
            "split": job.split.key,
            "augment": job.recipe.augment.model_dump(mode="json"),
            "model": job.recipe.model.model_dump(mode="json"),
            "classes": list(job.context.columns),
        },
    )


def _predict(
    job: Job,
    member: Member,
    network: LoadedModel,
    checkpoint: Checkpoint,
    valid: Mask | None,
) -> None:
    """Predictions of one checkpoint on what it may be asked: validation and test images."""
    _, notes = load_first_good(member.checkpoints, [checkpoint], network.model)
    assert not notes
    ids, hashes = job.train["image_id"].to_numpy(), job.train["sha256"].to_numpy()
    parts = [("test", job.test["image_id"].tolist(), job.test["sha256"].tolist())]
    if valid is not None:
        parts.append(("valid", ids[valid].tolist(), hashes[valid].tolist()))
    for part, image_ids, wanted in parts:
        values = predict_probabilities(
            network.model,
            Pictures(job.pixels, wanted, job.spec),
            task=job.context.competition.task,
            views=job.recipe.predict.views,
            target=checkpoint.target,
            execution=execution_of(job.recipe, job.arithmetic),
        )
        for view, rows in values.items():
            keep_predictions(
                job, member, part, image_ids, rows, checkpoint=checkpoint.name, view=view
            )
