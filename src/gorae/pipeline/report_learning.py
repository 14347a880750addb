"""The parts of a report on how a run learned, read from the folder of the run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gorae.metrics import METRICS, Metric
from gorae.pipeline.advice import perfect_score
from gorae.report.diagnosis import diagnose
from gorae.report.learning import FoldFit, Learning
from gorae.report.page import Diagnosis, TrainingSummary
from gorae.report.remedies import Facts
from gorae.workspace import Member, RunFolder


def training_summary(run: RunFolder) -> TrainingSummary | None:
    """Curves, or the strengths that were tried, of all members; None where there are none."""
    pieces = []
    for member in run.members():
        if member.history.exists():
            frame = pd.read_csv(member.history)
            frame.insert(0, "fold", _fold_name(member), allow_duplicates=True)
            pieces.append(frame)
    if not pieces:
        return None
    history = pd.concat(pieces, ignore_index=True)
    if "strength" in history:
        return TrainingSummary(strengths=history)
    return TrainingSummary(curves=history)


def _fold_name(member: Member) -> str:
    return member.name.removeprefix("fold-")


def fold_scores(run: RunFolder, result: Mapping[str, Any]) -> pd.DataFrame:
    """``fold``, ``score`` and ``num_rows`` of each fold."""
    scores = [np.nan if s is None else s for s in result["fold_scores"]]
    if "fold_rows" in result:
        rows = result["fold_rows"]
        names = [str(fold) for fold in range(len(rows))]
        return pd.DataFrame({"fold": names, "score": scores, "num_rows": rows})
    records = [member.read_record() for member in run.members()]
    folds = [record for record in records if "fold" in record]
    return pd.DataFrame(
        {
            "fold": [record["name"].removeprefix("fold-") for record in folds],
            "score": scores,
            "num_rows": [record["num_valid"] for record in folds],
        }
    )


def run_diagnosis(
    run: RunFolder,
    result: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    metric: Metric,
    baseline: float | None,
    short_side_px: float | None,
) -> Diagnosis | None:
    """Whether a run over- or underfits; None where it trained nothing of its own.

    Args:
        run: Its folder.
        result: Its result.json.
        settings: Its run.toml.
        metric: The competition's.
        baseline: Score of the best answer that looks at no picture.
        short_side_px: Median short side of the pictures.
    """
    summary = training_summary(run)
    records = [member.read_record() for member in run.members()]
    folds = [record for record in records if "fold" in record]
    if "recipe" not in settings or summary is None or not folds:
        return None
    # The refit has no pictures to be judged by.
    kept = {record["name"].removeprefix("fold-") for record in folds}
    curves, strengths = (
        None if table is None else table[table["fold"].astype(str).isin(kept)]
        for table in (summary.curves, summary.strengths)
    )
    num_images = sum(record["num_valid"] for record in folds if record["repeat"] == 0)
    learning = Learning(
        metric=result["metric"],
        greater_is_better=result["greater_is_better"],
        num_rows=result["num_rows_scored"],
        interval=(result["interval"][0], result["interval"][1]),
        baseline=baseline,
        perfect=perfect_score(metric) if metric.name in METRICS else None,
        fits=tuple(_fit(record, curves) for record in folds) if curves is not None else (),
        images_per_row=max(1.0, num_images / result["num_rows_scored"]),
        folds=fold_scores(run, result),
        curves=curves,
        strengths=strengths,
    )
    best = [record["best_epoch"] for record in folds if "best_epoch" in record]
    facts = Facts(
        task=settings["choices"]["task"],
        epochs=None if curves is None else int(curves["epoch"].max()),
        best_epoch=float(np.mean(best)) if best else None,
        input_size=settings["choices"]["spec"]["input_size"],
        short_side_px=short_side_px,
    )
    return diagnose(learning, recipe=settings["recipe"], facts=facts)


def _fit(record: Mapping[str, Any], curves: pd.DataFrame) -> FoldFit:
    name, epoch = record["name"].removeprefix("fold-"), record["best_epoch"]
    row = curves[(curves["fold"].astype(str) == name) & (curves["epoch"] == epoch)]
    scores = row["score"].dropna()
    return FoldFit(
        # Absent in runs of before it was measured.
        train_score=record.get("train_score"),
        valid_score=float(scores.iloc[0]) if len(scores) else None,
        num_sampled=record.get("num_sampled", record["num_train"]),
    )


def compared_table(result: Mapping[str, Any]) -> pd.DataFrame | None:
    """Other ways to join the same answers, as ``ReportPage.compared`` has them."""
    lines = result.get("compared") or []
    # Votes alone would be a table of names; they are shown beside views, checkpoints or runs.
    if all(line["what"] == "vote" for line in lines):
        return None
    sign = 1 if result["greater_is_better"] else -1
    rows = []
    for line in lines:
        ends = line["interval"] or [np.nan, np.nan]
        low, high = sorted(sign * end for end in ends)
        rows.append(
            {
                "what": line["what"],
                "name": str(line["name"]),
                "score": line["score"],
                "gain": sign * line["difference"],
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)
