"""The check of answers: known labels, finite numbers in range, rows that sum to 1."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.submission.findings import Finding, cell_finding, shown
from gorae.submission.form import SubmissionFormat
from gorae.submission.slips import Slip, explain

NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"

# TRUST 6: squares of larger values leave float64.
LARGEST_VALUE = 1e12

# What a spreadsheet would run instead of show (TRUST W12).
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝")

BLANKS = frozenset(("", "nan", "na", "n/a", "null", "none", "<na>"))


def answer_findings(
    table: pd.DataFrame, *, form: SubmissionFormat, classes: Sequence[str], task: Task
) -> Iterator[Finding]:
    """Every fault of the answer columns of ``table``, whose columns are right."""
    if form.kind in ("probability", "value"):
        values = {}
        for column in form.columns:
            values[column] = _to_numbers(table[column])
            yield from _number_findings(
                table[column], values[column], is_probability=form.kind == "probability"
            )
        if form.kind == "probability" and task in ("multiclass", "ordinal"):
            matrix = np.column_stack([values[column] for column in form.columns])
            yield from _sum_findings(matrix, table.index, num_classes=len(classes))
        return
    texts = {form.text_of(label): label for label in classes}
    if form.unknown_label is not None:
        texts[form.text_of(form.unknown_label)] = form.unknown_label
    if len(form.columns) > 1:
        for column in form.columns:
            yield from _label_findings(table[column], {"0": "no", "1": "yes"})
    elif form.joins_labels(task):
        yield from _joined_findings(table[form.columns[0]], texts, form=form)
    else:
        yield from _label_findings(table[form.columns[0]], texts)


def _label_findings(cells: pd.Series, texts: Mapping[str, str]) -> Iterator[Finding]:
    """Faults of cells that must each be one of ``texts`` (as written -> class)."""
    wrong = cells[~cells.isin(set(texts))]
    if wrong.empty:
        return
    known = "Known are " + ", ".join(shown(text) for text in list(texts)[:20]) + "."
    names = {label: text for text, label in texts.items()}
    slips = explain(wrong.unique(), texts)
    codes = wrong.map(lambda cell: _label_fault(cell, names, slips))
    for code in codes.unique():
        rows = wrong[codes == code]
        first = str(rows.iloc[0])
        if code in _LABEL_FAULTS:
            meant = shown(names[first]) if first in names else None
            message = _LABEL_FAULTS[code]
            yield cell_finding(rows, code=code, message=message, fix=known, expected=meant)
        else:
            slip, text = slips[first]
            message = f"labels {slip.happened}"
            yield cell_finding(
                rows, code=code, message=message, fix=slip.fix, expected=shown(text)
            )


_LABEL_FAULTS = {
    "blank_label": "the label is empty",
    "label_name": "the label is the name of the class, the sample writes it otherwise",
    "formula": "the cell would run as a formula in a spreadsheet",
    "unknown_label": "the label is unknown",
}


def _label_fault(
    cell: str, names: Mapping[str, str], slips: Mapping[str, tuple[Slip, str]]
) -> str:
    if cell.strip().casefold() in BLANKS:
        return "blank_label"
    if cell in names:
        return "label_name"
    if cell in slips:
        return f"label_{slips[cell][0].code}"
    return "formula" if cell.startswith(FORMULA_STARTS) else "unknown_label"


def _joined_findings(
    cells: pd.Series, texts: Mapping[str, str], *, form: SubmissionFormat
) -> Iterator[Finding]:
    """Faults of cells that hold several labels; no label at all is allowed unless ranked."""
    parts = cells.map(lambda cell: cell.split(form.separator))
    if form.kind == "ranked":
        many = cells[parts.map(len) > form.top_k]
        if len(many):
            message = f"there are more than {form.top_k} labels"
            fix = f"Give {form.top_k} at most; those after them do not count."
            yield cell_finding(many, code="too_many_labels", message=message, fix=fix)
    else:
        parts = parts[cells != ""]
    repeated = cells.loc[parts.index][parts.map(lambda labels: len(set(labels)) < len(labels))]
    if len(repeated):
        message = "a label is given twice"
        fix = "Its first place counts, the second is lost."
        yield cell_finding(
            repeated, code="repeated_label", message=message, fix=fix, level="warning"
        )
    yield from _label_findings(parts.explode(), texts)


def _to_numbers(cells: pd.Series) -> NDArray[np.float64]:
    """Numbers as Python and every spreadsheet write them; NaN for anything else."""
    plain = cells.str.fullmatch(NUMBER).to_numpy(bool)
    values = np.full(len(cells), np.nan)
    values[plain] = cells.to_numpy(object)[plain].astype(np.float64)
    return values


def _number_findings(
    cells: pd.Series, values: NDArray[np.float64], *, is_probability: bool
) -> Iterator[Finding]:
    finite = np.isfinite(values)
    if not finite.all():
        yield from _not_numbers(cells[~finite])
    low, high = (0.0, 1.0) if is_probability else (-LARGEST_VALUE, LARGEST_VALUE)
    fix = f"Values lie from {low:g} to {high:g}."
    with np.errstate(invalid="ignore"):
        below, above = cells[finite & (values < low)], cells[finite & (values > high)]
    if len(below):
        message = "a probability is negative" if is_probability else "a value is too small"
        yield cell_finding(below, code="too_small", message=message, fix=fix)
    if len(above):
        message = "a probability is above 1" if is_probability else "a value is too large"
        yield cell_finding(above, code="too_large", message=message, fix=fix)


# Code, words, remedy, and when it applies; the first that does is named.
_NOT_NUMBERS: tuple[tuple[str, str, str, Callable[[str], bool]], ...] = (
    (
        "not_a_number",
        "the cell is empty or NaN",
        "Every id needs a number.",
        lambda cell: cell.strip().casefold().lstrip("+-") in BLANKS,
    ),
    (
        "infinite",
        "the number is infinite",
        "Give finite numbers.",
        lambda cell: bool(re.fullmatch(rf"[+-]?inf(inity)?|{NUMBER}", cell, re.IGNORECASE)),
    ),
    (
        "spaces",
        "there are spaces around the number",
        "Remove the spaces.",
        lambda cell: bool(re.fullmatch(NUMBER, cell.strip(" \u00a0"))),
    ),
    (
        "decimal_comma",
        "the number is written with a comma",
        "Use a decimal point.",
        lambda cell: bool(re.fullmatch(r"[+-]?[0-9]+,[0-9]+", cell)),
    ),
    (
        "formula",
        "the cell would run as a formula in a spreadsheet",
        "Write plain numbers.",
        lambda cell: cell.startswith(FORMULA_STARTS),
    ),
    ("text", "the cell is not a number", "Write plain numbers.", lambda cell: True),
)


def _not_numbers(cells: pd.Series) -> Iterator[Finding]:
    kinds = cells.map(
        lambda cell: next(code for code, *_, applies in _NOT_NUMBERS if applies(cell))
    )
    for code, words, fix, _ in _NOT_NUMBERS:
        if (kinds == code).any():
            yield cell_finding(cells[kinds == code], code=code, message=words, fix=fix)


def _sum_findings(
    matrix: NDArray[np.float64], rows: pd.Index, *, num_classes: int
) -> Iterator[Finding]:
    """Rows of probabilities must sum to 1; with some classes left out, to no more."""
    if matrix.shape[1] < 2:
        return
    sums = matrix.sum(axis=1)
    # TRUST 5.5: honest rounding to four decimals passes, all ones do not.
    band = max(1e-2, num_classes * 1e-4)
    in_range = np.isfinite(sums) & (matrix >= 0).all(axis=1) & (matrix <= 1).all(axis=1)
    zero = in_range & (sums == 0)
    off = in_range & ~zero & (np.abs(sums - 1) > band)
    if matrix.shape[1] < num_classes:
        zero[:] = False
        off = in_range & (sums > 1 + band)
    for code, which in (("row_sum_zero", zero), ("row_sum", off)):
        if which.any():
            cells = pd.Series([f"{total:.6g}" for total in sums[which]], index=rows[which])
            yield cell_finding(
                cells,
                code=code,
                message="the probabilities are all 0"
                if code == "row_sum_zero"
                else "the probabilities do not sum to 1",
                fix="Divide each row by its sum; a softmax does so.",
                expected=f"1 within {band:g}",
            )
