"""The form of the CSV that is sent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from gorae.data.sources import Task
from gorae.errors import ConfigError, list_problems


@dataclass(frozen=True, kw_only=True)
class SubmissionFormat:
    """Form of the CSV that is sent, as its sample shows it."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }

    sample: str | None = None
    """Sample submission, relative to the competition's folder; its order of ids is kept."""
    encoding: str = "utf-8"
    """Text encoding of the sample; what is sent is UTF-8."""
    delimiter: str = ","
    """Character between the fields of the sample and of what is sent."""
    id_column: str
    """Header of the id column."""
    columns: tuple[str, ...]
    """Headers of the answer columns, in order."""
    kind: Literal["label", "probability", "value", "ranked"]
    """A label per row, probabilities, a number, or several labels from most to least likely."""
    written: Mapping[str, str] = field(default_factory=dict)
    """How a class is written in the CSV where that differs from its name (``dog = "1"``)."""
    column_classes: Mapping[str, str] = field(default_factory=dict)
    """Class whose probability stands in a column, where the header differs from its name."""
    top_k: int = 5
    """Labels per row when ``kind`` is ranked."""
    separator: str = " "
    """Text between the labels of one cell (ranked, multi-label)."""
    threshold: float = 0.5
    """Probability from which a label is given (multi-label)."""
    unknown_label: str | None = None
    """Label for individuals that are not in the train table (``new_whale``)."""
    unknown_score: float = 0.5
    """Rank the unknown label before all classes less probable than this."""

    def joins_labels(self, task: Task) -> bool:
        """Whether a cell holds several labels, with the separator between them."""
        alone = self.kind == "label" and task == "multilabel" and len(self.columns) == 1
        return alone or self.kind == "ranked"

    def class_of(self, column: str) -> str:
        """The class an answer column stands for."""
        return self.column_classes.get(column, column)

    def text_of(self, label: str) -> str:
        """How a class is written."""
        return self.written.get(label, label)


def require_form(form: SubmissionFormat, *, classes: Sequence[str], task: Task) -> None:
    """Stop where a form cannot hold the answers of a task.

    Raises:
        ConfigError: All that is wrong with it.
    """
    problems = [
        *_column_problems(form, task=task),
        *_kind_problems(form, task=task),
        *_class_problems(form, classes=classes, task=task),
    ]
    if problems:
        raise ConfigError(
            "The [submission] of competition.toml does not fit the task:\n"
            f"{list_problems(problems)}\nCorrect it there as the sample submission shows."
        )


def _column_problems(form: SubmissionFormat, *, task: Task) -> Iterator[str]:
    header = (form.id_column, *form.columns)
    if not form.columns:
        yield "columns is empty: name the answer column or columns"
    if len(set(header)) < len(header):
        yield f"a column is named twice: {', '.join(header)}"
    if len(form.columns) > 1 and (
        form.kind in ("value", "ranked") or (form.kind == "label" and task != "multilabel")
    ):
        yield f"kind {form.kind!r} takes one answer column, {len(form.columns)} are named"


def _kind_problems(form: SubmissionFormat, *, task: Task) -> Iterator[str]:
    if (form.kind == "value") != (task == "regression"):
        yield f"kind {form.kind!r} does not belong to task {task!r}: a value to a regression"
    if form.kind == "ranked" and task == "multilabel":
        yield "kind 'ranked' orders the classes of one label; the task is multilabel"
    if form.kind == "ranked" and form.top_k < 1:
        yield f"top_k is {form.top_k}, it must be 1 or more"
    if form.unknown_label is not None and form.kind != "ranked":
        yield f"unknown_label has no effect with kind {form.kind!r}, only with 'ranked'"


def _class_problems(
    form: SubmissionFormat, *, classes: Sequence[str], task: Task
) -> Iterator[str]:
    known = ", ".join(classes[:20])
    for label in form.written:
        if label not in classes:
            yield f"written names {label!r}, which is not a class; known are {known}"
    for column in form.column_classes:
        if column not in form.columns:
            yield f"column_classes names column {column!r}, which is not in columns"
    if form.kind == "probability" or (form.kind == "label" and len(form.columns) > 1):
        named = [form.class_of(column) for column in form.columns]
        for column, label in zip(form.columns, named, strict=True):
            if label not in classes:
                yield (
                    f"column {column!r} is not a class: say in column_classes whose answer "
                    f"stands there; known are {known}"
                )
        if len(set(named)) < len(named):
            yield "two columns stand for the same class"
    texts = [form.text_of(label) for label in classes]
    if form.kind in ("label", "ranked") and len(set(texts)) < len(texts):
        yield "two classes are written alike"
    if form.joins_labels(task) and not form.separator:
        yield "separator is empty: labels in one cell could not be told apart"
    elif form.joins_labels(task):
        for text in [*texts, form.unknown_label or ""]:
            if form.separator in text:
                yield f"label {text!r} holds the separator {form.separator!r}"
