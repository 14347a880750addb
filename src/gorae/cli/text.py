"""Text for a terminal: safe names, times, sizes, scores, and the budgets a user types."""

import re
import unicodedata
from collections.abc import Sequence

from gorae.errors import ConfigError

_BUDGET = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")

# Controls, lone surrogates (a name that is not UTF-8) and unknown code points.
_UNSAFE_CATEGORIES = {"Cc", "Cs", "Cn", "Zl", "Zp"}
# They turn the direction of the text, so that "gpj.exe" reads as "exe.jpg".
_DIRECTION_MARKS = set(map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F))))
_DIRECTION_MARKS |= set(map(chr, range(0x2066, 0x206A)))


def safe(text: str) -> str:
    """``text`` with all that could steer a terminal shown as ``\\x1b``; line ends stay.

    Names of files and classes come from strangers (TRUST W28).
    """
    return "".join(_escape(character) for character in text)


def safe_line(text: str) -> str:
    """``text`` as one line that cannot steer a terminal."""
    return safe(text).replace("\n", "\\n")


def _escape(character: str) -> str:
    is_harmless = (
        character == "\n"
        or (" " <= character <= "~")
        or (
            unicodedata.category(character) not in _UNSAFE_CATEGORIES
            and character not in _DIRECTION_MARKS
        )
    )
    return character if is_harmless else character.encode("unicode_escape").decode("ascii")


def parse_budget(text: str) -> float:
    """Seconds of ``30m``, ``2h``, ``90s`` or ``1h30m``.

    Raises:
        ConfigError: The text is no such time, or it is zero.
    """
    match = _BUDGET.fullmatch(text.strip().lower().replace(" ", ""))
    hours, minutes, seconds = (
        float(part or 0) for part in (match.groups() if match else "000")
    )
    total_s = hours * 3600 + minutes * 60 + seconds
    if match is None or total_s == 0:
        raise ConfigError(
            f"--budget {text!r} is no time. Write hours, minutes and seconds like 30m, 2h, "
            "90s or 1h30m."
        )
    return total_s


def duration(seconds: float) -> str:
    """A time in two units at most: ``8.2 s``, ``1 min 05 s``, ``2 h 30 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(size_bytes: int) -> str:
    """A size in decimal units: ``512 B``, ``13.4 MB``."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value, units = size_bytes / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.1f} {units[0]}"


def score(value: float | None) -> str:
    """A score with four digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.4f}"


def interval(bounds: Sequence[float] | None, *, word: str = " to ") -> str:
    """An interval as ``0.9800 to 0.9911``, or a dash where there is none."""
    return "-" if bounds is None else f"{bounds[0]:.4f}{word}{bounds[1]:.4f}"


def count(number: int, noun: str) -> str:
    """``1 run``, ``3 runs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def count_of(done: int, total: int) -> str:
    """``412 of 910 (45 %)``."""
    return f"{done:,} of {total:,} ({100 * done // total} %)" if total else f"{done:,}"


def clock(seconds: float) -> str:
    """A time as ``0:42`` or ``1:02:03``."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
