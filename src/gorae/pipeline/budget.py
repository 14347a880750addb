"""A plan that fits a time budget: folds, input size and epochs from the measured speed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gorae.config import Recipe
from gorae.config.reading import validated
from gorae.errors import ConfigError
from gorae.events import Event, OnEvent
from gorae.pipeline.calibration import CALIBRATION_FILE, measure_speeds, work_ahead
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.network import choose_arithmetic, load_network

# What a plan may fill: the rest is for what it does not know (other load on the machine, the
# votes and the report). fit_fold keeps the deadline itself, so a wrong guess costs epochs,
# never the submission.
FILLED_SHARE = 0.8
FIXED_S = 10.0

# A fine-tuned network learns little in fewer epochs than this share of what was asked for.
LEAST_EPOCH_SHARE = 1 / 3
SIZE_SHARES = (1.0, 0.75, 0.57)

# Evaluation, checkpoint and state of an epoch, beside the passes through the network.
EPOCH_S = 0.1

# Decoding and checking a photograph of half a megapixel takes 5 ms on one core.
PREPARE_S = 0.005

# Settings of [model] that a head on frozen features does not look at.
OF_TRAINING = (
    "head",
    "outputs",
    "features",
    "neck",
    "embedding",
    "centres",
    "scale",
    "drop_rate",
    "drop_copies",
    "drop_path",
)


@dataclass(frozen=True)
class Plan:
    """One way to spend the budget."""

    num_folds: int
    """1 stands for a single hold-out part."""
    input_size: int
    epochs: int


@dataclass(frozen=True)
class Work:
    """What there is to do."""

    num_train: int
    num_test: int
    num_passes: int
    """Predictions per picture and fold: views times checkpoints."""
    training: float
    """Images per second, forward and backward."""
    prediction: float
    """Images per second, forward only."""
    input_size: int
    """Size the speeds were measured at; time grows with its square."""
    holdout_share: float
    num_given: int = 0
    """Folds that the competition gives (1: a validation set), which no plan may change."""


def plan_budget(folder: Path, *, recipe: Recipe, deadline: float, on_event: OnEvent) -> Recipe:
    """The recipe changed so that it should end by ``deadline`` (``time.monotonic()``).

    Folds go before size, size before epochs: an honest score on all rows is worth most, and a
    fine-tuned network needs few epochs. Where no fine-tuning fits, the backbone stays frozen.
    """
    if recipe.model.use == "tabular":
        raise ConfigError(
            'model.use = "tabular" has no network whose work a budget could cut: leave it out.'
        )
    context = open_context(folder, is_prepared=False)
    on_event(Event("stage", "plan", "measuring the speed of the network"))
    work = _work(context, recipe, left_s=deadline - time.monotonic())
    left_s = FILLED_SHARE * (deadline - time.monotonic()) - FIXED_S
    left_s -= PREPARE_S * (work.num_train + work.num_test)
    if recipe.model.use != "finetune":
        planned = _shrunk(recipe, work, left_s)
    else:
        chosen = next((p for p in plans(recipe, work) if cost_s(p, work) <= left_s), None)
        planned = _with_plan(recipe, chosen, work) if chosen else _frozen(recipe, work, left_s)
    kind: Literal["warning", "message"] = "message" if planned == recipe else "warning"
    on_event(Event(kind, "plan", _sentence(recipe, planned, work)))
    return planned


def _work(context: Context, recipe: Recipe, *, left_s: float) -> Work:
    loaded = load_network(context, recipe)
    is_holdout = recipe.split.kind == "holdout"
    ahead = work_ahead(
        recipe,
        num_train=len(context.tables.train),
        num_test=len(context.tables.test),
        num_folds=1 if is_holdout else recipe.split.num_folds * recipe.split.repeats,
        left_s=left_s,
    )
    chosen = choose_arithmetic(
        recipe, loaded, work=ahead, cache=context.workspace.home / CALIBRATION_FILE
    )
    training, prediction = measure_speeds(loaded, chosen)
    return Work(
        num_train=len(context.tables.train),
        num_test=len(context.tables.test),
        num_passes=len(recipe.predict.views) * recipe.predict.use_checkpoints,
        training=training,
        prediction=prediction,
        input_size=loaded.spec.input_size,
        holdout_share=recipe.split.holdout_share,
        num_given=_num_given(context) if recipe.split.kind == "auto" else 0,
    )


def _num_given(context: Context) -> int:
    train = context.tables.train
    if (train["role"] == "holdout").any():
        return 1
    return int(train["fold"].max()) + 1


def plans(recipe: Recipe, work: Work) -> Iterator[Plan]:
    """Ways to train, from the one asked for to the cheapest worth having."""
    asked = 1 if recipe.split.kind == "holdout" else recipe.split.num_folds
    choices = (work.num_given,) if work.num_given else (asked, min(asked, 3), 1)
    least = max(1, round(LEAST_EPOCH_SHARE * recipe.train.epochs))
    for num_folds in dict.fromkeys(choices):
        for share in SIZE_SHARES:
            size = max(32, round(share * work.input_size / 32) * 32)
            for epochs in range(recipe.train.epochs, least - 1, -1):
                yield Plan(num_folds, work.input_size if share == 1 else size, epochs)


def short_plans(recipe: Recipe, work: Work) -> Iterator[Plan]:
    """Ways to train from random weights in less time than is good; the last is the least."""
    for epochs in range(recipe.train.epochs, 0, -1):
        yield Plan(
            work.num_given or 1,
            max(32, round(SIZE_SHARES[-1] * work.input_size / 32) * 32),
            epochs,
        )


def cost_s(plan: Plan, work: Work) -> float:
    """Seconds a plan should take."""
    scale = (plan.input_size / work.input_size) ** 2
    valid_share = work.holdout_share if plan.num_folds == 1 else 1 / plan.num_folds
    trained = plan.epochs * work.num_train * (1 - valid_share)
    predicted = plan.epochs * work.num_train * valid_share
    predicted += work.num_passes * (work.num_train * valid_share + work.num_test)
    per_fold_s = trained / work.training + predicted / work.prediction
    return plan.num_folds * (scale * per_fold_s + EPOCH_S * plan.epochs)


def _with_plan(recipe: Recipe, plan: Plan, work: Work) -> Recipe:
    changes = recipe.model_dump(mode="json", exclude_unset=True)
    changes.setdefault("train", {})["epochs"] = plan.epochs
    changes.setdefault("pixels", {})["input_size"] = plan.input_size
    if not work.num_given:
        split = changes.setdefault("split", {})
        split |= {"num_folds": plan.num_folds} if plan.num_folds > 1 else {"kind": "holdout"}
    return validated(Recipe, changes, origin="the plan for the budget")


def _frozen(recipe: Recipe, work: Work, left_s: float) -> Recipe:
    """Features and a head instead of fine-tuning; random weights have no features worth it."""
    if recipe.model.weights == "none":
        short = list(short_plans(recipe, work))
        fitting = (plan for plan in short if cost_s(plan, work) <= left_s)
        return _with_plan(recipe, next(fitting, short[-1]), work)
    changes = recipe.model_dump(mode="json", exclude_unset=True)
    changes["model"]["use"] = "frozen"
    for section in ("train", "augment", "loss"):
        changes.pop(section, None)
    for field in OF_TRAINING:
        changes["model"].pop(field, None)
    changes.setdefault("predict", {}).pop("use_checkpoints", None)
    return _shrunk(validated(Recipe, changes, origin="the plan for the budget"), work, left_s)


def _shrunk(recipe: Recipe, work: Work, left_s: float) -> Recipe:
    """A frozen backbone at the largest size whose features can be computed in time."""
    passes = len(recipe.predict.views) * (work.num_train + work.num_test)
    full_s = passes / work.prediction
    share = next((s for s in SIZE_SHARES if s**2 * full_s <= left_s), SIZE_SHARES[-1])
    if share == 1:
        return recipe
    size = max(32, round(share * work.input_size / 32) * 32)
    changes = recipe.model_dump(mode="json", exclude_unset=True)
    changes.setdefault("pixels", {})["input_size"] = size
    return validated(Recipe, changes, origin="the plan for the budget")


def _sentence(recipe: Recipe, planned: Recipe, work: Work) -> str:
    speed = f"{work.training:.0f} images/s in training, {work.prediction:.0f} after"
    if planned == recipe:
        return f"plan: as asked for ({speed})"
    size = planned.pixels.input_size or work.input_size
    folds = (
        "a hold-out" if planned.split.kind == "holdout" else f"{planned.split.num_folds} folds"
    )
    what = f"{planned.model.use}, {folds}, {size} px"
    if planned.model.use == "finetune":
        what += f", {planned.train.epochs} epochs"
    return f"plan for the budget: {what} ({speed})"
