"""How names and numbers are written on a page."""

import math
import re

# Beyond this a name no longer fits beside a chart; the whole of it is in the hover text.
CHART_NAME_LENGTH = 22

# Control characters and surrogates (undecodable bytes of a file name) cannot stand in a page;
# the signs that turn the direction of writing could make one name look like another.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """``text`` with characters that cannot be shown written as ``\\x1b`` or ``\\udcff``."""
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def plotly_text(text: str) -> str:
    """``text`` so that plotly, which reads some HTML in its labels, shows it as it is."""
    escaped = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A dollar sign at both ends would be read as a formula, %{ as a placeholder.
    return escaped.replace("$", "&#36;").replace("%{", "&#37;{").replace("\n", " ")


def chart_name(text: str, *, length: int = CHART_NAME_LENGTH) -> str:
    """A name short enough for the axis of a chart."""
    short = text if len(text) <= length else text[: length - 1] + "…"
    return plotly_text(short)


def number(value: float) -> str:
    """A score or measure with the digits worth reading: 0.984, 0.0042, 23.46, 1,234.

    A number just below 1 keeps the digits that tell it from 1.
    """
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:.3f}" if size < 10 else f"{value:.4g}"
    if size == 0:
        return "0"
    if size < 0.01:
        return f"{value:.2g}" if size >= 1e-4 else f"{value:.1e}"
    for decimals in (3, 4, 5):
        if round(size, decimals) < 1:
            return f"{value:.{decimals}f}"
    return f"{value:.6f}"


def signed(value: float) -> str:
    """A difference, with its sign: +0.013, −0.0042, 0."""
    text = number(abs(value))
    return text if value == 0 or text == "–" else f"{'+' if value > 0 else '−'}{text}"


def percent(share: float) -> str:
    """A share from 0 to 1 as per cent, one decimal where it matters."""
    if not math.isfinite(share):
        return "–"
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9%"
    if text == "0.0" and share > 0:
        return "< 0.1%"
    return f"{text.removesuffix('.0')}%"


def count(value: int) -> str:
    """A whole number with thousands set apart."""
    return f"{int(value):,d}"


class Count(int):
    """A number of things, which a text writes with the word that fits it.

    ``{rows:row|rows}`` gives "1 row" or "1,200 rows", ``{rows}`` the number alone.
    """

    def __format__(self, words: str) -> str:
        if not words:
            return count(self)
        one, _, many = words.partition("|")
        return f"{count(self)} {one if self == 1 else many}"


def duration(seconds: float) -> str:
    """A wall time: 48 s, 3 min 5 s, 2 h 4 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
