"""A run without a network: trees on metadata and on what other runs say."""

import time

import numpy as np
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.config.reading import validated
from gorae.data.sources import META_PREFIX
from gorae.errors import DataError
from gorae.events import Event, OnEvent
from gorae.files import exclusive_lock, sweep_temporaries, write_text
from gorae.pipeline.context import Context, labels_key
from gorae.pipeline.contract import Split, read_split
from gorae.pipeline.job import KINDS
from gorae.pipeline.pixels import input_pixels, prepare
from gorae.pipeline.runs import find_or_make_run, recorded
from gorae.pipeline.scores import metric_key
from gorae.pipeline.tabular_data import (
    TabularData,
    data_key,
    fold_features,
    metadata_columns,
    read_data,
    score_runs,
)
from gorae.predictions import Predictions
from gorae.tabular import (
    Boosted,
    BoostPlan,
    fit_boosted,
)
from gorae.workspace import Member, RunFolder, write_member_record, write_predictions

CHECKPOINT, VIEW = "trees", "identity"

Mask = NDArray[np.bool_]


def train_tabular(context: Context, recipe: Recipe, *, on_event: OnEvent) -> RunFolder:
    """Fit trees on every fold of the split that is not done yet, and predict.

    A fold's trees, the numbers of its categories and all its statistics come from its train
    part. What validates is encoded by these, and stands among its like only.

    Raises:
        ConfigError: There is no such column, or the split leaves nothing to stack on.
        UserError: A run of ``tabular.scores`` was trained on other folds or labels, or has no
            predictions.
    """
    recipe = _table_recipe(recipe)
    spec = input_pixels(context, recipe)
    prepared = prepare(context, recipe, spec, on_event=on_event)
    scan = prepared.scan.set_index("image_id")
    made = read_split(context, scan, recipe.split)
    columns = metadata_columns(context, recipe, on_event)
    sources = score_runs(context, recipe, made)
    data = read_data(context, recipe, scan, made, columns, sources)
    run = find_or_make_run(
        context.workspace,
        recipe,
        keys={
            "split": made.key,
            "labels": labels_key(context),
            "pixels": prepared.pixels.folder.name,
            "metric": metric_key(context),
            "tables": data_key(data, sources),
        },
        choices=lambda: {
            "task": context.competition.task,
            "columns": [name.removeprefix(META_PREFIX) for name in columns],
            "scores": [source.run_id for source in sources],
        },
    )
    with exclusive_lock(run.lock, purpose=f"training {run.run_id}"):
        sweep_temporaries(run.path)
        listen = recorded(run, on_event)
        listen(Event("stage", "train", f"training {run.run_id}"))
        _fit_members(context, recipe, made, data, run, listen)
    return run


def _table_recipe(recipe: Recipe) -> Recipe:
    """The settings that trees look at: equal work is one run, whatever preset it began with."""
    kept = recipe.model_dump(
        exclude_unset=True,
        include={
            "name": True,
            "seed": True,
            "split": True,
            "tabular": True,
            "refit": True,
            "model": {"name", "use"},
            "predict": {"vote"},
        },
    )
    return validated(Recipe, kept, origin="the recipe")


def _fit_members(
    context: Context,
    recipe: Recipe,
    made: Split,
    data: TabularData,
    run: RunFolder,
    on_event: OnEvent,
) -> None:
    places = made.members()
    ids = data.train["image_id"].tolist()
    prefix = "repeat-{}-" if made.record["repeats"] > 1 else ""
    for done, (repeat, fold) in enumerate(places):
        text = f"fold {done + 1} of {len(places)}"
        on_event(Event("progress", "train", text, done, len(places)))
        member = run.member(f"{prefix.format(repeat)}fold-{fold}")
        if not member.is_finished:
            parts = made.parts(repeat, fold, ids)
            place = {"repeat": repeat, "fold": fold}
            _fit_member(context, recipe, data, member, parts, place=place)
    on_event(Event("progress", "train", "folds", len(places), len(places)))
    member = run.member("refit")
    if recipe.refit and not member.is_finished:
        is_idle = data.train["image_id"].isin(made.idle)
        everything = ((data.train["role"] != "holdout") & ~is_idle).to_numpy(bool)
        nothing = np.zeros_like(everything)
        _fit_member(context, recipe, data, member, (everything, nothing), place={})


def _fit_member(
    context: Context,
    recipe: Recipe,
    data: TabularData,
    member: Member,
    parts: tuple[Mask, Mask],
    *,
    place: dict[str, int],
) -> None:
    """Fit one member, and write what it says of the images it held out and of the test set."""
    started = time.monotonic()
    valid = parts[1]
    train = _fitted_part(data, parts[0])
    seen, held_out, test = fold_features(data, train, valid)
    trees = fit_boosted(
        seen,
        data.truth[train],
        groups=data.train["group"].to_numpy(np.int64)[train],
        plan=_plan(context, recipe),
        weights=data.weights[train],
    )
    said = [("test", data.test["image_id"], test)]
    if place:
        said.append(("valid", data.train["image_id"][valid], held_out))
    for part, image_ids, features in said:
        predictions = Predictions(
            tuple(image_ids),
            context.columns,
            trees.predict(features),
            KINDS[context.competition.task],
        )
        write_predictions(member.predictions(part, CHECKPOINT, VIEW), predictions)
    _keep(member, trees)
    record = {
        "name": member.name,
        "used_checkpoints": [CHECKPOINT],
        "views": [VIEW],
        "num_train": int(train.sum()),
        "num_valid": int(valid.sum()),
        "num_trees": [part.num_rounds for part in trees.parts],
        "elapsed_s": round(time.monotonic() - started, 2),
        **place,
    }
    write_member_record(member, record)


def _fitted_part(data: TabularData, train: Mask) -> Mask:
    """The train images of which the other runs say something out of fold."""
    said = ~np.isnan(data.train_scores.values).all(axis=1)
    if not data.train_scores.names:
        return train
    fitted: Mask = train & said
    if not fitted.any():
        raise DataError(
            "The runs of tabular.scores say nothing out of fold of the images that train: with "
            'one held-out part there is nothing to stack on. Use folds: split.kind = "kfold".'
        )
    return fitted


def _plan(context: Context, recipe: Recipe) -> BoostPlan:
    settings = recipe.tabular.model_dump(exclude={"columns", "scores", "top_ranks", "groups"})
    return BoostPlan(
        task=context.competition.task,
        num_classes=len(context.columns),
        model=recipe.model.name,
        seed=recipe.seed,
        **settings,
    )


def _keep(member: Member, trees: Boosted) -> None:
    """The trees as text, and what each feature gave them."""
    for number, part in enumerate(trees.parts):
        write_text(member.checkpoints / f"{CHECKPOINT}-{number}.txt", part.text)
    write_text(member.path / "importance.csv", trees.importance.to_csv(index=False))
