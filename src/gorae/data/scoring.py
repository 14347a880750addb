"""What is predicted and how it is sent: task, metric and form of the answer."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from gorae.data.columns import plain
from gorae.data.inventory import Findings
from gorae.data.labels import sorted_classes
from gorae.data.listing import nfc
from gorae.data.sources import Task
from gorae.errors import DataError

# Names that are written as numbers in well-known competitions (Kaggle's dogs-vs-cats).
KNOWN_NUMBERS = {frozenset(("cat", "dog")): {"cat": "0", "dog": "1"}}

# More whole numbers than this may be counts or ages as well as classes.
MAX_CERTAIN_CLASSES = 30

# FACTS B: accuracy while classes are even, F1 when they are not.
BALANCED_RATIO = 2.0

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Scoring:
    """Task, metric and answer form of a competition."""

    task: Task
    metric: str
    metric_params: dict[str, Any] = field(default_factory=dict)
    label_delimiter: str | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    """Fields of the submission format beside its sample and id column."""


def recognise_scoring(
    labels: pd.DataFrame,
    *,
    answers: pd.DataFrame | None,
    answer_columns: Sequence[str],
    findings: Findings,
) -> Scoring:
    """Decide what the labels are and how the sample wants them.

    Args:
        labels: The label columns of the train table, text.
        answers: The answer columns of the sample submission; None without one.
        answer_columns: Names of the answer columns, also where there is no sample.
        findings: Takes the reasons and asks where two readings are possible.
    """
    task, delimiter, classes = _read_task(labels, answers, findings)
    if task == "multilabel":
        scoring = _multilabel(classes, delimiter, answers, answer_columns)
    elif task == "regression":
        _single(answer_columns)
        scoring = Scoring(task, "rmse", answer=_answer(answer_columns, "value"))
    elif len(answer_columns) > 1:
        matched = _match_columns(classes, answer_columns, findings)
        answer = {**_answer(answer_columns, "probability"), "column_classes": matched}
        scoring = Scoring(task, "log_loss", answer=answer)
    else:
        scoring = _one_answer(labels, classes, answers, answer_columns, findings)
    findings.evidence.append(
        f"task = {scoring.task}, {len(classes)} classes"
        if classes
        else f"task = {scoring.task}: the labels are numbers with many values"
    )
    findings.evidence.append(
        f"metric = {scoring.metric}: chosen, since the folder does not name it; check the "
        "rules of the competition"
    )
    return scoring


def _answer(columns: Sequence[str], kind: str) -> dict[str, Any]:
    return {"columns": list(columns), "kind": kind}


def _single(columns: Sequence[str]) -> None:
    if len(columns) > 1:
        raise DataError(
            f"The sample submission has {len(columns)} answer columns ({', '.join(columns)}), "
            "the labels are one number: several numbers per row are not supported."
        )


def _read_task(
    labels: pd.DataFrame, answers: pd.DataFrame | None, findings: Findings
) -> tuple[Task, str | None, tuple[str, ...]]:
    """The task, the delimiter of several labels in a cell, and the classes."""
    if labels.shape[1] > 1:
        return _read_flags(labels)
    values = labels.iloc[:, 0].map(nfc)
    distinct = {value for value in values if value.strip()}
    delimiter = _label_delimiter(values, distinct, findings)
    if delimiter is not None:
        parts = {part.strip() for value in distinct for part in value.split(delimiter)}
        return "multilabel", delimiter, sorted_classes(parts - {""})
    if all(_NUMBER.fullmatch(value) for value in distinct) and _is_regression(
        distinct, len(values), answers, findings
    ):
        return "regression", None, ()
    if _are_grades(distinct):
        findings.notes.append(
            "Labels are the numbers 0 to "
            f'{len(distinct) - 1}: if their order means something, set task = "ordinal".'
        )
    return "multiclass", None, sorted_classes(distinct)


def _are_grades(distinct: set[str]) -> bool:
    numbers = {str(number) for number in range(len(distinct))}
    return 3 <= len(distinct) <= 10 and distinct == numbers


def _read_flags(labels: pd.DataFrame) -> tuple[Task, str | None, tuple[str, ...]]:
    columns = tuple(str(column) for column in labels.columns)
    flags = {"0", "1", "0.0", "1.0", "True", "False", "true", "false"}
    for column in columns:
        odd = sorted(set(labels[column]) - flags)
        if odd:
            raise DataError(
                f"The sample asks for {len(columns)} columns ({', '.join(columns)}); "
                f"{column!r} of the train table holds {odd[0][:40]!r}. Several columns must "
                "hold 0 and 1; several numbers per row are not supported."
            )
    ones = labels.isin(("1", "1.0", "True", "true")).sum(axis=1)
    task: Task = "multiclass" if (ones == 1).all() else "multilabel"
    return task, None, columns


def _is_regression(
    distinct: set[str], num_lines: int, answers: pd.DataFrame | None, findings: Findings
) -> bool:
    fractional = [value for value in distinct if not _INTEGER.fullmatch(value)]
    # A float column of whole numbers ("2.0") is left to the checks of labels.
    if any(float(value) % 1 for value in fractional):
        return True
    if len(distinct) <= MAX_CERTAIN_CLASSES:
        return False
    if answers is not None and answers.shape[1] > 1:
        return False
    task = findings.ask(
        "task",
        f"The labels are {len(distinct)} different whole numbers in {num_lines:,} lines. Are "
        "they classes (multiclass) or a quantity (regression)?",
        ("multiclass", "regression"),
    )
    return task == "regression"


def _label_delimiter(values: pd.Series, distinct: set[str], findings: Findings) -> str | None:
    """The character that separates several labels in one cell; None where labels are single."""
    for delimiter in ("|", ";", ",", " "):
        several = [value for value in distinct if delimiter in value.strip()]
        if not several:
            continue
        parts = Counter(
            part.strip()
            for value in distinct
            for part in value.split(delimiter)
            if part.strip()
        )
        alone = distinct - set(several)
        known = [
            value
            for value in several
            if all(part.strip() in alone for part in value.split(delimiter))
        ]
        if len(parts) >= len(distinct) and not known:
            continue
        if len(known) * 2 < len(several) and len(parts) * 2 > len(distinct):
            meaning = findings.ask(
                "label_delimiter",
                f"Labels such as {sorted(several)[0]!r} hold {delimiter!r}. Does a picture "
                "have several labels, or is that one name?",
                ("several labels", "one name"),
            )
            if meaning == "one name":
                return None
        findings.evidence.append(
            f"label_delimiter = {delimiter!r}: {int(values.isin(several).sum()):,} of "
            f"{len(values):,} lines have several of {len(parts)} labels"
        )
        return delimiter
    return None


def _multilabel(
    classes: tuple[str, ...],
    delimiter: str | None,
    answers: pd.DataFrame | None,
    columns: Sequence[str],
) -> Scoring:
    if len(columns) > 1:
        by_plain = {plain(name): name for name in classes}
        matched = {column: by_plain.get(plain(column), "") for column in columns}
        if set(matched.values()) != set(classes):
            raise DataError(
                f"The answer columns of the sample ({', '.join(columns)}) are not the "
                f"{len(classes)} labels of the train table ({', '.join(classes)})."
            )
        answer = {**_answer(columns, "probability"), "column_classes": matched}
        return Scoring("multilabel", "roc_auc_macro", label_delimiter=delimiter, answer=answer)
    answer = {**_answer(columns, "label"), "separator": _separator(answers) or delimiter or " "}
    return Scoring("multilabel", "micro_f1", label_delimiter=delimiter, answer=answer)


def _separator(answers: pd.DataFrame | None) -> str | None:
    if answers is None:
        return None
    text = " ".join(answers.iloc[:, 0].head(100))
    return next((mark for mark in ("|", ";", ",") if mark in text), None)


def _match_columns(
    classes: tuple[str, ...], columns: Sequence[str], findings: Findings
) -> dict[str, str]:
    """Class of each answer column, by name, or as answered."""
    by_plain: dict[str, str] = {plain(name): name for name in classes}
    for strip in ("", "class", "prob", "proba", "p", "is", "label", "c"):
        matched = {
            column: by_plain.get(plain(column).removeprefix(strip), "") for column in columns
        }
        if set(matched.values()) == set(classes) and len(columns) == len(classes):
            return matched
    if len(columns) != len(classes):
        raise DataError(
            f"The sample has {len(columns)} answer columns ({', '.join(columns[:20])}), train "
            f"has {len(classes)} classes ({', '.join(classes[:20])}): they do not fit."
        )
    option = ", ".join(f"{c}={name}" for c, name in zip(columns, classes, strict=True))
    findings.ask("column_classes", "Do the answer columns stand for these classes?", (option,))
    return dict(zip(columns, classes, strict=True))


def _one_answer(
    labels: pd.DataFrame,
    classes: tuple[str, ...],
    answers: pd.DataFrame | None,
    columns: Sequence[str],
    findings: Findings,
) -> Scoring:
    """One answer column: a label, a ranking, or the probability of one of two classes."""
    values = [] if answers is None else [nfc(text) for text in answers.iloc[:, 0]]
    ranked = _ranked(values, classes, columns, findings)
    if ranked is not None:
        return ranked
    positive = _positive_class(values, classes, columns[0], findings)
    if positive is not None:
        answer = _answer(columns, "probability")
        findings.evidence.append(f"{columns[0]} is the probability of {positive!r}")
        return Scoring(
            "multiclass",
            "roc_auc",
            answer={**answer, "column_classes": {columns[0]: positive}},
        )
    answer = _answer(columns, "label")
    written = _written(values, classes, findings)
    if written:
        answer["written"] = written
    sizes = _class_sizes(labels)
    ratio = max(sizes) / min(sizes)
    metric = "accuracy" if ratio < BALANCED_RATIO else "macro_f1"
    findings.evidence.append(f"largest class / smallest class = {ratio:.2f}")
    return Scoring("multiclass", metric, answer=answer)


def _class_sizes(labels: pd.DataFrame) -> list[int]:
    if labels.shape[1] > 1:
        ones = labels.isin(("1", "1.0", "True", "true")).sum()
        return [max(int(count), 1) for count in ones]
    return [int(count) for count in labels.iloc[:, 0].value_counts()]


def _ranked(
    values: Sequence[str], classes: tuple[str, ...], columns: Sequence[str], findings: Findings
) -> Scoring | None:
    """Several labels per cell from most to least likely, where train has one."""
    split = [value.split() for value in values]
    top_k = max((len(parts) for parts in split), default=0)
    known = set(classes)
    if top_k < 2 or set(values) <= known:
        return None
    tokens = Counter(part for parts in split for part in parts)
    unknown = [token for token in tokens if token not in known]
    if len(unknown) > 1:
        raise DataError(
            f"The sample ranks {top_k} labels per row, but {len(unknown)} of them are not in "
            f"train: {', '.join(sorted(unknown)[:10])}. At most one may stand for the unknown."
        )
    answer: dict[str, Any] = {**_answer(columns, "ranked"), "top_k": top_k}
    findings.evidence.append(f"kind = ranked: the sample has {top_k} labels per row")
    if unknown:
        answer["unknown_label"] = unknown[0]
        findings.evidence.append(
            f"unknown_label = {unknown[0]}: in the sample ({tokens[unknown[0]]:,} times), not "
            "in train"
        )
    return Scoring("multiclass", "map_at_k", {"k": top_k}, answer=answer)


def _positive_class(
    values: Sequence[str], classes: tuple[str, ...], column: str, findings: Findings
) -> str | None:
    """The class whose probability is asked for; None when a label is."""
    if len(classes) != 2:
        if values and any(_NUMBER.fullmatch(v) and not _INTEGER.fullmatch(v) for v in values):
            raise DataError(
                f"The sample has fractions in its one answer column {column!r}, but there are "
                f"{len(classes)} classes: one probability cannot name them."
            )
        return None
    named = [name for name in classes if plain(name) == plain(column)]
    are_labels = bool(values) and set(values) <= set(classes)
    if named and not are_labels:
        return named[0]
    fractions = any(_NUMBER.fullmatch(v) and not _INTEGER.fullmatch(v) for v in values)
    if are_labels or not fractions:
        return None
    if classes == ("0", "1"):
        return "1"
    for names, numbers in KNOWN_NUMBERS.items():
        if {name.casefold() for name in classes} == names:
            return next(name for name in classes if numbers[name.casefold()] == "1")
    return findings.ask(
        "positive_class", f"Of which class is {column!r} the probability?", classes
    )


def _written(
    values: Sequence[str], classes: tuple[str, ...], findings: Findings
) -> dict[str, str]:
    """How classes are written where the sample writes numbers for names."""
    foreign = sorted({value for value in values if value.strip()} - set(classes))
    if not foreign or all(_INTEGER.fullmatch(name) for name in classes):
        return {}
    if not all(_INTEGER.fullmatch(value) for value in foreign):
        findings.notes.append(
            f"The sample's answer {foreign[0]!r} is no class of train; it is taken for a "
            "placeholder."
        )
        return {}
    for names, numbers in KNOWN_NUMBERS.items():
        if {name.casefold() for name in classes} == names:
            written = {name: numbers[name.casefold()] for name in classes}
            findings.evidence.append(f"written: {written}, as in Kaggle's dogs-vs-cats")
            return written
    orders = [classes, classes[::-1]] if len(classes) == 2 else [classes]
    options = {
        ", ".join(f"{name}={number}" for number, name in enumerate(order, start=start)): {
            name: str(number) for number, name in enumerate(order, start=start)
        }
        for order in orders
        for start in (0, 1)
    }
    chosen = findings.ask(
        "written",
        f"The sample writes numbers (such as {foreign[0]}) for the classes. Which is which?",
        options,
    )
    return options[chosen]
