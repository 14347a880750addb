"""Predictions as the table that is sent."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.errors import ConfigError, DataError
from gorae.predictions import Predictions
from gorae.submission.form import SubmissionFormat, require_form

# Eight digits are what float32 holds; rows of 1,000 classes still sum to 1 within 1e-5.
NUMBER = "%.8g"


def build_submission(
    predictions: Predictions,
    *,
    form: SubmissionFormat,
    sample: pd.DataFrame | None,
    classes: Sequence[str],
    task: Task,
) -> pd.DataFrame:
    """The answers to every id of the sample, in its order and columns.

    Args:
        predictions: One row per id; columns are the classes, or one value.
        form: What the CSV looks like.
        sample: The sample submission as text, its ids kept as they are; absent: the ids of
            the predictions, in their order.
        classes: K class names, in the order of the predictions' columns.
        task: What a label is.

    Returns:
        Text in every cell; the index is the row number in the file, from 2.

    Raises:
        ConfigError: The form does not fit the task or the sample.
        DataError: An id has no prediction, or the sample holds an id twice.
    """
    require_form(form, classes=classes, task=task)
    assert task == "regression" or predictions.columns == tuple(classes)
    if form.kind == "probability" and predictions.kind not in ("multiclass", "multilabel"):
        raise ConfigError(
            f"The submission asks for probabilities, the predictions are of kind "
            f"{predictions.kind!r}. Calibrate them first or submit labels."
        )
    columns = _columns(form, sample)
    if sample is not None:
        predictions = predictions.select(_sample_ids(sample[form.id_column]))
    answers = _answers(predictions, form=form, classes=classes, task=task)
    cells = {form.id_column: list(predictions.ids), **answers}
    index = pd.RangeIndex(2, len(predictions.ids) + 2, name="row")
    return pd.DataFrame({name: cells[name] for name in columns}, index=index, dtype="str")


def _columns(form: SubmissionFormat, sample: pd.DataFrame | None) -> list[str]:
    header = [form.id_column, *form.columns]
    if sample is None:
        return header
    if sorted(sample.columns) != sorted(header):
        raise ConfigError(
            f"The sample submission has the columns {', '.join(sample.columns)}; [submission] "
            f"in competition.toml names {', '.join(header)}. Make them equal."
        )
    return list(sample.columns)


def _sample_ids(ids: pd.Series) -> list[str]:
    twice = ids[ids.duplicated()]
    if len(twice):
        raise DataError(
            f"The sample submission holds {len(twice)} ids more than once, first "
            f"{twice.iloc[0]!r} in row {twice.index[0]}. Every id must stand there once."
        )
    return [str(id_) for id_ in ids]


def _answers(
    predictions: Predictions, *, form: SubmissionFormat, classes: Sequence[str], task: Task
) -> dict[str, list[str]]:
    values = predictions.values.astype(np.float64)
    texts = [form.text_of(label) for label in classes]
    if form.kind == "value":
        return {form.columns[0]: _numbers(values[:, 0])}
    if form.kind == "ranked":
        return {form.columns[0]: _ranked(values, texts, form=form, classes=classes)}
    if form.kind == "label" and task != "multilabel":
        return {form.columns[0]: [texts[k] for k in values.argmax(axis=1)]}
    if form.joins_labels(task):
        given = values >= form.threshold
        cells = [form.separator.join(texts[k] for k in np.flatnonzero(row)) for row in given]
        return {form.columns[0]: cells}
    if predictions.kind == "multiclass":
        # float32 rows miss 1 by up to 1e-4 over many classes.
        values /= values.sum(axis=1, keepdims=True)
    answers = {}
    for column in form.columns:
        # A float32 sigmoid or mean may stand a rounding above 1.
        of_class = np.clip(values[:, classes.index(form.class_of(column))], 0, 1)
        flags = np.where(of_class >= form.threshold, "1", "0").tolist()
        answers[column] = flags if form.kind == "label" else _numbers(of_class)
    return answers


def _numbers(values: NDArray[np.float64]) -> list[str]:
    return [NUMBER % value for value in values]


def _ranked(
    values: NDArray[np.float64],
    texts: Sequence[str],
    *,
    form: SubmissionFormat,
    classes: Sequence[str],
) -> list[str]:
    """The most probable labels of each row, equal ones in the order of the classes.

    The unknown label stands before the first class less probable than its score; if it is a
    class of its own as well, that class's probability is not looked at.
    """
    ranking = np.argsort(-values, axis=1, kind="stable")
    cells = []
    for row, order in zip(values, ranking, strict=True):
        if form.unknown_label is None:
            labels = [texts[k] for k in order[: form.top_k]]
        else:
            known = [k for k in order if classes[k] != form.unknown_label][: form.top_k]
            place = sum(row[k] >= form.unknown_score for k in known)
            labels = [texts[k] for k in known]
            labels.insert(place, form.text_of(form.unknown_label))
        cells.append(form.separator.join(labels[: form.top_k]))
    return cells
