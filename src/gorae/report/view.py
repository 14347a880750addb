"""What the template shows that is worked out from the page."""

from dataclasses import dataclass

import pandas as pd

from gorae.report import numbers
from gorae.report.compared import ComparedLine, compared_lines
from gorae.report.metric_names import metric_name
from gorae.report.page import DataSummary, ReportPage
from gorae.report.summaries import confused_pairs
from gorae.report.texts import TEXTS, Text

NUM_PAIRS = 10

RATE_COLUMNS = {
    "precision": "answers.precision",
    "recall": "answers.recall",
    "f1": "answers.f1",
    "auc": "answers.auc",
}
COUNT_COLUMNS = {"support": "answers.support", "predicted": "answers.answered"}


@dataclass(frozen=True)
class View:
    """What the template shows that is worked out from the page."""

    data_facts: tuple[tuple[str, str], ...]
    folds: pd.DataFrame | None
    fold_mean: str | None
    pairs: pd.DataFrame | None
    rate_columns: dict[str, str]
    count_columns: dict[str, str]
    usual_scores: tuple[tuple[Text, str], ...]
    duplicate_sets: int
    compared: tuple[ComparedLine, ...]
    computed: tuple[tuple[Text, Text], ...]
    """How the numbers were computed: label and value."""
    titles: dict[str, str]
    """Sections that are there, in order: anchor -> key of the title."""


def build_view(page: ReportPage) -> View:
    """Work out what the template places."""
    summaries, folds = page.summaries, page.folds
    fold_mean = None
    if folds is not None and len(folds) > 1:
        mean, deviation = float(folds["score"].mean()), float(folds["score"].std())
        fold_mean = f"{numbers.number(mean)} ± {numbers.number(deviation)}"
    table = summaries.per_class if summaries is not None else None
    columns = set() if table is None else set(table.columns)
    duplicates = page.data.duplicates if page.data is not None else None
    return View(
        data_facts=_data_facts(page.data) if page.data is not None else (),
        folds=folds,
        fold_mean=fold_mean,
        pairs=_pairs(page),
        rate_columns={name: key for name, key in RATE_COLUMNS.items() if name in columns},
        count_columns={name: key for name, key in COUNT_COLUMNS.items() if name in columns},
        usual_scores=tuple(
            (metric_name(name), numbers.number(score))
            for name, score in (summaries.scores if summaries is not None else ())
        ),
        compared=compared_lines(page.compared),
        computed=_computed(page),
        duplicate_sets=0 if duplicates is None else int(duplicates["set"].nunique()),
        titles=_titles(page),
    )


def _pairs(page: ReportPage) -> pd.DataFrame | None:
    """The most frequent mistakes; None where the matrix says it all, or there are none."""
    confusion = page.summaries.confusion if page.summaries is not None else None
    if confusion is None or len(confusion.classes) <= 2:
        return None
    pairs = confused_pairs(confusion, limit=NUM_PAIRS)
    return None if pairs.empty else pairs


def _data_facts(data: DataSummary) -> tuple[tuple[str, str], ...]:
    facts = []
    if data.class_counts is not None:
        facts.append(("data.classes", numbers.count(len(data.class_counts))))
        total = data.class_counts.drop(columns="class").sum(axis=1)
        if len(total) > 1 and total.min() > 0:
            facts.append(("data.imbalance", f"{total.max() / total.min():.3g} : 1"))
    if data.sizes is not None and len(data.sizes):
        width, height = data.sizes["width_px"].median(), data.sizes["height_px"].median()
        facts.append(("data.median_size", f"{width:.0f} × {height:.0f} px"))
    return tuple(facts)


def _computed(page: ReportPage) -> tuple[tuple[Text, Text], ...]:
    chosen = page.provenance.arithmetic if page.provenance is not None else None
    if chosen is None:
        return ()

    def plain(value: object) -> Text:
        return Text(str(value), str(value))

    shown = {
        "device": ", ".join(chosen.get("devices", [chosen["device"]])),
        "precision": chosen["precision"],
        "layout": TEXTS[f"computed.channels_{'last' if chosen['channels_last'] else 'first'}"],
        "compile": TEXTS["yes" if chosen["compile"] else "no"],
        "predict_compile": TEXTS["yes" if chosen["predict_compile"] else "no"],
        **({"predict_precision": "int8"} if "predict_precision" in chosen else {}),
        "threads": chosen["threads"],
        "workers": chosen["workers"],
        "origin": chosen["origin"],
    }
    lines = [
        (TEXTS[f"computed.{key}"], value if isinstance(value, Text) else plain(value))
        for key, value in shown.items()
    ]
    for name, speed in chosen.get("images_per_s", {}).items():
        label, value = TEXTS["computed.speed"], TEXTS["computed.images_per_s"]
        lines.append(
            (
                Text(label.en.format(name=name), label.ko.format(name=name)),
                Text(value.en.format(speed=speed), value.ko.format(speed=speed)),
            )
        )
    return tuple(lines)


def _titles(page: ReportPage) -> dict[str, str]:
    found = page.summaries
    has_curves = page.training is not None and (
        page.training.curves is not None or page.training.strengths is not None
    )
    there = {
        "data": page.data is not None,
        "split": page.split is not None,
        "training": has_curves or page.diagnosis is not None or page.advice is not None,
        "scores": page.folds is not None or (found is not None and bool(found.scores)),
        "compared": page.compared is not None,
        "answers": found is not None
        and not (
            found.confusion is None and found.per_class is None and found.regression is None
        ),
        "probabilities": found is not None
        and not (found.reliability is None and found.roc is None),
        "errors": bool(page.errors),
        "submission": page.submission is not None,
        "provenance": page.provenance is not None,
    }
    is_number = page.headline.task == "regression"
    own = {"answers": "answers.regression", "errors": "errors.regression"} if is_number else {}
    return {name: own.get(name, name) for name, is_there in there.items() if is_there}
