"""Ids and labels that are right but for what a spreadsheet or a program did to them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation


@dataclass(frozen=True)
class Slip:
    """One way in which a text is changed, and how to undo it."""

    code: str
    same: Callable[[str], str]
    """Gives two texts that differ in this way only the same result."""
    happened: str
    fix: str


def _plain_number(text: str) -> str:
    try:
        return (
            f"{Decimal(text):f}" if re.fullmatch(r"[0-9.]+[eE][+-]?[0-9]{1,3}", text) else text
        )
    except InvalidOperation:
        return text


def _bare_name(text: str) -> str:
    # An extension begins with a letter: the end of 1.0 is none.
    return re.sub(r"\.[a-z][a-z0-9]{1,4}$", "", re.split(r"[/\\]", text)[-1])


# From harmless to drastic; each is tried on top of those before it.
SLIPS = (
    Slip(
        "unicode",
        lambda text: unicodedata.normalize("NFKC", text),
        "differ in their Unicode form (composed or decomposed Hangul, full-width digits)",
        "Write them as they stand in the sample submission, unchanged.",
    ),
    Slip("spaces", str.strip, "have spaces around them", "Remove the spaces."),
    Slip(
        "case", str.casefold, "differ in upper and lower case", "Keep the case of the sample."
    ),
    Slip(
        "extension",
        _bare_name,
        "differ in folder or file extension",
        "Write them as in the sample submission.",
    ),
    Slip(
        "scientific",
        _plain_number,
        "are written in powers of ten",
        "A spreadsheet or pandas took them for numbers; write them as text.",
    ),
    Slip(
        "decimal",
        lambda text: re.sub(r"^([0-9]+)\.0*$", r"\1", text),
        "are written as decimal numbers",
        "A program took them for numbers; write them as text, without `.0`.",
    ),
    Slip(
        "zeros",
        lambda text: text.lstrip("0") or "0",
        "have lost their leading zeros",
        "A spreadsheet removed them. Write the column as text and do not save the CSV from a "
        "spreadsheet.",
    ),
)


def explain(got: Iterable[str], expected: Iterable[str]) -> Mapping[str, tuple[Slip, str]]:
    """Which of ``expected`` each text of ``got`` stands for, where a slip explains it alone."""
    found: dict[str, tuple[Slip, str]] = {}
    keys = {text: text for text in got}
    targets = {text: text for text in expected}
    for slip in SLIPS:
        keys = {text: slip.same(key) for text, key in keys.items() if text not in found}
        targets = {text: slip.same(key) for text, key in targets.items()}
        times = Counter(targets.values())
        meant = {key: text for text, key in targets.items() if times[key] == 1}
        found |= {text: (slip, meant[key]) for text, key in keys.items() if key in meant}
    return found
