"""Step ``report``: gather what a run left behind into one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.config.reading import validated
from gorae.data.store import PixelStore, open_store
from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import read_json
from gorae.metrics import Metric
from gorae.pipeline.advice import advise, blind_score
from gorae.pipeline.box_mix import box_mix_notes
from gorae.pipeline.context import Context, open_context, read_scan, usable
from gorae.pipeline.counts import class_counts, part_counts
from gorae.pipeline.open_set import scored_context
from gorae.pipeline.part_target import as_target, target_notes, target_of
from gorae.pipeline.pixels import key_of_pixels
from gorae.pipeline.pseudo_labels import pseudo_notes
from gorae.pipeline.report_learning import (
    compared_table,
    fold_scores,
    run_diagnosis,
    training_summary,
)
from gorae.pipeline.scores import competition_metric, row_truth
from gorae.predictions import Predictions
from gorae.report.page import (
    Check,
    ClassSamples,
    DataSummary,
    ErrorPicture,
    Headline,
    Picture,
    Provenance,
    ReportPage,
    SplitSummary,
    SubmissionSummary,
    TransferAdvice,
)
from gorae.report.pictures import thumbnail
from gorae.report.summaries import build_summaries, class_shares, confident_errors
from gorae.report.write import write_report
from gorae.workspace import RunFolder, Workspace, read_lines, read_predictions

MAX_ERRORS = 24
# What fits in a line of the page: two classes beside each other, or three.
SAMPLES_OF_TWO, SAMPLES_OF_MORE = 6, 4
MAX_SAMPLES = 60
MAX_LISTED = 500
THUMBNAIL_PX = 160

USES = {
    "frozen": "frozen features",
    "finetune": "fine-tuned",
    "as_is": "as it is",
    "ensemble": "joined",
    "tabular": "trees on tables",
}


@dataclass(frozen=True)
class ReportResult:
    """Where the page is."""

    path: Path

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {"report": str(self.path)}


@dataclass(frozen=True)
class _Sources:
    """Everything the sections are made of."""

    context: Context
    run: RunFolder
    settings: dict[str, Any]
    result: dict[str, Any]
    scan: pd.DataFrame
    recipe: Recipe
    pixels: PixelStore
    keys: Mapping[str, str]
    """Key of the pixels of each usable image."""
    oof: Predictions
    truth: NDArray[Any]
    metric: Metric
    baseline: float | None
    """Score of the best answer that looks at no picture."""


def report(
    folder: Path,
    *,
    run: str | None = None,
    warnings: Sequence[str] = (),
    on_event: OnEvent = ignore_events,
) -> ReportResult:
    """Write ``report.html`` of a run; ``warnings`` are shown at its head."""
    context = open_context(folder)
    target = context.workspace.run(run)
    result = target.read_result()
    if result is None:
        raise UserError(f"Run {target.run_id} has no result yet; `gorae ensemble` makes it.")
    on_event(Event("stage", "report", "drawing the report"))
    settings = target.read_settings()
    context = as_target(context, target_of(target))
    oof = read_predictions(target.oof)
    seen, metric = scored_context(context, target), competition_metric(context)
    truth = row_truth(seen, oof.ids)
    # A joined run has the pictures of its first member, and no whole recipe.
    steps = {"preprocess": settings["recipe"].get("preprocess", [])}
    recipe = validated(Recipe, steps, origin=str(target.settings))
    scan = read_scan(context)
    sources = _Sources(
        context=context,
        run=target,
        settings=settings,
        result=result,
        scan=scan,
        recipe=recipe,
        keys=key_of_pixels(context, recipe, scan),
        pixels=open_store(context.workspace.prepared / settings["keys"]["pixels"]),
        oof=oof,
        truth=truth,
        metric=metric,
        baseline=blind_score(metric, truth, num_columns=len(oof.columns)),
    )
    write_report(target.report, _page(sources, warnings))
    on_event(Event("message", "report", str(target.report)))
    return ReportResult(target.report)


def _page(sources: _Sources, warnings: Sequence[str]) -> ReportPage:
    competition = sources.context.competition
    return ReportPage(
        headline=_headline(sources, warnings),
        data=_data(sources),
        split=_split(sources),
        training=training_summary(sources.run),
        diagnosis=run_diagnosis(
            sources.run,
            sources.result,
            settings=sources.settings,
            metric=sources.metric,
            baseline=sources.baseline,
            short_side_px=_short_side(sources.scan),
        ),
        advice=_advice(sources),
        folds=fold_scores(sources.run, sources.result),
        compared=compared_table(sources.result),
        summaries=build_summaries(
            sources.truth,
            sources.oof.values,
            classes=sources.oof.columns,
            task=competition.task,
        ),
        errors=_errors(sources),
        submission=_submission(sources),
        provenance=_provenance(sources),
    )


def _headline(sources: _Sources, warnings: Sequence[str]) -> Headline:
    result, model = sources.result, sources.settings["recipe"]["model"]
    return Headline(
        competition=sources.context.competition.name,
        task=sources.context.competition.task,
        metric=result["metric"],
        greater_is_better=result["greater_is_better"],
        run_id=sources.run.run_id,
        model=f"{model['name']}, {_use(model)}",
        score=result["score"],
        interval=tuple(result["interval"]),
        expected=tuple(result["predicted"]) if result["predicted"] else None,
        num_rows=result["num_rows_scored"],
        num_models=_num_models(sources.context.workspace, sources.run),
        baseline=sources.baseline,
        warnings=tuple(warnings),
        created=_shown_time(read_lines(sources.run.events)[-1]["utc"]),
        elapsed_s=result["elapsed_s"],
    )


def _num_models(workspace: Workspace, run: RunFolder) -> int:
    """Trained models, those of all runs that an ensemble joins."""
    joined = run.read_settings().get("ensemble", {}).get("runs", ())
    if not joined:
        return len(run.members())
    return sum(_num_models(workspace, workspace.run(name)) for name in joined)


def _shown_time(utc: str) -> str:
    return f"{datetime.fromisoformat(utc):%Y-%m-%d %H:%M} UTC"


def _use(model: dict[str, Any]) -> str:
    is_new = model["use"] == "finetune" and model["weights"] == "none"
    return "trained from random weights" if is_new else USES[model["use"]]


def _short_side(scan: pd.DataFrame) -> float | None:
    """Median short side of the pictures that can be read."""
    sides = scan.loc[scan["verdict"] != "quarantined", ["width_px", "height_px"]].min(axis=1)
    return float(sides.median()) if len(sides) else None


def _advice(sources: _Sources) -> TransferAdvice | None:
    """The rule of thumb of transfer learning, where there is something to train."""
    use = sources.settings["recipe"]["model"]["use"]
    if "ensemble" in sources.settings or use in ("as_is", "tabular"):
        return None
    found = advise(sources.context, sources.recipe, pixels=sources.pixels)
    return TransferAdvice(sentence=found.sentence, reason=found.reason)


def _data(sources: _Sources) -> DataSummary:
    tables = sources.context.tables
    sizes = sources.scan[["width_px", "height_px"]].dropna()
    quarantined = sources.scan[sources.scan["verdict"] == "quarantined"]
    listed = quarantined[["reason", "detail"]].head(MAX_LISTED).reset_index()
    is_regression = sources.context.competition.task == "regression"
    return DataSummary(
        parts=part_counts(sources.context, sources.scan),
        class_counts=None if is_regression else class_counts(sources.context),
        targets=tables.train["label"].to_numpy(np.float64) if is_regression else None,
        sizes=sizes.reset_index(drop=True),
        samples=() if is_regression else _samples(sources),
        duplicates=_duplicates(sources),
        quarantined=listed if len(listed) else None,
        notes=(
            *tables.notes,
            *target_notes(sources.settings, sources.result),
            *pseudo_notes(sources.settings.get("choices", {})),
            *box_mix_notes(sources.settings.get("choices", {})),
        ),
    )


def _samples(sources: _Sources) -> tuple[ClassSamples, ...]:
    classes = sources.context.tables.classes
    line = SAMPLES_OF_TWO if len(classes) <= 2 else SAMPLES_OF_MORE
    per_class = max(1, min(line, MAX_SAMPLES // len(classes)))
    train = sources.context.tables.train
    train = train[usable(sources.scan, train["image_id"])].explode("label")
    found = []
    for name in classes[:MAX_SAMPLES]:
        # Evenly spaced, so that a listing ordered by subject shows several of them.
        ids = train.loc[train["label"] == name, "image_id"].tolist()
        chosen = ids[:: max(1, len(ids) // per_class)][:per_class]
        pictures = tuple(_picture(sources, image_id) for image_id in chosen)
        found.append(ClassSamples(name=name, pictures=pictures))
    return tuple(found)


def _picture(sources: _Sources, image_id: str) -> Picture:
    pixels = sources.pixels.read(sources.keys[image_id])
    return Picture(data=thumbnail(pixels, side_px=THUMBNAIL_PX), name=image_id)


def _duplicates(sources: _Sources) -> pd.DataFrame | None:
    """Sets of pictures with equal pixels, train and test together."""
    scan = sources.scan[sources.scan["verdict"] != "quarantined"]
    equal = scan[scan["pixel_sha256"].duplicated(keep=False)].reset_index()
    if equal.empty:
        return None
    train = sources.context.tables.train
    label_of = dict(zip(train["image_id"], train["label"].astype(str), strict=True))
    equal["set"] = pd.factorize(equal["pixel_sha256"])[0] + 1
    equal["label"] = equal["image_id"].map(label_of).fillna("(test)")
    return equal.sort_values("set")[["set", "image_id", "label"]].head(MAX_LISTED)


def _split(sources: _Sources) -> SplitSummary:
    key = sources.settings["keys"]["split"]
    record = read_json(sources.context.workspace.splits / key / "folds.json")
    balance = pd.DataFrame(record["balance"])
    labels = balance[balance["column"] == "label"]
    table = labels.pivot_table(
        index="value", columns="fold", values="count", fill_value=0, sort=False
    )
    how = {
        "kfold": f"{record['num_folds']} folds",
        "holdout": "one hold-out part",
        "given folds": f"{record['num_folds']} folds as given",
        "given hold-out": "the given validation set",
    }[record["kind"]]
    if record["settings"]["stratify"] and record["kind"] in ("kfold", "holdout"):
        how += ", stratified"
    if record["group_columns"]:
        how += f", grouped by {', '.join(record['group_columns'])}"
    checks = [Check(name="no group validates in two folds", passed=True)]
    checks += [Check(name="worth knowing", passed=False, detail=w) for w in record["warnings"]]
    return SplitSummary(
        name=key,
        how=how,
        balance=table,
        num_groups=None
        if record["num_groups"] == record["num_images"]
        else record["num_groups"],
        largest_deviation=float(labels["deviation"].abs().max()),
        checks=tuple(checks),
    )


def _errors(sources: _Sources) -> tuple[ErrorPicture, ...]:
    table = confident_errors(
        sources.truth,
        sources.oof.values,
        classes=sources.oof.columns,
        task=sources.context.competition.task,
        limit=MAX_ERRORS,
    )
    train = sources.context.tables.train
    train = train[usable(sources.scan, train["image_id"])].drop_duplicates("row_id")
    image_of = train.set_index("row_id")["image_id"]
    return tuple(
        ErrorPicture(
            picture=_picture(sources, str(image_of[sources.oof.ids[line["row"]]])),
            true=line["true"],
            predicted=line["predicted"],
            probability=None if pd.isna(line["probability"]) else float(line["probability"]),
        )
        for line in table.to_dict(orient="records")
    )


def _ledger_line(sources: _Sources) -> dict[str, Any] | None:
    lines = read_lines(sources.context.workspace.ledger)
    return next((x for x in reversed(lines) if x["run_id"] == sources.run.run_id), None)


def _submission(sources: _Sources) -> SubmissionSummary | None:
    line = _ledger_line(sources)
    if line is None:
        return None
    test = read_predictions(sources.run.test)
    train = sources.context.tables.train.drop_duplicates("row_id")
    train = train[train["role"] == "train"]
    shares = class_shares(
        sources.oof.columns,
        train=row_truth(sources.context, train["row_id"].tolist()),
        oof=sources.oof.values,
        test=test.values,
        task=sources.context.competition.task,
    )
    fallback = sources.result.get("fallback_rows", [])
    reasons = pd.DataFrame({"id": fallback, "reason": _fallback_reasons(sources, fallback)})
    return SubmissionSummary(
        path=line["path"],
        num_rows=line["num_rows"],
        shares=shares,
        fallback=reasons.head(MAX_LISTED) if fallback else None,
        checks=(Check(name="ids, columns and values fit the sample", passed=True),),
    )


def _fallback_reasons(sources: _Sources, rows: Sequence[str]) -> list[str]:
    test = sources.context.tables.test.drop_duplicates("row_id").set_index("row_id")
    reasons = []
    for row in rows:
        line = test.loc[row]
        reason = sources.scan["reason"].get(str(line["image_id"]), "unknown")
        reasons.append(str(reason) if line["path"] != "" else "no picture")
    return reasons


def _provenance(sources: _Sources) -> Provenance:
    environment = read_json(sources.run.environment)
    packages = environment.pop("packages")
    return Provenance(
        settings=sources.run.settings.read_text("utf-8"),
        environment=tuple((k, str(v)) for k, v in {**environment, **packages}.items()),
        arithmetic=sources.settings.get("choices", {}).get("arithmetic"),
        commands=(_command(sources),),
    )


def _command(sources: _Sources) -> str:
    if "ensemble" in sources.settings:
        return str(sources.settings["ensemble"]["command"])
    return f"gorae run --recipe .gorae/runs/{sources.run.run_id}/recipe.toml"
