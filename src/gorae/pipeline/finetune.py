"""Members of a run that are fine-tuned: one training per fold, then its predictions."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gorae.augment.names import IDENTITY
from gorae.errors import ConfigError, DataError
from gorae.events import Event
from gorae.inference import Execution, NamedWeights, predict_checkpoints
from gorae.metrics import evaluate
from gorae.models import LoadedModel
from gorae.models.network import ImageModel, enable_gradient_checkpointing
from gorae.pipeline.curves import open_curves
from gorae.pipeline.int8 import NUM_COMPARED, NUM_MEASURED, measure_int8
from gorae.pipeline.job import Job, finish_member, keep_predictions
from gorae.pipeline.judging import judged
from gorae.pipeline.learning import augment_warnings, fit_plan, fold_data
from gorae.pipeline.network import checkpoint_weights, load_network
from gorae.pipeline.pixels import training_sizes
from gorae.pipeline.pseudo_rows import with_pseudo_rows
from gorae.pipeline.start import start_member
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.optim import rate_warnings
from gorae.training.plan import Control
from gorae.training.schedules import course_notes
from gorae.workspace import Member

Mask = NDArray[np.bool_]

# How well the train part is known is told from about as many of its images as are held out:
# the comparison needs no more, and a slow network should not pay for them. Within these.
FIT_SAMPLE = 64, 512


def train_finetune(job: Job, loaded: LoadedModel) -> None:
    """Train every fold that is not done yet, then the refit when it is asked for."""
    if job.recipe.train.pin_memory and job.arithmetic.device == "cpu":
        raise ConfigError(
            "train.pin_memory = true has no effect here: training is on the CPU. Leave it out, "
            "or name a GPU in train.devices."
        )
    places = job.split.members()
    epochs = []
    for done, (repeat, fold) in enumerate(places):
        member = job.run.member(job.member_name(repeat, fold))
        if _is_due(job, member):
            if done and job.group.any(_out_of_time(job)):
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
        if _is_due(job, member):
            everything = job.refit_part
            _train_member(
                job,
                loaded,
                member,
                everything,
                np.zeros_like(everything),
                place=None,
                progress=(len(places), len(places) + 1),
                # Those after the last are of another kind (FixRes) and come again.
                epochs=max(1, min(job.recipe.train.epochs, round(float(np.mean(epochs))))),
            )


def _is_due(job: Job, member: Member) -> bool:
    """Whether a member is still to be made, as the first process sees it."""
    return job.group.any(job.group.is_first and not member.is_finished)


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
    epochs = epochs or job.recipe.train.epochs
    network = load_network(job.context, job.recipe)
    start_member(job, network.model, member)
    _require_sizes(network.model, training_sizes(job.recipe, job.spec, epochs=epochs))
    # Checkpoints are chosen by individuals that can be known.
    known = job.split.is_known(place[0] if place else 0, job.train["image_id"].tolist())
    data = fold_data(job, train, valid & known, epochs=epochs)
    data = with_pseudo_rows(job, data, place=place)
    plan = fit_plan(job, loaded, epochs=epochs)
    if job.recipe.train.checkpoint_gradients:
        enable_gradient_checkpointing(network.model)
    if progress[0] == 0:
        warnings = rate_warnings(plan.optim), course_notes(plan.course)
        for text in (*itertools.chain(*warnings), *augment_warnings(job.recipe)):
            job.on_event(Event("warning", "train", text))
    name = f"{member.name} ({progress[0] + 1} of {progress[1]})"
    latest = ""

    def on_epoch(row: Mapping[str, Any]) -> None:
        nonlocal latest
        latest = f", {_epoch(row)}"
        add_to_curves(row)

    def on_step(done: int, total: int) -> None:
        passed, whole = progress[0] * total + done, progress[1] * total
        job.on_event(Event("progress", "train", name + latest, passed, whole))

    with job.stopping() as should_stop:
        control = Control(
            workers=job.workers,
            group=job.group,
            pin_memory=job.recipe.train.pin_memory,
            deadline=job.deadline,
            should_stop=should_stop,
            on_step=on_step,
            on_epoch=on_epoch,
        )
        with _curves(job, member) as add_to_curves:
            result = fit_fold(
                network.model, data, plan=plan, folder=member.path, control=control
            )
    job.on_event(Event("message", "train", f"{name}: {_outcome(result)}"))
    for note in result.notes:
        job.on_event(Event("warning", "train", f"{member.name}: {note}"))
    used = result.checkpoints[: job.recipe.predict.use_checkpoints]
    weights = [checkpoint_weights(member, checkpoint) for checkpoint in used]
    measured, weights = _measured(job, network, weights, train, valid)
    _predict(job, member, network, weights, train, valid)
    least, most = FIT_SAMPLE
    sample = _spread(train, min(most, max(least, int(valid.sum()))))
    train_score = _train_score(job, network, weights[0], sample)
    if job.group.is_first:
        finish_member(
            job,
            member,
            place=place,
            used=[checkpoint.name for checkpoint in used],
            sizes=(len(data.train), int(valid.sum())),
            elapsed_s=time.monotonic() - started,
            extra={
                "best_epoch": used[0].epoch,
                "stopped": result.stopped,
                "form": asdict(used[0].form),
                "train_score": train_score,
                "num_sampled": len(sample),
                **measured,
            },
        )
    job.group.wait()


def _curves(
    job: Job, member: Member
) -> AbstractContextManager[Callable[[Mapping[str, Any]], None]]:
    if job.recipe.train.tensorboard and job.group.is_first:
        return open_curves(member.path / "tensorboard")
    return nullcontext(lambda row: None)


def _require_sizes(model: ImageModel, sizes: Sequence[int]) -> None:
    """Stop where the network cannot take a size that training wants to show it."""
    device = next(model.parameters()).device
    for size in sorted(set(sizes)):
        try:
            with torch.inference_mode():
                model.eval()(torch.zeros(1, 3, size, size, device=device))
        # What a network says of a size it was not built for is its own affair.
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ConfigError(
                f"This network cannot take pictures of {size} x {size} pixels: {error}. Leave "
                "pixels.train_size and train.progressive out, or choose a network of "
                "convolutions."
            ) from error


def _measured(
    job: Job, network: LoadedModel, weights: list[NamedWeights], train: Mask, valid: Mask
) -> tuple[dict[str, Any], list[NamedWeights]]:
    """What predicting needs to know of checkpoints, for their record; and them with it."""
    if job.recipe.predict.precision != "int8":
        return {}, weights
    found = measure_int8(
        job,
        network,
        weights,
        learned=job.train.iloc[_spread(train, NUM_MEASURED)],
        others=job.train.iloc[_spread(valid if valid.any() else train, NUM_COMPARED)],
    )
    known = [replace(each, ranges=found["ranges"][each.name]) for each in weights]
    return {"int8": found}, known


def _spread(part: Mask, wanted: int) -> NDArray[np.int64]:
    """Places of some of the images of a part, evenly over the table."""
    all_of_it = np.flatnonzero(part)
    places = np.linspace(0, len(all_of_it) - 1, min(len(all_of_it), wanted))
    return all_of_it[places.round().astype(np.int64)]


def _train_score(
    job: Job,
    network: LoadedModel,
    weights: NamedWeights,
    sample: NDArray[np.int64],
) -> float | None:
    """The score on a part of the images that were learned from, seen as in evaluation."""
    [(_, values)] = _predicted(
        job,
        network,
        [weights],
        job.train.iloc[sample],
        views=(IDENTITY,),
        # Too few pictures to pay for compiling.
        execution=replace(job.execution, compile=False),
    )
    try:
        # Of individuals that are doubled, the half of pictures as they are.
        shown = values[IDENTITY][:, : len(job.context.columns)]
        return evaluate(job.metric, job.truth[sample], shown)
    except DataError:
        # As when a class is not in the sample.
        return None


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


def _predict(
    job: Job,
    member: Member,
    network: LoadedModel,
    weights: Sequence[NamedWeights],
    train: Mask,
    valid: Mask,
) -> None:
    """What each checkpoint says of the images it may be asked: validation and test ones."""
    held_out, individuals = job.train[valid], job.individuals
    columns = ["image_id", "sha256", *([] if job.metadata is None else ["known"])]
    shown = pd.concat([held_out[columns], job.test[columns]])
    ids = shown["image_id"].tolist()
    forms = {each.name: each.form for each in weights}
    has_gallery = individuals is not None and individuals.needs_gallery
    if individuals is not None:
        weights = individuals.as_raw(weights)
    if has_gallery:
        shown = pd.concat([shown, job.train.loc[train, ["image_id", "sha256"]]])
    found = _predicted(
        job,
        network,
        weights,
        shown,
        views=job.views,
        embedded=has_gallery,
        execution=job.execution,
    )
    cut = len(held_out)
    for checkpoint, raw in found:
        if not job.group.is_first:
            continue
        values = raw
        if individuals is not None:
            form = forms[checkpoint]
            values = judged(job, member, checkpoint, raw, form=form, train=train, valid=valid)
        for view, rows in values.items():
            kept = partial(keep_predictions, job, member, checkpoint=checkpoint, view=view)
            kept("test", ids[cut:], rows[cut:])
            # The refit holds nothing out.
            if cut:
                kept("valid", ids[:cut], rows[:cut])


def _predicted(
    job: Job,
    network: LoadedModel,
    checkpoints: Sequence[NamedWeights],
    shown: pd.DataFrame,
    *,
    views: Sequence[str],
    embedded: bool = False,
    execution: Execution,
) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    """``predict_checkpoints`` of the images of a table, which the processes share out.

    Each process gets the rows of all, in the order of the table.
    """
    own = np.arange(job.group.rank, len(shown), job.group.size)
    part = shown.iloc[own]
    found = predict_checkpoints(
        network.model,
        checkpoints,
        job.pictures(part),
        views=views,
        embedded=embedded,
        execution=execution,
    )
    places = torch.from_numpy(own)
    for checkpoint, values in found:
        yield (
            checkpoint,
            {
                view: job.group.rows(
                    torch.from_numpy(values[view]), places, total=len(shown)
                ).numpy()
                for view in views
            },
        )
