"""All charts of a page, by name."""

from collections.abc import Callable, Iterator

from gorae.report import answer_figures, data_figures, training_figures
from gorae.report.compared import compared_lines
from gorae.report.drawing import Chart
from gorae.report.metric_names import metric_name
from gorae.report.numbers import plotly_text
from gorae.report.page import ReportPage
from gorae.report.texts import Language, say

Charts = Iterator[tuple[str, Chart | None]]


def build_charts(page: ReportPage, language: Language) -> dict[str, Chart]:
    """The charts that the sections of ``page`` have data for, labelled in ``language``."""
    parts: tuple[Callable[[ReportPage, Language], Charts], ...]
    parts = (_of_data, _of_training, _of_answers)
    found = (chart for part in parts for chart in part(page, language))
    return {name: chart for name, chart in found if chart is not None}


def _of_data(page: ReportPage, language: Language) -> Charts:
    if page.data is not None:
        if page.data.class_counts is not None:
            yield "class_counts", data_figures.class_counts(page.data.class_counts, language)
        if page.data.targets is not None:
            axis = say("axis.target", language)
            yield "targets", data_figures.histogram(page.data.targets, language, axis=axis)
        if page.data.sizes is not None:
            yield "sizes", data_figures.picture_sizes(page.data.sizes, language)
    if page.split is not None:
        yield "balance", data_figures.balance(page.split.balance, language)
    if page.submission is not None and page.submission.shares is not None:
        yield "shares", data_figures.shares(page.submission.shares, language)


def _of_training(page: ReportPage, language: Language) -> Charts:
    metric = plotly_text(getattr(metric_name(page.headline.metric), language))
    curves = page.training.curves if page.training is not None else None
    if curves is not None:
        if {"train_loss", "valid_loss"} & set(curves.columns):
            yield "loss", training_figures.loss_curves(curves, language)
        if "score" in curves.columns:
            greater = page.headline.greater_is_better
            yield (
                "score",
                training_figures.score_curves(
                    curves, language, metric=metric, greater_is_better=greater
                ),
            )
        if "lr" in curves.columns:
            yield "lr", training_figures.lr_curve(curves, language)
    if page.training is not None and page.training.strengths is not None:
        yield "strengths", training_figures.strengths(page.training.strengths, language)
    if page.compared is not None:
        lines = compared_lines(page.compared)
        yield "gains", answer_figures.gains(lines, language, metric=metric)
    if page.folds is not None:
        yield "folds", training_figures.fold_scores(page.folds, language, metric=metric)


def _of_answers(page: ReportPage, language: Language) -> Charts:
    found = page.summaries
    if found is None:
        return
    if found.confusion is not None:
        yield "confusion", answer_figures.confusion_matrix(found.confusion, language)
    if found.reliability is not None:
        yield "reliability", answer_figures.reliability(found.reliability, language)
    if found.roc is not None:
        yield "roc", answer_figures.roc(found.roc, language)
    if found.regression is not None:
        residuals = found.regression.predicted - found.regression.truth
        axis = say("axis.residual", language)
        yield "fit", answer_figures.fit(found.regression, language)
        yield "residuals", data_figures.histogram(residuals, language, axis=axis)
